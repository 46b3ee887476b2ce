"""Which pattern a head's attention has: its tag."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dashboard.analysis.head_scores import (
    MARKED,
    Marks,
    attention_left,
    beyond_first,
    beyond_first_by_chance,
    by_chance,
    marks_of,
)
from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.repeats import KINDS
from dashboard.contracts.streams import Attention

PATTERNS = ("previous", "next", "self", "first", *MARKED, *KINDS)
PATTERN_NAMES = {  # must match assets/components/head-patterns.js (tested)
    "previous": "previous token",
    "next": "next token",
    "self": "the token itself",
    "first": "first token",
    "separator": "separators",
    "punctuation": "punctuation",
    "duplicate": "duplicate token",
    "induction": "induction",
    "spread": "spread evenly",
    "mixed": "no dominant pattern",
    "unknown": "weights not finite",
}
OWN = ("self", "first", "entropy_share")  # scores that tags are made of besides shares
CLEAR = 0.4  # how far a score must be on the way from chance to 1 to name a pattern
LEFT = 0.1  # the least attention that the first token must leave for another pattern to be named
FEWEST = 3  # tokens that must repeat others before that can name a pattern
EVEN = 0.85  # the lowest share of the greatest possible entropy that counts as spread


@dataclass(frozen=True)
class HeadTag:
    """A head's pattern.

    Attributes:
        pattern: a key of PATTERN_NAMES. score: for “first”, the mean weight on the first token; for “spread”, the
            entropy as a share of the largest; otherwise the share of the attention that the first token leaves.
        first: the mean weight on the first token; NaN if there is none to average.
    """

    pattern: str
    score: float
    first: float = math.nan


def head_tags(attention: Attention) -> list[list[HeadTag]]:
    """What each head of each layer attends to on average over the queries of this text (`tags_of`).

    Raises:
        MissingArrayError: the run does not hold the scores.
    """
    scores = {name: np.asarray(attention.score(name)) for name in OWN}
    recipes = [attention.recipe(layer) for layer in range(attention.layers)]
    return tags_of(scores, beyond_first(attention), attention_left(attention), recipes, marks_of(attention))


def tags_of(
    scores: Mapping[str, np.ndarray],
    beyond: Mapping[str, np.ndarray],
    left: np.ndarray,
    recipes: Sequence[ScoreRecipe],
    marks: Marks,
) -> list[list[HeadTag]]:
    """The tag of each head of each layer.

    A pattern is judged by its share of the attention that is not on the first token, so that a sink there does not hide
    it. It names the head if that share is clearly above chance: at least `CLEAR` of the way from chance to 1. Without
    such a pattern the first token is judged in the same way.

    Args:
        scores: (layer, head) of each score in `OWN`. beyond: of the patterns but “first”, as shares (`beyond_first`).
        left: (layer, head), the attention that is not on the first token. recipes: of each layer. marks: of the text.
    """
    rows, chances, size = [], dict[tuple[str, int | None], dict[str, float]](), len(marks.repeats)
    for layer, recipe in enumerate(recipes):
        if (recipe.mask, recipe.window) not in chances:
            chance = beyond_first_by_chance(recipe, marks) | {"first": by_chance(recipe, size, size)["first"]}
            chances[recipe.mask, recipe.window] = chance
        chance, counts = chances[recipe.mask, recipe.window], marks.counts(recipe.mask)
        few = [name for name in KINDS if counts[name] < FEWEST]
        row = []
        for head in range(left.shape[1]):
            shares = {name: float(values[layer, head]) for name, values in beyond.items() if name not in few}
            own = {name: float(scores[name][layer, head]) for name in OWN}
            row.append(_tag(own, shares, chance, float(left[layer, head])))
        rows.append(row)
    return rows


def _tag(own: Mapping[str, float], shares: Mapping[str, float], chance: Mapping[str, float], left: float) -> HeadTag:
    if not math.isfinite(own["self"]):
        return HeadTag("unknown", 0.0)
    above = {name: _above(share, chance[name]) for name, share in shares.items()}
    best = max(above, key=lambda name: above[name], default=None)
    if best is not None and left >= LEFT and above[best] >= CLEAR:
        return HeadTag(best, shares[best], own["first"])
    if _above(own["first"], chance["first"]) >= CLEAR:
        return HeadTag("first", own["first"], own["first"])
    if own["entropy_share"] >= EVEN:
        return HeadTag("spread", own["entropy_share"], own["first"])
    most = max((share for share in shares.values() if math.isfinite(share)), default=0.0)
    return HeadTag("mixed", most, own["first"])


def _above(share: float, chance: float) -> float:
    """How far a share is on the way from chance to 1; −1 if one of them is not a number, or if chance is 1."""
    if not (math.isfinite(share) and math.isfinite(chance)) or chance >= 1:
        return -1.0
    return (share - chance) / (1 - chance)
