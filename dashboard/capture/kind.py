"""What a model in memory predicts.

Its files speak first (`catalog.prediction_head`); its outputs have the last word.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from transformers import PreTrainedModel

from dashboard.capture.vocabulary import embedding_rows, logits_of
from dashboard.catalog.prediction_head import Judgement, has_classes
from dashboard.contracts.model_info import ModelKind

PROBE = 4  # tokens
log = logging.getLogger(__name__)


def judge_in_memory(model: PreTrainedModel, judged: Judgement | None) -> Judgement:
    """Judge what a model in evaluation mode predicts.

    Args:
        judged: what its files say, which holds unless its outputs contradict it; None for a model without files, which
            is judged by its outputs alone.
    """
    if judged is not None and judged.kind != "causal":
        return judged
    kind = kind_in_use(model)
    if judged is not None:  # a model that reads ahead cannot predict the next token
        return Judgement("encoder", "embeddings") if kind == "masked" else judged
    if kind is not None:
        return Judgement(kind)
    return Judgement("encoder", "classifier" if has_classes(list(model.state_dict())) else "embeddings")


def kind_in_use(model: PreTrainedModel) -> ModelKind | None:
    """Find by trial what a model in evaluation mode predicts: whether it gives logits over the vocabulary for each
    token, and whether the first token's depend on the last token. None if it gives no such logits.
    """
    rows = embedding_rows(model)
    ids = torch.arange(1, PROBE + 1, device=model.device).repeat(2, 1) % rows
    ids[1, -1] = 0
    logits = logits_of(probed(model, ids))
    if (
        not isinstance(logits, torch.Tensor)
        or logits.ndim != 3
        or logits.shape[1] != PROBE
        or logits.shape[2] < rows // 2
    ):
        return None
    if torch.isfinite(logits[:, 0]).any():
        return "causal" if _equal(*logits[:, 0].float()) else "masked"
    states = getattr(probed(model, ids, output_hidden_states=True), "hidden_states", None) or ()
    for values in reversed(states[1:]):  # those of the last layer with finite values
        if torch.isfinite(values[:, 0]).any():
            return "causal" if _equal(*values[:, 0].float()) else "masked"
    return "causal" if any(getattr(module, "is_causal", False) for module in model.modules()) else "masked"


def probed(model: PreTrainedModel, ids: torch.Tensor, **more: bool) -> Any:
    """Return what a model gives for these ids; None if it fails."""
    with torch.inference_mode():
        try:
            return model(input_ids=ids, attention_mask=torch.ones_like(ids), return_dict=True, **more)
        except Exception:  # a model that fails here is judged when it is captured
            log.info("%s gives no outputs for a short probe", type(model).__name__, exc_info=True)
            return None


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two vectors are equal up to rounding, with non-finite values at the same places."""
    finite = torch.isfinite(first)
    if not torch.equal(finite, torch.isfinite(second)):
        return False
    one, other = first[finite], second[finite]
    return bool((one - other).abs().max() <= 1e-4 * max(1e-3, float(one.abs().max())))
