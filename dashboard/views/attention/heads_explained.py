"""Three sentences on the mean scores of all heads, for the `?` of views/attention/heads.py."""

from __future__ import annotations

import math

from dashboard.analysis.attention_reading import NO_AIDS
from dashboard.components.glossary import term
from dashboard.contracts.context import Context
from dashboard.figures.text import percent
from dashboard.views.attention.head_sources import PROBE, Scores, is_ready, shown
from dashboard.views.declaration import Explanation, Sentence
from dashboard.views.explanation import counted


def explain(context: Context) -> Explanation:
    """Explain the mean scores, the selected head's own, and their values by chance."""
    attention, selection = context.attention, context.selection
    many, tokens = attention.layers * attention.heads, len(attention.asks)
    head = f"head {selection.head} of layer {selection.layer}"
    row: Sentence = ["Each row is one of the model’s ", *counted(many, "head")]
    if many == 1:
        row = ["The only row is the model’s only ", term("head")]
    table = shown(context) if is_ready(context) else None
    if table is None:
        why: Sentence = ["Random tokens that are read twice have no structure but the repetition."]
        return [*row, "."], why, ["What a head does with them is a property of the model, not of this text."]
    if table.of == PROBE:
        return _explain_probe(table, row, head, selection.layer, selection.head)
    text = "this text’s only token" if tokens == 1 else f"the {tokens:,} tokens of this text"
    what: Sentence = [*row, f", with averages over {text}."]
    if tokens == 1:
        return what, ["No head has another token to attend to here."], ["Run a longer text to see what the heads do."]
    if table.aids != NO_AIDS:
        return what, *_explain_aided(table, head, selection.layer, selection.head)
    first, previous = (float(table.values[name][selection.layer, selection.head]) for name in ("first", "previous"))
    means: Sentence = [
        f"Averaged over the tokens after the first, {head} gives {percent(first)} of its ",
        term("attention"),
    ]
    means += [f" to the first token and {percent(previous)} to the token before."]
    if not (math.isfinite(first) and math.isfinite(previous)):
        means = [f"The weights of {head} are not finite, so it has no averages."]
    chance = table.chance(selection.layer)["first"]
    even = "A head that spread its attention evenly over the tokens that it may read would give the first one "
    return what, means, [f"{even}{percent(chance)}."]


def _explain_aided(table: Scores, head: str, layer: int, index: int) -> tuple[Sentence, Sentence]:
    unit = "word" if table.aids.words else "token"
    own, chance = float(table.values["self"][layer, index]), table.chance(layer)["self"]
    why = (
        f"By chance this would be {percent(chance)}; patterns always use all tokens."
        if math.isfinite(chance)
        else "Patterns always use all tokens."
    )
    if not math.isfinite(own):
        return [f"With the reading aids applied, {head} has no average weight of a {unit} on itself."], [why]
    means: Sentence = [f"With the reading aids applied, {head} gives {percent(own)} of a {unit}’s "]
    return [*means, term("attention"), f" to the {unit} itself."], [why]


def _explain_probe(table: Scores, row: Sentence, head: str, layer: int, index: int) -> Explanation:
    what: Sentence = [*row, f", with averages over {table.length} random tokens that the model reads twice."]
    name = "induction" if table.has("induction") else "duplicate"
    where = "what followed a token’s first occurrence" if name == "induction" else "a token’s other occurrence"
    own, chance = float(table.values[name][layer, index]), table.chance(layer)[name]
    if not math.isfinite(own):
        return (
            what,
            [f"The weights of {head} are not finite, so it has no averages."],
            ["So there is nothing to compare with chance."],
        )
    means: Sentence = [f"There, {head} gives {percent(own)} of its ", term("attention"), f" to {where}."]
    return what, means, [f"A head that spread its attention evenly would give that {percent(chance)}."]
