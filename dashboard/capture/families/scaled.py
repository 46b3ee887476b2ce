"""Llama-like models that scale their logits: Granite divides, Cohere multiplies."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    logits = model.lm_head(hidden)
    if hasattr(model.config, "logits_scaling"):
        return logits / model.config.logits_scaling
    return logits * model.logit_scale


FAMILY = Family(model_types=("cohere", "cohere2", "granite"), final_norm="norm", head=_head)
