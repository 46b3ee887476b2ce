"""Kinds of derived results, one file each: a `KIND` that declares its parameters, computes it and reads it.

Kinds are found by discovery; nothing else has to be edited (docs/adding-a-derived-result.md). A kind's file imports
torch only in its `compute`: the web process imports the rest.
"""

from __future__ import annotations

import importlib
import pkgutil

from dashboard.compute.declaration import Kind
from dashboard.errors import BadRequestError


def all_kinds() -> dict[str, Kind]:
    """Return every kind by its name.

    Raises:
        ValueError: two kinds have the same name.
    """
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    kinds = [module.KIND for module in modules if hasattr(module, "KIND")]
    if len({kind.name for kind in kinds}) != len(kinds):
        raise ValueError(f"Two kinds of derived results have one name: {[kind.name for kind in kinds]}")
    return {kind.name: kind for kind in kinds}


def kind_named(name: str) -> Kind:
    """Return the kind of this name.

    Raises:
        BadRequestError: there is no such kind.
    """
    kinds = all_kinds()
    if name not in kinds:
        raise BadRequestError(f"There is no derived result “{name[:40]}”. Choose one of {', '.join(kinds)}.")
    return kinds[name]
