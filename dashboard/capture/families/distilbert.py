"""DistilBERT: post-norm; the parts of its head are attributes of the model itself."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    hidden = model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
    return model.vocab_projector(hidden)


FAMILY = Family(model_types=("distilbert",), final_norm=None, head=_head)
