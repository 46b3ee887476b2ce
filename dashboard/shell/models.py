"""`models`: which models there are, and bringing them here."""

from __future__ import annotations

import argparse
from typing import Any

from dashboard.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    models = commands.add_parser("models", help="list the models, or fetch the bundled ones")
    models.add_argument("action", nargs="?", choices=("list", "fetch"), default="list")
    models.set_defaults(command=_models)


def _models(settings: Settings, parsed: argparse.Namespace) -> int:
    if parsed.action == "fetch":
        from dashboard.models.bundled import fetch_bundled

        fetch_bundled(settings, lambda line: print(line, flush=True))
        return 0
    from dashboard.models.catalog import Catalog

    for entry in Catalog(settings).entries():
        shape = f"{entry.layers} layers × {entry.heads} heads"
        print(f"{entry.name:34} {entry.kind:8} {shape:24} {entry.parameters / 1e6:8.1f} M  {entry.note}")
    return 0
