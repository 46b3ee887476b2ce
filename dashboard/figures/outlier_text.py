"""Text that names the tokens a PCA leaves out: "When (0), ↵ (17)", "norms 106 × and 80 × the median"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboard.contracts.finite import NBSP
from dashboard.figures.text import isolated

MOST_NAMED = 6  # tokens that a sentence names at most; of more, those with the largest norms


def named(tokens: Sequence[int], ratios: np.ndarray) -> list[int]:
    """The tokens that a sentence names, in order: all of them, or those with the largest norms."""
    largest = sorted(tokens, key=lambda token: (-np.nan_to_num(ratios[token], nan=np.inf), token))
    return sorted(largest[:MOST_NAMED])


def and_more(tokens: Sequence[int]) -> str:
    """ " and 24 more" for the tokens that `named` passes over; empty if it names all."""
    return f" and {len(tokens) - MOST_NAMED} more" if len(tokens) > MOST_NAMED else ""


def norms_text(tokens: Sequence[int], ratios: np.ndarray, layers: bool = False) -> str:
    """ "norm 106 × the median", "norms 106 × and 80 × the median"; for many tokens, the largest and the smallest norm.

    Args:
        ratios: (token,) norms over the median. layers: whether each is the largest of several layers.
    """
    found = [_times(ratios[token]) for token in tokens]
    if len(tokens) > MOST_NAMED:
        sizes = [float(ratios[token]) for token in tokens]
        words = f"{_times(max(sizes))} to {_times(min(sizes))}"
    else:
        words = " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
    where = " in some layer" if layers else ""
    return f"norm{'s' if len(tokens) > 1 else ''} {words} the median{where}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}{NBSP}×" if ratio >= 10 else f"{ratio:.1f}{NBSP}×"


def names_text(labels: Sequence[str], tokens: Sequence[int], ratios: np.ndarray) -> str:
    """ "When (0), ↵ (17) and 24 more"; `labels`: of all tokens."""
    return ", ".join(f"{isolated(labels[token])}{NBSP}({token})" for token in named(tokens, ratios)) + and_more(tokens)


def left_out_text(labels: Sequence[str], tokens: Sequence[int], ratios: np.ndarray, layers: bool = False) -> str:
    """ "Left out: When (0), ↵ (17): norms 106 × and 80 × the median"; empty if no token is left out."""
    if not tokens:
        return ""
    return f"Left out: {names_text(labels, tokens, ratios)}: {norms_text(tokens, ratios, layers)}"
