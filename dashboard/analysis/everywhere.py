"""One query in every head at once: where each head of each layer looks from it."""

from __future__ import annotations

import numpy as np

from dashboard.contracts.streams import Attention


def rows_everywhere(attention: Attention, query: int) -> np.ndarray:
    """(layer, head, key) float32: the weights of one query in every head, NaN where the mask forbids the key.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """

    def look() -> np.ndarray:
        found = np.empty((attention.layers, attention.heads, len(attention.answers)), dtype=np.float32)
        for layer in range(attention.layers):
            forbidden = ~attention.allowed(layer, query, query + 1)[0]
            for head in range(attention.heads):
                row = attention.rows(layer, head, query, query + 1)[0]
                found[layer, head] = np.where(forbidden, np.nan, row)
        return found

    found: np.ndarray = attention.remember(("everywhere", query), look)
    return found
