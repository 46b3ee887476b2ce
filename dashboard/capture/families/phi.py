"""Phi 1 and 2: a final layer norm under its own name, then an unembedding with a bias."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(model_types=("phi",), final_norm="final_layernorm", head=_head)
