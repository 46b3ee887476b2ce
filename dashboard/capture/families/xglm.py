"""XGLM: sinusoidal positions, a final layer norm, then the input embedding as head."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(model_types=("xglm",), final_norm="layer_norm", head=_head)
