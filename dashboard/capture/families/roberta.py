"""RoBERTa and its kin: post-norm; the whole masked-language-model head is one module."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(model_types=("camembert", "roberta", "xlm-roberta"), final_norm=None, head=_head)
