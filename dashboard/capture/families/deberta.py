"""DeBERTa v1 to v3: post-norm; the masked-LM head is BERT's, or the published one, which shares the input embedding."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    if model.legacy:
        return model.cls(hidden)
    return model.lm_predictions(hidden, model.deberta.embeddings.word_embeddings)


FAMILY = Family(model_types=("deberta", "deberta-v2"), final_norm=None, head=_head)
