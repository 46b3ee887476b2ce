"""What the heatmap's card says: its title, caption, exact numbers, and explanation."""

from __future__ import annotations

from typing import Any

import numpy as np
from dash import html

from dashboard.analysis.attention_reading import AttentionReading
from dashboard.analysis.strongest_keys import strongest_keys
from dashboard.components.glossary import term
from dashboard.contracts.context import Context
from dashboard.contracts.selection import Selection
from dashboard.contracts.streams import Attention
from dashboard.figures.attention import LARGEST_CELLS
from dashboard.views.declaration import Explanation, Sentence, Words
from dashboard.views.explanation import NOT_COMPUTED, counted, named
from dashboard.views.not_finite import not_finite_message
from dashboard.views.reading import (
    being_computed,
    how_of,
    in_force,
    is_of_several,
    made_of,
    name_of,
    place_of,
    position_of,
    reading_of,
    sums_of,
    waits_for,
)
from dashboard.views.tables import row_blocks
from dashboard.views.token_spans import token_at


def text(context: Context) -> Words:
    reading, selection = reading_of(context), context.selection
    if 0 in reading.shape:
        return Words("Attention", message=_nothing_left(reading))
    if waits_for(reading):
        return Words(f"{place_of(reading)} …", message=being_computed(context.run, reading), waiting=True)
    lost = _lost(reading)
    if len(lost) == len(reading.rows):
        message = not_finite_message(context.run, f"{place_of(reading)}: the weights are not finite.")
        return Words("Attention", message=message)
    token, second = selection.token, selection.second
    footer = _reads(reading, token, "selected", second)
    if second is not None and second != token:
        footer = [*footer, html.Span(className="line-end"), *_reads(reading, second, "second", token)]
    return Words(_title(reading, token), _caption(reading) + _empty_rows(reading, lost), footer)


def _title(reading: AttentionReading, token: int) -> Any:
    row, asks = reading.row_of(token), reading.attention.asks
    if row is None:
        return [f"{place_of(reading)}: ", token_at(asks, token), f" ({token}) is left out"]
    return [f"{place_of(reading)}: what ", name_of(reading, 0, row), f" ({position_of(reading, 0, row)}) attends to"]


def _nothing_left(reading: AttentionReading) -> list[Any]:
    side = "tokens to attend from" if not reading.rows else "tokens to attend to"
    return [html.B(f"No {side} are left."), html.P("Leave out fewer tokens in Options, or run a longer text.")]


def _lost(reading: AttentionReading) -> tuple[int, ...]:
    """The rows whose weights are not finite."""

    def look() -> tuple[int, ...]:
        rows = np.concatenate([np.isfinite(weights).all(axis=1) for _first, weights in row_blocks(reading)])
        return tuple(np.flatnonzero(~rows).tolist())

    attention = reading.attention
    if all(_clear(attention, layer, head) for layer, head in reading.heads):
        return ()
    return attention.remember(("not finite", reading.aggregate, reading.heads, reading.share, reading.aids), look)


def _clear(attention: Attention, layer: int, head: int) -> bool:
    """Whether a head's weights are known to be finite."""
    return (
        attention.has("received")
        and bool(np.isfinite(attention.received[layer, head]).all())
        and _known(attention, layer, head)
    )


def _known(attention: Attention, layer: int, head: int) -> bool:
    """Whether the arrays behind a head's weights are finite: its layer's queries and keys, or its stored weights."""

    def look() -> bool:
        with np.errstate(all="ignore"):
            return all(bool(np.isfinite(values.sum())) for values in attention.made_of(layer, head))

    stored = attention.recipe(layer).stored is not None
    return attention.remember(("finite", layer, head if stored else None), look)


def _empty_rows(reading: AttentionReading, lost: tuple[int, ...]) -> str:
    said = ""
    if lost:
        first = position_of(reading, 0, lost[0])
        rows = (
            f"Row {first} is"
            if len(lost) == 1
            else f"{len(lost)} of {len(reading.rows)} rows, from token {first} on, are"
        )
        said += f" {rows} empty: the weights are not finite."
    if reading.aids.leaves_out and (emptied := np.flatnonzero(reading.emptied()).tolist()):
        first = position_of(reading, 0, emptied[0])
        rows = f"Row {first} is" if len(emptied) == 1 else f"{len(emptied)} rows, the first at {first}, are"
        said += (
            f" {rows} empty: all their attention is on what is left out."
            if len(emptied) > 1
            else (f" {rows} empty: all its attention is on what is left out.")
        )
    return said


def _reads(reading: AttentionReading, query: int, mark: str, other: int | None) -> list[Any]:
    """One line: how much a token attends to the other of two, and what it attends to most, with exact weights."""
    at = reading.row_of(query)
    if at is None:
        name = token_at(reading.attention.asks, query, class_name=f"tok {mark}")
        return [html.Span([name, f" ({query}) is left out"], className="lead-in")]
    row, name = reading.weights(at, at + 1)[0], name_of(reading, 0, at, f"tok {mark}")
    if not np.isfinite(row).all():
        return [html.Span([name, ": its weights are not finite"], className="lead-in")]
    if reading.aids.leaves_out and reading.emptied(at, at + 1)[0]:
        return [html.Span([name, ": all of its attention is on what is left out"], className="lead-in")]
    column = None if other is None else reading.column_of(other)
    strongest, kept = strongest_keys(row), _kept(reading, at)
    if column is None:
        lead = html.Span([name, " attends most to"], className="lead-in verb")
        most = strongest[: 4 if reading.aids.leaves_out else 5]
        return [lead, *(_weight(reading, item.token, item.weight) for item in most), *kept]
    # all of it fits on one line
    rest = [item for item in strongest if item.token != column][: 3 if reading.aids.leaves_out else 4]
    if reading.allowed(at, at + 1)[0][column]:
        pair = [
            html.Span([name, " attends to"], className="lead-in verb"),
            _weight(reading, column, float(row[column])),
        ]
    else:
        pair = [_cannot(reading, name, at, column)]
    if not rest:
        return [*pair, *kept]
    next_ones = (_weight(reading, item.token, item.weight) for item in rest)
    return [*pair, html.Span("Next", className="lead-in"), *next_ones, *kept]


def _cannot(reading: AttentionReading, name: html.Span, row: int, column: int) -> html.Span:
    later = reading.mask.kind == "causal" and reading.columns[column][0] > reading.rows[row][-1]
    why = "it comes later" if later else "it is outside the layer’s window"
    there, position = name_of(reading, 1, column), position_of(reading, 1, column)
    return html.Span([name, " cannot attend to ", there, f" ({position}): {why}"], className="lead-in")


def _kept(reading: AttentionReading, row: int) -> list[html.Span]:
    """How much of a row's attention is kept, if something is left out."""
    if not reading.aids.leaves_out:
        return []
    return [html.Span(["attention kept", _number(float(reading.shares(row, row + 1)[0]))], className="number")]


def _weight(reading: AttentionReading, column: int, weight: float) -> html.Span:
    name, position = name_of(reading, 1, column), position_of(reading, 1, column)
    return html.Span([name, html.Span(f" ({position})", className="pos"), _number(weight)], className="number")


def _number(weight: float) -> html.B:
    return html.B(_short(weight), title=f"{weight:.9g}")


def _short(weight: float) -> str:
    return f"{weight:.3f}" if weight >= 5e-4 or weight == 0 else f"{weight:.1e}"


def _caption(reading: AttentionReading) -> str:
    largest = " A pixel that holds several weights shows the largest." if max(reading.shape) > LARGEST_CELLS else ""
    what = "word" if reading.aids.words else "token"
    more = " ".join(part for part in (made_of(reading), in_force(reading)) if part)
    return (
        f"Each row shows where one {what} looks; {sums_of(reading)}. Stronger colour means more attention (square-root "
        f"scale).{largest}{' ' if more else ''}{more}"
    )


def explain(context: Context) -> Explanation:
    """Explain heads or what is made of them, the selected row, and how to read it."""
    reading = reading_of(context)
    if waits_for(reading):
        return _what(reading), NOT_COMPUTED, _how_to_read(reading)
    return _what(reading), _selected_row(reading, context.selection), _how_to_read(reading)


def _what(reading: AttentionReading) -> Sentence:
    attention = reading.attention
    sizes: Sentence = [*counted(attention.layers, "layer"), " of ", *counted(attention.heads, "head")]
    if reading.aggregate == "head":
        spreads: Sentence = ["spreads its ", term("attention"), " over the tokens in its own way."]
        return ["The model has ", *sizes, ", and each head ", *spreads]
    if reading.aggregate == "rollout":
        follows: Sentence = ["The model has ", *sizes, ", and ", term("attention rollout"), " follows their attention"]
        return [*follows, f" from the input through layer {reading.layer}."]
    return [
        "The model has ",
        *sizes,
        f", and each cell is the {how_of(reading)} weight of {len(reading.heads):,} of these heads.",
    ]


def _selected_row(reading: AttentionReading, selection: Selection) -> Sentence:
    token = selection.token
    row = reading.row_of(token)
    if row is None or 0 in reading.shape:
        return [*named(reading.attention.asks, token), " is left out; Options says which tokens are."]
    weights = reading.weights(row, row + 1)[0]
    name: Sentence = [name_of(reading, 0, row), f"\u00a0({position_of(reading, 0, row)})"]
    if not np.isfinite(weights).all():
        return [f"{_where(reading)}, the weights of ", *name, " are not finite, so its row is empty."]
    if reading.aids.leaves_out and reading.emptied(row, row + 1)[0]:
        return [f"{_where(reading)}, all attention of ", *name, " is on what is left out, so its row is empty."]
    best = int(weights.argmax())
    most, whole = _short(float(weights[best])), _whole(reading)
    itself = reading.attention.asks is reading.attention.answers and reading.columns[best] == reading.rows[row]
    whom: Sentence = ["itself"] if itself else [name_of(reading, 1, best), f"\u00a0({position_of(reading, 1, best)})"]
    if int((weights == weights[best]).sum()) > 1:
        what = "word" if reading.aids.words else "token"
        return [
            f"{_where(reading)}, no {what} gets more attention from ",
            *name,
            " than ",
            *whom,
            f": weight {most}{whole}",
        ]
    return [f"{_where(reading)}, ", *name, " attends most to ", *whom, f": weight {most}{whole}"]


def _where(reading: AttentionReading) -> str:
    place = place_of(reading)
    if reading.aggregate == "rollout":
        return f"In the rollout through layer {reading.layer}"
    return f"In {'the ' if is_of_several(reading) else ''}{place[0].lower()}{place[1:]}"


def _whole(reading: AttentionReading) -> str:
    if reading.aids.sums:
        return ", where 1 would be all of its remaining attention."
    if reading.aggregate in ("max", "max-all"):
        return ", in the head where it is largest."
    return ", where 1 would be all of its attention."


def _how_to_read(reading: AttentionReading) -> Sentence:
    queries, keys = reading.shape
    what = "word" if reading.aids.words else "token"
    rows = "The only row" if queries == 1 else f"Each of the {queries:,} rows"
    columns = "the only column" if keys == 1 else f"each of the {keys:,} columns"
    reads: Sentence = [f"{rows} is a {what} that looks (", term("query"), f"), {columns} a {what} that is looked at ("]
    sums: Sentence = ["); a row adds up to 100\u00a0%."]
    if reading.aggregate in ("max", "max-all") and not reading.aids.sums:
        sums = ["); a row may exceed 100\u00a0%."]
    elif reading.aids.leaves_out and not reading.aids.sums:
        sums = ["); a row keeps at most 100\u00a0%."]
    elif reading.has_sinks and not reading.aids.sums:
        sums = ["); a row adds up to less than 100\u00a0%; the rest goes to the ", term("attention sink"), "."]
    return [*reads, term("key"), *sums]
