"""The grid of all heads beside the heatmap, and the same as a file: every head's picture and its mean scores."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.head_scores import COLUMNS
from dashboard.components import ids
from dashboard.components.markup import attributes
from dashboard.contracts.context import Context
from dashboard.contracts.table import Column, Table
from dashboard.figures.heads import heads_map
from dashboard.views.declaration import Words


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
    grid = html.Div(
        id=ids.ATTENTION_HEADS, className="heads", role="group", **attributes(aria_label="All heads, layer by head")
    )
    legend = html.Div(id=ids.HEADS_LEGEND, className="legend heads-legend", hidden=True)
    return html.Div([title, grid, legend], className="heads-column")
