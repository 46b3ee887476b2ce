"""The logit lens as a heatmap: rows are layers, from the embeddings (E) down, and columns are tokens; a cell names its
most likely token."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.lens import Measure, largest, measured, strength, ticks
from dashboard.contracts.lens import LogitLens
from dashboard.errors import RunShapeError
from dashboard.figures.attention import POSITIONS_ABOVE, colour_scale, label_step, shade_legend
from dashboard.figures.labels import name_chosen
from dashboard.figures.spec import Spec, typed
from dashboard.figures.text import elide, escape, isolated, ordinal, place_name, place_sign, probability_text
from dashboard.figures.theme import (
    CHARACTER_WIDTH,
    COLOURS,
    DARK,
    LIGHT,
    TOKEN_FONT,
    Theme,
    axis,
    base_layout,
    colour_table,
)
from dashboard.figures.tokens import NO_NAMES, Names, axis_names, distinct, token_label

TEXT_BELOW = 60  # number of columns from which cells have no text
MOST_COLUMNS = 1_024  # columns drawn at most; of more tokens, every 2nd, 3rd …
EXACT_UP_TO = 128  # columns up to which each cell carries its meaning; above, the axes carry it
LARGE = (600, 430)  # approximate size of the cells in the page's large slot, in pixels
SMALL_HEIGHT = 130  # height in a small slot of a low window
LEAST = 13  # pixels between two layers' labels
HOVER = "%{hovertext}<extra></extra>"


@dataclass(frozen=True)
class LensMap:
    """What to draw.

    Attributes:
        lens: all positions. measure: what the colour shows. vocabulary: how many tokens the model knows, and so the
            last rank.
        tokens: the label of each position. known: labels that no other token may have.
    """

    lens: LogitLens
    measure: Measure
    vocabulary: int
    tokens: Sequence[str]
    known: Names = field(default_factory=lambda: NO_NAMES)

    def __post_init__(self) -> None:
        if len(self.tokens) != self.lens.positions:
            raise RunShapeError(
                f"{len(self.tokens)} tokens for a lens of {self.lens.positions} positions. Give one for each."
            )

    @property
    def step(self) -> int:
        """The step between drawn columns, in tokens."""
        return max(1, math.ceil(self.lens.positions / MOST_COLUMNS))

    @property
    def columns(self) -> list[int]:
        """The positions that are drawn."""
        return list(range(0, self.lens.positions, self.step))

    def names(self, lens: LogitLens) -> list[list[str]]:
        """The label of the most likely token at each place and position of a part of the lens; a dash if there is
        none."""
        labels, ids = self.labels(), lens.top_ids[:, :, 0].tolist()
        return [
            [labels[i] if is_there else "–" for i, is_there in zip(*row, strict=True)]
            for row in zip(ids, lens.finite, strict=True)
        ]

    def labels(self) -> dict[int, str]:
        """The labels of the most likely tokens, by id; different tokens get different labels."""
        met: list[int] = np.unique(self.lens.top_ids[:, :, 0]).tolist()
        ids: list[Hashable] = list(met)
        return dict(
            zip(met, distinct([token_label(self.lens.texts[i]) for i in met], ids, known=self.known), strict=True)
        )


def value_text(value: float, measure: Measure) -> str:
    """ "92.7 %", "1,204", "0.47 nats"; "none" if there is no value."""
    if math.isnan(value):
        return "none"
    if measure.scale == "share":
        return probability_text(value)
    return f"{value:,.0f}" if measure.scale == "rank" else "∞" if math.isinf(value) else f"{value:.2f} nats"


def lens_map(drawn: LensMap) -> Spec:
    """All layers and positions as plain data; `layout.meta.axes` says what each cell stands for."""
    lens, columns = drawn.lens, drawn.columns
    shown = lens.at(columns)
    values, names = measured(shown, drawn.measure), drawn.names(shown)
    cells = _heatmap(values, drawn)
    cells |= {"x0": 0, "dx": drawn.step, "hovertext": _hover(shown, values, names, drawn)}
    if len(columns) <= EXACT_UP_TO:
        cells["customdata"] = [
            [{"token": token, "layer": place - 1} for token in columns] for place in range(lens.places)
        ]
    texts: list[dict[str, Any]] = []
    if len(columns) < TEXT_BELOW:
        room = max(1, int((LARGE[0] / len(columns) - 4) / CHARACTER_WIDTH))
        texts = _texts(values, [[elide(name, min(room, 12)) for name in row] for row in names], drawn)
    traces = [
        cells,
        *texts,
        *_hatched(values, columns, drawn),
        legend(drawn.measure, _most(values, drawn)),
    ]
    return {"data": traces, "layout": _layout(drawn, "x")}


def lens_column(drawn: LensMap, position: int) -> Spec:
    """One position's layers, with token and value beside each row that has room.

    Args:
        drawn: a lens of that position alone. position: its index in the text.
    """
    lens = drawn.lens
    values, names = measured(lens, drawn.measure), drawn.names(lens)
    step = label_step(lens.places, SMALL_HEIGHT)
    cells = _heatmap(values, drawn) | {"hovertext": _hover(lens, values, names, drawn)}
    cells["customdata"] = [[{"token": position, "layer": place - 1}] for place in range(lens.places)]
    rows = range(0, lens.places, step)
    said = [
        _beside(names[row][0], values[row, 0], drawn.measure) if lens.finite[row, 0] else "not finite" for row in rows
    ]
    beside: dict[str, Any] = {
        "type": "scatter",
        "mode": "text",
        "x": [0.6] * len(said),
        "y": list(rows),
        "text": said,
        "hoverinfo": "skip",
        "cliponaxis": False,
    }
    beside |= {"textposition": "middle right", "textfont": {"family": TOKEN_FONT, "size": 11, "color": COLOURS.ink}}
    traces = [
        cells,
        beside,
        *_hatched(values, [0], drawn),
        legend(drawn.measure, _most(values, drawn), title=False),
    ]
    layout = _layout(drawn, "")
    layout["xaxis"]["range"] = [-0.5, 4]  # the cells take the first unit, their text the rest
    return {"data": traces, "layout": layout}


def _beside(name: str, value: float, measure: Measure) -> str:
    return f"{escape(isolated(elide(name, 14)))}  <b>{value_text(value, measure)}</b>"


def left_out_text(drawn: LensMap) -> list[str]:
    """What the figure does not draw of a lens, one sentence each."""
    total, shown = drawn.lens.positions, len(drawn.columns)
    return [f"Every {ordinal(drawn.step)} token is drawn: {shown:,} of {total:,}."] if drawn.step > 1 else []


def _most(values: np.ndarray, drawn: LensMap) -> float:
    """The weakest rank, or the largest shown value in nats."""
    return float(drawn.vocabulary) if drawn.measure.scale == "rank" else largest(values)


def _shades(values: np.ndarray, drawn: LensMap) -> np.ndarray:
    """uint8: 1 … 255 by strength, 0 where there is no value."""
    strong = strength(values, drawn.measure.scale, _most(values, drawn))
    return np.where(np.isnan(strong), 0, 1 + np.round(254 * np.nan_to_num(strong))).astype(np.uint8)


def _heatmap(values: np.ndarray, drawn: LensMap) -> dict[str, Any]:
    gap = 1 if values.shape[1] < TEXT_BELOW else 0
    shared = {
        "type": "heatmap",
        "showscale": False,
        "zmin": 0,
        "zmax": 255,
        "xgap": gap,
        "ygap": gap,
        "hovertemplate": HOVER,
    }
    return {**shared, "z": typed(_shades(values, drawn)), "colorscale": colour_scale()}


def _texts(values: np.ndarray, names: list[list[str]], drawn: LensMap) -> list[dict[str, Any]]:
    """The text in the cells, in ink or in the surface's colour, whichever contrasts more with the cell: ink on weak
    shades and the surface's colour on strong ones in both themes; in between, ink in only one of them."""
    shades = _shades(values, drawn)
    weak, strong = sorted(map(_last_for_ink, (LIGHT, DARK)))
    looks = (
        (COLOURS.ink, shades <= weak),
        (COLOURS.on_middle, (shades > weak) & (shades <= strong)),
        (COLOURS.surface, shades > strong),
    )
    found = []
    for colour, here in looks:
        places, columns = np.nonzero(here)
        font = {"family": TOKEN_FONT, "size": 11, "color": colour}
        written = [escape(isolated(names[i][j])) for i, j in zip(places.tolist(), columns.tolist(), strict=True)]
        shared = {"type": "scatter", "mode": "text", "hoverinfo": "skip", "textfont": font, "text": written}
        found.append({**shared, "x": (columns * drawn.step).tolist(), "y": places.tolist()})
    return found


@cache
def _last_for_ink(theme: Theme) -> int:
    """The strongest shade on which ink contrasts at least as much as the surface's colour does."""
    ground = _luminance(theme.weights, 255)
    ink, surface = (_contrast(ground, _luminance((colour,))[0]) for colour in (theme.ink, theme.surface))
    return int(np.flatnonzero(ink >= surface)[-1]) + 1


def _luminance(stops: tuple[str, ...], size: int = 1) -> np.ndarray:
    """(size,) relative luminance of a scale's colours (WCAG 2.2)."""
    channels = colour_table(stops, size) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(one: np.ndarray, other: float) -> np.ndarray:
    high, low = np.maximum(one, other), np.minimum(one, other)
    return np.asarray((high + 0.05) / (low + 0.05))


def _hover(lens: LogitLens, values: np.ndarray, names: list[list[str]], drawn: LensMap) -> list[list[str]]:
    """Hover text of each cell: its token, its probability, and the measure if that is a different number."""
    shares = np.exp(lens.top_logprobs[:, :, 0])
    columns = drawn.columns
    heads = [f"{escape(isolated(drawn.tokens[token]))} ({token})" for token in columns] if len(columns) > 1 else [""]
    told = []
    for place in range(lens.places):
        row = []
        for column, name in enumerate(names[place]):
            head = f"{heads[column]}, " if heads[column] else ""
            if not lens.finite[place, column]:
                row.append(f"{head}{place_name(place)}<br>not finite")
                continue
            more = "" if drawn.measure.of == "top" else f"<br>{_named(values[place, column], drawn.measure)}"
            likeliest = f"<b>{escape(isolated(name))}</b> {probability_text(float(shares[place, column]))}"
            row.append(f"{head}{place_name(place)}<br>{likeliest}{more}")
        told.append(row)
    return told


def _named(value: float, measure: Measure) -> str:
    """ "Entropy 0.47 nats"."""
    return f"{measure.title}: {value_text(value, measure)}"


def _hatched(values: np.ndarray, columns: Sequence[int], drawn: LensMap) -> list[dict[str, Any]]:
    """Hatching over columns without an actual token, so that they do not look like low values."""
    if drawn.measure.of != "actual":
        return []
    none = [columns[index] for index in np.flatnonzero((drawn.lens.at(columns).actual_rank == 0).all(axis=0)).tolist()]
    if not none:
        return []
    x: list[float | None] = []
    y: list[float | None] = []
    for column in none:
        left, right, low = column - drawn.step / 2, column + drawn.step / 2, len(values) - 0.5
        x += [left, right, right, left, left, None]
        y += [-0.5, -0.5, low, low, -0.5, None]
    pattern = {"shape": "/", "fgcolor": COLOURS.muted, "bgcolor": "rgba(0,0,0,0)", "size": 6, "solidity": 0.15}
    area = {"type": "scatter", "mode": "none", "fill": "toself", "fillcolor": "rgba(0,0,0,0)", "fillpattern": pattern}
    return [{**area, "x": x, "y": y, "hoverinfo": "skip"}]


def legend(measure: Measure, most: float, title: bool = True) -> dict[str, Any]:
    """A trace without points, whose colour bar is the legend in real values."""
    named = ticks(measure.scale, most)
    at = 1 + 254 * strength(np.asarray(named, dtype=np.float64), measure.scale, most)
    texts = [f"{100 * value:.0f} %" if measure.scale == "share" else f"{value:,.3g}" for value in named]
    if measure.scale == "rank":
        texts = [f"{value:,.0f}" for value in named]
    unit = " (nats)" if measure.scale == "nats" else ""
    bar = {
        "title": {"text": measure.title + unit if title else "", "font": {"size": 11}, "side": "right"},
        "thickness": 10,
        "outlinewidth": 0,
        "ticks": "",
        "tickvals": at.tolist(),
        "ticktext": texts,
        "x": 1,
        "xpad": 8,
    }
    return shade_legend(bar)


def layer_ticks(places: int, pixels: float, least: float = 15) -> dict[str, Any]:
    """Ticks of an axis of places: E, then every n-th layer."""
    step = label_step(places, pixels, least)
    shown = [0, *range(1 if step == 1 else 1 + step, places, step)]
    return {"tickvals": shown, "ticktext": [place_sign(place) for place in shown]}


def _layout(drawn: LensMap, x_axis: str) -> dict[str, Any]:
    places, positions = drawn.lens.places, drawn.lens.positions
    y = axis(range=[places - 0.5, -0.5], **layer_ticks(places, LARGE[1] if x_axis else SMALL_HEIGHT))
    x = axis(range=[-drawn.step / 2, (len(drawn.columns) - 0.5) * drawn.step], side="top")
    meta = {"axes": {"y": "layer"}, "first_layer": -1}
    top = 10
    if x_axis:
        meta["axes"] = {"x": "token", "y": "layer"}
        names, positions_only = axis_names(drawn.tokens), positions > POSITIONS_ABOVE
        shown = list(range(0, positions, label_step(positions, LARGE[0], 30 if positions_only else 13)))
        x |= {"tickvals": shown, "ticktext": [str(i) if positions_only else escape(names[i]) for i in shown]}
        x |= {
            "tickfont": {"family": TOKEN_FONT, "size": 11},
            "tickangle": 0 if positions_only else -45 if positions <= 24 else -90,
        }
        top = (
            24
            if positions_only
            else round(max(len(name) for name in names) * CHARACTER_WIDTH * (0.75 if positions <= 24 else 1)) + 14
        )
    else:
        x["showticklabels"] = False
    if x_axis and positions > POSITIONS_ABOVE:
        x["fixedrange"] = False
    zooms = bool(x_axis) and positions > POSITIONS_ABOVE
    margin = {"l": 34, "r": 84, "t": top, "b": 4}
    return {
        **base_layout(),
        "xaxis": x,
        "yaxis": y,
        "margin": margin,
        "meta": meta,
        "dragmode": "zoom" if zooms else False,
    }


def framed_lens(
    drawn: LensMap, token: int | None = None, second: int | None = None, layer: int | None = None
) -> go.Figure:
    """The lens as a standalone figure: with marks of the selection and a size. `layer`: −1 marks the embeddings."""
    spec = lens_map(drawn)
    places, positions = drawn.lens.places, drawn.lens.positions
    width, height = max(240, min(44 * len(drawn.columns), 1_100)), max(120, min(17 * places, 900))
    marks = [
        (second, None, {"color": COLOURS.ink, "width": 1.5, "dash": "dash"}),
        (None, layer, {"color": COLOURS.ink, "width": 1.5, "dash": "dash"}),
        (token, None, {"color": COLOURS.selected, "width": 2}),
    ]
    shapes = []
    for column, row, line in marks:
        if column is not None:
            half = drawn.step / 2
            shapes.append(_frame((column - half, column + half), (-0.5, places - 0.5), line))
        if row is not None:
            shapes.append(_frame((-0.5, positions - 0.5), (row + 0.5, row + 1.5), line))
    figure = go.Figure(spec)
    _name_layers(figure, places, height, layer)
    _name_columns(figure, drawn, ((second if second != token else None, COLOURS.ink), (token, COLOURS.selected)))
    margin = figure.layout.margin
    return figure.update_layout(
        shapes=shapes, width=margin.l + width + margin.r, height=margin.t + height + margin.b, meta=None
    )


def _name_layers(figure: go.Figure, places: int, height: float, layer: int | None) -> None:
    """Label as many layers as this height has room for, and the framed one in bold in any case."""
    vertical = figure.layout.yaxis
    vertical.update(layer_ticks(places, height))
    if layer is not None:
        bold = f'<b style="color:{COLOURS.ink}">{place_sign(layer + 1)}</b>'
        name_chosen(vertical, [(layer + 1, bold)], LEAST * places / height)


def _name_columns(figure: go.Figure, drawn: LensMap, marks: Sequence[tuple[int | None, str]]) -> None:
    """Label these columns in bold, even where other labels are skipped."""
    positions_only, names = drawn.lens.positions > POSITIONS_ABOVE, axis_names(drawn.tokens)
    chosen = [
        (column, f'<b style="color:{colour}">{column if positions_only else escape(names[column])}</b>')
        for column, colour in marks
        if column is not None
    ]
    name_chosen(
        figure.layout.xaxis, chosen, 0.7 * label_step(drawn.lens.positions, LARGE[0], 30 if positions_only else 13)
    )


def _frame(x: tuple[float, float], y: tuple[float, float], line: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rect", "x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1], "line": line}
