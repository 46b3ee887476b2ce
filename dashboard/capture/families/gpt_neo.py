"""GPT-Neo: as GPT-2, but every second layer attends only to a window of tokens."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


def _windows(config: Any) -> tuple[int | None, ...]:
    return tuple(config.window_size if kind == "local" else None for kind in config.attention_layers)


FAMILY = Family(model_types=("gpt_neo",), final_norm="ln_f", head=_head, windows=_windows)
