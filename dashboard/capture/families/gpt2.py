"""GPT-2 and GPT-BigCode."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(model_types=("gpt2", "gpt_bigcode"), final_norm="ln_f", head=_head)
