"""The weights of several heads as one: their mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboard.contracts.streams import Attention

Heads = Sequence[tuple[int, int]]  # (layer, head) of each


def mean_rows(attention: Attention, heads: Heads, first: int, last: int) -> np.ndarray:
    """Return rows `first` … `last` (exclusive) of the mean over `heads`: (query, key) float32, summed in float64; a
    weight that a layer's mask forbids counts as 0. The rows of one head are its own.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """
    if len(heads) == 1:
        return attention.rows(*heads[0], first, last)
    total = np.zeros((last - first, attention.shape[1]))
    for layer, head in heads:
        total += attention.rows(layer, head, first, last)
    return (total / len(heads)).astype(np.float32)


def mean_allowed(attention: Attention, heads: Heads, first: int, last: int) -> np.ndarray:
    """Return (query, key) bool: which pairs the mask of at least one of the heads' layers allows."""
    layers = dict.fromkeys(layer for layer, _head in heads)
    found = np.zeros((last - first, attention.shape[1]), dtype=bool)
    for layer in layers:
        found |= attention.allowed(layer, first, last)
    return found
