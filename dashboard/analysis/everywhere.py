"""One weight in every head at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dashboard.analysis.attention_reading import NO_AIDS, Aids, read_attention
from dashboard.contracts.streams import Attention


def weights_everywhere(attention: Attention, query: int, key: int, aids: Aids = NO_AIDS) -> np.ndarray:
    """Return (layer, head) float32: how much each head attends from `query` to `key`, read with these aids, NaN where
    the mask forbids it; all NaN if the aids leave one of the two out.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """

    def look() -> np.ndarray:
        found = np.full((attention.layers, attention.heads), np.nan, dtype=np.float32)
        for layer in range(attention.layers):
            first = read_attention(attention, layer, 0, aids=aids)
            row, column = first.row_of(query), first.column_of(key)
            if row is None or column is None or not first.allowed(row, row + 1)[0][column]:
                continue
            for head in range(attention.heads):
                reading = replace(first, head=head, heads=((layer, head),))
                found[layer, head] = reading.weights(row, row + 1)[0][column]
        return found

    found: np.ndarray = attention.remember(("everywhere", query, key, aids), look)
    return found


def received_everywhere(attention: Attention, key: int, aids: Aids) -> np.ndarray:
    """Return (layer, head) float32: how much `key` receives in each head, as a mean over the rows that the aids leave;
    all NaN if they leave it out. Every head's matrix is computed, one at a time.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """

    def look() -> np.ndarray:
        found = np.full((attention.layers, attention.heads), np.nan, dtype=np.float32)
        for layer in range(attention.layers):
            first = read_attention(attention, layer, 0, aids=aids)
            column = first.column_of(key)
            if column is None or not first.rows:
                continue
            for head in range(attention.heads):
                reading = replace(first, head=head, heads=((layer, head),))
                found[layer, head] = reading.weights()[:, column].mean(dtype=np.float64)
        return found

    found: np.ndarray = attention.remember(("received everywhere", key, aids), look)
    return found
