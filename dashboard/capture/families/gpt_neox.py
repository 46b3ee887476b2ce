"""GPT-NeoX (Pythia): attention and MLP side by side, then a final layer norm and the unembedding."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(model_types=("gpt_neox",), final_norm="final_layer_norm", head=_head)
