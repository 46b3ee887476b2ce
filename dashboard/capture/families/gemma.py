"""Gemma 2 and 3: logits are capped as softcap · tanh(logits / softcap) if the configuration has a softcap."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    logits = model.lm_head(hidden)
    softcap = model.config.final_logit_softcapping
    return logits if softcap is None else torch.tanh(logits / softcap) * softcap


FAMILY = Family(model_types=("gemma2", "gemma3_text"), final_norm="norm", head=_head)
