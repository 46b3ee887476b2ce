"""Markup outside Dash: attributes, and parts of the page that no callback addresses.

Every Dash component on the page checks Dash's state whenever any property changes, at about a tenth of a millisecond
each (docs/decisions/014). Content that is only displayed is therefore sent as a plain tree, which assets/core.js turns
into elements.
"""

from __future__ import annotations

import json
import re
from typing import Any

RENAMED = {"className": "class", "htmlFor": "for", "colSpan": "colspan", "rowSpan": "rowspan", "tabIndex": "tabindex"}
Plain = str | list[Any]  # a text, or ["span", {"class": "tok"}, child, …]


def attributes(**values: str) -> Any:
    """Convert `attributes(aria_label="Page")` to `{"aria-label": "Page"}`; pass it with `**`."""
    return {name.replace("_", "-"): value for name, value in values.items()}


def plain(children: Any) -> list[Plain]:
    """Convert components of `dash.html`, text and numbers, nested as Dash allows, to a list of plain nodes.

    Raises:
        TypeError: a component of another library, which only Dash can render.
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
        RENAMED.get(name, name): props[name]
        for name in sorted(props)
        if props[name] is not None and props[name] is not False
    }
    return [[children._type.lower(), found, *inside]]


# a number and its unit, and anything attached before a number: "92.7 %", "0.08 nats", "< 0.05 %", "49 times", "135 M"
PARTING = re.compile(
    r"(?<=\d) (?=(?:%|×|(?:nats?|pp|percentage points?|points?|px|[kMGT]?B|[kMBT]|s|min|times|tokens?)(?!\w)))"
    r"|(?<=[<>≈≤≥]) (?=[\d−-])"
)
INLINE = {"b", "small"}
OF_THE_TEXT = {"tok", "ws", "text"}  # classes of content shown verbatim from a text


def unparted(text: str) -> str:
    """A sentence whose numbers stay on one line with their units."""
    return PARTING.sub("\u00a0", text)


def bound(nodes: list[Plain]) -> list[Plain]:
    """Plain nodes whose numbers stay on one line with their units, even across two nodes: "0.56 " and "nats"."""
    leaves: list[tuple[list[Any], int]] = []
    texts: list[str] = []

    def copy(children: list[Plain], to: list[Any], quoted: bool) -> None:
        for child in children:
            if isinstance(child, str):
                leaves.append((to, len(to)))
                texts.append("\0" * len(child) if quoted else child)
                to.append(child)
            else:
                tag, found, *inside = child
                to.append([tag, found])
                classes = set(str(found.get("class", "")).split())
                copy(inside, to[-1], quoted or tag == "bdi" or bool(classes & OF_THE_TEXT))
                if tag not in INLINE:
                    leaves.append(([], 0))
                    texts.append("\0")  # the text that follows is separate

    made: list[Any] = []
    copy(nodes, made, False)
    joined, at = unparted("".join(texts)), 0
    for (parent, index), text in zip(leaves, texts, strict=True):
        if "\0" not in text:
            parent[index] = joined[at : at + len(text)]
        at += len(text)
    return made


def isolates(tag: str, found: dict[str, Any]) -> bool:
    """Whether an element keeps its text direction from affecting its neighbours (`dir` or `<bdi>`)."""
    return tag == "bdi" or "dir" in found


def frozen(*children: Any) -> Any:
    """Attributes, passed with `**`, that make a Dash component show `children` without Dash managing them."""
    return {"data-tree": json.dumps(plain(children), ensure_ascii=False, separators=(",", ":"))}
