"""Every head's scores over one text with the reading aids applied: means over the rows and columns of its matrix.

The scores are those of dashboard/analysis/head_scores.py. With words merged, "token" means a word: the previous one,
the same word, a distance in words. What is left out keeps its place in the text: if the token before is
left out, a row has no previous token and does not count for that score. A row that keeps no weight counts for no score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from dashboard.analysis.attention_reading import (
    Aids,
    AttentionReading,
    Group,
    read_attention,
    standing,
    tokens_of,
    words_of,
)
from dashboard.analysis.head_scores import MARKED, NAMES, Marks
from dashboard.contracts.attention_recipe import MaskKind
from dashboard.contracts.repeats import KINDS
from dashboard.contracts.streams import Attention, Stream
from dashboard.errors import MissingArrayError

# weights of all heads together; above this, computing them takes too long while somebody waits (this many: about 0.1 s)
MOST_WEIGHTS = 10**6


@dataclass(frozen=True)
class Places:
    """Which weights and rows of a matrix each score uses.

    Attributes:
        where: by score, (row, column) bool: the weights that the score sums.
        asks: by score, (row,) bool: the rows that the score averages over.
        apart: (row, column): distance between row and column, in tokens or words.
        allowed: (row, column) bool: whether the mask allows the weight.
    """

    where: Mapping[str, np.ndarray]
    asks: Mapping[str, np.ndarray]
    apart: np.ndarray
    allowed: np.ndarray


def are_readable(attention: Attention) -> bool:
    """Whether all heads' weights are there, and few enough to compute while somebody waits."""
    queries, keys = attention.shape
    if attention.layers * attention.heads * queries * keys > MOST_WEIGHTS:
        return False
    try:
        for layer in range(attention.layers):
            attention.made_of(layer, 0)
    except MissingArrayError:
        return False
    return True


def scores_read(attention: Attention, aids: Aids) -> dict[str, np.ndarray]:
    """Return (layer, head) float64 of every score in `NAMES`, read with these aids; NaN where no row has one.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """

    def look() -> dict[str, np.ndarray]:
        found = {name: np.full((attention.layers, attention.heads), np.nan) for name in NAMES}
        places = dict[tuple[MaskKind, int | None], Places]()
        for layer, weights in layers_read(attention, aids):
            reading = read_attention(attention, layer, 0, aids=aids)
            mask = attention.recipe(layer)
            if (mask.mask, mask.window) not in places:
                places[mask.mask, mask.window] = _places(reading)
            for name, values in _means(weights, places[mask.mask, mask.window]).items():
                found[name][layer] = values
        return found

    return attention.remember(("scores read", aids), look)


def layers_read(attention: Attention, aids: Aids) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each layer and (head, row, column) float32: the weights of its heads, read with these aids."""
    for layer in range(attention.layers):
        first = read_attention(attention, layer, 0, aids=aids)
        heads = (replace(first, head=head, heads=((layer, head),)) for head in range(attention.heads))
        yield layer, np.stack([one.weights() for one in heads])


def read_by_chance(attention: Attention, layer: int, aids: Aids) -> dict[str, float]:
    """The scores of a head that attends equally to every key that the layer's mask allows, read with these aids."""
    allowed = attention.allowed(layer)
    even = (allowed / np.maximum(allowed.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    reading = read_attention(attention, layer, 0, aids=aids, given=even)
    return {name: float(values[0]) for name, values in _means(reading.weights()[None], _places(reading)).items()}


def _units(stream: Stream, aids: Aids) -> tuple[Group, ...]:
    """The words of a text, or its tokens, left out or not."""
    return words_of(stream) if aids.words else tuple((token,) for token in range(len(stream)))


def _places(reading: AttentionReading) -> Places:
    stream, aids = reading.attention.answers, reading.aids
    units = _units(stream, aids)
    index = {group[0]: place for place, group in enumerate(units)}
    at = standing(stream, aids)
    rows, columns = (
        np.array([index[int(at[group[0]])] for group in groups], dtype=int)
        for groups in (reading.rows, reading.columns)
    )
    marks, mask = Marks.of(tokens_of(stream, units)), reading.mask.kind
    row, column = rows[:, None], columns[None, :]
    every = range(len(units))
    none = np.zeros((len(rows), len(columns)), dtype=bool)
    where = {
        "previous": column == row - 1,
        "next": column == row + 1,
        "self": column == row,
        "first": (column == 0) & (row > 0),
        **{name: none | getattr(marks, name)[column] for name in MARKED},
    }
    for name, found in zip(KINDS, marks.repeats.within(every, every, mask), strict=True):
        where[name] = none if found is None else found[np.ix_(rows, columns)]
    asks = {name: found.any(axis=1) for name, found in where.items()}
    for name in MARKED:  # if there is such a column, every row counts
        asks[name] = np.full(len(rows), bool(where[name].any()))
    return Places(where, asks, np.abs(row - column), reading.allowed())


def _means(weights: np.ndarray, places: Places) -> dict[str, np.ndarray]:
    """(head,) float64 of each score.

    Args:
        weights: (head, row, column).
    """
    values = weights.astype(np.float64)
    kept = values.sum(axis=2) != 0  # also where a weight is not finite, so that the mean is not finite either
    found = {
        name: _mean((values * where).sum(axis=2), kept & places.asks[name]) for name, where in places.where.items()
    }
    logs = np.log(np.where(values > 0, values, 1))
    entropy, counts = -(values * logs).sum(axis=2), places.allowed.sum(axis=1)
    found["entropy"] = _mean(entropy, kept)
    found["entropy_share"] = _mean(entropy / np.log(np.maximum(counts, 2)), kept & (counts > 1))
    found["distance"] = _mean((values * places.apart).sum(axis=2), kept)
    return {name: found[name] for name in NAMES}


def _mean(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(head,): the mean of each head's rows that count; NaN if there are none."""
    counts = rows.sum(axis=1)
    sums = np.where(rows, values, 0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
