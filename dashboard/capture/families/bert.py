"""BERT: post-norm, so there is no final norm; the head is dense, activation, layer norm, decoder."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.cls(hidden)


FAMILY = Family(model_types=("bert",), final_norm=None, head=_head)
