"""Numbers through the layers as lines: first the embeddings (E), then after each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.lens import layer_ticks
from dashboard.figures.spec import Spec, typed
from dashboard.figures.text import elide, escape, isolated, place_name
from dashboard.figures.theme import CHARACTER_WIDTH, COLOURS, TOKEN_FONT, axis, base_layout

LONGEST = 12  # characters of a name at the end of a line
HEIGHT = 170  # pixels of the plot in a small slot; names at the line ends are spaced for this height
WIDTH = 380
APART = 14  # pixels
DASHES = ("dash", "dot", "dashdot", "longdash")
Dash = Literal["solid", "dash", "dot", "dashdot", "longdash"]


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: at the end of the line and on hover. values: (place,); NaN leaves a gap. texts: hover text per place.
        colour, dash, width: of the line. token: the text's token that the line shows, or None.
    """

    name: str
    values: np.ndarray
    texts: Sequence[str]
    colour: str
    dash: Dash = "solid"
    width: float = 2
    token: int | None = None


@dataclass(frozen=True)
class Thin:
    """The line of another token: thin, grey and unnamed."""

    token: int
    values: np.ndarray


@dataclass(frozen=True)
class ValueAxis:
    """The vertical axis.

    Attributes:
        low, high: its ends, in values. log: logarithmic. down: the low end is at the top, as for ranks.
        at, texts: its ticks; none to use Plotly's own.
    """

    low: float
    high: float
    log: bool = False
    down: bool = False
    at: Sequence[float] = ()
    texts: Sequence[str] = ()

    def to_axis(self) -> dict[str, Any]:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        room = 0.04 * (high - low) or 0.5
        ends = [low - room, high + room]
        found = axis(type="log" if self.log else "linear", range=ends[::-1] if self.down else ends, showgrid=True)
        found["tickfont"] = {"size": 11, "color": COLOURS.muted}
        return found | ({"tickvals": list(self.at), "ticktext": list(self.texts)} if self.at else {"nticks": 5})


def word_style(index: int) -> tuple[str, Dash]:
    """Colour and dash of the index-th of several words: no two of twelve share both."""
    dashes: tuple[Dash, ...] = ("dash", "dot", "dashdot", "longdash")
    return COLOURS.lines[index % 3], dashes[(index + index // 12) % 4]


def decades(low: float, high: float) -> tuple[list[float], list[str]]:
    """Powers of ten between two values, and their tick texts."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    at = [10.0**power for power in range(first, last + 1)]
    return at, [f"{value:,.0f}" if value >= 1 else f"{value:g}" for value in at]


def layer_lines(lines: Sequence[Line], vertical: ValueAxis, thin: Sequence[Thin] = ()) -> Spec:
    """Lines over places as plain data; the last is on top, the thin ones below. `layout.meta.axes` says what each place
    stands for."""
    count = max([len(line.values) for line in lines] + [len(line.values) for line in thin], default=1)
    traces = [*_thin(thin), *(_line(line) for line in lines), *_names(lines, vertical, count)]
    longest = max((len(elide(line.name, LONGEST)) for line in lines if line.name), default=0)
    x = axis(range=[-0.3, count - 0.7], **layer_ticks(count, WIDTH, 24))
    x |= {
        "title": {"text": "after layer", "font": {"size": 11}, "standoff": 4},
        "tickfont": {"size": 11, "color": COLOURS.muted},
    }
    margin = {"l": 54, "r": round(longest * CHARACTER_WIDTH) + 14, "t": 8, "b": 38}
    meta = {"axes": {"x": "layer"}, "first_layer": -1}
    return {
        "data": traces,
        "layout": {**base_layout(), "xaxis": x, "yaxis": vertical.to_axis(), "margin": margin, "meta": meta},
    }


def _line(line: Line) -> dict[str, Any]:
    count = len(line.values)
    more = {} if line.token is None else {"token": line.token}
    name = escape(isolated(line.name))
    return {
        "type": "scatter",
        "mode": "lines+markers" if np.isfinite(line.values).sum() == 1 else "lines",
        "x": list(range(count)),
        "y": typed(np.asarray(line.values, dtype=np.float64)),
        "line": {"color": line.colour, "width": line.width, "dash": line.dash},
        "marker": {"color": line.colour, "size": 4},
        "customdata": [{**more, "layer": place - 1} for place in range(count)],
        "hovertext": [f"{name}, {place_name(place)}: <b>{text}</b>" for place, text in enumerate(line.texts)],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "cliponaxis": False,
    }


def _thin(thin: Sequence[Thin]) -> list[dict[str, Any]]:
    """One trace for all thin lines, with gaps between them."""
    if not thin:
        return []
    x: list[float | None] = []
    told: list[dict[str, int] | None] = []
    for line in thin:
        places = range(len(line.values))
        x += [*places, None]
        told += [*({"token": line.token, "layer": place - 1} for place in places), None]
    y = np.concatenate([np.append(np.asarray(line.values, dtype=np.float64), np.nan) for line in thin])
    look = {"line": {"color": COLOURS.mark, "width": 1}, "opacity": 0.4}
    shared = {"type": "scatter", "mode": "lines", "connectgaps": False}
    hover = "token %{customdata.token}: %{y:.4g}<extra></extra>"  # no label: there may be a thousand points
    return [{**shared, **look, "x": x, "y": typed(y.astype(np.float32)), "customdata": told, "hovertemplate": hover}]


def _names(lines: Sequence[Line], vertical: ValueAxis, count: int) -> list[dict[str, Any]]:
    """Each line's name at its last value; names that would overlap are moved apart."""
    there = {index: _drawn(line.values, vertical) for index, line in enumerate(lines)}
    named = [(line, there[index][-1]) for index, line in enumerate(lines) if line.name and there[index].size]
    if not named:
        return []
    to, back = (np.log10, lambda value: 10.0**value) if vertical.log else (np.asarray, lambda value: value)
    low, high = float(to(vertical.low)), float(to(vertical.high))
    least = (APART / HEIGHT) * ((high - low) or 1.0)
    ends = [float(to(line.values[last])) for line, last in named]
    order = np.argsort(ends, kind="stable")
    placed = _apart([ends[i] for i in order], least, low, high)
    at = dict(zip(order.tolist(), placed, strict=True))
    return [
        {
            "type": "scatter",
            "mode": "text",
            "x": [count - 1] * len(named),
            "y": [float(back(at[index])) for index in range(len(named))],
            "text": [f" <b>{escape(isolated(elide(line.name, LONGEST)))}</b>" for line, _last in named],
            "textposition": "middle right",
            "textfont": {"family": TOKEN_FONT, "size": 11, "color": [line.colour for line, _last in named]},
            "cliponaxis": False,
            "hoverinfo": "skip",
        }
    ]


def _drawn(values: np.ndarray, vertical: ValueAxis) -> np.ndarray:
    """The places where a line is visible: a logarithmic axis cannot show 0."""
    return np.flatnonzero(np.isfinite(values) & (values > 0)) if vertical.log else np.flatnonzero(np.isfinite(values))


def _apart(values: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Rising `values`, moved so that neighbours are `least` apart and, if there is room, none goes beyond the ends."""
    found = list(values)
    for index in range(1, len(found)):
        found[index] = max(found[index], found[index - 1] + least)
    over = found[-1] - high
    if over > 0:
        found[-1] -= over
        for index in range(len(found) - 2, -1, -1):
            found[index] = min(found[index], found[index + 1] - least)
    return found


def framed_lines(spec: Spec, layer: int | None) -> go.Figure:
    """The lines as a standalone figure: with the selected layer (−1: the embeddings) and a size."""
    figure = go.Figure(spec)
    if layer is not None:
        figure.add_vline(x=layer + 1, line={"color": COLOURS.selected, "width": 1.5})
    return figure.update_layout(width=720, height=420, meta=None)
