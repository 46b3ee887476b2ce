"""The transformers model inside the object that a notebook passes as a model, or an error that explains."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel

from dashboard.capture.adapted import is_peft, merged_copy
from dashboard.errors import UnsupportedModelError


def unwrapped(model: object, title: str) -> PreTrainedModel:
    """Return the transformers model inside wrappers that change how it computes but not what (`torch.compile`,
    `DataParallel`); of a model with an adapter (peft), a copy with the adapter merged.

    Raises:
        UnsupportedModelError: there is none, which the message says with the class; or its adapter cannot be merged.
    """
    inner: Any = model
    while True:
        if is_peft(inner) and not isinstance(inner, DataParallel | DistributedDataParallel) and not _compiled(inner):
            return merged_copy(inner, title)
        if isinstance(inner, PreTrainedModel):
            return inner
        if isinstance(inner, DataParallel | DistributedDataParallel):
            inner = inner.module
        elif _compiled(inner):
            inner = inner._orig_mod
        else:
            break
    raise UnsupportedModelError(
        f"{title} is a {type(inner).__name__}, not a transformers model (PreTrainedModel), so it cannot be captured. "
        "Pass the transformers model itself."
    )


def _compiled(model: object) -> bool:
    """Whether a model is torch.compile's, itself: peft's hands on the names of what is inside it."""
    return isinstance(model, nn.Module) and isinstance(model._modules.get("_orig_mod"), nn.Module)
