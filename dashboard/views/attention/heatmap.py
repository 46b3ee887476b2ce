"""Attention: the layer × head grid, and the selected head's heatmap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention import strongest_keys
from dashboard.analysis.mean_heads import Heads, mean_allowed, mean_rows
from dashboard.components import ids
from dashboard.components.glossary import term
from dashboard.components.markup import attributes
from dashboard.contracts.context import Context
from dashboard.contracts.selection import Selection
from dashboard.contracts.streams import Attention, Stream
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
from dashboard.views.declaration import Explanation, Extra, Sentence, View, Words
from dashboard.views.explanation import counted, named
from dashboard.views.not_finite import not_finite_message
from dashboard.views.tables import BLOCK, head_table, row_table
from dashboard.views.token_spans import token_at

SCORES = {
    "previous": Column("Weight on the previous token"),
    "next": Column("Weight on the next token"),
    "self": Column("Weight on the token itself"),
    "first": Column("Weight on the first token"),
    "separator": Column("Weight on separators"),
    "punctuation": Column("Weight on punctuation"),
    "duplicate": Column("Weight on duplicate tokens"),
    "induction": Column("Weight on what followed a duplicate (induction)"),
    "entropy": Column("Entropy", "nats"),
    "entropy_share": Column("Share of the largest entropy"),
    "distance": Column("Distance", "tokens"),
}


def draw(context: Context) -> Spec:
    attention, selection = context.attention, context.selection
    shade = _shades(attention, selection.all_heads)
    spec = attention_cells(shade, attention.asks.tokens, attention.answers.tokens)
    spec["layout"]["uirevision"] = f"{context.run.key}-{attention.kind}"
    return spec


def export(context: Context) -> go.Figure:
    attention, selection = context.attention, context.selection
    heads, count = selection.all_heads, len(attention.asks)
    selected, sides = (selection.token, selection.second), (attention.asks.tokens, attention.answers.tokens)
    if max(attention.shape) <= LARGEST_HEATMAP:
        weights, allowed = (read(attention, heads, 0, count) for read in (mean_rows, mean_allowed))
        figure = attention_map(weights, *sides, allowed, selected)
    else:
        figure = attention_picture(_shades(attention, heads), *sides, selected)
    name_selected(figure, *sides, selected)
    weight_legend(figure)
    margin = figure.layout.margin
    rows, columns = (min(640, max(260, 34 * count)) for count in attention.shape)
    figure.update_layout(margin={"r": 84}, width=margin.l + columns + 84, height=margin.t + rows + margin.b)
    return figure


def _blocks(attention: Attention, heads: Heads) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and the (query, key) weights of some rows at a time, so a long text needs no whole matrix."""
    queries, keys = attention.shape
    height = max(1, BLOCK // keys)
    for first in range(0, queries, height):
        yield first, mean_rows(attention, heads, first, min(queries, first + height))


def _shades(attention: Attention, heads: Heads) -> np.ndarray:
    """(query, key) uint8 shades of one head, or of the mean of several."""
    shade = np.empty(attention.shape, dtype=np.uint8)
    for first, weights in _blocks(attention, heads):
        last = first + len(weights)
        shade[first:last] = shades(weights, mean_allowed(attention, heads, first, last))
    return shade


def _lost(attention: Attention, layer: int, head: int) -> tuple[int, ...]:
    """The queries whose weights are not finite."""

    def look() -> tuple[int, ...]:
        blocks = _blocks(attention, ((layer, head),))
        rows = np.concatenate([np.isfinite(weights).all(axis=1) for _first, weights in blocks])
        return tuple(np.flatnonzero(~rows).tolist())

    clear = (
        attention.has("received")
        and np.isfinite(attention.received[layer, head]).all()
        and _known(attention, layer, head)
    )
    return () if clear else attention.remember(("not finite", layer, head), look)


def _known(attention: Attention, layer: int, head: int) -> bool:
    """Whether what a head's weights come from is finite: its layer's queries and keys, or its stored weights."""

    def look() -> bool:
        with np.errstate(all="ignore"):
            return all(bool(np.isfinite(values.sum())) for values in attention.made_of(layer, head))

    stored = attention.recipe(layer).stored is not None
    return attention.remember(("finite", layer, head if stored else None), look)


def text(context: Context) -> Words:
    attention, selection = context.attention, context.selection
    lost = tuple(sorted({row for place in selection.all_heads for row in _lost(attention, *place)}))
    if len(lost) == len(attention.asks):
        message = not_finite_message(context.run, f"The weights of layer {selection.layer} are not finite.")
        return Words("Attention", message=message)
    token, second = selection.token, selection.second
    title = [f"{heads_name(selection)}: what ", token_at(attention.asks, token), f" ({token}) attends to"]
    footer = _reads(attention, selection, token, "selected", second)
    if second is not None and second != token:
        footer = [*footer, html.Span(className="line-end"), *_reads(attention, selection, second, "second", token)]
    return Words(title, _caption(attention, selection) + _empty_rows(attention, lost), footer)


def heads_name(selection: Selection) -> str:
    """What the heatmap shows: "Layer 24, head 4", or "Mean of 3 heads: 24.4, 10.8, 3.1"."""
    heads = selection.all_heads
    if len(heads) == 1:
        return f"Layer {selection.layer}, head {selection.head}"
    return f"Mean of {len(heads)} heads ({', '.join(f'{layer}.{head}' for layer, head in heads)})"


def _empty_rows(attention: Attention, lost: tuple[int, ...]) -> str:
    if not lost:
        return ""
    rows = (
        f"Row {lost[0]} is"
        if len(lost) == 1
        else f"{len(lost)} of {len(attention.asks)} rows, from token {lost[0]} on, are"
    )
    return f" {rows} empty: the weights are not finite."


def _reads(attention: Attention, selection: Selection, query: int, mark: str, other: int | None) -> list[Any]:
    """One line: how much a token attends to the other of two, and what it attends to most, with exact weights."""
    row = mean_rows(attention, selection.all_heads, query, query + 1)[0]
    answers = attention.answers
    name, strongest = token_at(attention.asks, query, class_name=f"tok {mark}"), strongest_keys(row)
    if not np.isfinite(row).all():
        return [html.Span([name, ": its weights are not finite"], className="lead-in")]
    if other is None:
        lead = html.Span([name, " attends most to"], className="lead-in verb")
        return [lead, *(_weight(answers, item.token, item.weight) for item in strongest)]
    rest = [item for item in strongest if item.token != other][:4]  # all of it fits on one line
    if mean_allowed(attention, selection.all_heads, query, query + 1)[0][other]:
        pair = [html.Span([name, " attends to"], className="lead-in verb"), _weight(answers, other, float(row[other]))]
    else:
        later = attention.recipe(selection.layer).mask == "causal" and other > query
        why = "it comes later" if later else "it is outside the layer's window"
        there = token_at(answers, other)
        pair = [html.Span([name, " cannot attend to ", there, f" ({other}): {why}"], className="lead-in")]
    if not rest:
        return pair
    return [
        *pair,
        html.Span("Next", className="lead-in"),
        *(_weight(answers, item.token, item.weight) for item in rest),
    ]


def _weight(answers: Stream, token: int, weight: float) -> html.Span:
    return html.Span(
        [token_at(answers, token), html.Span(f" ({token})", className="pos"), _number(weight)], className="number"
    )


def _number(weight: float) -> html.B:
    return html.B(f"{weight:.3f}" if weight >= 5e-4 or weight == 0 else f"{weight:.1e}", title=f"{weight:.9g}")


def _caption(attention: Attention, selection: Selection) -> str:
    sums = (
        "a row adds up to 100\u00a0%"
        if attention.recipe(selection.layer).sinks is None
        else "a row adds up to less than 100\u00a0%, the rest goes to the attention sink"
    )
    largest = " A pixel that holds several weights shows the largest." if max(attention.shape) > LARGEST_CELLS else ""
    return (
        f"Each row shows where one token looks; {sums}. Stronger colour means more attention (square-root "
        f"scale).{largest}"
    )


def explain(context: Context) -> Explanation:
    """Explain heads, the selected row, and how to read it."""
    attention, selection = context.attention, context.selection
    row = mean_rows(attention, selection.all_heads, selection.token, selection.token + 1)[0]
    place: Sentence = [f"In layer {selection.layer}, head {selection.head}, "]
    if len(selection.all_heads) > 1:
        place = [f"On average over the {len(selection.all_heads)} selected heads, "]
    return (
        [
            "The model has ",
            *counted(attention.layers, "layer"),
            " of ",
            *counted(attention.heads, "head"),
            ", and each head spreads its ",
            term("attention"),
            " over the tokens in its own way.",
        ],
        [*place, *_attends_most(attention, selection.token, row)],
        _how_to_read(attention, selection.layer),
    )


def _attends_most(attention: Attention, token: int, row: np.ndarray) -> Sentence:
    if not np.isfinite(row).all():
        return ["the weights of ", *named(attention.asks, token), " are not finite, so its row is empty."]
    best = int(row.argmax())
    weight = float(row[best])
    most = f"{weight:.3f}" if weight >= 5e-4 or weight == 0 else f"{weight:.1e}"
    whom: Sentence = (
        ["itself"] if attention.asks is attention.answers and best == token else named(attention.answers, best)
    )
    if int((row == row[best]).sum()) > 1:
        return [
            "no token gets more attention from ",
            *named(attention.asks, token),
            " than ",
            *whom,
            f": weight {most}, where 1 would be all of its attention.",
        ]
    return [
        *named(attention.asks, token),
        " attends most to ",
        *whom,
        f": weight {most}, where 1 would be all of its attention.",
    ]


def _how_to_read(attention: Attention, layer: int) -> Sentence:
    queries, keys = attention.shape
    rows = "The only row" if queries == 1 else f"Each of the {queries:,} rows"
    columns = "the only column" if keys == 1 else f"each of the {keys:,} columns"
    head: Sentence = [f"{rows} is a token that looks (", term("query"), f"), {columns} a token that is looked at ("]
    if attention.recipe(layer).sinks is None:
        return [*head, term("key"), "); a row adds up to 1."]
    return [
        *head,
        term("key"),
        "); a row adds up to less than 1, and the rest goes to the ",
        term("attention sink"),
        ".",
    ]


def export_heads(context: Context) -> go.Figure:
    place = (context.selection.layer, context.selection.head)
    return heads_map(np.asarray(context.attention.thumbnails), place)


def heads_text(context: Context) -> Words:
    attention = context.attention
    looks = (
        "one block of tokens looks, as the largest weight in each block"
        if len(attention.answers) > attention.thumbnails.shape[-1]
        else "one token looks"
    )
    caption = (
        f"One picture per head: each row shows where {looks}. Stronger colour means more attention (square-root scale)."
    )
    return Words("All heads, layer × head", caption)


def heads_table(context: Context) -> Table:
    """Means over the queries of the text, like `scores/…` in dashboard/contracts/run.py."""
    attention, selection = context.attention, context.selection
    names = [name for name in SCORES if name in attention.scores()]
    arrays = [np.asarray(attention.score(name)) for name in names]
    places = [(layer, head) for layer in range(attention.layers) for head in range(attention.heads)]
    rows = ((layer, head, *(float(values[layer, head]) for values in arrays)) for layer, head in places)
    columns = (Column("Layer"), Column("Head"), *(SCORES[name] for name in names))
    chosen = selection.layer * attention.heads + selection.head
    return Table("Every head's mean scores over this text", columns, rows, len(places), (chosen,))


def heads_grid() -> html.Div:
    """The layer × head grid, which assets/components/head-grid.js draws from one image of all heads."""
    title = html.Div([html.B("All heads"), ", layer × head"], className="grid-title", id=ids.HEADS_TITLE)
    grid = html.Div(
        id=ids.ATTENTION_HEADS, className="heads", role="group", **attributes(aria_label="All heads, layer by head")
    )
    legend = html.Div(id=ids.HEADS_LEGEND, className="legend heads-legend", hidden=True)
    return html.Div([title, grid, legend], className="heads-column")


def one_head_line() -> html.Div:
    """The heatmap's heading, with the legend and the head's pattern, which assets/components/head-grid.js writes."""
    ticks = ("0", "", "0.06", "", "0.25", "", "0.56", "", "1")
    swatches = [html.Span([html.I(className=f"swatch weight-{i}"), html.Small(text)]) for i, text in enumerate(ticks)]
    legend = html.Div(["weight", html.Span(swatches, className="swatches numbered")], className="legend")
    words = html.Span([html.B("This head"), html.Span("", id=ids.ONE_HEAD_PATTERN)], className="one-head")
    return html.Div([words, legend], className="grid-title")


def table(context: Context) -> Table:
    attention, selection = context.attention, context.selection
    heads, name = selection.all_heads, heads_name(selection)
    return head_table(attention, heads, name) if context.whole else row_table(attention, selection, name)


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
    draw=draw,
    text=text,
    explain=explain,
    beside=heads_grid,
    above=one_head_line,
    table=table,
    export=export,
    more=(Extra("attention-heads", "All heads", export_heads, heads_text, heads_table),),
)
