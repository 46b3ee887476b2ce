"""The keys that one query attends to most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class KeyWeight:
    """One key that a query attends to, and the exact weight."""

    token: int
    weight: float


def strongest_keys(row: np.ndarray, count: int = 5) -> list[KeyWeight]:
    """The keys that one query attends to most, greatest weight first; weights below 0.0005 are left out.

    Args:
        row: (key,) float32, the query's weights.
    """
    order = np.argsort(-row, kind="stable")[:count]
    return [KeyWeight(int(i), float(row[i])) for i in order if row[i] >= 5e-4]
