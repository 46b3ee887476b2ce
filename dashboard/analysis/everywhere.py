"""One weight in every head at once."""

from __future__ import annotations

import numpy as np

from dashboard.contracts.streams import Attention


def weights_everywhere(attention: Attention, query: int, key: int) -> np.ndarray:
    """Return (layer, head) float32: how much each head attends from `query` to `key`, NaN where the mask forbids it.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """

    def look() -> np.ndarray:
        found = np.full((attention.layers, attention.heads), np.nan, dtype=np.float32)
        for layer in range(attention.layers):
            if attention.allowed(layer, query, query + 1)[0][key]:
                for head in range(attention.heads):
                    found[layer, head] = attention.rows(layer, head, query, query + 1)[0][key]
        return found

    found: np.ndarray = attention.remember(("everywhere", query, key), look)
    return found
