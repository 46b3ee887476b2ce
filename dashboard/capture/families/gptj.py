"""GPT-J, CodeGen, BLOOM and Falcon: a final layer norm, then the unembedding."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(model_types=("bloom", "codegen", "falcon", "gptj"), final_norm="ln_f", head=_head)
