"""How similar two tokens' representations are, in all dimensions of the hidden states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """Two tokens' states compared.

    Attributes:
        cosine: of the angle between them, −1 … 1; NaN if either state is all zero or not finite.
        distance: Euclidean, in the units of the hidden states; NaN if either state is not finite.
        dimensions: how many dimensions the states have.
    """

    cosine: float
    distance: float
    dimensions: int


def similarity(states: np.ndarray, one: int, other: int) -> Similarity:
    """Compare two rows of (token, hidden) in float64, neither centred nor scaled."""
    a, b = states[one].astype(np.float64), states[other].astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Similarity(float("nan"), float("nan"), len(a))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(np.clip(a @ b / norms, -1.0, 1.0)) if norms > 0 else float("nan")
    return Similarity(cosine, float(np.linalg.norm(a - b)), len(a))
