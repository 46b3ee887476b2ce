"""Where the scores of the Heads tab come from: this text, or repeated random tokens (`head-probe`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from dash import html

from dashboard.analysis.attention_reading import NO_AIDS, Aids
from dashboard.analysis.head_patterns import HeadTag, head_tags, tags_of
from dashboard.analysis.head_scores import COLUMNS, MARKED, Marks, head_scores, marks_of, text_by_chance
from dashboard.analysis.read_scores import are_readable, read_by_chance, scores_read
from dashboard.compute import head_probe
from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.repeats import KINDS
from dashboard.contracts.streams import Attention
from dashboard.contracts.table import Column
from dashboard.views.attention.head_definitions import HEADINGS
from dashboard.views.controls import Choice
from dashboard.views.declaration import Words, waits
from dashboard.views.reading import aids_of

Mask = tuple[str, int | None]  # a layer's mask and window
Of = Literal["text", "probe"]
TEXT: Of = "text"
PROBE: Of = "probe"
SOURCE = Choice("scores", "Scores of", choices=((TEXT, "This text"), (PROBE, "Repeated random tokens")))
GROUP = "group"  # of similar heads (dashboard/views/head_order.py): a column of the table, not a score
SORT = Choice(
    "sort", "Sort by", choices=(*HEADINGS.items(), (GROUP, "Group of similar heads"), ("head", "Layer and head"))
)
OF_PROBE = f"{PROBE}-"  # prefix of its scores' names among the grid's colours
PROBED = tuple(name for name in HEADINGS if name not in MARKED)
COLOUR = Choice(
    "colour",
    "Colour the grid by",
    choices=(
        ("pictures", "Pictures"),
        *HEADINGS.items(),
        *((f"{OF_PROBE}{name}", f"{HEADINGS[name]}, random tokens") for name in PROBED),
    ),
)


@dataclass(frozen=True)
class Scores:
    """Every head's scores over one kind of text.

    Attributes:
        of: the kind of text.
        values: by score, (layer, head).
        spreads: by score, the standard deviation over seeds; empty for a text.
        tags: each head's pattern, by layer.
        recipes: one for each layer.
        chances: scores by chance, by mask and window.
        length: the number of tokens of the text; of the probe, the number of tokens that it repeats.
        aids: the reading aids applied. Tags always use all tokens.
    """

    of: Of
    values: Mapping[str, np.ndarray]
    spreads: Mapping[str, np.ndarray]
    tags: list[list[HeadTag]]
    recipes: tuple[ScoreRecipe, ...]
    chances: Mapping[Mask, Mapping[str, float]]
    length: int
    aids: Aids = NO_AIDS

    def chance(self, layer: int) -> Mapping[str, float]:
        """The scores that a head of this layer would have by chance."""
        return self.chances[_mask_of(self.recipes[layer])]

    def common_chance(self) -> dict[str, float]:
        """The same where all layers agree; NaN where they do not (some look through a window)."""
        found = list(self.chances.values())
        same = {name: {round(one[name], 9) for one in found} for name in found[0]}
        return {name: found[0][name] if len(same[name]) == 1 else float("nan") for name in found[0]}

    def listed(self) -> list[str]:
        """The scores that say something here: not those that this text or attention cannot have."""
        causal = all(recipe.mask == "causal" for recipe in self.recipes)
        may_lack = self.values if self.aids != NO_AIDS else (*MARKED, *KINDS)
        without = {name for name in may_lack if not self.has(name)} | ({"next"} if causal else set())
        return [name for name in HEADINGS if name in self.values and name not in without]

    def column(self, name: str) -> Column:
        """A score's name and unit: a distance is in words where word pieces are merged."""
        return replace(COLUMNS[name], unit="words") if name == "distance" and self.aids.words else COLUMNS[name]

    def has(self, name: str) -> bool:
        return name in self.values and bool(np.isfinite(self.values[name]).any())


def of_text(context: Context) -> Scores:
    """The scores of this text, as the reading aids leave it if they are in force here (`read_here`).

    Raises:
        MissingArrayError: the run does not hold them.
    """
    attention, aids = context.attention, read_here(context)

    def look() -> Scores:
        attention.score("previous")  # raises if the run has no scores
        tags, recipes, length = head_tags(attention), _recipes(attention), len(attention.answers)
        if aids == NO_AIDS:
            chances = _chances(recipes, marks_of(attention))
            return Scores(TEXT, head_scores(attention), {}, tags, recipes, chances, length)
        first = {_mask_of(recipe): layer for layer, recipe in reversed(list(enumerate(recipes)))}
        read = {mask: read_by_chance(attention, layer, aids) for mask, layer in first.items()}
        return Scores(TEXT, scores_read(attention, aids), {}, tags, recipes, read, length, aids)

    return attention.remember(("all head scores", aids), look)


def read_here(context: Context) -> Aids:
    """The reading aids that the scores of this text follow: those of the options, if the text is short enough and its
    queries and keys are kept; otherwise none."""
    aids = aids_of(context.attention, context.options)
    return aids if aids != NO_AIDS and are_readable(context.attention) else NO_AIDS


def of_probe(context: Context) -> Scores | None:
    """The scores on repeated random tokens; None if they are not computed."""
    result = context.result(request(context))
    if result is None:
        return None
    probe = head_probe.read(context.run, result)
    marks = Marks.of_ids(probe.ids[0])
    values, beyond = {name: probe.mean(name) for name in probe.scores}, {}
    for name in probe.beyond_first:
        beyond[name] = np.asarray(probe.beyond_first[name], dtype=np.float64).mean(axis=0)
    spreads = {name: probe.spread(name) for name in probe.scores}
    tags = tags_of(values, beyond, 1 - values["first"], probe.recipes, marks)
    return Scores(PROBE, values, spreads, tags, probe.recipes, _chances(probe.recipes, marks), probe.length)


def _mask_of(recipe: ScoreRecipe) -> Mask:
    return recipe.mask, recipe.window


def _chances(recipes: Sequence[ScoreRecipe], marks: Marks) -> dict[Mask, dict[str, float]]:
    return {mask: text_by_chance(recipe, marks) for mask, recipe in {_mask_of(one): one for one in recipes}.items()}


def _recipes(attention: Attention) -> tuple[ScoreRecipe, ...]:
    return tuple(attention.recipe(layer) for layer in range(attention.layers))


def request(context: Context) -> DerivedRequest:
    return head_probe.KIND.request(context.run)


def shows_probe(context: Context) -> bool:
    """Whether the options ask for the scores on repeated random tokens, in the table or the grid."""
    wanted = context.options[SOURCE.name] == PROBE or context.options[COLOUR.name].startswith(OF_PROBE)
    return wanted and context.stream is context.run.main


def needs(context: Context) -> tuple[DerivedRequest, ...]:
    return (request(context),) if shows_probe(context) and not context.run.corrected else ()


def uses(context: Context) -> tuple[DerivedRequest, ...]:
    return (request(context),) if shows_probe(context) else ()


def shown(context: Context) -> Scores | None:
    """The scores in the table; None if they are still to be computed."""
    return of_probe(context) if shows_probe(context) and context.options[SOURCE.name] == PROBE else of_text(context)


def require(context: Context, table: Scores, sort: str) -> None:
    """Raise `MissingArrayError` if this run lacks the score that sorts the table."""
    if table.of == TEXT and sort in HEADINGS and sort not in table.values:
        context.attention.array("received" if sort in MARKED else f"scores/{sort}", "this score of the heads")


def is_ready(context: Context) -> bool:
    """Whether everything that the options ask for is there."""
    return not shows_probe(context) or context.result(request(context)) is not None


def waiting(context: Context, title: str) -> Words:
    """The card's text while the probe is computed; it is an older run's turn to be run again."""
    context.run.check_current()
    seeds = len(head_probe.SEEDS)
    how = (
        f"{context.run.model.title} reads {seeds} sets of random tokens, each of them twice. This is done once for the "
        "model, for everyone."
    )
    message = html.Div([html.B("Reading repeated random tokens …"), html.P(how)], **waits(request(context)))
    return Words(title, message=message, waiting=True)


def coloured(context: Context, table: Scores) -> tuple[Scores, str] | None:
    """The scores that colour the grid, and which of them; None for pictures, or if the table lists that score."""
    colour = context.options[COLOUR.name]
    if colour == "pictures":
        return None
    source = PROBE if colour.startswith(OF_PROBE) else TEXT
    name = colour.removeprefix(OF_PROBE)
    scores: Scores | None = table
    if source != table.of:
        scores = of_probe(context) if source == PROBE else of_text(context)
    return None if scores is None or name not in scores.values else (scores, name)


def colour_id(of: Of, name: str) -> str:
    """The grid's colour option for a score."""
    return f"{OF_PROBE}{name}" if of == PROBE else name
