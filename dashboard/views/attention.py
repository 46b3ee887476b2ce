"""Attention: the layer × head grid, and the selected head's heatmap (rows A1 and A2 of the map)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard import ids
from dashboard.analysis.attention import strongest_keys
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.scores import allowed_keys
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Column, Table
from dashboard.figures.attention import (
    LARGEST_CELLS,
    LARGEST_HEATMAP,
    attention_cells,
    attention_map,
    attention_picture,
    name_selected,
    shades,
    weight_legend,
)
from dashboard.figures.heads import heads_map
from dashboard.figures.spec import Spec
from dashboard.figures.theme import theme_named
from dashboard.markup import attributes
from dashboard.views.declaration import Extra, View, Words, token_at
from dashboard.views.not_finite import not_finite_message
from dashboard.views.tables import head_table, row_table

SCORES = {
    "previous": Column("Weight on the previous token"),
    "next": Column("Weight on the next token"),
    "self": Column("Weight on the token itself"),
    "first": Column("Weight on the first token"),
    "entropy": Column("Entropy", "nats"),
    "entropy_share": Column("Share of the largest entropy"),
    "distance": Column("Distance", "tokens"),
}
BLOCK = 262_144  # weights that are derived at once while drawing


def draw(context: Context) -> Spec:
    run, selection = context.run, context.selection
    spec = attention_cells(_shades(run, selection.layer, selection.head), run.tokens, theme_named(context.theme))
    spec["layout"]["uirevision"] = run.key
    return spec


def export(context: Context) -> go.Figure:
    run, selection, theme = context.run, context.selection, theme_named(context.theme)
    layer, head, count = selection.layer, selection.head, len(run)
    selected = (selection.token, selection.second)
    if count <= LARGEST_HEATMAP:
        allowed = allowed_keys(run.recipe(layer), count, count)
        figure = attention_map(run.attention(layer, head), run.tokens, allowed, selected, theme)
    else:
        figure = attention_picture(_shades(run, layer, head), run.tokens, selected, theme)
    name_selected(figure, run.tokens, selected, theme)
    weight_legend(figure, theme)
    margin = figure.layout.margin
    side = min(640, max(260, 34 * count))
    figure.update_layout(margin={"r": 84}, width=margin.l + side + 84, height=margin.t + side + margin.b)
    return figure


def _blocks(run: ModelRun, layer: int, head: int) -> Iterator[tuple[int, np.ndarray]]:
    """The first row, and (query, key) weights, of some rows at a time: a long text needs no whole matrix of weights."""
    count = len(run)
    height = max(1, BLOCK // count)
    for first in range(0, count, height):
        yield first, run.attention_rows(layer, head, first, min(count, first + height))


def _shades(run: ModelRun, layer: int, head: int) -> np.ndarray:
    """(query, key) uint8 shades of one head."""
    count, recipe = len(run), run.recipe(layer)
    shade = np.empty((count, count), dtype=np.uint8)
    for first, weights in _blocks(run, layer, head):
        shade[first : first + len(weights)] = shades(weights, allowed_keys(recipe, len(weights), count, first))
    return shade


def _lost(run: ModelRun, layer: int, head: int) -> tuple[int, ...]:
    """The queries whose weights are not finite."""

    def look() -> tuple[int, ...]:
        rows = np.concatenate([np.isfinite(weights).all(axis=1) for _first, weights in _blocks(run, layer, head)])
        return tuple(np.flatnonzero(~rows).tolist())

    clear = np.isfinite(run.arrays["received"][layer, head]).all() and _known(run, layer)
    return () if clear else run.remember(("not finite", layer, head), look)


def _known(run: ModelRun, layer: int) -> bool:
    """Whether query and key of a layer are finite."""

    def look() -> bool:
        with np.errstate(all="ignore"):
            return bool(np.isfinite(run.arrays[f"query/{layer}"].sum() + run.arrays[f"key/{layer}"].sum()))

    return run.remember(("finite", layer), look)


def text(context: Context) -> Words:
    run, selection = context.run, context.selection
    lost = _lost(run, selection.layer, selection.head)
    if len(lost) == len(run):
        return Words("Attention", message=not_finite_message(run, f"The weights of layer {selection.layer} are not finite."))
    token, other = selection.token, selection.second
    place = f"Layer {selection.layer}, head {selection.head}: what "
    title = [place, token_at(run, token), f" ({token}) attends to"]
    footer = _reads(run, selection, token, "selected", other)
    if other is not None and other != token:
        footer = [*footer, html.Span(className="line-end"), *_reads(run, selection, other, "second", token)]
    return Words(title, _caption(run, selection) + _empty_rows(run, lost), footer)


def _empty_rows(run: ModelRun, lost: tuple[int, ...]) -> str:
    if not lost:
        return ""
    rows = f"Row {lost[0]} is" if len(lost) == 1 else f"{len(lost)} of {len(run)} rows, from token {lost[0]} on, are"
    return f" {rows} empty: the weights are not finite."


def _reads(run: ModelRun, selection: Selection, query: int, mark: str, other: int | None) -> list[Any]:
    """One line: what a token reads of the other of two, and what it reads most from, with exact weights."""
    row = run.attention_rows(selection.layer, selection.head, query, query + 1)[0]
    name, strongest = token_at(run, query, class_name=f"tok {mark}"), strongest_keys(row)
    if not np.isfinite(row).all():
        return [html.Span([name, " reads nothing that can be said: its weights are not finite"], className="lead-in")]
    if other is None:
        lead = html.Span([name, " reads most from"], className="lead-in")
        return [lead, *(_weight(run, item.token, item.weight) for item in strongest)]
    rest = [item for item in strongest if item.token != other][:4]  # one line in all
    recipe = run.recipe(selection.layer)
    if allowed_keys(recipe, 1, len(run), query)[0][other]:
        pair = [html.Span([name, " reads"], className="lead-in"), _weight(run, other, float(row[other]))]
    else:
        later = recipe.mask == "causal" and other > query
        why = "it comes later" if later else "it is outside the layer's window"
        pair = [html.Span([name, " cannot read ", token_at(run, other, True), f": {why}"], className="lead-in")]
    if not rest:
        return pair
    return [*pair, html.Span("else most from", className="lead-in"), *(_weight(run, item.token, item.weight) for item in rest)]


def _weight(run: ModelRun, token: int, weight: float) -> html.Span:
    return html.Span([token_at(run, token, True), _number(weight)], className="number")


def _number(weight: float) -> html.B:
    return html.B(f"{weight:.3f}" if weight >= 5e-4 or weight == 0 else f"{weight:.1e}", title=f"{weight:.9g}")


def _caption(run: ModelRun, selection: Selection) -> str:
    sums = "each row sums to 1" if run.recipe(selection.layer).sinks is None else "rows sum to less than 1 (attention sink)"
    largest = " A pixel that holds several weights shows the largest." if len(run) > LARGEST_CELLS else ""
    return f"Rows (queries) read columns (keys); {sums}. Colour follows the square root of the weight, in 255 steps.{largest}"


def export_heads(context: Context) -> go.Figure:
    place = (context.selection.layer, context.selection.head)
    return heads_map(np.asarray(context.run.arrays["thumbnails"]), place, theme_named(context.theme))


def heads_text(context: Context) -> Words:
    run = context.run
    blocks = ", each by the largest weight of blocks of tokens" if len(run) > run.arrays["thumbnails"].shape[-1] else ""
    caption = f"One picture a head: rows (queries) read columns (keys){blocks}. Colour follows the square root of the weight."
    return Words("All heads, layer × head", caption)


def heads_table(context: Context) -> Table:
    """Means over the queries of the text, as of `scores/…` in dashboard/contracts/run.py."""
    run, selection = context.run, context.selection
    names = [name for name in SCORES if f"scores/{name}" in run.arrays]
    arrays = [np.asarray(run.arrays[f"scores/{name}"]) for name in names]
    places = [(layer, head) for layer in range(run.model.layers) for head in range(run.model.heads)]
    rows = ((layer, head, *(float(values[layer, head]) for values in arrays)) for layer, head in places)
    columns = (Column("Layer"), Column("Head"), *(SCORES[name] for name in names))
    chosen = selection.layer * run.model.heads + selection.head
    return Table("Every head's mean scores over this text", columns, rows, len(places), (chosen,))


def heads_grid() -> html.Div:
    """The layer × head grid; assets/53-heads.js draws it from one picture of all heads."""
    title = html.Div([html.B("All heads"), ", layer × head"], className="grid-title", id=ids.HEADS_TITLE)
    grid = html.Div(id=ids.ATTENTION_HEADS, className="heads", role="group", **attributes(aria_label="All heads, layer by head"))
    return html.Div([title, grid], className="heads-column")


def one_head_line() -> html.Div:
    """The heatmap's heading, with the head's pattern (written by assets/53-heads.js) and the colour legend."""
    ticks = ("0", "", "0.06", "", "0.25", "", "0.56", "", "1")
    swatches = [html.Span([html.I(className=f"swatch weight-{i}"), html.Small(text)]) for i, text in enumerate(ticks)]
    legend = html.Div(["weight", html.Span(swatches, className="swatches numbered")], className="legend")
    words = html.Span([html.B("One head"), html.Span("", id=ids.ONE_HEAD_PATTERN)], className="one-head")
    return html.Div([words, legend], className="grid-title")


def table(context: Context) -> Table:
    run, selection = context.run, context.selection
    return head_table(run, selection.layer, selection.head) if context.whole else row_table(run, selection)


VIEW = View(
    name="attention",
    title="Attention",
    order=1,
    invitation=(
        "Run a text to see where each token looks.",
        "Every small square of the grid will become a picture of one head. Choosing one shows its weights here, token by token.",
    ),
    figure_reads=("run", "layer", "head"),
    draw=draw,
    text=text,
    beside=heads_grid,
    above=one_head_line,
    table=table,
    export=export,
    more=(Extra("attention-heads", "All heads", export_heads, heads_text, heads_table),),
)
