"""Three sentences on what each tab of Attention shows."""

from __future__ import annotations

import math

import numpy as np

from dashboard.analysis.head_scores import by_chance
from dashboard.components.glossary import term
from dashboard.contracts.context import Context
from dashboard.contracts.streams import Attention
from dashboard.figures.text import percent
from dashboard.views.declaration import Explanation, Sentence
from dashboard.views.explanation import counted, named


def heatmap(context: Context) -> Explanation:
    """Explain heads, the selected row, and how to read it."""
    attention, selection = context.attention, context.selection
    row = attention.rows(selection.layer, selection.head, selection.token, selection.token + 1)[0]
    place: Sentence = [f"In layer {selection.layer}, head {selection.head}, "]
    return (
        [
            "The model has ",
            *counted(attention.layers, "layer"),
            " of ",
            *counted(attention.heads, "head"),
            ", and each head spreads its ",
            term("attention"),
            " over the tokens in its own way.",
        ],
        [*place, *_most(attention, selection.token, row)],
        _reading(attention, selection.layer),
    )


def _most(attention: Attention, token: int, row: np.ndarray) -> Sentence:
    if not np.isfinite(row).all():
        return ["the weights of ", *named(attention.asks, token), " are not finite, so its row is empty."]
    best = int(row.argmax())
    weight = float(row[best])
    most = f"{weight:.3f}" if weight >= 5e-4 or weight == 0 else f"{weight:.1e}"
    whom: Sentence = (
        ["itself"] if attention.asks is attention.answers and best == token else named(attention.answers, best)
    )
    if int((row == row[best]).sum()) > 1:
        return [
            "no token gets more from ",
            *named(attention.asks, token),
            " than ",
            *whom,
            f": weight {most}, where 1 would be all of its attention.",
        ]
    return [
        *named(attention.asks, token),
        " attends most to ",
        *whom,
        f": weight {most}, where 1 would be all of its attention.",
    ]


def _reading(attention: Attention, layer: int) -> Sentence:
    queries, keys = attention.shape
    rows = "The only row" if queries == 1 else f"Each of the {queries:,} rows"
    columns = "the only column" if keys == 1 else f"each of the {keys:,} columns"
    head: Sentence = [f"{rows} is a token that looks (", term("query"), f"), {columns} a token that is looked at ("]
    if attention.recipe(layer).sinks is None:
        return [*head, term("key"), "); a row adds up to 1."]
    return [
        *head,
        term("key"),
        "); a row adds up to less than 1, and the rest goes to the ",
        term("attention sink"),
        ".",
    ]


def heads(context: Context) -> Explanation:
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
