"""ALBERT: one layer used many times, post-norm; the head projects to the small embedding width first."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.predictions(hidden)


FAMILY = Family(model_types=("albert",), final_norm=None, head=_head)
