"""Everywhere: one weight in every head, layer × head. It shows which heads attend from one token
to another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.everywhere import weights_everywhere
from dashboard.components.glossary import term
from dashboard.contracts.context import Context, Options
from dashboard.contracts.streams import Attention
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.head_scores import framed_scores, page_scores
from dashboard.figures.spec import Spec
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, Sentence, View, Words
from dashboard.views.explanation import counted, named
from dashboard.views.not_finite import not_finite_message
from dashboard.views.token_spans import token_at

PAIR, BACK, FIRST, RECEIVED = "pair", "back", "first", "received"
WEIGHT = Choice(
    "weight",
    "Weight",
    (
        (PAIR, "From the selected to the second token"),
        (BACK, "From the second to the selected token"),
        (FIRST, "From the selected to the first token"),
        (RECEIVED, "Received by the selected token, on average"),
    ),
)
READS: Mapping[str, tuple[str, ...]] = {
    PAIR: ("run", "stream", "token", "second"),
    BACK: ("run", "stream", "token", "second"),
    FIRST: ("run", "stream", "token"),
    RECEIVED: ("run", "stream", "token"),
}
NAMED = 4  # heads in the footer, besides the selected one


@dataclass(frozen=True)
class Asked:
    """The weight to show: from `query` to `key`; a mean over all queries if `query` is None."""

    query: int | None
    key: int


def reads(options: Options) -> tuple[str, ...]:
    return READS[options["weight"]]


def _asked(context: Context) -> Asked | None:
    """The weight that the options ask for; None if it needs a second token and none is selected."""
    token, weight = context.selection.token, context.options["weight"]
    if weight == FIRST:
        return Asked(token, 0)
    if weight == RECEIVED:
        return Asked(None, token)
    second = context.selection.second
    if second is None:
        return None
    return Asked(token, second) if weight == PAIR else Asked(second, token)


def weights(attention: Attention, asked: Asked) -> np.ndarray:
    """(layer, head) float32: NaN where the mask forbids the pair or the weight is not finite."""
    if asked.query is None:
        return np.asarray(attention.received[:, :, asked.key], dtype=np.float32)
    return weights_everywhere(attention, asked.query, asked.key)


def _shown(context: Context) -> np.ndarray | None:
    """(layer, head) weights; None if there is nothing to show."""
    asked = _asked(context)
    values = None if asked is None else weights(context.attention, asked)
    return values if values is not None and np.isfinite(values).any() else None


def draw(context: Context) -> Spec | None:
    values = _shown(context)
    return None if values is None else page_scores(values)


def export(context: Context) -> go.Figure | None:
    values, selection = _shown(context), context.selection
    if values is None:
        return None
    return framed_scores(values, (selection.layer, selection.head))


def text(context: Context) -> Words:
    attention, selection, asked = context.attention, context.selection, _asked(context)
    if asked is None:
        return Words("Every head", message=_no_second(len(attention.asks)))
    values = weights(attention, asked)
    key = [token_at(attention.answers, asked.key), f" ({asked.key})"]
    if asked.query is None:
        title = ["How much attention ", *key, " receives in every head"]
        what = "the mean weight on this token over all tokens of the text"
    else:
        query = [token_at(attention.asks, asked.query), f" ({asked.query})"]
        if not _allowed(attention, asked.query, asked.key).any():
            return Words("Every head", message=_forbidden(query, key, asked, context.options["weight"]))
        title = ["How much ", *query, " attends to ", *key, " in every head"]
        what = "the weight between these two tokens"
    if not np.isfinite(values).any():
        return Words("Every head", message=not_finite_message(context.run, "These weights are not finite."))
    caption = f"One cell per head: {what}. Stronger colour means more attention (square-root scale)."
    return Words(title, caption + _empty(attention, asked, values), _footer(values, selection.layer, selection.head))


def _no_second(tokens: int) -> list[Any]:
    if tokens == 1:
        return [
            html.B("This text has a single token."),
            html.P("Choose another weight in Options, or run a longer text."),
        ]
    sentence = "The map then shows how much each head attends from the selected token to the second one."
    return [html.B("Shift-click a second token."), html.P([sentence, " Options has other weights."])]


def _forbidden(query: list[Any], key: list[Any], asked: Asked, weight: str) -> list[Any]:
    later = asked.query is not None and asked.key > asked.query
    why = "it comes later" if later else "it is outside the layers’ windows"
    other = "From the second to the selected token" if weight == PAIR else "From the selected to the second token"
    return [
        html.B(["No head can attend from ", *query, " to ", *key, f": {why}."]),
        html.P(f"Choose “{other}” in Options, or another token."),
    ]


def _allowed(attention: Attention, query: int, key: int) -> np.ndarray:
    """(layer,) bool: whether the mask of each layer lets the query attend to the key."""
    return np.array([attention.allowed(layer, query, query + 1)[0][key] for layer in range(attention.layers)])


def _empty(attention: Attention, asked: Asked, values: np.ndarray) -> str:
    """The message about cells without a colour."""
    if np.isfinite(values).all():
        return ""
    if asked.query is not None and not _allowed(attention, asked.query, asked.key).all():
        return " Empty rows: outside that layer’s window."
    return " Empty cells: the weight is not finite."


def _footer(values: np.ndarray, layer: int, head: int) -> list[Any]:
    """The selected head's weight, and the heads with the largest weights."""
    order = np.argsort(-np.nan_to_num(values.ravel(), nan=-1.0), kind="stable")[: NAMED + 1]
    places = [(int(i) // values.shape[1], int(i) % values.shape[1]) for i in order]
    largest = [place for place in places if math.isfinite(values[place]) and place != (layer, head)][:NAMED]
    return [
        _number(f"selected {layer}.{head}", float(values[layer, head])),
        html.Span("Largest", className="lead-in"),
        *(_number(f"{one[0]}.{one[1]}", float(values[one])) for one in largest),
    ]


def _number(name: str, weight: float) -> html.Span:
    if not math.isfinite(weight):
        return html.Span([f"{name} ", html.B("–")], className="number")
    return html.Span([f"{name} ", html.B(_short(weight), title=f"{weight:.9g}")], className="number")


def explain(context: Context) -> Explanation:
    """What a cell is, the selected head's weight, and the largest weight."""
    attention, asked = context.attention, _asked(context)
    what: Sentence = ["The model has ", *counted(attention.layers, "layer"), " of ", *counted(attention.heads, "head")]
    what += [", and each cell is one of these heads."]
    if asked is None:
        there = f"Shift-click one of the {len(attention.asks):,} tokens to make it the second one."
        if len(attention.asks) == 1:
            there = "This text has a single token, so there is no second one to attend to."
        if len(attention.asks) == 1:
            return what, [there], ["Options has two weights that need only one token."]
        return what, [there], ["The map then shows how much each head attends from one of the two to the other."]
    values = weights(attention, asked)
    if not np.isfinite(values).any():
        if asked.query is None or _allowed(attention, asked.query, asked.key).any():
            return what, ["The weights are not finite here."], ["So no head can be compared with another."]
        why = "A token that comes later, or lies outside a layer’s window, gets no "
        return what, ["No head has a weight here."], [why, term("attention"), ": the mask forbids it."]
    return what, _own_weight(context, asked, values), _largest(values)


def _own_weight(context: Context, asked: Asked, values: np.ndarray) -> Sentence:
    attention, layer, head = context.attention, context.selection.layer, context.selection.head
    weight, key = float(values[layer, head]), named(attention.answers, asked.key)
    if not math.isfinite(weight):
        return [f"The selected head {layer}.{head} has no weight here."]
    if asked.query is None:
        over = f"On average over the {len(attention.asks):,} tokens, head {head} of layer {layer} attends to "
        return [over, *key, f" with weight {_short(weight)}, where 1 would be all of the ", term("attention"), "."]
    query = named(attention.asks, asked.query)
    there: Sentence = [f"In head {head} of layer {layer}, ", *query, " attends to ", *key]
    return [*there, f" with weight {_short(weight)}, where 1 would be all of its attention."]


def _largest(values: np.ndarray) -> Sentence:
    layer, head = (int(i) for i in np.unravel_index(np.nanargmax(values), values.shape))
    most = _short(float(values[layer, head]))
    return [f"The largest is {most}, in head {head} of layer {layer}; it says where a head looks, not what it does."]


def _short(weight: float) -> str:
    return f"{weight:.3f}" if weight >= 5e-4 or weight == 0 else f"{weight:.1e}"


def table(context: Context) -> Table | None:
    """One row per head: in a file in the heads' order, on the page with the largest weight first."""
    values, selection = _shown(context), context.selection
    if values is None:
        return None
    places = [(layer, head) for layer in range(values.shape[0]) for head in range(values.shape[1])]
    if not context.whole:
        places.sort(key=lambda place: -float(np.nan_to_num(values[place], nan=-1.0)))
    rows: list[tuple[Cell, ...]] = [
        (layer, head, float(values[layer, head]) if math.isfinite(values[layer, head]) else None)
        for layer, head in places
    ]
    here = places.index((selection.layer, selection.head))
    columns = (Column("Layer"), Column("Head"), Column("Weight"))
    return Table("The weight in every head", columns, rows, len(rows), (here,))


VIEW = View(
    name="everywhere",
    title="Every head",
    card="attention",
    tab="Everywhere",
    order=3,
    invitation=(
        "Run a text to see which heads attend from one token to another.",
        "One cell for each head, layer by layer; choosing one selects that head.",
    ),
    figure_reads=("run", "stream", "token", "second"),
    reads=reads,
    export_reads=lambda options: (*READS[options["weight"]], "layer", "head"),
    selects="axes",
    draw=draw,
    text=text,
    explain=explain,
    table=table,
    export=export,
    controls=(WEIGHT,),
)
