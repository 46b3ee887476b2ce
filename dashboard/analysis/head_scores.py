"""Every head's scores over one text, and the scores a head would have by chance: if it spread each row evenly over the
keys that the mask allows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.repeats import KINDS, Repeats
from dashboard.contracts.streams import Attention
from dashboard.contracts.table import Column
from dashboard.contracts.token import Token

MARKED = ("separator", "punctuation")
NAMES = ("previous", "next", "self", "first", *MARKED, *KINDS, "entropy", "entropy_share", "distance")
BEYOND = ("previous", "next", "self", *MARKED, *KINDS)  # scores that the first token can hide
COLUMNS = {  # of a table of scores
    "previous": Column("Weight on the previous token"),
    "next": Column("Weight on the next token"),
    "self": Column("Weight on the token itself"),
    "first": Column("Weight on the first token"),
    "separator": Column("Weight on separators"),
    "punctuation": Column("Weight on punctuation"),
    "duplicate": Column("Weight on duplicate tokens"),
    "induction": Column("Weight on what followed a duplicate (induction)"),
    "entropy": Column("Entropy", "nats"),
    "entropy_share": Column("Share of the largest entropy"),
    "distance": Column("Distance", "tokens"),
}
BLOCK = 1_000_000  # pairs of tokens looked at together


@dataclass(frozen=True)
class Marks:
    """What the scores have to know of a text.

    Attributes:
        repeats: which tokens repeat others.
        separator: (token,) bool: special tokens ([SEP], </s>) after the first token; a mask is none.
        punctuation: (token,) bool: tokens after the first that consist of punctuation (Unicode category P).
    """

    repeats: Repeats
    separator: np.ndarray
    punctuation: np.ndarray

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> Marks:
        separator = np.array([one.special and one.sign != "mask" for one in tokens], dtype=bool)
        punctuation = np.array([not one.special and _is_punctuation(one.text) for one in tokens], dtype=bool)
        separator[:1] = punctuation[:1] = False
        return cls(Repeats([one.id for one in tokens]), separator, punctuation)

    @classmethod
    def of_ids(cls, ids: Sequence[int] | np.ndarray) -> Marks:
        """Return the marks of tokens that are nothing but ids."""
        none = np.zeros(len(ids), dtype=bool)
        return cls(Repeats(ids), none, none)

    def counts(self, mask: str) -> dict[str, int]:
        """How many tokens each score rests on: separators, punctuation, and queries that repeat a token."""
        asking = self.repeats.asking("causal" if mask == "causal" else "full")
        found = [self.separator, self.punctuation, *asking]
        return {name: int(one.sum()) for name, one in zip((*MARKED, *KINDS), found, strict=True)}


def marks_of(attention: Attention) -> Marks:
    """Return the marks of the tokens that are attended to."""
    return attention.remember("marks", lambda: Marks.of(attention.answers.tokens))


def _is_punctuation(text: str) -> bool:
    said = text.strip()
    return bool(said) and all(unicodedata.category(one).startswith("P") for one in said)


def head_scores(attention: Attention) -> dict[str, np.ndarray]:
    """Return (layer, head) of every score that the run has, in the order of `NAMES`; NaN where a text gives none.

    `separator` and `punctuation` are the mean weight, over all queries, on all such tokens after the first; the others
    are stored (dashboard/contracts/run.py).
    """
    found = {name: np.asarray(attention.score(name)) for name in attention.scores()}
    if attention.has("received"):
        for name in MARKED:
            marked = getattr(marks_of(attention), name)
            found[name] = _sum_over(attention.received, marked) if marked.any() else _none(attention)
    return {name: found[name] for name in NAMES if name in found}


def beyond_first(attention: Attention) -> dict[str, np.ndarray]:
    """Return (layer, head) of the scores in `BEYOND` as shares of the attention that is not on the first token.

    A run of an earlier version lacks these shares; its scores themselves take their place.
    """
    scores, left = head_scores(attention), attention_left(attention)
    found = {}
    for name in (name for name in BEYOND if name in scores):
        if attention.has(f"beyond_first/{name}"):
            found[name] = np.asarray(attention.array(f"beyond_first/{name}", "the heads' scores"))
        elif name in MARKED:
            found[name] = np.divide(scores[name], left, out=_none(attention), where=left > 0)
        else:
            found[name] = scores[name]
    return found


def attention_left(attention: Attention) -> np.ndarray:
    """(layer, head): the mean weight of all queries on other tokens than the first."""
    if attention.has("received"):
        return _sum_over(attention.received, np.arange(attention.shape[1]) > 0)
    return 1 - np.asarray(attention.score("first"), dtype=np.float64)


def _sum_over(received: np.ndarray, marked: np.ndarray) -> np.ndarray:
    found: np.ndarray = received[:, :, marked].sum(axis=-1, dtype=np.float64)
    return found


def _none(attention: Attention) -> np.ndarray:
    return np.full((attention.layers, attention.heads), np.nan)


def by_chance(recipe: ScoreRecipe, queries: int, keys: int) -> dict[str, float]:
    """The scores of a head that attends equally to every allowed key, by their names in a run (`scores/…`).

    Query i may attend to the keys low … high, so each gets 1 / (high − low + 1). The means cover the same rows as a
    run's: `previous` and `first` leave out query 0, `next` leaves out the last one.

    Returns:
        previous, next, self, first (weights), entropy (nats), entropy_share, distance (tokens); NaN if there is no row
        to average.
    """
    query = np.arange(queries, dtype=np.float64)
    low, high = _span(recipe, query, keys)
    count = np.maximum(high - low + 1, 1)

    def weight_on(key: np.ndarray) -> np.ndarray:
        return np.where((low <= key) & (key <= high), 1 / count, 0.0)

    before, after = query - low, high - query
    within = (before >= 0) & (after >= 0)
    near = (before * (before + 1) + after * (after + 1)) / 2 / count
    return {
        "previous": _mean(weight_on(query - 1)[1:]),
        "next": _mean(weight_on(query + 1)[:-1]),
        "self": _mean(weight_on(query)),
        "first": _mean(weight_on(np.zeros(queries))[1:]),
        "entropy": _mean(np.log(count)),
        "entropy_share": 1.0 if (count > 1).any() else float("nan"),
        "distance": _mean(np.where(within, near, np.abs(query - (low + high) / 2))),
    }


def text_by_chance(recipe: ScoreRecipe, marks: Marks) -> dict[str, float]:
    """The same of every score in `NAMES`, in a text whose tokens attend to one another."""
    size = len(marks.repeats)
    count, pairs = _counted(recipe, marks), by_chance(recipe, size, size)
    asking = dict(zip(KINDS, marks.repeats.asking(recipe.mask), strict=True))
    for name in MARKED:
        pairs[name] = _mean(count[name] / count["allowed"]) if getattr(marks, name).any() else float("nan")
    for name in KINDS:
        pairs[name] = _mean((count[name] / count["allowed"])[asking[name]])
    return {name: pairs[name] for name in NAMES}


def beyond_first_by_chance(recipe: ScoreRecipe, marks: Marks) -> dict[str, float]:
    """The shares of `beyond_first` that a head would have which attends equally to every allowed key."""
    size = len(marks.repeats)
    count, query = _counted(recipe, marks), np.arange(size)
    low, high = _span(recipe, query.astype(np.float64), size)
    each, zero = 1 / count["allowed"], low <= 0
    left = (count["allowed"] - zero) * each
    asking = dict(zip(KINDS, marks.repeats.asking(recipe.mask), strict=True))
    parts = {
        "previous": each * ((low <= query - 1) & (query >= 2)),
        "next": each * (high >= query + 1) * (query < size - 1),
        "self": each * (query >= 1),
        "separator": each * count["separator"],
        "punctuation": each * count["punctuation"],
        "duplicate": each * (count["duplicate"] - zero * marks.repeats.first) * asking["duplicate"],
        "induction": each * count["induction"] * asking["induction"],
    }
    every = np.ones(size)
    return {name: _ratio(part.sum(), (left * asking.get(name, every)).sum()) for name, part in parts.items()}


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _counted(recipe: ScoreRecipe, marks: Marks) -> dict[str, np.ndarray]:
    """(query,) each: how many keys a query may attend to, and how many of those count for each score of a text."""
    size = len(marks.repeats)
    low, high = (ends.astype(np.int64) for ends in _span(recipe, np.arange(size, dtype=np.float64), size))
    found = {"allowed": np.maximum(high - low + 1, 1).astype(np.float64)}
    for name in MARKED:
        upto = np.concatenate([[0], np.cumsum(getattr(marks, name))])
        found[name] = (upto[high + 1] - upto[low]).astype(np.float64)
    found |= {name: np.zeros(size) for name in KINDS}
    height = max(1, BLOCK // max(1, size))
    for start in range(0, size, height):
        rows = range(start, min(size, start + height))
        keys = np.arange(size)
        allowed = (keys >= low[rows.start : rows.stop, None]) & (keys <= high[rows.start : rows.stop, None])
        for name, where in zip(KINDS, marks.repeats.within(rows, range(size), recipe.mask), strict=True):
            if where is not None:
                found[name][rows.start : rows.stop] = (where & allowed).sum(axis=1)
    return found


def _span(recipe: ScoreRecipe, query: np.ndarray, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """(query,) each: the first and the last key that a query may attend to."""
    zero, last = np.zeros_like(query), np.full_like(query, keys - 1)
    reach = np.inf if recipe.window is None else recipe.window
    if recipe.mask == "causal":
        return np.maximum(query - reach + 1, zero), np.minimum(query, last)
    return np.maximum(query - reach, zero), np.minimum(query + reach, last)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
