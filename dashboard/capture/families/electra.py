"""ELECTRA's generator, the half that predicts tokens: post-norm, with a head of its own."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.generator_lm_head(model.generator_predictions(hidden))


FAMILY = Family(model_types=("electra",), final_norm=None, head=_head)
