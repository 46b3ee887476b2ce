"""What a head does, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dashboard.contracts.streams import Attention

PATTERNS = ("previous", "next", "self", "first")
PATTERN_NAMES = {  # must match assets/components/head-grid.js (tested)
    "previous": "previous token",
    "next": "next token",
    "self": "the token itself",
    "first": "first token",
    "spread": "spread evenly",
    "mixed": "no dominant pattern",
    "unknown": "weights not finite",
}
CLEAR = 0.4  # the lowest mean weight that names a pattern
EVEN = 0.85  # the lowest share of the greatest possible entropy that counts as spread


@dataclass(frozen=True)
class HeadTag:
    """A head's pattern. `pattern`: a key of PATTERN_NAMES; `score`: mean weight on it (or entropy share), 0 … 1."""

    pattern: str
    score: float


@dataclass(frozen=True)
class KeyWeight:
    """One key that a query attends to, and the exact weight."""

    token: int
    weight: float


def head_tags(attention: Attention) -> list[list[HeadTag]]:
    """What each head of each layer attends to on average over the queries of this text.

    Raises:
        MissingArrayError: the run does not hold the scores.
    """
    names = (*PATTERNS, "entropy_share")
    scores = {name: np.nan_to_num(attention.score(name), nan=-1.0) for name in names}  # NaN: no token has this score
    scores["self"] = np.asarray(attention.score("self"))  # every text has this score, so NaN means not finite
    return [[_tag(scores, layer, head) for head in range(attention.heads)] for layer in range(attention.layers)]


def _tag(scores: dict[str, np.ndarray], layer: int, head: int) -> HeadTag:
    if not np.isfinite(scores["self"][layer, head]):
        return HeadTag("unknown", 0.0)
    best = max(PATTERNS, key=lambda name: float(scores[name][layer, head]))
    score = float(scores[best][layer, head])
    if score >= CLEAR:
        return HeadTag(best, score)
    share = float(scores["entropy_share"][layer, head])
    return HeadTag("spread", share) if share >= EVEN else HeadTag("mixed", score)


def strongest_keys(row: np.ndarray, count: int = 5) -> list[KeyWeight]:
    """The keys that one query attends to most, greatest weight first; weights below 0.0005 are left out.

    Args:
        row: (key,) float32, the query's weights.
    """
    order = np.argsort(-row, kind="stable")[:count]
    return [KeyWeight(int(i), float(row[i])) for i in order if row[i] >= 5e-4]
