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

from dashboard.analysis.attention_reading import AT_ONCE, NO_AIDS, Aids, AttentionReading, read_attention
from dashboard.analysis.everywhere import received_everywhere, weights_everywhere
from dashboard.components.glossary import term
from dashboard.contracts.context import Context, Options
from dashboard.contracts.streams import Attention
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.head_scores import framed_scores, page_scores
from dashboard.figures.spec import Spec
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, Sentence, View, Words
from dashboard.views.explanation import counted
from dashboard.views.not_finite import not_finite_message
from dashboard.views.reading import AIDS, aids_of, in_force, name_of, position_of
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


def weights(attention: Attention, asked: Asked, aids: Aids = NO_AIDS) -> np.ndarray:
    """(layer, head) float32: NaN where the mask forbids the pair, the aids leave it out, or it is not finite."""
    if asked.query is not None:
        return weights_everywhere(attention, asked.query, asked.key, aids)
    if aids == NO_AIDS:
        return np.asarray(attention.received[:, :, asked.key], dtype=np.float32)
    return received_everywhere(attention, asked.key, aids)


def _too_long(attention: Attention, asked: Asked, aids: Aids) -> bool:
    """Whether the weights need every head's whole matrix, and the text is too long for that while somebody waits."""
    queries, keys = attention.shape
    return asked.query is None and aids != NO_AIDS and attention.layers * attention.heads * queries * keys > AT_ONCE


def _shown(context: Context) -> np.ndarray | None:
    """(layer, head) weights; None if there is nothing to show."""
    asked, aids = _asked(context), aids_of(context.attention, context.options)
    if asked is None or _too_long(context.attention, asked, aids):
        return None
    values = weights(context.attention, asked, aids)
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
    reading = read_attention(attention, 0, 0, aids=aids_of(attention, context.options))
    refused = _refused(reading, asked)
    if refused is not None:
        return Words("Every head", message=refused)
    values, key = weights(attention, asked, reading.aids), _named(reading, 1, asked.key)
    if asked.query is None:
        title = ["How much attention ", *key, " receives in every head"]
        what = "the mean weight on this token over all tokens of the text"
        if asked.key and attention.recipe(0).mask == "causal":
            what += " (those before it count as 0)"
    else:
        query = _named(reading, 0, asked.query)
        if not _allowed(reading, asked).any():
            return Words("Every head", message=_forbidden(query, key, asked, context.options["weight"]))
        title = ["How much ", *query, " attends to ", *key, " in every head"]
        what = f"the weight between these two {'words' if reading.aids.words else 'tokens'}"
    if not np.isfinite(values).any():
        return Words("Every head", message=not_finite_message(context.run, "These weights are not finite."))
    caption = f"One cell per head: {what}. Stronger colour means more attention (square-root scale)."
    caption += "".join(f" {part}" for part in (in_force(reading), _again(reading)) if part)
    return Words(title, caption + _empty(reading, asked, values), _footer(values, selection.layer, selection.head))


def _no_second(tokens: int) -> list[Any]:
    if tokens == 1:
        return [
            html.B("This text has a single token."),
            html.P("Choose another weight in Options, or run a longer text."),
        ]
    sentence = "The map then shows how much each head attends from the selected token to the second one."
    return [html.B("Shift-click a second token."), html.P([sentence, " Options offers other weights."])]


def _forbidden(query: list[Any], key: list[Any], asked: Asked, weight: str) -> list[Any]:
    later = asked.query is not None and asked.key > asked.query
    why = "it comes later" if later else "it is outside the layers’ windows"
    other = "From the second to the selected token" if weight == PAIR else "From the selected to the second token"
    return [
        html.B(["No head can attend from ", *query, " to ", *key, f": {why}."]),
        html.P(f"Choose “{other}” in Options, or another token."),
    ]


def _named(reading: AttentionReading, side: int, token: int) -> list[Any]:
    """A token, or the word that it is in, with its position."""
    place = reading.row_of(token) if side == 0 else reading.column_of(token)
    if place is None:
        return [token_at((reading.attention.asks, reading.attention.answers)[side], token), f" ({token})"]
    return [name_of(reading, side, place), f" ({position_of(reading, side, place)})"]


def _again(reading: AttentionReading) -> str:
    return "Each row adds up to 1 again." if reading.aids.sums else ""


def _refused(reading: AttentionReading, asked: Asked) -> list[Any] | None:
    """The message if the reading aids leave nothing to show; None if they do not."""
    attention = reading.attention
    if _too_long(attention, asked, reading.aids):
        return [
            html.B("This weight needs every head’s whole matrix, and the text is too long for that."),
            html.P("Choose another weight in Options, or switch the reading aids off."),
        ]
    gone = [asked.query] if asked.query is not None and reading.row_of(asked.query) is None else []
    gone += [asked.key] if reading.column_of(asked.key) is None and asked.key not in gone else []
    if not gone:
        return None
    names: list[Any] = []
    for token in gone:
        names += [*([" and "] if names else []), token_at(attention.asks, token), f" ({token})"]
    verb = "is" if len(gone) == 1 else "are"
    return [html.B([*names, f" {verb} left out."]), html.P("Choose another token, or leave out fewer in Options.")]


def _allowed(reading: AttentionReading, asked: Asked) -> np.ndarray:
    """(layer,) bool: whether the mask of each layer lets the query attend to the key."""
    row, column = reading.row_of(asked.query or 0), reading.column_of(asked.key)
    if row is None or column is None:
        return np.zeros(reading.attention.layers, dtype=bool)
    layers = [
        read_attention(reading.attention, layer, 0, aids=reading.aids) for layer in range(reading.attention.layers)
    ]
    return np.array([one.allowed(row, row + 1)[0][column] for one in layers])


def _empty(reading: AttentionReading, asked: Asked, values: np.ndarray) -> str:
    """The message about cells without a colour."""
    if np.isfinite(values).all():
        return ""
    if asked.query is not None and not _allowed(reading, asked).all():
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
            return what, [there], ["Two of the weights in Options need only one token."]
        return what, [there], ["The map then shows how much each head attends from one of the two to the other."]
    reading = read_attention(attention, 0, 0, aids=aids_of(attention, context.options))
    if _refused(reading, asked) is not None:
        return (
            what,
            ["Nothing is shown: the reading aids leave this weight out, or it would take too long."],
            ["Choose another weight in Options, or switch the reading aids off."],
        )
    values = weights(attention, asked, reading.aids)
    if not np.isfinite(values).any():
        if asked.query is None or _allowed(reading, asked).any():
            return what, ["The weights are not finite here."], ["So no head can be compared with another."]
        why = "A token that comes later, or lies outside a layer’s window, gets no "
        return what, ["No head has a weight here."], [why, term("attention"), ": the mask forbids it."]
    return what, _own_weight(context, reading, asked, values), _largest(values)


def _own_weight(context: Context, reading: AttentionReading, asked: Asked, values: np.ndarray) -> Sentence:
    layer, head = context.selection.layer, context.selection.head
    weight, key = float(values[layer, head]), _named(reading, 1, asked.key)
    if not math.isfinite(weight):
        return [f"The selected head {layer}.{head} has no weight here."]
    if asked.query is None:
        rows = f"{len(reading.rows):,} {'words' if reading.aids.words else 'tokens'}"
        over = f"On average over the {rows}, head {head} of layer {layer} attends to "
        return [over, *key, f" with weight {_short(weight)}, where 1 would be all of the ", term("attention"), "."]
    query = _named(reading, 0, asked.query)
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
    controls=(WEIGHT, *AIDS),
)
