"""Markup that Dash need not know: attributes, and parts of the page that no callback addresses.

Every Dash component on the page looks at Dash's state whenever any property changes, at about a tenth of a millisecond
each (docs/decisions/014). What is only shown is therefore sent as a plain tree, which assets/45-build.js makes elements of.
"""

from __future__ import annotations

import json
from typing import Any

RENAMED = {"className": "class", "htmlFor": "for", "colSpan": "colspan", "rowSpan": "rowspan", "tabIndex": "tabindex"}
Plain = str | list[Any]  # a text, or ["span", {"class": "tok"}, child, …]


def attributes(**values: str) -> Any:
    """`attributes(aria_label="Page")` as `{"aria-label": "Page"}`, to be given with `**`."""
    return {name.replace("_", "-"): value for name, value in values.items()}


def plain(children: Any) -> list[Plain]:
    """Components of `dash.html`, texts and numbers, nested as Dash allows it, as a list of plain nodes.

    Raises:
        TypeError: a component of another library, which only Dash can show.
    """
    if children is None:
        return []
    if isinstance(children, (str, int, float)):
        return [str(children)]
    if isinstance(children, (list, tuple)):
        return [node for child in children for node in plain(child)]
    if getattr(children, "_namespace", None) != "dash_html_components":
        raise TypeError(f"{children!r} is not of dash.html; only Dash can show it.")
    props = dict(children.to_plotly_json()["props"])
    inside = plain(props.pop("children", None))
    found = {
        RENAMED.get(name, name): props[name] for name in sorted(props) if props[name] is not None and props[name] is not False
    }
    return [[children._type.lower(), found, *inside]]


def frozen(*children: Any) -> Any:
    """What makes a Dash component show `children` without Dash knowing of them, to be given with `**`."""
    return {"data-tree": json.dumps(plain(children), ensure_ascii=False, separators=(",", ":"))}
