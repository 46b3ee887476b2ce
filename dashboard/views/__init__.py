"""One file per view, in the folder of its card: what the view draws and which selection fields it reads."""

from __future__ import annotations

import importlib
import pkgutil

from dashboard.views.declaration import CARDS, View


def all_views() -> tuple[View, ...]:
    """Every view in these folders (each module with a `VIEW`), in the order of the cards and their tabs.

    Raises:
        ValueError: two views have the same name.
    """
    modules = [importlib.import_module(info.name) for info in pkgutil.walk_packages(__path__, f"{__name__}.")]
    views = sorted((module.VIEW for module in modules if hasattr(module, "VIEW")), key=_order)
    names = [view.name for view in views]
    if len(set(names)) != len(names):
        raise ValueError(f"Two views have one name: {names}")
    return tuple(views)


def _order(view: View) -> tuple[int, int]:
    return list(CARDS).index(view.card), view.order
