"""One weight in every head at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dashboard.analysis.attention_reading import NO_AIDS, Aids, AttentionReading, read_attention
from dashboard.contracts.streams import Attention


def weights_everywhere(attention: Attention, query: int, key: int, aids: Aids = NO_AIDS) -> np.ndarray:
    """Return (layer, head) float32: how much each head attends from `query` to `key`, read with these aids, NaN where
    the mask forbids it; all NaN if the aids leave one of the two out.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """

    def look() -> np.ndarray:
        one = read_attention(attention, 0, 0, aids=aids)  # every layer has the same rows and columns
        row, column = one.row_of(query), one.column_of(key)
        if row is None or column is None:
            return np.full((attention.layers, attention.heads), np.nan, dtype=np.float32)

        def is_allowed(reading: AttentionReading) -> bool:
            return bool(reading.allowed(row, row + 1)[0][column])

        return _by_head(attention, aids, lambda reading: float(reading.weights(row, row + 1)[0][column]), is_allowed)

    found: np.ndarray = attention.remember(("everywhere", query, key, aids), look)
    return found


def received_everywhere(attention: Attention, key: int, aids: Aids) -> np.ndarray:
    """Return (layer, head) float32: how much `key` receives in each head, as a mean over the rows that the aids leave;
    all NaN if they leave it out. Every head's matrix is computed, one at a time.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """

    def look() -> np.ndarray:
        one = read_attention(attention, 0, 0, aids=aids)
        column = one.column_of(key)
        if column is None or not one.rows:
            return np.full((attention.layers, attention.heads), np.nan, dtype=np.float32)
        return _by_head(attention, aids, lambda reading: float(reading.weights()[:, column].mean(dtype=np.float64)))

    found: np.ndarray = attention.remember(("received everywhere", key, aids), look)
    return found


def _by_head(
    attention: Attention,
    aids: Aids,
    value: Callable[[AttentionReading], float],
    has_value: Callable[[AttentionReading], bool] = lambda _reading: True,
) -> np.ndarray:
    """Return (layer, head) float32: `value` of each head, NaN in layers where the first head's reading has none."""
    found = np.full((attention.layers, attention.heads), np.nan, dtype=np.float32)
    for layer in range(attention.layers):
        first = read_attention(attention, layer, 0, aids=aids)
        if has_value(first):
            for head in range(attention.heads):
                found[layer, head] = value(replace(first, head=head, heads=((layer, head),)))
    return found
