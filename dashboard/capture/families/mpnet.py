"""MPNet: post-norm, with relative positions shared by all layers; the head is RoBERTa's."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(model_types=("mpnet",), final_norm=None, head=_head)
