"""Heads: a table of every head's scores, beside the layer × head grid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import dash_ag_grid as dag
import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention_reading import NO_AIDS, read_attention
from dashboard.analysis.head_patterns import PATTERN_NAMES, PATTERNS
from dashboard.analysis.head_scores import COLUMNS
from dashboard.components.markup import attributes
from dashboard.compute.head_probe import SEEDS
from dashboard.contracts.context import Context
from dashboard.contracts.streams import Attention
from dashboard.contracts.table import Cell, Column, Table
from dashboard.errors import MissingArrayError
from dashboard.figures.head_scores import scores_map
from dashboard.figures.spec import Spec, spec_of
from dashboard.figures.theme import empty_figure
from dashboard.views.attention.head_definitions import HEADINGS, SHORT, SORTED_BY, definitions
from dashboard.views.attention.head_sources import (
    COLOUR,
    GROUP,
    OF_PROBE,
    PROBE,
    SORT,
    SOURCE,
    Scores,
    colour_id,
    coloured,
    is_ready,
    needs,
    require,
    shown,
    uses,
    waiting,
)
from dashboard.views.attention.heads_explained import explain
from dashboard.views.controls import Choice, Text
from dashboard.views.declaration import View, Words
from dashboard.views.grid import grid
from dashboard.views.head_order import ALIKE, GRID, ORDER_OF_TABLE, group_numbers
from dashboard.views.reading import AIDS, aids_of, in_force

ROWS = "heads-rows"
FILTER_SPACE = re.compile(r"\s+|\ufeff")  # what a browser treats as white space
DIRECTION = Choice("order", "Order", choices=(("most", "Highest first"), ("least", "Lowest first")))
GROUP_COLUMN: dict[str, Any] = {"id": GROUP, "name": "Group", "short": "Group", "colour": "", "digits": 0} | {
    "weight": False,
    "chance": None,
    "listed": True,
}
FILTER = Text("filter", "Filter")
PLACEHOLDER = "Filter: pattern, layer …"


def draw(context: Context) -> Spec | None:
    """The data that assets/components/head-table.js builds the table from; there is no drawing."""
    table = shown(context) if is_ready(context) else None
    if table is None:
        return None
    spec, listed = spec_of(empty_figure()), table.listed()
    chance = table.common_chance()
    columns = [_column(table, name, chance, name in listed) for name in HEADINGS]
    values = [table.values.get(name) for name in HEADINGS]
    colour = coloured(context, table)
    if colour is not None and colour[0].of != table.of:  # a score that is not the table's own
        columns.append(_column(*colour, colour[0].common_chance()) | {"id": "colour"})
        values.append(colour[0].values[colour[1]])
    groups = _groups(context)
    if groups is not None:
        columns.append(GROUP_COLUMN | {"most": float(groups.max())})
        values.append(groups)
    rows = [
        [layer, head, PATTERN_NAMES[table.tags[layer][head].pattern]]
        + [None if found is None else _known(float(found[layer, head])) for found in values]
        for layer, head in _all_heads(context.attention)
    ]
    spec["layout"]["meta"] = {"head_rows": {"of": table.of, "columns": columns, "rows": rows}}
    return spec


def _groups(context: Context) -> np.ndarray | None:
    """(layer, head): the group of each head; None if the options ask for no groups, or there can be none."""
    if context.options[GRID.name] != ALIKE and context.options["sort"] != GROUP:
        return None
    try:
        return group_numbers(context)
    except MissingArrayError:  # the grid and the card say so
        return None


def _column(scores: Scores, name: str, chance: dict[str, float], listed: bool = False) -> dict[str, Any]:
    """A column as the browser takes it; `colour` is the grid's option for it."""
    return {
        "id": name,
        "name": HEADINGS[name],
        "short": SHORT[name],
        "colour": colour_id(scores.of, name),
        "digits": 2 if name in PATTERNS else 1,
        "weight": name in PATTERNS,
        "most": _most(name, scores.values.get(name, np.zeros(0))),
        "chance": _known(chance.get(name, math.nan)),
        "listed": listed,
    }


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
    table = shown(context) if is_ready(context) else None
    many = "The only head" if attention.layers * attention.heads == 1 else _all_of(attention)
    least = context.options["order"] == "least"
    by = {"head": "layer by layer", GROUP: "group by group"}.get(sort) or f"sorted by {SORTED_BY[sort]}"
    title = f"{many}, {by}" + (", lowest first" if least and sort in HEADINGS else "")
    if table is None:
        return waiting(context, title)
    over = f"{table.length} random tokens read twice ({len(SEEDS)} seeds)" if table.of == PROBE else "this text"
    caption = (
        f"Means over {over}. A pattern is named only if it is clearly above chance, leaving the first token aside."
    )
    caption += _aided(context, table)
    place = f"{selection.layer}.{selection.head}"
    if sort == GROUP:
        groups = group_numbers(context)
        number = int(groups[selection.layer, selection.head])
        size = _number("heads in it", f"{int((groups == number).sum()):,}")
        return Words(
            title, caption, [_number("selected", place), _number("group", f"{number} of {groups.max()}"), size]
        )
    if sort == "head":
        return Words(title, caption, [_number("selected", place)])
    require(context, table, sort)
    if not table.has(sort):
        return Words(title, caption, [_number("selected", place), html.Span(_none_of(table, sort))])
    values = table.values[sort]
    own = float(values[selection.layer, selection.head])
    name = HEADINGS[sort].split(",")[0].lower()
    spread = table.spreads.get(sort)
    beside = "" if spread is None else f" ± {spread[selection.layer, selection.head]:.2g}"
    footer = [
        _number("selected", place),
        _number(name, _written(table, sort, own) + (beside if math.isfinite(own) else "")),
        _number("by chance at this length", _written(table, sort, table.chance(selection.layer)[sort])),
        *_best(table, sort, least),
    ]
    return Words(title, caption, footer)


def _aided(context: Context, table: Scores) -> str:
    """What the reading aids mean here; "" without any."""
    aids = aids_of(context.attention, context.options)
    if aids == NO_AIDS:
        return ""
    if table.of == PROBE:
        return " Reading aids do not apply to random tokens."
    if table.aids == NO_AIDS:
        return " All tokens are used: this text is too long for reading aids here, or the run has no queries and keys."
    reading = read_attention(context.attention, 0, 0, aids=aids)
    again = " Each row adds up to 1 again." if aids.sums else ""
    return f" {in_force(reading)}{again} Patterns always use all tokens."


def _all_of(attention: Attention) -> str:
    return f"All {attention.layers * attention.heads:,} heads"


def _none_of(table: Scores, sort: str) -> str:
    """Why no head has a score."""
    if not all(math.isnan(chance[sort]) for chance in table.chances.values()):
        return "The scores of all heads are not finite."
    if sort == "induction" and not any(recipe.mask == "causal" for recipe in table.recipes):
        return "Induction needs causal attention; this model attends in both directions."
    if table.of == PROBE:
        return "Random tokens have no such score."
    if table.aids != NO_AIDS:
        return "The reading aids leave nothing for this score. Leave out fewer tokens in Options."
    reasons = {
        "separator": "This text has no separators.",
        "punctuation": "This text has no punctuation.",
        "duplicate": "No token of this text is repeated.",
        "induction": "No token of this text is repeated with another one in between.",
    }
    return reasons.get(sort, "This text is too short for this score.")


def _best(table: Scores, sort: str, least: bool) -> list[Any]:
    """The head at the top of the table."""
    values = table.values[sort]
    if not np.isfinite(values).any():
        return []
    at = np.nanargmin(values) if least else np.nanargmax(values)
    layer, head = np.unravel_index(at, values.shape)
    place = f"{'least' if least else 'most'}: {layer}.{head}"
    return [_number(place, _written(table, sort, float(values[layer, head])))]


def _number(name: str, value: str) -> html.Span:
    return html.Span([name, " ", html.B(value)], className="number")


def _written(table: Scores, sort: str, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    unit = f" {table.column(sort).unit}" if sort in ("entropy", "distance") else ""
    return f"{value:.2f}{unit}" if sort in PATTERNS or value < 10 else f"{value:.1f}{unit}"


def table(context: Context) -> Table | None:
    """A file lists the heads in their order; the page's table lists them as sorted."""
    attention, selection, sort = context.attention, context.selection, context.options["sort"]
    found = shown(context) if is_ready(context) else None
    if found is None:
        return None
    names = [name for name in COLUMNS if name in found.values]
    places, groups = _all_heads(attention), _groups(context)
    if not context.whole:
        require(context, found, sort)
        places = _sorted(places, found.values, sort, context.options["order"] == "least", groups)
        fits = fitting(context.options["filter"])
        places = [place for place in places if fits(*place, PATTERN_NAMES[found.tags[place[0]][place[1]].pattern])]
    columns, arrays = [Column("Layer"), Column("Head"), Column("Pattern")], []
    for name in names:
        columns.append(found.column(name))
        arrays.append(found.values[name])
        if name in found.spreads:
            columns.append(Column(f"{COLUMNS[name].name}, ±", found.column(name).unit))
            arrays.append(found.spreads[name])
    columns += [] if groups is None else [Column("Group")]
    rows: list[tuple[Cell, ...]] = [
        (
            layer,
            head,
            PATTERN_NAMES[found.tags[layer][head].pattern],
            *(float(values[layer, head]) for values in arrays),
            *(() if groups is None else (int(groups[layer, head]),)),
        )
        for layer, head in places
    ]
    here = (selection.layer, selection.head)
    chosen = (places.index(here),) if here in places else ()
    over = "repeated random tokens" if found.of == PROBE else "this text"
    over += "" if found.aids == NO_AIDS else ", with the reading aids applied"
    return Table(f"Every head’s mean scores over {over}", tuple(columns), rows, len(rows), chosen)


def fitting(query: str) -> Callable[[int, int, str], bool]:
    """A test of whether a head (layer, head, pattern) matches a filter, the same as in assets/components/head-table.js:
    “layer 1” does not match “layer 12”."""
    words = FILTER_SPACE.sub(" ", query.lower()).strip()
    found = re.compile(r"(^|[ .])" + re.escape(words) + (r"(?!\d)" if words[-1:].isdigit() else "")) if words else None

    def fits(layer: int, head: int, pattern: str) -> bool:
        return found is None or found.search(f"{layer}.{head} layer {layer} head {head} {pattern}") is not None

    return fits


def _sorted(
    places: list[tuple[int, int]],
    scores: Mapping[str, np.ndarray],
    sort: str,
    least: bool,
    groups: np.ndarray | None = None,
) -> list[tuple[int, int]]:
    """Sort by a score, heads without one last; ties stay in the order of layers and heads."""
    if sort == "head":
        return places[:: -1 if least else 1]
    if sort == GROUP and groups is not None:
        return sorted(places, key=lambda place: int(groups[place]), reverse=least)
    if sort not in scores:
        return places
    sign = 1 if least else -1

    def rank(place: tuple[int, int]) -> tuple[bool, float]:
        value = _known(float(scores[sort][place]))  # rounded as in the page's table, so that ties there are ties here
        return (True, 0.0) if value is None else (False, sign * value)

    return sorted(places, key=rank)


def export(context: Context) -> go.Figure | None:
    """The score that sorts the table, layer × head."""
    selection, options = context.selection, context.options
    found = shown(context) if is_ready(context) else None
    if found is None:
        return None
    wanted = (options["sort"], options["colour"].removeprefix(OF_PROBE), *found.listed())
    chosen = next((name for name in wanted if found.has(name)), None)
    if chosen is None:
        return None
    values = np.asarray(found.values[chosen], dtype=np.float64)
    place = (selection.layer, selection.head)
    heading = found.column(chosen).heading + (", random tokens" if found.of == PROBE else "")
    return scores_map(values, heading, _most(chosen, values), chosen in PATTERNS, place)


def controls_line() -> html.Div:
    """The line above the table: filter, whose scores, grid colours, definitions and the number of heads shown
    (assets/components/head-table.js)."""
    field = html.Div(className="head-filter-slot")
    sources = [html.Option(label, value=value) for value, label in SOURCE.choices]
    source = html.Label(
        [html.Span("Scores: "), html.Select(sources, id="heads-scores-box")], className="head-colour head-source"
    )
    of_text = [html.Option(label, value=value) for value, label in COLOUR.choices if not value.startswith(OF_PROBE)]
    of_probe = [
        html.Option(HEADINGS[value.removeprefix(OF_PROBE)], value=value)
        for value, _label in COLOUR.choices
        if value.startswith(OF_PROBE)
    ]
    box = [of_text[0], html.Optgroup(of_text[1:], label="This text")]
    box.append(html.Optgroup(of_probe, label="Repeated random tokens"))
    colour = html.Label(
        [html.Span("Colour the grid by "), html.Select(box, id="heads-colour-box")], className="head-colour"
    )
    count = html.Span("", id="heads-count", className="head-count", role="status")
    line = [field, source, colour, definitions(), count]
    return html.Div(line, className="head-line", **attributes(data_placeholder=PLACEHOLDER))


def rows_table() -> dag.AgGrid:
    """The table; its columns and rows arrive with the figure."""
    return grid(ROWS, "id", "No head matches the filter.")


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
    controls=(SORT, DIRECTION, FILTER, SOURCE, COLOUR, *ORDER_OF_TABLE, *AIDS),
    needs=needs,
    uses=uses,
    above=controls_line,
    late=rows_table,
    is_table=True,
    table=table,
    export=export,
)
