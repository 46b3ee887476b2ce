"""Text beside bars: a token to the left of each bar, and columns of numbers to the right.

The page writes this text itself (assets/overlays/bars.js), in a tenth of the time that Plotly needs for its labels and
annotations. In a standalone figure Plotly writes it (`written`). Both read `layout.meta.bars`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.figures.spec import Spec
from dashboard.figures.text import escape, isolated
from dashboard.figures.theme import COLOURS, TOKEN_FONT
from dashboard.figures.tokens import NO_NAMES, Names, distinct, leading_marks, token_label

LONGEST = 14  # characters of a token beside a bar


@dataclass(frozen=True)
class Name:
    """The token to the left of a bar: `text` and `id` from the vocabulary; `bold` if it is the actual token."""

    text: str
    bold: bool
    id: int


def labels_beside(names: Sequence[Name], longest: int | None = LONGEST, known: Names = NO_NAMES) -> list[str]:
    """The label of each bar. Different tokens get different labels, including the text's own tokens (`known`)."""
    return distinct([token_label(name.text) for name in names], [name.id for name in names], longest, known)


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: (text, bold) per bar; `right`: pixels from the plot to its right edge; `head`: heading."""

    right: int
    texts: Sequence[tuple[str, bool]]
    head: str = ""


def written_by_page(names: Sequence[Name], columns: Sequence[Numbers], known: Names = NO_NAMES) -> dict[str, Any]:
    """`layout.meta` of a figure whose text the page writes: names are (text, characters of leading white space,
    bold)."""
    labels = labels_beside(names, known=known)
    told = [
        [label, min(leading_marks(name.text), len(label)), name.bold] for name, label in zip(names, labels, strict=True)
    ]
    return {
        "bars": {
            "names": told,
            "columns": [
                {"right": one.right, "head": one.head, "texts": [list(text) for text in one.texts]} for one in columns
            ],
        }
    }


def written(spec: Spec) -> Spec:
    """The same figure with its text as Plotly's tick labels and annotations."""
    layout = dict(spec["layout"])
    meta = dict(layout.pop("meta"))
    told = meta.pop("bars")
    names = [_strong(isolated(text), bold) for text, _marks, bold in told["names"]]
    ticks = {"showticklabels": True, "tickvals": list(range(len(names))), "ticktext": names}
    layout["yaxis"] = {**layout["yaxis"], **ticks, "tickfont": {"family": TOKEN_FONT, "size": 11}}
    layout["annotations"] = [note for column in told["columns"] for note in _notes(column)]
    return {**spec, "layout": layout | ({"meta": meta} if meta else {})}


def _notes(column: dict[str, Any]) -> list[dict[str, Any]]:
    shared = {"xref": "paper", "x": 1, "xanchor": "right", "xshift": column["right"], "showarrow": False}
    font = {"size": 12, "color": COLOURS.ink}
    notes = [
        {**shared, "y": y, "text": _strong(text, bold), "font": font} for y, (text, bold) in enumerate(column["texts"])
    ]
    if column["head"]:
        above = {"yref": "paper", "y": 1, "yanchor": "bottom", "font": {"size": 11, "color": COLOURS.muted}}
        notes.insert(0, {**shared, **above, "text": escape(column["head"])})
    return notes


def _strong(text: str, bold: bool) -> str:
    return f"<b>{escape(text)}</b>" if bold else escape(text)
