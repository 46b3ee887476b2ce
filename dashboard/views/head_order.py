"""In which order the grid of heads stands, and what the page says of it: the controls, and the answer to the browser.

assets/components/head-grid.js draws the grid, and asks for the order that the page's options name; a file of all heads
has the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dashboard.analysis.aggregates import Head
from dashboard.analysis.attention_reading import NO_AIDS
from dashboard.analysis.head_order import by_score, similar_heads
from dashboard.contracts.context import Context, Options
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import MissingArrayError
from dashboard.views.attention import head_sources
from dashboard.views.attention.head_definitions import HEADINGS, SORTED_BY
from dashboard.views.controls import Choice, Control, Number
from dashboard.views.library import Library
from dashboard.views.reading import AIDS, aids_of

LAYER, SCORE, ALIKE = "layer", "score", "alike"
GRID = Choice(
    "grid",
    "Order of the heads",
    (
        (LAYER, "By layer"),
        (SCORE, "By score: the largest first"),
        (ALIKE, "By what they do on this text, in groups"),
    ),
    shared=True,
    beside=True,
    help="Uses the score that colours the grid in Heads; if none does, the score that sorts the table there.",
)
GROUPS = Number("groups", "Number of groups", 1, 20, 8, 1, shared=True, beside=True, when=(("grid", (ALIKE,)),))
ORDER: tuple[Control, ...] = (GRID, GROUPS)
ORDER_OF_TABLE = tuple(replace(control, beside=False) for control in ORDER)  # for Heads, whose table has the groups
SHARED: tuple[Control, ...] = (*ORDER, *AIDS)  # controls of the Attention card
OF_HEADS: tuple[Control, ...] = (
    head_sources.SOURCE,
    head_sources.COLOUR,
    head_sources.SORT,
)  # controls of its tab Heads


@dataclass(frozen=True)
class GridOrder:
    """All heads in the order of the grid.

    Attributes:
        groups: of heads; a single one where there are no groups. said: what the order is, in a sentence; "" by layer.
        complete: whether it is what the options ask for; otherwise it is by layer, and `said` gives the reason.
    """

    groups: tuple[tuple[Head, ...], ...]
    said: str = ""
    complete: bool = True

    @property
    def is_by_layer(self) -> bool:
        return not self.said or not self.complete


def uses(context: Context) -> tuple[DerivedRequest, ...]:
    """The results that an order may be made of; nobody computes them for its sake."""
    return (head_sources.request(context),) if context.options.get(GRID.name) == SCORE else ()


def order_of(context: Context) -> GridOrder:
    """The order that a context's options ask for: `ORDER`, the aids, and of *Heads* what is scored."""
    attention, grid = context.attention, context.options.get(GRID.name, LAYER)
    places = tuple((layer, head) for layer in range(attention.layers) for head in range(attention.heads))
    try:
        if grid == ALIKE:
            return _alike(context)
        if grid == SCORE:
            why = "By layer for now: open the Heads tab to compute the scores on random tokens."
            return _by_score(context) or GridOrder((places,), why, False)
    except MissingArrayError as error:
        return GridOrder((places,), f"By layer: {error}", False)
    return GridOrder((places,))


def _alike(context: Context) -> GridOrder:
    attention, aids = context.attention, aids_of(context.attention, context.options)
    found = similar_heads(attention, aids, int(context.options.get(GROUPS.name, GROUPS.default)))
    many = len(found.groups)
    groups = f"{many} groups of heads that attend alike" if many > 1 else "One group, similar heads side by side"
    if found.source == "pictures":
        compared = "their small pictures, which cover all tokens"
    else:
        compared = "the square roots of their weights on this text" + (
            "" if aids == NO_AIDS else ", with the reading aids applied"
        )
    return GridOrder(found.groups, f"{groups} (Ward’s method; compared: {compared}).")


def _by_score(context: Context) -> GridOrder | None:
    """None if the scores are still to be computed."""
    colour, source = context.options[head_sources.COLOUR.name], context.options[head_sources.SOURCE.name]
    if colour == "pictures":
        sort = context.options[head_sources.SORT.name]
        name = sort if sort in HEADINGS else "previous"
    else:
        source = head_sources.PROBE if colour.startswith(head_sources.OF_PROBE) else head_sources.TEXT
        name = colour.removeprefix(head_sources.OF_PROBE)
    is_probe = source == head_sources.PROBE and context.stream is context.run.main
    scores = head_sources.of_probe(context) if is_probe else head_sources.of_text(context)
    if scores is None:
        return None
    head_sources.require(context, scores, name)
    read = aids_of(context.attention, context.options) != NO_AIDS
    of = "on random tokens" if is_probe else "on this text" + (", as the reading aids leave it" if read else "")
    if name not in scores.values:
        raise MissingArrayError(
            f"There is no score “{HEADINGS[name]}” for random tokens. Choose another score in Heads."
        )
    said = f"By {SORTED_BY[name]} {of}, the largest first, row by row."
    return GridOrder((by_score(scores.values[name]),), said)


def group_numbers(context: Context) -> np.ndarray:
    """(layer, head) int: the group of similar heads that each is in, counted from 1.

    Raises:
        MissingArrayError: the heads cannot be compared.
    """
    attention, aids = context.attention, aids_of(context.attention, context.options)
    found = similar_heads(attention, aids, int(context.options.get(GROUPS.name, GROUPS.default)))
    return found.group_of(attention.layers, attention.heads)


def options_from(query: Mapping[str, object]) -> Options:
    """The options of `order_of` in an address."""
    shared = {control.name: control.parse(query.get(f"attention-{control.name}")) for control in SHARED}
    return shared | {control.name: control.parse(query.get(f"heads-{control.name}")) for control in OF_HEADS}


def order_as_asked(run: ModelRun, query: Mapping[str, object], library: Library) -> GridOrder:
    """The order that an address asks for."""
    context = Context(run, Selection(run.key, 0, 0, 0), options_from(query))
    return order_of(replace(context, results=library.kept_of(run, uses(context))))


def told(order: GridOrder) -> dict[str, Any]:
    """An order as the browser takes it: `groups` of [layer, head], null by layer; and `said`."""
    groups = None if order.is_by_layer else [[list(place) for place in group] for group in order.groups]
    return {"groups": groups, "said": order.said}
