"""Classification heads: transformers' own classes, and what the head of a model in memory classifies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from dashboard.capture.kind import PROBE, probed
from dashboard.capture.vocabulary import embedding_rows
from dashboard.catalog.prediction_head import has_other_classes
from dashboard.contracts.classes import ENDS, ClassesOf, ClassHead, scale_of

AUTO: Mapping[ClassesOf, Any] = MappingProxyType(
    {
        "text": AutoModelForSequenceClassification,
        "tokens": AutoModelForTokenClassification,
        "answer": AutoModelForQuestionAnswering,
    }
)


def class_head(model: PreTrainedModel) -> ClassHead | None:
    """Find by trial what a model in evaluation mode classifies, from the shape of its outputs for a short text; None if
    it has no classification head, or one of another kind (multiple choice, next sentence).
    """
    if has_other_classes(list(model.state_dict())):
        return None
    ids = torch.arange(1, PROBE + 1, device=model.device)[None] % embedding_rows(model)
    outputs = probed(model, ids)
    if _shape(outputs, "start_logits") == _shape(outputs, "end_logits") == (1, PROBE):
        return ClassHead("answer", "softmax", ENDS)
    labels = _labels(model.config)
    shape = _shape(outputs, "logits")
    if shape == (1, len(labels)):
        return _head("text", model.config, labels)
    return _head("tokens", model.config, labels) if shape == (1, PROBE, len(labels)) else None


def class_logits(outputs: Any, head: ClassHead) -> torch.Tensor:
    """Return what the head says of one text: (label,), (token, label), or (token, 2) start and end."""
    if head.of == "answer":
        return torch.stack([outputs.start_logits[0], outputs.end_logits[0]], dim=-1)
    found: torch.Tensor = outputs.logits[0]
    return found


def _head(of: ClassesOf, config: Any, labels: tuple[str, ...]) -> ClassHead:
    return ClassHead(of, scale_of(of, getattr(config, "problem_type", None), len(labels)), labels)


def _shape(outputs: Any, name: str) -> tuple[int, ...] | None:
    found = getattr(outputs, name, None)
    return tuple(found.shape) if isinstance(found, torch.Tensor) else None


def _labels(config: Any) -> tuple[str, ...]:
    names = getattr(config, "id2label", None) or {}
    return tuple(str(names.get(index, f"LABEL_{index}")) for index in range(getattr(config, "num_labels", 0)))
