"""What a model predicts at two positions, as pairs of bars on one axis, with the differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboard.analysis.prediction import BoundedProbability, SharedCandidate
from dashboard.figures.bar_texts import Name, Numbers, labels_beside, written, written_by_page
from dashboard.figures.spec import Spec
from dashboard.figures.text import escape, isolated, probability_text, signed
from dashboard.figures.theme import CHARACTER_WIDTH, COLOURS, axis, base_layout
from dashboard.figures.tokens import NO_NAMES, Names

COLUMNS = (56, 118, 190)  # pixels from the plot to the right edges of the first, the second and the difference column


@dataclass(frozen=True)
class Side:
    """One of two positions: `name` heads its column; `actual` is the vocabulary id of its actual token, or None."""

    name: str
    actual: int | None


def bounded_text(chance: BoundedProbability) -> str:
    """ "92.7 %", "< 0.05 %"; if only an upper bound is known, that bound, rounded up."""
    if chance.known or chance.probability < 0.0005:
        return probability_text(chance.probability) if chance.known else "< 0.05 %"
    return f"< {math.ceil(1000 * chance.probability) / 10:.1f} %"


def difference_text(candidate: SharedCandidate) -> str:
    """ "+92.4" percentage points; "> +1.8" if only a bound is known."""
    low, high = (100 * value for value in candidate.difference)
    if f"{low:.1f}" == f"{high:.1f}":
        return signed(high)
    return f"> {signed(math.floor(10 * low) / 10)}" if candidate.one.known else f"< {signed(math.ceil(10 * high) / 10)}"


def prediction_pair(rows: Sequence[SharedCandidate], sides: tuple[Side, Side], known: Names = NO_NAMES) -> go.Figure:
    """Two bars per token, filled for the first position, outlined for the second, with exact values on hover.

    Args:
        rows: most likely first. sides: the two positions; an actual token is bold in its column.
        known: labels of the text's own tokens, which no other token may have.
    """
    spec = written(page_pair(rows, sides, known))
    hover = {
        "hovertemplate": "%{customdata.label}, %{customdata.side}: %{customdata.text}<extra></extra>",
        "hoverinfo": None,
    }
    told = [
        [{**data, "label": escape(isolated(data["label"]))} for data in bars["customdata"]] for bars in spec["data"]
    ]
    bars = [{**bars, **hover, "customdata": found} for bars, found in zip(spec["data"], told, strict=True)]
    return go.Figure({**spec, "data": bars})


def page_pair(rows: Sequence[SharedCandidate], sides: tuple[Side, Side], known: Names = NO_NAMES) -> Spec:
    """The same bars as plain data without text and hover, which the page adds itself."""
    styles = (
        {"color": COLOURS.mark, "line": {"width": 0}},
        {"color": "rgba(0,0,0,0)", "line": {"width": 1.25, "color": COLOURS.ink}},
    )
    labels = labels_beside([Name(row.text, False, row.id) for row in rows], None, known)
    bars = [
        _bars(rows, labels, side, place, style) for place, (side, style) in enumerate(zip(sides, styles, strict=True))
    ]
    actual = {side.actual for side in sides}
    names = [Name(row.text, row.id in actual, row.id) for row in rows]
    width = round(max(map(len, labels_beside(names, known=known)), default=1) * CHARACTER_WIDTH) + 16
    y = axis(range=[len(rows) - 0.5, -0.5], showticklabels=False)
    x = axis(range=[0, 100], tickvals=[0, 50, 100], ticktext=["0", "50", "100 %"], tickangle=0, showgrid=True)
    layout = {
        **base_layout(),
        "xaxis": x,
        "yaxis": y,
        "margin": {"l": width, "r": COLUMNS[-1] + 4, "t": 16, "b": 20},
    }
    return {
        "data": bars,
        "layout": {**layout, "barmode": "overlay", "meta": written_by_page(names, _numbers(rows, sides), known)},
    }


def _bars(
    rows: Sequence[SharedCandidate], labels: Sequence[str], side: Side, place: int, style: dict[str, Any]
) -> dict[str, Any]:
    chances = [row.one if place == 0 else row.other for row in rows]
    marker = dict(style)
    if place == 0:
        marker["color"] = [COLOURS.ink if row.id == side.actual else COLOURS.mark for row in rows]
    told = [
        {"id": row.id, "label": label, "side": side.name}
        | {"probability": chance.probability, "known": chance.known, "text": bounded_text(chance)}
        for row, label, chance in zip(rows, labels, chances, strict=True)
    ]
    return {
        "type": "bar",
        "x": [100 * chance.probability if chance.known else 0 for chance in chances],
        "y": list(range(len(rows))),
        "orientation": "h",
        "width": 0.36,
        "offset": -0.38 if place == 0 else 0.04,
        "marker": marker,
        "customdata": told,
        "hoverinfo": "none",
    }


def _numbers(rows: Sequence[SharedCandidate], sides: tuple[Side, Side]) -> list[Numbers]:
    """Both probabilities, and their difference in percentage points."""
    one, other = sides
    return [
        Numbers(COLUMNS[0], [(bounded_text(row.one), row.id == one.actual) for row in rows], one.name),
        Numbers(COLUMNS[1], [(bounded_text(row.other), row.id == other.actual) for row in rows], other.name),
        Numbers(COLUMNS[2], [(difference_text(row), False) for row in rows], "diff. (pp)"),
    ]
