"""Where a run's values stop being finite numbers (NaN, ±∞): the first such place, and the sentence that reports it.

Weights that overflowed in half precision, for example, give NaN from some layer on. What comes before is as good as in
any other run. −∞ among the logits is allowed: it makes a token impossible, with probability 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Part = Literal["embeddings", "layer", "norm", "predictions", "classes"]
NBSP = "\u00a0"


@dataclass(frozen=True)
class NotFinite:
    """Where non-finite values begin.

    Attributes:
        part: "embeddings"; "layer", in the attention or the states of `layer`; "norm", past the final norm;
            "predictions"; "classes".
        layer: −1 for the embeddings; the number of layers for what comes after the last.
        values: "NaN", "∞" or "NaN and ∞". tokens: at how many positions, counted at the first place only. of: how many
            positions there are.
    """

    part: Part
    layer: int
    values: str
    tokens: int
    of: int

    @property
    def begins(self) -> str:
        """ "from layer 3 on (NaN)", "in the predictions (∞, at 2 of 18 tokens)"."""
        where = {
            "embeddings": "from the embeddings on",
            "layer": f"from layer{NBSP}{self.layer} on",
            "norm": "after the final norm",
            "predictions": "in the predictions",
            "classes": "in the classes",
        }[self.part]
        some = f", at {self.tokens} of {self.of} tokens" if self.tokens < self.of else ""
        return f"{where} ({self.values}{some})"

    @property
    def sentence(self) -> str:
        """The sentence a person reads."""
        return (
            f"The model's values are not finite {self.begins}, so nothing computed from them can be shown. "
            "Half-precision weights have probably overflowed."
        )


def first_not_finite(arrays: Mapping[str, np.ndarray], layers: int, stream: str) -> NotFinite | None:
    """Find the first place in a run's arrays (dashboard/contracts/run.py) with a non-finite value, or None.

    Checks the states of `stream`, its attention, the predictions and the classes.

    It costs one sum over every hidden state, which is finite if all values are.
    """
    received = arrays.get(f"{stream}/received")
    attention = _first_attention(received)
    for layer in range(-1, layers):
        last = layer == layers - 1 and f"{stream}/residual_final" in arrays
        found = _bad(arrays.get(f"{stream}/{'residual_final' if last else f'hidden_states/{layer + 1}'}"))
        if received is not None and attention is not None and attention <= layer:
            found = found or _bad(received[attention].T)
        if found is not None:
            return NotFinite("embeddings" if layer < 0 else "layer", layer, *found)
    found = _bad(arrays.get(f"{stream}/hidden_states/{layers}"))
    if found is not None:
        return NotFinite("norm", layers, *found)
    for mode in ("given", "masked"):
        found = _bad(arrays[f"{mode}/entropy"][:, None]) if f"{mode}/entropy" in arrays else None
        if found is not None:
            return NotFinite("predictions", layers, *found)
    classes = arrays.get(f"{stream}/class_logits")
    if classes is not None:
        found = _bad(np.where(np.isneginf(classes), 0, classes).reshape(-1, classes.shape[-1]))
        if found is not None:
            return NotFinite("classes", layers, *found)
    return None


def _first_attention(received: np.ndarray | None) -> int | None:
    """Return the first layer with a non-finite attention weight; `received`: (layer, head, key)."""
    if received is None or _bad(received) is None:
        return None
    return int(np.flatnonzero(~np.isfinite(received).all(axis=(1, 2)))[0])


def _bad(by_token: np.ndarray | None) -> tuple[str, int, int] | None:
    """Say which values of (token, …) are not finite, at how many tokens, of how many; None if all are or none exist."""
    if by_token is None:
        return None
    with np.errstate(all="ignore"):
        if np.isfinite(by_token.sum()):
            return None
    rows = by_token.reshape(len(by_token), -1)
    bad = ~np.isfinite(rows)
    if not bad.any():
        return None  # the values are finite; only the sum overflowed
    kinds = (("NaN", np.isnan(rows).any()), ("∞", np.isinf(rows).any()))
    return " and ".join(name for name, there in kinds if there), int(bad.any(axis=1).sum()), len(rows)
