"""Megatron-BERT: BERT with the norm before attention and MLP, so there is a final norm; then BERT's head."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.cls(hidden)


FAMILY = Family(model_types=("megatron-bert",), final_norm="encoder.ln", head=_head)
