"""The arrays that a capture keeps, one small file each.

A file here defines `CAPTURED`, a `Captured`, and is found by discovery. One line of `SCHEMAS` in
dashboard/store/upgrades.py then says what files of earlier versions lack: their texts are run again when someone asks
for that (docs/adding-an-array.md).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from dashboard.capture.forward import Forward
from dashboard.capture.model_probe import layer_modules

Keep = Callable[[str, torch.Tensor], None]


@dataclass(frozen=True)
class Captured:
    """Some arrays of a run.

    Attributes:
        what: names the arrays in a sentence.
        arrays: makes them, by name without the stream: float32 or integers. Leaves out an array that this model or text
            does not provide.
        watch: hooks into a model's layers, for values that a forward does not return. The hooks call `keep(name,
            values)`, and `arrays` finds the values of each call, in order, in `forward.watched[name]`. They return
            nothing; all of them are removed after the forward.
    """

    what: str
    arrays: Callable[[Forward], Mapping[str, np.ndarray]]
    watch: Callable[[Sequence[nn.Module], Keep], Iterable[RemovableHandle]] | None = None


def all_captured() -> dict[str, Captured]:
    """Return every file of this folder by its name.

    Raises:
        ValueError: a file defines no `CAPTURED`.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = {name: getattr(importlib.import_module(f"{__name__}.{name}"), "CAPTURED", None) for name in names}
    for name, captured in found.items():
        if not isinstance(captured, Captured):
            raise ValueError(f"captured/{name}.py defines no CAPTURED.")
    return {name: captured for name, captured in found.items() if captured is not None}


def arrays_of(forward: Forward, stream: str) -> dict[str, np.ndarray]:
    """Return all arrays of a forward, by the names in dashboard/contracts/run.py.

    Raises:
        ValueError: two files give an array of the same name.
    """
    arrays: dict[str, np.ndarray] = {}
    for file, captured in all_captured().items():
        for name, values in captured.arrays(forward).items():
            if f"{stream}/{name}" in arrays:
                raise ValueError(f"captured/{file}.py gives {name}, which another file has given.")
            arrays[f"{stream}/{name}"] = values
    return arrays


@contextmanager
def watching(base: nn.Module) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Collect what the files' `watch` hooks keep from a forward in the block, by name, in the order of the calls."""
    watched: dict[str, list[torch.Tensor]] = {}

    def keep(name: str, values: torch.Tensor) -> None:
        watched.setdefault(name, []).append(values)

    with ExitStack() as stack:
        for captured in all_captured().values():
            for handle in () if captured.watch is None else captured.watch(layer_modules(base), keep):
                stack.callback(handle.remove)
        yield watched
