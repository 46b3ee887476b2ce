"""Query · key: which dimensions of query and key make the score of two tokens, and what else adds to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention_reading import NO_AIDS
from dashboard.analysis.query_key import Group, ScoreTerms, groups_of, rotary_pairs, running_sums, score_terms
from dashboard.components.glossary import term
from dashboard.contracts.context import Context
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.query_key import framed_bars, number, product_bars
from dashboard.figures.spec import Spec
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, Sentence, View, Words
from dashboard.views.explanation import named
from dashboard.views.not_finite import not_finite_message
from dashboard.views.reading import AIDS, aids_of
from dashboard.views.token_spans import token_at

ORDER = Choice(
    "order",
    "Order",
    (
        ("size", "Largest product first"),
        ("dimension", "By dimension"),
        ("frequency", "By rotary frequency, in pairs"),
    ),
    help="The last choice needs a model with rotary position embeddings, such as Llama.",
)
PAIR = ("run", "stream", "token", "second")
MISSING: Sentence = ["The frequencies of a rotary embedding are not known here, so the dimensions are not sorted."]


@dataclass(frozen=True)
class Shown:
    """What the view shows.

    Attributes:
        key: position of the key.
        chosen: whether the user selected it.
        terms: the terms of its score.
        groups: the bars.
        pairs: the pairs of the rotary embedding, if the run has them.
    """

    key: int
    chosen: bool
    terms: ScoreTerms
    groups: list[Group]
    pairs: np.ndarray | None

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.terms.products).all())


def _shown(context: Context) -> Shown:
    """Raises `MissingArrayError` if the run does not hold queries and keys."""
    attention, selection = context.attention, context.selection
    layer, head, query, key = selection.layer, selection.head, selection.token, selection.second
    attention.query_and_key(layer)
    chosen = key is not None
    if key is None:
        row = attention.rows(layer, head, query, query + 1)[0]
        key = int(np.nan_to_num(row, nan=-1.0).argmax())
    terms, pairs = score_terms(attention, layer, head, query, key), rotary_pairs(attention, layer)
    return Shown(key, chosen, terms, groups_of(terms.products, context.options["order"], pairs), pairs)


def draw(context: Context) -> Spec | None:
    shown = _shown(context)
    return product_bars(shown.terms, shown.groups, _order(context, shown)) if shown.finite else None


def export(context: Context) -> go.Figure | None:
    shown = _shown(context)
    return framed_bars(shown.terms, shown.groups, _order(context, shown)) if shown.finite else None


def _order(context: Context, shown: Shown) -> Any:
    """The order that the bars have."""
    order = context.options["order"]
    return "dimension" if order == "frequency" and shown.pairs is None else order


def text(context: Context) -> Words:
    shown, attention, selection = _shown(context), context.attention, context.selection
    if not shown.finite:
        message = not_finite_message(context.run, "This query or key is not finite.")
        return Words("Query · key", message=message)
    query = [token_at(attention.asks, selection.token), f" ({selection.token})"]
    key = [token_at(attention.answers, shown.key), f" ({shown.key})"]
    title = [f"Layer {selection.layer}, head {selection.head}: the score of ", *query, " for ", *key]
    title += [] if shown.chosen else [", which it attends to most"]
    most = sorted(shown.groups, key=lambda group: -abs(group.product))[:3]
    largest = ", ".join(f"{group.name} with {number(group.product)}" for group in most)
    return Words(title, _caption(context, shown), _footer(shown.terms), spoken=f"Largest products: {largest}.")


def _caption(context: Context, shown: Shown) -> str:
    pair = context.options["order"] == "frequency" and shown.pairs is not None
    what = "A bar for each pair of dimensions" if pair else "A bar for each dimension"
    after = " Query and key are taken after rotary embedding." if shown.pairs is not None else ""
    chosen = "" if shown.chosen else " Shift-click a token to choose another key."
    unsorted = f" {MISSING[0]}" if context.options["order"] == "frequency" and shown.pairs is None else ""
    is_aided = aids_of(context.attention, context.options) != NO_AIDS
    aids = " Single tokens are shown, and the softmax covers all tokens: reading aids do not apply." if is_aided else ""
    return f"{what}: query times key. Below, their sum from left to right.{after}{unsorted}{chosen}{aids}"


def _footer(terms: ScoreTerms) -> list[Any]:
    """Every term of the score, so that they add up to it, and the weight."""
    sink = [] if terms.sink is None else [_number("attention sink", terms.sink)]
    return [
        _number("q·k", terms.dot),
        *(_number(name.lower(), amount, plus=True) for name, amount in terms.others()),
        _number("= score", terms.score),
        _number("weight", terms.weight),
        *sink,
        html.Span(f"q·k in float32: ± {terms.rounding:.1g}", className="lead-in"),
    ]


def _number(name: str, value: float, plus: bool = False) -> html.Span:
    sign = "+" if plus and value > 0 else ""
    return html.Span([f"{name} ", html.B(sign + number(value), title=f"{value:.9g}")], className="number")


def explain(context: Context) -> Explanation:
    """What the bars are, how they add up for this pair, and how many dimensions it takes."""
    shown, attention, selection = _shown(context), context.attention, context.selection
    terms, count = shown.terms, len(shown.terms.products)
    turned = ", after the rotary embedding has turned both by their position" if shown.pairs is not None else ""
    what: Sentence = ["A head compares the ", term("query"), " of one token with the ", term("key")]
    what += [f" of another: it multiplies their {count} dimensions one by one and adds up the products{turned}."]
    if not shown.finite:
        return what, ["The query or the key is not finite here."], ["So their products do not add up to a score."]
    pair: Sentence = ["For ", *named(attention.asks, selection.token), " and ", *named(attention.answers, shown.key)]
    pair += [f", the sum is {number(terms.dot)}, and the softmax receives {number(terms.score)}: "]
    pair += [f"the weight is {number(terms.weight)}." if terms.allowed else "the mask forbids this pair."]
    return what, pair, [_share(terms)]


def _share(terms: ScoreTerms) -> str:
    """How many dimensions it takes, largest first, until what is left adds up to less than a tenth of |q·k|."""
    sizes = groups_of(terms.products)
    left = np.abs(terms.dot - running_sums(sizes))
    beyond = np.flatnonzero(left >= 0.1 * abs(terms.dot))
    needed = int(beyond[-1]) + 2 if len(beyond) else 1
    positive = int((terms.products > 0).sum())
    return (
        f"{positive} of the {len(sizes)} products are positive; if you add them up, largest first, the sum stays "
        f"within a tenth of its final value after {min(needed, len(sizes))} of them."
    )


def table(context: Context) -> Table | None:
    """One row per dimension (or pair), in the figure's order; then one per further term, and the score."""
    shown = _shown(context)
    if not shown.finite:
        return None
    terms = shown.terms
    rows: list[tuple[Cell, ...]] = []
    for group, total in zip(shown.groups, running_sums(shown.groups), strict=True):
        values = [float(values[group.dimensions[0]]) for values in (terms.query, terms.key)]
        single = values if len(group.dimensions) == 1 else [None, None]
        rows.append((group.name, *single, group.product, float(total), _wavelength(group)))
    total = terms.dot
    for name, amount in terms.others():
        total += amount
        rows.append((name, None, None, _cell(amount, context.whole), _cell(total, context.whole), None))
    ends = [("Score", terms.score), ("Weight after the softmax", terms.weight)]
    ends += [] if terms.sink is None else [("Share of the attention sink", terms.sink)]
    rows += [(name, None, None, None, _cell(value, context.whole), None) for name, value in ends]
    selection = context.selection
    where = f"Layer {selection.layer}, head {selection.head}; query: token {selection.token}, key: token {shown.key}"
    names = ("Dimension or term", "Query", "Key", "Adds", "Result so far")
    columns = (*map(Column, names), Column("Wavelength", "tokens"))
    first = len(shown.groups) + len(list(terms.others()))
    return Table(f"{where}. {_origin(shown)}", columns, rows, len(rows), strong=tuple(range(first, len(rows))))


def _origin(shown: Shown) -> str:
    after = "after rotary embedding, " if shown.pairs is not None else ""
    return f"Query and key {after}float32; products and sums in float64."


def _wavelength(group: Group) -> Cell:
    return group.wavelength if group.wavelength is not None and math.isfinite(group.wavelength) else None


def _cell(value: float, whole: bool) -> Cell:
    """A number; −∞ as a person reads it, or as a number in a file."""
    if math.isnan(value):
        return None
    return value if whole or math.isfinite(value) else number(value)


VIEW = View(
    name="query-key",
    title="Query · key",
    card="attention",
    tab="Query · key",
    order=6,
    invitation=(
        "Run a text to see which dimensions make a score.",
        "One bar for each dimension of query times key, for the selected and the second token.",
    ),
    figure_reads=(*PAIR, "layer", "head"),
    selects_nothing="A bar is a dimension of query and key, not a token, a layer or a head.",
    draw=draw,
    text=text,
    explain=explain,
    table=table,
    export=export,
    controls=(ORDER,),
    mentions=AIDS,
)
