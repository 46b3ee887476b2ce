"""Which lines to draw between tokens for some heads: the strongest weights, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Direction = Literal["to", "from", "all"]
DIRECTIONS: tuple[Direction, ...] = ("to", "from", "all")
LEAST = 0.02  # the smallest weight that gets a line, unless the caller sets another
MOST_LINES = 500  # lines drawn at once, the strongest
MOST_TOKENS = 40  # tokens in a column
BLOCK = 262_144  # weights examined at a time
# (head index, first query, last query + 1) → weights (query, key), and which of them the mask allows
Rows = Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Lines:
    """The lines of some heads, weakest first.

    Attributes:
        head: (line,) int, index of the head.
        query, key: (line,) int, positions.
        weight: (line,) float32.
        possible: how many lines the masks allow in this direction.
        left_out: how many of them are not among these lines.
        crowded: how many of those are strong enough but were dropped for lack of room.
        left_weight: the sum of the weights left out.
        lost: allowed weights that are not finite, neither drawn nor counted as left out.
        readable: (token,) bool, which tokens a chosen token may attend to, or be attended to by, in one of the heads;
            all if no token is chosen.
    """

    head: np.ndarray
    query: np.ndarray
    key: np.ndarray
    weight: np.ndarray
    possible: int
    left_out: int
    crowded: int
    left_weight: float
    lost: int
    readable: np.ndarray

    def __len__(self) -> int:
        return len(self.weight)


def strongest_lines(
    rows: Rows, heads: int, shape: tuple[int, int], tokens: Sequence[int], direction: Direction, least: float
) -> Lines:
    """Return the lines of weight `least` or more, at most `MOST_LINES`: the strongest.

    Args:
        rows: returns the weights.
        heads: the number of heads.
        shape: (queries, keys).
        tokens: the chosen tokens.
        direction: "to": from the chosen tokens to what they attend to; "from": from what attends to them; "all": every
            pair.
        least: the smallest weight that gets a line.
    """
    kept: list[np.ndarray] = []  # (4, line) float64: head, query, key, weight
    possible, lost, strong, total = 0, 0, 0, 0.0
    readable = np.full(max(shape), direction == "all")
    for head, first, weights, allowed in _blocks(rows, heads, shape, tokens, direction):
        columns = np.array(tokens) if direction == "from" else np.arange(shape[1])
        finite = np.isfinite(weights) & allowed
        possible += int(allowed.sum())
        lost += int((allowed & ~np.isfinite(weights)).sum())
        total += float(weights[finite].sum(dtype=np.float64))
        if direction == "to":
            readable[: shape[1]] |= allowed.any(axis=0)
        elif direction == "from":
            readable[first : first + len(weights)] |= allowed.any(axis=1)
        at = np.nonzero(finite & (weights >= least))
        strong += len(at[0])
        kept.append(np.stack([np.full(len(at[0]), head), first + at[0], columns[at[1]], weights[at]]))
        if sum(found.shape[1] for found in kept) > 8 * MOST_LINES:
            kept = [_strongest(np.concatenate(kept, axis=1))]
    found = _strongest(np.concatenate(kept, axis=1)) if kept else np.empty((4, 0))
    weight = found[3].astype(np.float32)
    left = max(0.0, total - float(found[3].sum()))
    whole = possible - lost
    head_of, query, key = found[:3].astype(int)
    left_out = whole - len(weight)
    crowded = strong - len(weight)
    return Lines(head_of, query, key, weight, possible, left_out, crowded, left if left_out else 0.0, lost, readable)


def _blocks(
    rows: Rows, heads: int, shape: tuple[int, int], tokens: Sequence[int], direction: Direction
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Yield (head, first query, weights, which of them the mask allows) of the chosen queries or the chosen keys."""
    height = max(1, BLOCK // shape[1])
    for head in range(heads):
        if direction == "to":
            for query in tokens:
                yield head, query, *rows(head, query, query + 1)
            continue
        for first in range(0, shape[0], height):
            weights, allowed = rows(head, first, min(shape[0], first + height))
            yield (
                (head, first, weights[:, tokens], allowed[:, tokens])
                if direction == "from"
                else (head, first, weights, allowed)
            )


def _strongest(found: np.ndarray) -> np.ndarray:
    """The strongest lines, weakest first."""
    return found[:, np.argsort(found[3], kind="stable")[-MOST_LINES:]]


def tokens_shown(
    lines: Lines, tokens: Sequence[int], chosen: Sequence[int], most: int = MOST_TOKENS
) -> tuple[int, ...]:
    """Return the tokens to show: all of a short text; in a longer one the chosen tokens, their neighbours, and the
    ends of the strongest lines, as far as there is room.

    Args:
        tokens: all tokens of the text, in order; for merged words, the token that stands for each word.
        chosen: the chosen tokens, a subset of `tokens`.
        most: the largest number of tokens to show.
    """
    if len(tokens) <= most:
        return tuple(tokens)
    places = {token: place for place, token in enumerate(tokens)}
    shown = set(chosen[:most])
    for token in chosen:
        place = places[token]
        beside = {*tokens[max(0, place - 1) : place], *tokens[place + 1 : place + 2]}
        if len(shown | beside) <= most:
            shown |= beside
    for query, key in zip(lines.query[::-1].tolist(), lines.key[::-1].tolist(), strict=True):
        if len(shown | {query, key}) <= most:
            shown |= {query, key}
    return tuple(sorted(shown))


def between(lines: Lines, tokens: Sequence[int]) -> Lines:
    """Return the lines whose two ends are among `tokens`; the others count as left out."""
    inside = np.isin(lines.query, tokens) & np.isin(lines.key, tokens)
    gone = lines.weight[~inside]
    return replace(
        lines,
        **{name: getattr(lines, name)[inside] for name in ("head", "query", "key", "weight")},
        left_out=lines.left_out + len(gone),
        crowded=lines.crowded + len(gone),
        left_weight=lines.left_weight + float(gone.sum(dtype=np.float64)),
    )
