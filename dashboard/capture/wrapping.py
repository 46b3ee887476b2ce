"""The transformers model inside the object that a notebook passes as a model, or an error that explains."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel

from dashboard.errors import UnsupportedModelError


def unwrapped(model: object, title: str) -> PreTrainedModel:
    """Return the transformers model inside wrappers that change how it computes but not what (`torch.compile`,
    `DataParallel`).

    Raises:
        UnsupportedModelError: there is none; the message names the class.
    """
    inner: Any = model
    while True:
        if isinstance(inner, PreTrainedModel):
            return inner
        if isinstance(inner, DataParallel | DistributedDataParallel):
            inner = inner.module
        elif isinstance(getattr(inner, "_orig_mod", None), nn.Module):  # torch.compile's OptimizedModule
            inner = inner._orig_mod
        else:
            break
    adapted = hasattr(model, "peft_config")
    step = (
        "Merge it into its base first: model.merge_and_unload()."
        if adapted
        else "Hand over the transformers model itself."
    )
    raise UnsupportedModelError(
        f"{title} is a {type(inner).__name__}, not a transformers model (PreTrainedModel), so it cannot be captured. "
        f"{step}"
    )
