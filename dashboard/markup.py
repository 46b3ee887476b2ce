"""Attributes that Dash's components take but do not name: data-… and aria-…."""

from __future__ import annotations

from typing import Any


def attributes(**values: str) -> Any:
    """`attributes(aria_label="Page")` as `{"aria-label": "Page"}`, to be given with `**`."""
    return {name.replace("_", "-"): value for name, value in values.items()}
