"""ModernBERT: a pre-norm encoder, so it has a final norm; then a head of dense, activation, norm, and the decoder."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.decoder(model.head(hidden))


FAMILY = Family(model_types=("modernbert",), final_norm="final_norm", head=_head)
