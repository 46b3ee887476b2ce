"""Attention: the layer × head grid, and the heatmap of the selected head or of several heads together."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention_reading import AttentionReading
from dashboard.components import ids
from dashboard.contracts.context import Context
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Table
from dashboard.figures.attention import (
    LARGEST_HEATMAP,
    Marked,
    attention_cells,
    attention_map,
    attention_picture,
    name_selected,
    shades,
    weight_legend,
)
from dashboard.figures.spec import Spec, spec_of
from dashboard.figures.theme import empty_figure
from dashboard.figures.tokens import label_of, lead_of
from dashboard.views.attention.all_heads import export_heads, heads_grid, heads_table, heads_text, heads_uses
from dashboard.views.attention.heatmap_words import explain, text
from dashboard.views.declaration import Extra, View
from dashboard.views.head_order import ORDER
from dashboard.views.reading import (
    CONTROLS,
    asks_of,
    force_line,
    needs,
    place_of,
    reading_of,
    reads,
    waits_for,
    weight_of,
)
from dashboard.views.tables import head_table, row_blocks, row_table


def draw(context: Context) -> Spec:
    reading = reading_of(context)
    if 0 in reading.shape or waits_for(reading):
        spec = spec_of(empty_figure())
        spec["layout"]["meta"] = {"reading": _told(reading)}
        return spec
    spec = attention_cells(_shades(reading), reading.queries, reading.keys)
    spec["layout"]["uirevision"] = f"{context.run.key}-{reading.attention.kind}"
    if not reading.is_plain:
        spec["layout"]["meta"]["reading"] = _told(reading)
        spec["layout"]["uirevision"] += f"-{len(reading.queries)}-{len(reading.keys)}-{reading.aids}"
    return spec


def _told(reading: AttentionReading) -> dict[str, Any]:
    """What the browser must know of a matrix that is not one head's plain one (assets/overlays/reading.js)."""
    names = zip((*reading.rows, *reading.columns), (*reading.queries, *reading.keys), strict=True)
    return {
        "rows": [list(group) for group in reading.rows],
        "columns": [list(group) for group in reading.columns],
        "names": {str(group[0]): [label_of(word), lead_of(word)] for group, word in names if len(group) > 1},
        "mask": [reading.mask.kind, reading.mask.window],
        "asks": asks_of(reading),
        "said": force_line(reading),
        "what": weight_of(reading),
    }


def export(context: Context) -> go.Figure | None:
    reading, selection = reading_of(context), context.selection
    if 0 in reading.shape or waits_for(reading):
        return None
    selected, sides = _marked(reading, selection), (reading.queries, reading.keys)
    positions = (
        (None, None)
        if reading.is_plain
        else ([group[0] for group in reading.rows], [group[0] for group in reading.columns])
    )
    if max(reading.shape) <= LARGEST_HEATMAP:
        figure = attention_map(reading.weights(), *sides, _drawn(reading), selected, positions)
    else:
        figure = attention_picture(_shades(reading), *sides, selected, positions=positions)
    name_selected(figure, *sides, selected, positions)
    weight_legend(figure)
    margin = figure.layout.margin
    rows, columns = (min(640, max(260, 34 * count)) for count in reading.shape)
    figure.update_layout(margin={"r": 84}, width=margin.l + columns + 84, height=margin.t + rows + margin.b)
    return figure


def _marked(reading: AttentionReading, selection: Selection) -> Marked:
    """The row of the selected token, and the column and the row of the second one."""
    second = selection.second
    row = reading.row_of(selection.token)
    return (row, None, None) if second is None else (row, reading.column_of(second), reading.row_of(second))


def _drawn(reading: AttentionReading, first: int = 0, last: int | None = None) -> np.ndarray:
    """(row, column) bool: the pairs that have a colour. A row whose whole weight is left out has none."""
    found = reading.allowed(first, last)
    return found & ~reading.emptied(first, last)[:, None] if reading.aids.leaves_out else found


def _shades(reading: AttentionReading) -> np.ndarray:
    """(row, column) uint8 shades."""
    shade = np.empty(reading.shape, dtype=np.uint8)
    for first, weights in row_blocks(reading):
        last = first + len(weights)
        shade[first:last] = shades(weights, _drawn(reading, first, last))
    return shade


def one_head_line() -> html.Div:
    """The heatmap's heading, with the legend and the head's pattern, which assets/components/head-grid.js writes."""
    ticks = ("0", "", "0.06", "", "0.25", "", "0.56", "", "1")
    swatches = [html.Span([html.I(className=f"swatch weight-{i}"), html.Small(text)]) for i, text in enumerate(ticks)]
    legend = html.Div(["weight", html.Span(swatches, className="swatches numbered")], className="legend")
    words = html.Span([html.B("This head"), html.Span("", id=ids.ONE_HEAD_PATTERN)], className="one-head")
    reading = html.Span("", id=ids.READING_LINE, className="one-head", hidden=True)
    return html.Div([words, reading, legend], className="grid-title")


def table(context: Context) -> Table | None:
    reading = reading_of(context)
    if 0 in reading.shape or waits_for(reading):
        return None
    place = place_of(reading)
    return head_table(reading, place) if context.whole else row_table(reading, context.selection, place)


VIEW = View(
    name="attention",
    title="Attention",
    card="attention",
    tab="Heatmap",
    order=1,
    invitation=(
        "Run a text to see where each token looks.",
        "Every small square of the grid will become a picture of one head. Choosing one shows its weights here, token "
        "by token.",
    ),
    selects="drawn",
    figure_reads=("run", "stream", "layer", "head", "heads"),
    reads=reads,
    draw=draw,
    text=text,
    explain=explain,
    beside=heads_grid,
    above=one_head_line,
    table=table,
    export=export,
    controls=(*CONTROLS, *ORDER),
    needs=needs,
    more=(Extra("attention-heads", "All heads", export_heads, heads_text, heads_table, heads_uses),),
)
