"""Norms: attention weighted by the length of what it passes on, ‖α f(x)‖, beside the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention_norms import head_norms, layer_norms, mean_weights
from dashboard.components.glossary import term
from dashboard.compute import attention_norms
from dashboard.contracts.context import Context, Options
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.passed_on import PassedOn
from dashboard.contracts.table import Cell, Column, Table
from dashboard.errors import MissingArrayError
from dashboard.figures.attention_norms import framed_norms, largest, page_norms
from dashboard.figures.spec import Spec
from dashboard.figures.text import minus
from dashboard.figures.tokens import run_labels
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, Sentence, View, Words, waits
from dashboard.views.explanation import NOT_COMPUTED, named
from dashboard.views.not_finite import not_finite_message
from dashboard.views.tables import BLOCK, marked
from dashboard.views.token_spans import token_at

HEADS = Choice("heads", "Heads", (("one", "The selected head"), ("all", "All heads of its layer")))
VALUE = Choice("value", "Show", (("norm", "Norms: weight × length of what is passed on"), ("weight", "Weights alone")))
NAMED = 4  # keys in the footer


@dataclass(frozen=True)
class Row:
    """One query's numbers for every key: (key,) `values` as shown, `weights` (their mean over heads), `norms`."""

    values: np.ndarray
    weights: np.ndarray
    norms: np.ndarray


def request(context: Context) -> DerivedRequest:
    return DerivedRequest.of(context.run.key, attention_norms.NAME)


def _refusal(context: Context) -> str:
    """Why this run has no norms; "" if it can have them."""
    try:
        attention_norms.check(context.run, {})
    except MissingArrayError as error:
        return str(error)
    return ""


def needs(context: Context) -> tuple[DerivedRequest, ...]:
    return () if context.run.corrected or _refusal(context) else (request(context),)


def reads(options: Options) -> tuple[str, ...]:
    return ("run", "stream", "layer", "head") if options["heads"] == "one" else ("run", "stream", "layer")


def _passed(context: Context) -> PassedOn | None:
    """What the tokens pass on; None if it is not computed, or cannot be."""
    if _refusal(context):
        return None
    result = context.result(request(context))
    return None if result is None else attention_norms.read(context.run, result)


def _lacks(context: Context, passed: PassedOn) -> str:
    """Why the selected layer has no such norms, as a sentence; "" if it has."""
    layer = context.selection.layer
    if np.isnan(passed.norms[layer]).all() and context.run.not_finite is None:
        return f"The output projection of layer {layer} is not known, so it has no norms. Select another layer."
    if context.options["heads"] == "all" and passed.grams[layer] is None and context.run.not_finite is None:
        size = attention_norms.gram_bytes(context.run) / 1e6
        return (
            f"The norms over all heads need {size:,.0f}\u00a0MB for a text of this length, which is too much to store. "
            "Choose one head in Options, or run a shorter text."
        )
    return ""


def _norms(context: Context, passed: PassedOn, first: int, last: int) -> np.ndarray:
    """(query, key) norms of these queries, whatever is shown."""
    attention, selection = context.attention, context.selection
    if context.options["heads"] == "one":
        return head_norms(attention, passed, selection.layer, selection.head, first, last)
    return layer_norms(attention, passed, selection.layer, first, last)


def _weights(context: Context, first: int, last: int) -> np.ndarray:
    """(query, key) weights of these queries: of the head, or their mean over the heads of its layer."""
    attention, selection = context.attention, context.selection
    if context.options["heads"] == "one":
        return attention.rows(selection.layer, selection.head, first, last)
    return mean_weights(attention, selection.layer, first, last)


def _shown(context: Context) -> np.ndarray | None:
    """(query, key) of the figure; None if there is nothing to show."""
    passed = _passed(context)
    if passed is None or _lacks(context, passed):
        return None
    count = len(context.attention.asks)
    values = _weights(context, 0, count) if context.options["value"] == "weight" else _norms(context, passed, 0, count)
    return values if np.isfinite(values).any() else None


def draw(context: Context) -> Spec | None:
    values, attention = _shown(context), context.attention
    if values is None:
        return None
    allowed, name = attention.allowed(context.selection.layer), context.options["value"]
    most = largest(values, allowed) if name == "norm" else 1.0
    spec = page_norms(values, allowed, attention.asks.tokens, attention.answers.tokens, name, most)
    spec["layout"]["uirevision"] = f"{context.run.key}-{attention.kind}"
    return spec


def export(context: Context) -> go.Figure | None:
    values, attention, selection = _shown(context), context.attention, context.selection
    if values is None:
        return None
    allowed, name = attention.allowed(selection.layer), context.options["value"]
    most = largest(values, allowed) if name == "norm" else 1.0
    sides = (attention.asks.tokens, attention.answers.tokens)
    return framed_norms(values, allowed, *sides, name, most, (selection.token, selection.second))


def _row(context: Context, passed: PassedOn) -> Row:
    query = context.selection.token
    weights, norms = _weights(context, query, query + 1)[0], _norms(context, passed, query, query + 1)[0]
    return Row(weights if context.options["value"] == "weight" else norms, weights, norms)


def _where(context: Context) -> str:
    head = f"head {context.selection.head}" if context.options["heads"] == "one" else "all heads together"
    return f"Layer {context.selection.layer}, {head}"


def text(context: Context) -> Words:
    passed, refusal = _passed(context), _refusal(context)
    if passed is None:
        if refusal:
            return Words("Norms", message=[html.B("This model has no norms here."), html.P(refusal)])
        waiting = html.Div(html.B("Computing what each token passes on …"), **waits(request(context)))
        return Words("Norms", message=waiting, waiting=True)
    lacks = _lacks(context, passed)
    if lacks:
        return Words("Norms", message=html.B(lacks))
    row = _row(context, passed)
    if not np.isfinite(row.values).any():
        return Words("Norms", message=not_finite_message(context.run, "These norms are not finite."))
    token = [token_at(context.attention.asks, context.selection.token), f" ({context.selection.token})"]
    ends = " attends to" if context.options["value"] == "weight" else " takes from each token"
    return Words([f"{_where(context)}: what ", *token, ends], _caption(context), _footer(context, passed, row))


def _caption(context: Context) -> str:
    one = context.options["heads"] == "one"
    if context.options["value"] == "weight":
        what = "The weight alone" if one else "The mean weight over the heads"
        return f"{what}. Stronger colour means more attention (square-root scale)."
    what = "Weight times the length of what the head passes on from a token, ‖α f(x)‖"
    if not one:
        what = "The length of what all heads together add from a token, ‖Σ α f(x)‖"
    return f"{what} (square-root scale). Residual connection and norms are left out."


def _footer(context: Context, passed: PassedOn, row: Row) -> list[Any]:
    """The norm of the second token, or of the longest, and what it is made of; then the next ones."""
    selection, answers = context.selection, context.attention.answers
    order = [int(key) for key in np.argsort(-np.nan_to_num(row.values, nan=-1.0), kind="stable")]
    key = order[0] if selection.second is None else selection.second
    parts: list[Any] = [token_at(answers, key), html.Span(f" ({key})", className="pos")]
    found = [html.Span(parts, className="number"), _number("norm", row.norms[key])]
    found.append(_number("weight" if context.options["heads"] == "one" else "mean weight", row.weights[key]))
    if context.options["heads"] == "one":
        found.append(_number("‖f(x)‖", passed.norms[selection.layer, selection.head, key]))
    rest = [other for other in order if other != key and row.values[other] > 0][: NAMED - 1]
    lead = [html.Span("Next", className="lead-in")] if rest else []
    return [*found, *lead, *(_key(context, other, row.values[other]) for other in rest)]


def _key(context: Context, key: int, value: float) -> html.Span:
    token = token_at(context.attention.answers, key)
    exact = html.B(_short(float(value)), title=f"{value:.9g}")
    return html.Span([token, html.Span(f" ({key}) ", className="pos"), exact], className="number")


def _number(name: str, value: float) -> html.Span:
    return html.Span([f"{name} ", html.B(_short(float(value)), title=f"{value:.9g}")], className="number")


def _short(value: float) -> str:
    return minus(f"{value:.3g}") if math.isfinite(value) else "–"


def explain(context: Context) -> Explanation:
    """What a cell is, the longest vector that the selected token takes, and whether its weight is the largest, too."""
    one, passed = context.options["heads"] == "one", _passed(context)
    what: Sentence = ["From each token that it attends to, a ", term("head"), " takes a vector: its "]
    what += [term("attention"), " weight times what that token passes on; the norm is the length of that vector."]
    if passed is None:
        return what, [_refusal(context)] if _refusal(context) else NOT_COMPUTED, ["The heatmap shows weights alone."]
    if _lacks(context, passed):
        return what, [_lacks(context, passed)], ["The heatmap shows weights alone."]
    row = _row(context, passed)
    if not (np.isfinite(row.norms).all() and np.isfinite(row.weights).all()):
        return what, ["The numbers are not finite here."], ["So no token can be compared with another."]
    asks, answers = context.attention.asks, context.attention.answers
    longest, heaviest = int(row.norms.argmax()), int(row.weights.argmax())
    by = f"head {context.selection.head} of layer {context.selection.layer}" if one else "all heads of this layer"
    most: Sentence = ["For ", *named(asks, context.selection.token), f" in {by}, the longest comes from "]
    largest_weight = "weight" if one else "mean weight"
    most += [*named(answers, longest), f": norm {_short(float(row.norms[longest]))}, at a {largest_weight} of "]
    most += [f"{_short(float(row.weights[longest]))}."]
    if longest == heaviest:
        return what, most, [f"The largest {largest_weight} is on the same token."]
    other: Sentence = [f"The largest {largest_weight}, {_short(float(row.weights[heaviest]))}, is on "]
    return what, most, [*other, *named(answers, heaviest), f", whose norm is {_short(float(row.norms[heaviest]))}."]


def table(context: Context) -> Table | None:
    """One row per key of the selected query; in a file, one per pair of tokens."""
    passed = _passed(context)
    if passed is None or _lacks(context, passed):
        return None
    one = context.options["heads"] == "one"
    columns = [Column("Weight" if one else "Mean weight"), *([Column("‖f(x)‖")] if one else []), Column("Norm")]
    queries, keys = context.attention.shape
    title = f"{_where(context)}: weights, and norms ‖α f(x)‖"
    if context.whole:
        sides = [Column(name) for name in ("Query", "Query token", "Key", "Key token")]
        return Table(title, (*sides, *columns), _all_pairs(context, passed), queries * keys)
    query, labels = context.selection.token, run_labels(context.attention.answers)
    cells = next(_numbers(context, passed, query, query + 1))
    rows = [(key, label, *cells[key]) for key, label in enumerate(labels)]
    heads = (Column("Key"), Column("Token"), *columns)
    return Table(f"{title}, of token {query}", heads, rows, len(rows), marked(context.selection), "second")


def _numbers(context: Context, passed: PassedOn, first: int, last: int) -> Iterator[list[tuple[Cell, ...]]]:
    """Yield the cells of each query's row, one tuple per key; None where the mask forbids it, or a value is not
    finite."""
    layer, head = context.selection.layer, context.selection.head
    weights, norms = _weights(context, first, last), _norms(context, passed, first, last)
    allowed = context.attention.allowed(layer, first, last)
    own = passed.norms[layer, head]
    for row in range(last - first):
        found: list[tuple[Cell, ...]] = []
        for key, may in enumerate(allowed[row].tolist()):
            length = (_cell(own[key], True),) if context.options["heads"] == "one" else ()
            found.append((_cell(weights[row, key], may), *length, _cell(norms[row, key], may)))
        yield found


def _all_pairs(context: Context, passed: PassedOn) -> Iterator[tuple[Cell, ...]]:
    queries, keys = context.attention.shape
    asks, answers = (
        [token.text for token in side.tokens] for side in (context.attention.asks, context.attention.answers)
    )
    height = max(1, BLOCK // keys)
    for first in range(0, queries, height):
        for row, cells in enumerate(_numbers(context, passed, first, min(queries, first + height)), start=first):
            for key in range(keys):
                yield row, asks[row], key, answers[key], *cells[key]


def _cell(value: float, may: bool) -> Cell:
    return float(value) if may and math.isfinite(value) else None


VIEW = View(
    name="norms",
    title="Norms",
    card="attention",
    tab="Norms",
    order=7,
    invitation=(
        "Run a text to see how much each token takes from the others.",
        "Weights multiplied by the length of what is passed on, for one head or all heads of a layer.",
    ),
    figure_reads=("run", "stream", "layer", "head"),
    reads=reads,
    export_reads=lambda options: (*reads(options), "token", "second"),
    selects="drawn",
    draw=draw,
    text=text,
    explain=explain,
    table=table,
    export=export,
    needs=needs,
    controls=(HEADS, VALUE),
)
