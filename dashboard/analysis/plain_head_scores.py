"""A head's scores from its plain weights, as arrays: what a run stores of every head (dashboard/capture/statistics.py),
for those who have only `attentions`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboard.contracts.attention_recipe import MaskKind
from dashboard.contracts.repeats import KINDS, Repeats

SCORES = ("previous", "next", "self", "first", *KINDS, "entropy", "distance")  # that need no special tokens


def plain_scores(layers: Sequence[np.ndarray], name: str, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """(layer, head) float64 of one score; NaN where a weight is not finite, or the text gives the score nothing.

    The attention is taken as causal if no layer has a weight above the diagonal.

    Args:
        layers: (head, query, key) each, of one text. name: one of `SCORES`. ids: (token,), equal for equal tokens.
    """
    causal = all(not np.triu(np.nan_to_num(layer), 1).any() for layer in layers)
    if name not in KINDS:
        with np.errstate(invalid="ignore"):  # what is not finite stays so
            return np.stack([_score(layer.astype(np.float64), name) for layer in layers])
    repeats, every, kind = Repeats(ids), range(len(ids)), KINDS.index(name)
    mask: MaskKind = "causal" if causal else "full"
    asking, counts = repeats.asking(mask)[kind], repeats.within(every, every, mask)[kind]
    if counts is None or not asking.any():
        return np.full((len(layers), len(layers[0])), np.nan)
    with np.errstate(invalid="ignore"):
        return np.stack([(layer * counts).sum(axis=-1, dtype=np.float64)[:, asking].mean(axis=-1) for layer in layers])


def _score(weights: np.ndarray, name: str) -> np.ndarray:
    """(head,) of a score that only places decide; `weights` is (head, query, key)."""
    at = np.arange(weights.shape[-1])
    if name == "entropy":
        rows = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(axis=-1)
    elif name == "distance":
        rows = (weights * np.abs(at[:, None] - at)).sum(axis=-1)
    else:
        places = {
            "previous": (at[1:], at[:-1]),
            "next": (at[:-1], at[1:]),
            "self": (at, at),
            "first": (at[1:], at[1:] * 0),
        }
        queries, keys = places[name]
        rows = weights[:, queries, keys]
    return rows.mean(axis=-1) if rows.shape[-1] else np.full(len(weights), np.nan)
