"""Tokens whose hidden states are far longer than the others': one such token takes up a whole principal component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

# "auto" leaves tokens out by their norm; "keep" keeps all; "leave" leaves out the first token, whatever its norm
Outliers = Literal["auto", "keep", "leave"]
OUTLIER = 5.0  # a token whose norm is more than this many times the median is left out by default
LEAST_KEPT = 2  # tokens that always remain


def finite_tokens(states: np.ndarray) -> np.ndarray:
    """(token,) bool: whether every value of a token's state, from (token, hidden), is finite."""
    return np.asarray(np.isfinite(states).all(axis=1))


def norm_ratios(states: np.ndarray) -> np.ndarray:
    """(token,) float64: each token's norm over the median norm of all tokens.

    NaN where the token's state is not finite (the median ignores such tokens); 1 everywhere if the median is 0.
    """
    finite = finite_tokens(states)
    ratios = np.full(len(states), np.nan)
    norms = np.linalg.norm(states[finite].astype(np.float64), axis=1)
    median = float(np.median(norms)) if len(norms) else 0.0
    ratios[finite] = norms / median if median > 0 else 1.0
    return ratios


def largest_ratios(layers: Sequence[np.ndarray]) -> np.ndarray:
    """(token,): each token's largest `norm_ratios` over the layers; NaN for a token whose state is finite in none."""
    return np.asarray(np.fmax.reduce([norm_ratios(layer) for layer in layers]))


def left_out(ratios: np.ndarray, choice: Outliers) -> tuple[int, ...]:
    """The tokens that are left out of the fit, in order; at least two tokens always remain.

    Args:
        ratios: (token,) from `norm_ratios` or `largest_ratios`.
        choice: "auto" leaves out every token above `OUTLIER`, "keep" none, "leave" the first token.
    """
    known = int(np.isfinite(ratios).sum())
    room = max(0, known - LEAST_KEPT)
    if choice == "keep" or room == 0:
        return ()
    if choice == "leave":
        return (0,)
    largest_first = np.argsort(-np.nan_to_num(ratios, nan=0.0), kind="stable")
    return tuple(sorted(int(token) for token in largest_first[:room] if ratios[token] > OUTLIER))
