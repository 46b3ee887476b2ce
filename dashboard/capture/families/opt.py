"""OPT: some sizes have no final norm (350M), and some project the stream to the embedding width before the head."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    project = model.model.decoder.project_out
    if project is not None and hidden.shape[-1] == project.in_features:
        hidden = project(hidden)  # the base model's own last hidden state is already projected
    return model.lm_head(hidden)


FAMILY = Family(model_types=("opt",), final_norm="decoder.final_layer_norm", head=_head)
