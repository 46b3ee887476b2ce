"""The grid of all heads beside the heatmap, and the same as a file: every head's picture and its mean scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.head_scores import COLUMNS
from dashboard.components import ids
from dashboard.components.markup import attributes
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.table import Column, Table
from dashboard.figures.heads import heads_map, ordered_heads
from dashboard.views.declaration import Words
from dashboard.views.head_order import GridOrder, options_from, order_of, uses


def _order(context: Context) -> GridOrder:
    """The order of the grid, which options of *Heads* have a part in."""
    return order_of(replace(context, options=options_from(context.options)))


def heads_uses(context: Context) -> tuple[DerivedRequest, ...]:
    return uses(replace(context, options=options_from(context.options)))


def export_heads(context: Context) -> go.Figure:
    place, pictures = (context.selection.layer, context.selection.head), np.asarray(context.attention.thumbnails)
    order = _order(context)
    return heads_map(pictures, place) if order.is_by_layer else ordered_heads(pictures, order.groups, place)


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
    order = _order(context)
    title = "All heads, layer × head" if order.is_by_layer else "All heads"
    return Words(title, " ".join(part for part in (caption, order.said) if part))


def heads_table(context: Context) -> Table:
    """Means over the queries of the text, like `scores/…` in dashboard/contracts/run.py."""
    attention, selection = context.attention, context.selection
    names = [name for name in COLUMNS if name in attention.scores()]
    arrays = [np.asarray(attention.score(name)) for name in names]
    places = [(layer, head) for layer in range(attention.layers) for head in range(attention.heads)]
    rows = ((layer, head, *(float(values[layer, head]) for values in arrays)) for layer, head in places)
    columns = (Column("Layer"), Column("Head"), *(COLUMNS[name] for name in names))
    chosen = selection.layer * attention.heads + selection.head
    return Table("Every head's mean scores over this text", columns, rows, len(places), (chosen,))


def heads_grid() -> html.Div:
    """The layer × head grid, which assets/components/head-grid.js draws from one image of all heads."""
    title = html.Div([html.B("All heads"), ", layer × head"], className="grid-title", id=ids.HEADS_TITLE)
    note = html.P(id=ids.HEADS_NOTE, className="heads-note", hidden=True)
    grid = html.Div(id=ids.ATTENTION_HEADS, className="heads", role="group", **attributes(aria_label="All heads"))
    legend = html.Div(id=ids.HEADS_LEGEND, className="legend heads-legend", hidden=True)
    return html.Div([title, grid, legend, note], className="heads-column")
