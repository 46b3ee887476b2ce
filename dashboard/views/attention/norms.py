"""Norms: attention weighted by the length of what it passes on, ‖α f(x)‖, beside the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention_reading import NO_AIDS
from dashboard.components.glossary import term
from dashboard.compute import attention_norms, block_norms
from dashboard.contracts.context import Context
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.attention_norms import framed_norms, largest, page_norms
from dashboard.figures.spec import Spec
from dashboard.figures.text import minus
from dashboard.figures.tokens import run_labels
from dashboard.views.attention.norms_numbers import (
    HEADS,
    VALUE,
    Mixing,
    Results,
    Row,
    is_of_one,
    lacks,
    mixing_of,
    needs,
    norms_of,
    reads,
    refusal,
    requests,
    results_of,
    row_of,
    shown,
    stage_of,
    weights_of,
)
from dashboard.views.declaration import Explanation, Sentence, View, Words, waits
from dashboard.views.explanation import NOT_COMPUTED, named
from dashboard.views.not_finite import not_finite_message
from dashboard.views.reading import AIDS, aids_of
from dashboard.views.tables import BLOCK, marked
from dashboard.views.token_spans import token_at

NAMED = 4  # keys in the footer
TOGETHER = {None: "all heads together", "residual": "all heads with residual connection"}
TOGETHER |= {"layernorm": "all heads with residual connection and LayerNorm"}
COMPUTED = {
    attention_norms.NAME: "what each token passes on",
    block_norms.NAME: "what the residual connection and LayerNorm make of it",
}


def draw(context: Context) -> Spec | None:
    values, attention = shown(context), context.attention
    if values is None:
        return None
    allowed, name = attention.allowed(context.selection.layer), context.options["value"]
    most = largest(values, allowed) if name == "norm" else 1.0
    spec = page_norms(values, allowed, attention.asks.tokens, attention.answers.tokens, name, most)
    spec["layout"]["uirevision"] = f"{context.run.key}-{attention.kind}"
    return spec


def export(context: Context) -> go.Figure | None:
    values, attention, selection = shown(context), context.attention, context.selection
    if values is None:
        return None
    allowed, name = attention.allowed(selection.layer), context.options["value"]
    most = largest(values, allowed) if name == "norm" else 1.0
    sides = (attention.asks.tokens, attention.answers.tokens)
    return framed_norms(values, allowed, *sides, name, most, (selection.token, selection.second))


def _where(context: Context) -> str:
    head = f"head {context.selection.head}" if is_of_one(context) else TOGETHER[stage_of(context)]
    return f"Layer {context.selection.layer}, {head}"


def text(context: Context) -> Words:
    results, reason = results_of(context), refusal(context)
    if results is None:
        if reason:
            return Words("Norms", message=[html.B("This model has no norms here."), html.P(reason)])
        context.run.check_current()
        late = [asked for asked in requests(context) if context.result(asked) is None]
        waiting = [html.Div(html.B(f"Computing {COMPUTED[asked.kind]} …"), **waits(asked)) for asked in late]
        return Words("Norms", message=waiting, waiting=True)
    lacking = lacks(context, results)
    if lacking:
        return Words("Norms", message=html.B(lacking))
    row = row_of(context, results)
    if not np.isfinite(row.values).any():
        return Words("Norms", message=not_finite_message(context.run, "These norms are not finite."))
    token = [token_at(context.attention.asks, context.selection.token), f" ({context.selection.token})"]
    ends = " attends to" if context.options["value"] == "weight" else " takes from each token"
    return Words([f"{_where(context)}: what ", *token, ends], _caption(context), _footer(context, results, row))


def _caption(context: Context) -> str:
    one, stage = is_of_one(context), stage_of(context)
    unread = aids_of(context.attention, context.options) != NO_AIDS
    aids = " All tokens are shown: reading aids do not apply." if unread else ""
    if context.options["value"] == "weight":
        what = "The weight alone" if one else "The mean weight over the heads"
        return f"{what}. Stronger colour means more attention (square-root scale).{aids}"
    if stage is not None:
        what = "Length of the vector that a token gets from another through all heads; what it gets from itself "
        through = ", after the LayerNorm that follows the sum" if stage == "layernorm" else ""
        what += f"includes its own state{through} (square-root scale)."
        return f"{what} Biases{' and β' if through else ''} are left out.{aids}"
    what = "Weight times the length of what the head passes on from a token, ‖α f(x)‖"
    if not one:
        what = "Length of the vector that a token gets from another through all heads, ‖Σ α f(x)‖"
    return f"{what} (square-root scale). The residual connection and the layer’s norms are left out.{aids}"


def _footer(context: Context, results: Results, row: Row) -> list[Any]:
    """The norm of the second token, or of the longest, and what it is made of; then the next ones."""
    selection, answers = context.selection, context.attention.answers
    order = [int(key) for key in np.argsort(-np.nan_to_num(row.values, nan=-1.0), kind="stable")]
    key = order[0] if selection.second is None else selection.second
    parts: list[Any] = [token_at(answers, key), html.Span(f" ({key})", className="pos")]
    found = [html.Span(parts, className="number"), _number("norm", row.norms[key])]
    found.append(_number("weight" if is_of_one(context) else "mean weight", row.weights[key]))
    if is_of_one(context):
        found.append(_number("‖f(x)‖", results.passed.norms[selection.layer, selection.head, key]))
    rest = [other for other in order if other != key and row.values[other] > 0][: NAMED - 1]
    lead = [html.Span("Next", className="lead-in")] if rest else []
    mixing = mixing_of(context, results)
    end = [] if mixing is None else [html.Span(className="line-end"), *_mixed(context, mixing)]
    return [*found, *lead, *(_key(context, other, row.values[other]) for other in rest), *end]


def _mixed(context: Context, mixing: Mixing) -> list[html.Span]:
    """What the selected token gets from itself and from the others, as norms, and the mixing ratio."""
    token = context.selection.token
    ratio = html.B(_percent(mixing.ratio[token]), title=f"{mixing.ratio[token]:.9g}")
    asker = html.Span([token_at(context.attention.asks, token), html.Span(f" ({token})", className="pos")])
    return [
        html.Span([asker, " gets"], className="number"),
        _number("from itself", mixing.own[token]),
        _number("from all others", mixing.others[token]),
        html.Span(["mixing ratio ", ratio], className="number"),
    ]


def _percent(share: float) -> str:
    """ "24.1 %"."""
    return f"{100 * share:.1f}\u00a0%" if math.isfinite(share) else "–"


def _key(context: Context, key: int, value: float) -> html.Span:
    token = token_at(context.attention.answers, key)
    exact = html.B(_short(float(value)), title=f"{value:.9g}")
    return html.Span([token, html.Span(f" ({key}) ", className="pos"), exact], className="number")


def _number(name: str, value: float) -> html.Span:
    return html.Span([f"{name} ", html.B(_short(float(value)), title=f"{value:.9g}")], className="number")


def _short(value: float) -> str:
    return minus(f"{value:.3g}") if math.isfinite(value) else "–"


def explain(context: Context) -> Explanation:
    """What a cell is, the longest vector that the selected token takes, and what that says of weights, or of mixing."""
    results, what = results_of(context), _what_is_shown(context)
    if results is None:
        return what, [refusal(context)] if refusal(context) else NOT_COMPUTED, ["The heatmap shows weights alone."]
    if lacks(context, results):
        return what, [lacks(context, results)], ["The heatmap shows weights alone."]
    row, selection = row_of(context, results), context.selection
    if not (np.isfinite(row.norms).all() and np.isfinite(row.weights).all()):
        return what, ["The numbers are not finite here."], ["So no token can be compared with another."]
    asks, answers, one = context.attention.asks, context.attention.answers, is_of_one(context)
    longest, heaviest = int(row.norms.argmax()), int(row.weights.argmax())
    by = f"head {selection.head} of layer {selection.layer}" if one else "all heads of this layer"
    most: Sentence = ["For ", *named(asks, selection.token), f" in {by}, the longest comes from "]
    largest_weight = "weight" if one else "mean weight"
    most += [*named(answers, longest), f": norm {_short(float(row.norms[longest]))}, at a {largest_weight} of "]
    most += [f"{_short(float(row.weights[longest]))}."]
    mixing = mixing_of(context, results)
    if mixing is not None:
        return what, most, _explain_mixing(selection.token, mixing)
    if longest == heaviest:
        return what, most, [f"The largest {largest_weight} is on the same token."]
    other: Sentence = [f"The largest {largest_weight}, {_short(float(row.weights[heaviest]))}, is on "]
    return what, most, [*other, *named(answers, heaviest), f", whose norm is {_short(float(row.norms[heaviest]))}."]


def _what_is_shown(context: Context) -> Sentence:
    stage = stage_of(context)
    if stage is None:
        what: Sentence = ["From each token that it attends to, a ", term("head"), " takes a vector: its "]
        what += [term("attention"), " weight times what that token passes on; the norm is the length of that vector."]
        return what
    what = ["Each cell is the length of the vector that a token gets from another through all ", term("heads", "head")]
    what += ["; its own vector includes the ", term("residual connection")]
    through: Sentence = [", and all go through the ", term("LayerNorm")] if stage == "layernorm" else []
    return [*what, *through, "."]


def _explain_mixing(token: int, mixing: Mixing) -> Sentence:
    own, others = (_short(float(one[token])) for one in (mixing.own, mixing.others))
    found: Sentence = [
        f"Together, all other tokens give it a vector of norm {others}, and it keeps one of norm {own}: a "
    ]
    return [*found, term("mixing ratio"), f" of {_percent(mixing.ratio[token])}."]


def table(context: Context) -> Table | None:
    """One row per key of the selected query; in a file, one per pair of tokens."""
    results = results_of(context)
    if results is None or lacks(context, results):
        return None
    one, mixing = is_of_one(context), mixing_of(context, results)
    columns = [Column("Weight" if one else "Mean weight"), *([Column("‖f(x)‖")] if one else []), Column("Norm")]
    queries, keys = context.attention.shape
    title = f"{_where(context)}: weights, and norms ‖α f(x)‖"
    if mixing is not None:
        title = f"{_where(context)}: mean weights, norms and mixing ratios"
        columns.append(Column("Mixing ratio of the query" if context.whole else "Its own mixing ratio"))
    if context.whole:
        sides = [Column(name) for name in ("Query", "Query token", "Key", "Key token")]
        return Table(title, (*sides, *columns), _all_pairs(context, results), queries * keys)
    query, labels = context.selection.token, run_labels(context.attention.answers)
    cells = next(_numbers(context, results, query, query + 1))
    if mixing is not None:
        cells = [(*row, _cell(mixing.ratio[key], True)) for key, row in enumerate(cells)]
    rows = [(key, label, *cells[key]) for key, label in enumerate(labels)]
    heads = (Column("Key"), Column("Token"), *columns)
    return Table(f"{title}, of token {query}", heads, rows, len(rows), marked(context.selection), "second")


def _numbers(context: Context, results: Results, first: int, last: int) -> Iterator[list[tuple[Cell, ...]]]:
    """Yield the cells of each query's row, one tuple per key; None where the mask forbids it, or a value is not
    finite."""
    layer, head = context.selection.layer, context.selection.head
    weights, norms = weights_of(context, first, last), norms_of(context, results, first, last)
    allowed = context.attention.allowed(layer, first, last)
    own = results.passed.norms[layer, head]
    for row in range(last - first):
        found: list[tuple[Cell, ...]] = []
        for key, may in enumerate(allowed[row].tolist()):
            length = (_cell(own[key], True),) if is_of_one(context) else ()
            found.append((_cell(weights[row, key], may), *length, _cell(norms[row, key], may)))
        yield found


def _all_pairs(context: Context, results: Results) -> Iterator[tuple[Cell, ...]]:
    queries, keys = context.attention.shape
    asks, answers = (
        [token.text for token in side.tokens] for side in (context.attention.asks, context.attention.answers)
    )
    mixing, height = mixing_of(context, results), max(1, BLOCK // keys)
    for first in range(0, queries, height):
        for row, cells in enumerate(_numbers(context, results, first, min(queries, first + height)), start=first):
            ratio = () if mixing is None else (_cell(mixing.ratio[row], True),)
            for key in range(keys):
                yield row, asks[row], key, answers[key], *cells[key], *ratio


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
    mentions=AIDS,
)
