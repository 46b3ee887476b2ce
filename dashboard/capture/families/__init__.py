"""What capture needs to know about a model family, one small file each.

A file here defines `FAMILY`, a `Family`, and is found by discovery; nothing else has to be edited. Every loaded model
verifies what the file says (`dashboard.capture.model_probe`), so a wrong or outdated file costs a feature, never a
wrong number.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

Head = Callable[[nn.Module, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Family:
    """Where the models of one family keep their parts.

    Attributes:
        model_types: Hugging Face's `config.model_type` of each model that belongs to it.
        final_norm: path, from the base model (without head), of the norm after the last layer; None if there is none.
        head: `head(model, hidden) -> logits`: (…, hidden) after any final norm → (…, vocabulary), including everything
            that the model does to its logits (softcap, scale); None if there is no prediction head.
        windows: `windows(config)` gives each layer's sliding window, or None where a layer has none. Only for families
            with their own attention code: of all others, the mask tells.
    """

    model_types: tuple[str, ...]
    final_norm: str | None
    head: Head | None
    windows: Callable[[Any], tuple[int | None, ...]] | None = None


@cache
def families() -> dict[str, Family]:
    """Return every family file, by model type.

    Raises:
        ValueError: two files claim the same model type, or a file defines no `FAMILY`.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return register((name, importlib.import_module(f"{__name__}.{name}")) for name in names)


def register(modules: Iterable[tuple[str, object]]) -> dict[str, Family]:
    """Index these (name, module) pairs by model type; raise `ValueError` for a duplicate or a missing `FAMILY`."""
    found: dict[str, tuple[str, Family]] = {}
    for name, module in modules:
        family = getattr(module, "FAMILY", None)
        if not isinstance(family, Family):
            raise ValueError(f"families/{name}.py defines no FAMILY.")
        for model_type in family.model_types:
            if model_type in found:
                raise ValueError(
                    f"families/{name}.py and families/{found[model_type][0]}.py both claim {model_type!r}."
                )
            found[model_type] = (name, family)
    return {model_type: family for model_type, (_, family) in found.items()}
