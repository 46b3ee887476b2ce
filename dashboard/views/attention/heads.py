"""Heads: a table of every head's scores, beside the layer × head grid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import dash_ag_grid as dag
import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention import CLEAR, PATTERN_NAMES, PATTERNS, head_tags
from dashboard.analysis.head_scores import by_chance
from dashboard.components.glossary import term
from dashboard.components.markup import attributes
from dashboard.contracts.context import Context
from dashboard.contracts.streams import Attention
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.head_scores import scores_map
from dashboard.figures.spec import Spec, spec_of
from dashboard.figures.text import percent
from dashboard.figures.theme import empty_figure
from dashboard.views.attention.all_heads import SCORES as COLUMNS
from dashboard.views.controls import Choice, Text
from dashboard.views.declaration import Explanation, Sentence, View, Words
from dashboard.views.explanation import counted
from dashboard.views.grid import grid

GRID = "heads-rows"
FILTER_SPACE = re.compile(r"\s+|\ufeff")  # what a browser treats as white space
HEADINGS = {
    **{"previous": "Previous", "next": "Next", "self": "Itself", "first": "First"},
    **{"entropy": "Entropy, nats", "distance": "Distance"},
}
SORTED_BY = {
    "previous": "attention to the previous token",
    "next": "attention to the next token",
    "self": "attention to the token itself",
    "first": "attention to the first token",
    "entropy": "entropy",
    "distance": "distance",
}
SORT = Choice("sort", "Sort by", choices=(*HEADINGS.items(), ("head", "Layer and head")))
ORDER = Choice("order", "Order", choices=(("most", "Highest first"), ("least", "Lowest first")))
COLOUR = Choice("colour", "Colour the grid by", choices=(("pictures", "Pictures"), *HEADINGS.items()))
FILTER = Text("filter", "Filter")
PLACEHOLDER = "Filter: pattern, layer …"


def draw(context: Context) -> Spec:
    """The data that assets/components/head-table.js builds the table from; there is no drawing."""
    attention = context.attention
    spec = spec_of(empty_figure())
    tags, scores = head_tags(attention), {name: attention.score(name) for name in HEADINGS}
    columns = [
        {"id": name, "name": heading, "digits": 2 if name in PATTERNS else 1, "weight": name in PATTERNS}
        | {"most": _most(name, scores[name])}
        for name, heading in HEADINGS.items()
    ]
    rows = [
        [
            layer,
            head,
            PATTERN_NAMES[tags[layer][head].pattern],
            *(_known(values[layer, head]) for values in scores.values()),
        ]
        for layer, head in _all_heads(attention)
    ]
    spec["layout"]["meta"] = {"heads": {"columns": columns, "rows": rows}}
    return spec


def _all_heads(attention: Attention) -> list[tuple[int, int]]:
    return [(layer, head) for layer in range(attention.layers) for head in range(attention.heads)]


def _known(value: float) -> float | None:
    """A score with the six digits that a browser receives; None if it is not a number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _most(name: str, values: np.ndarray) -> float:
    """The upper end of a score's scale, which starts at 0."""
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    return 1.0 if name in PATTERNS else float(found.max(initial=0.0))


def text(context: Context) -> Words:
    attention, selection, sort = context.attention, context.selection, context.options["sort"]
    count = attention.layers * attention.heads
    many = "The only head" if count == 1 else f"All {count:,} heads"
    least = context.options["order"] == "least"
    title = f"{many}, layer by layer" if sort == "head" else f"{many}, sorted by {SORTED_BY[sort]}"
    title += ", lowest first" if least and sort != "head" else ""
    caption = f"Means over this text. A head's pattern is named if it holds at least {CLEAR} of the weight."
    place = f"{selection.layer}.{selection.head}"
    attention.score("previous")  # raises if the run has no scores
    if sort == "head":
        return Words(title, caption, [_number("selected", place)])
    values = attention.score(sort)
    chance = by_chance(attention.recipe(selection.layer), *attention.shape)[sort]
    name = HEADINGS[sort].split(",")[0].lower()
    footer = [
        _number("selected", place),
        _number(name, _written(sort, float(values[selection.layer, selection.head]))),
        _number("by chance at this length", _written(sort, chance)),
        *_best(sort, values, least),
    ]
    return Words(title, caption, footer)


def _best(sort: str, values: np.ndarray, least: bool) -> list[Any]:
    """The head at the top of the table."""
    if not np.isfinite(values).any():
        return []
    at = np.nanargmin(values) if least else np.nanargmax(values)
    layer, head = np.unravel_index(at, values.shape)
    return [_number(f"{'least' if least else 'most'}: {layer}.{head}", _written(sort, float(values[layer, head])))]


def _number(name: str, value: str) -> html.Span:
    return html.Span([name, " ", html.B(value)], className="number")


def _written(sort: str, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    unit = {"entropy": " nats", "distance": " tokens"}.get(sort, "")
    return f"{value:.2f}{unit}" if sort in PATTERNS or value < 10 else f"{value:.1f}{unit}"


def explain(context: Context) -> Explanation:
    """Explain the mean scores, the selected head's own, and their values by chance."""
    attention, selection = context.attention, context.selection
    first, previous = (float(attention.score(name)[selection.layer, selection.head]) for name in ("first", "previous"))
    many, tokens, head = (
        attention.layers * attention.heads,
        len(attention.asks),
        f"head {selection.head} of layer {selection.layer}",
    )
    text = "this text’s only token" if tokens == 1 else f"the {tokens:,} tokens of this text"
    row: Sentence = ["Each row is one of the model’s ", *counted(many, "head")]
    if many == 1:
        row = ["The only row is the model’s only ", term("head")]
    what: Sentence = [*row, f", with averages over {text}."]
    if tokens == 1:
        return what, ["No head has another token to attend to here."], ["Run a longer text to see what the heads do."]
    means: Sentence = [
        f"Averaged over the tokens after the first, {head} gives {percent(first)} of its ",
        term("attention"),
    ]
    means += [f" to the first token and {percent(previous)} to the token before."]
    if not (math.isfinite(first) and math.isfinite(previous)):
        means = [f"The weights of {head} are not finite, so it has no averages."]
    chance = by_chance(attention.recipe(selection.layer), *attention.shape)["first"]
    even = "A head that spread its attention evenly over the tokens that it may read would give the first one "
    return what, means, [f"{even}{percent(chance)}."]


def table(context: Context) -> Table:
    """A file lists the heads in their order; the page's table lists them as sorted."""
    attention, selection, sort = context.attention, context.selection, context.options["sort"]
    tags = head_tags(attention)
    names = [name for name in COLUMNS if name in attention.scores()]
    scores = {name: np.asarray(attention.score(name)) for name in names}
    places = _all_heads(attention)
    if not context.whole:
        if sort != "head":
            attention.score(sort)  # raises if the run lacks this score
        places = _sorted(places, scores, sort, context.options["order"] == "least")
        fits = fitting(context.options["filter"])
        places = [place for place in places if fits(*place, PATTERN_NAMES[tags[place[0]][place[1]].pattern])]
    rows: list[tuple[Cell, ...]] = [
        (
            layer,
            head,
            PATTERN_NAMES[tags[layer][head].pattern],
            *(float(values[layer, head]) for values in scores.values()),
        )
        for layer, head in places
    ]
    columns = (Column("Layer"), Column("Head"), Column("Pattern"), *(COLUMNS[name] for name in names))
    here = (selection.layer, selection.head)
    chosen = (places.index(here),) if here in places else ()
    return Table("Every head’s mean scores over this text", columns, rows, len(rows), chosen)


def fitting(query: str) -> Callable[[int, int, str], bool]:
    """A test of whether a head (layer, head, pattern) matches a filter, the same as in assets/components/head-table.js:
    “layer 1” does not match “layer 12”."""
    words = FILTER_SPACE.sub(" ", query.lower()).strip()
    found = re.compile(r"(^|[ .])" + re.escape(words) + (r"(?!\d)" if words[-1:].isdigit() else "")) if words else None

    def fits(layer: int, head: int, pattern: str) -> bool:
        return found is None or found.search(f"{layer}.{head} layer {layer} head {head} {pattern}") is not None

    return fits


def _sorted(
    places: list[tuple[int, int]], scores: dict[str, np.ndarray], sort: str, least: bool
) -> list[tuple[int, int]]:
    """Sort by a score, heads without one last; ties stay in the order of layers and heads."""
    if sort == "head":
        return places[:: -1 if least else 1]
    sign = 1 if least else -1

    def rank(place: tuple[int, int]) -> tuple[bool, float]:
        value = _known(float(scores[sort][place]))  # rounded as in the page's table, so that ties there are ties here
        return (True, 0.0) if value is None else (False, sign * value)

    return sorted(places, key=rank)


def export(context: Context) -> go.Figure:
    """The score that sorts the table, layer × head."""
    attention, selection = context.attention, context.selection
    chosen = next(name for name in (context.options["sort"], context.options["colour"], "previous") if name in HEADINGS)
    values = np.asarray(attention.score(chosen), dtype=np.float64)
    place = (selection.layer, selection.head)
    return scores_map(values, COLUMNS[chosen].heading, _most(chosen, values), chosen in PATTERNS, place)


def controls_line() -> html.Div:
    """The line above the table: filter, grid colours and the number of heads shown
    (assets/components/head-table.js)."""
    field = html.Div(className="head-filter-slot")
    box = [html.Option(label, value=value) for value, label in COLOUR.choices]
    colour = html.Label(
        [html.Span("Colour the grid by "), html.Select(box, id="heads-colour-box")], className="head-colour"
    )
    count = html.Span("", id="heads-count", className="head-count", role="status")
    return html.Div([field, colour, count], className="head-line", **attributes(data_placeholder=PLACEHOLDER))


def rows_table() -> dag.AgGrid:
    """The table; its columns and rows arrive with the figure."""
    return grid(GRID, "id", "No head matches the filter.")


VIEW = View(
    name="heads",
    title="Heads",
    card="attention",
    tab="Heads",
    order=5,
    invitation=(
        "Run a text to see what each head does.",
        "One row for each head: how much it attends to the previous, the next and the first token, and how widely it "
        "looks.",
    ),
    figure_reads=("run", "stream"),
    selects="drawn",
    draw=draw,
    text=text,
    explain=explain,
    controls=(SORT, ORDER, FILTER, COLOUR),
    above=controls_line,
    late=rows_table,
    is_table=True,
    table=table,
    export=export,
)
