"""Attention: the layer × head grid, and the selected head's heatmap (rows A1 and A2 of the map)."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard import ids
from dashboard.analysis.attention import KeyWeight, strongest_keys
from dashboard.contracts.run import ModelRun
from dashboard.contracts.scores import allowed_keys
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Table
from dashboard.figures.attention import attention_cells, shades
from dashboard.figures.theme import Theme
from dashboard.markup import attributes
from dashboard.views.declaration import Options, View, Words, token_span
from dashboard.views.tables import head_table, row_table

BLOCK = 262_144  # weights that are derived at once while drawing


def draw(run: ModelRun, selection: Selection, options: Options, theme: Theme) -> go.Figure:
    figure = attention_cells(_shades(run, selection.layer, selection.head), run.tokens, theme)
    figure.update_layout(uirevision=run.key)
    return figure


def _shades(run: ModelRun, layer: int, head: int) -> np.ndarray:
    """(query, key) uint8 shades of one head, some rows at a time: a long text needs no whole matrix of weights."""
    count, recipe = len(run), run.recipe(layer)
    height = max(1, BLOCK // count)
    shade = np.empty((count, count), dtype=np.uint8)
    for first in range(0, count, height):
        last = min(count, first + height)
        allowed = allowed_keys(recipe, last - first, count, first)
        shade[first:last] = shades(run.attention_rows(layer, head, first, last), allowed)
    return shade


def words(run: ModelRun, selection: Selection, options: Options) -> Words:
    token = run.tokens[selection.token]
    place = f"Layer {selection.layer}, head {selection.head}: what "
    title = [place, token_span(token), f" ({selection.token}) attends to"]
    row = run.attention_rows(selection.layer, selection.head, selection.token, selection.token + 1)[0]
    strongest = strongest_keys(row)
    readable = allowed_keys(run.recipe(selection.layer), 1, len(run), selection.token)[0]
    other = selection.other
    if other is not None and readable[other] and other not in {item.token for item in strongest}:
        strongest = [*strongest[:4], KeyWeight(other, float(row[other]))]  # five in all: they fit one line
    numbers = [_weight(run, item.token, item.weight) for item in strongest]
    footer = [html.Span([token_span(token, class_name="tok selected"), " reads most from"], className="lead-in"), *numbers]
    return Words(title, _caption(run, selection), footer)


def _weight(run: ModelRun, token: int, weight: float) -> html.Span:
    number = f"{weight:.3f}" if weight >= 5e-4 else f"{weight:.1e}"
    return html.Span([token_span(run.tokens[token], token), html.B(number, title=f"{weight:.9g}")], className="number")


def _caption(run: ModelRun, selection: Selection) -> str:
    sums = "each row sums to 1" if run.recipe(selection.layer).sinks is None else "rows sum to less than 1 (attention sink)"
    return f"Rows (queries) read columns (keys); {sums}. Colour follows the square root of the weight, in 255 steps."


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
    return html.Div([html.B("One head"), html.Span("", id=ids.ONE_HEAD_PATTERN), legend], className="grid-title")


def table(run: ModelRun, selection: Selection, options: Options, whole: bool) -> Table:
    return head_table(run, selection.layer, selection.head) if whole else row_table(run, selection)


VIEW = View(
    name="attention",
    title="Attention",
    order=1,
    invitation=(
        "Run a text to see where each token looks.",
        "Every small square on the left will become a picture of one head. Choosing one shows its weights here, token by token.",
    ),
    figure_reads=("run", "layer", "head"),
    draw=draw,
    words=words,
    beside=heads_grid,
    above=one_head_line,
    table=table,
)
