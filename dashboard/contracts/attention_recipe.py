"""Attention weights from stored query and key: exact, one head at a time, without the model.

A family with its own attention code returns no queries and keys. Its weights are stored, and the recipe says where
(`stored`).

scores = scaling · q kᵀ (+ position bias)         Vaswani et al. 2017, equation 1
scores = softcap · tanh(scores / softcap)         Gemma 2, where the model has it
weights = softmax(scores over the allowed keys)   with sink logits, a row sums to less than 1
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from dashboard.errors import RunShapeError

MaskKind = Literal["full", "causal"]


@dataclass(frozen=True)
class ScoreRecipe:
    """How a layer makes scores from query and key.

    Attributes:
        scaling: factor on q·k.
        mask: "full" (every token reads every token) or "causal" (only itself and what came before).
        window: sliding window, or None. Causal: query i reads key j if 0 <= i - j < window;
            full: if abs(i - j) <= window.
        softcap: caps scores as softcap·tanh(score / softcap); or None.
        bias: name of a stored array (head, query, key) that is added to the scores, or None.
        sinks: name of a stored array (head,) of sink logits that take part in the softmax, or None.
        stored: name of a stored array (head, query, key) of the weights themselves; then there is no query and no key,
            and of the other fields only `mask` and `window` mean anything. None: the weights follow from query and key.
    """

    scaling: float
    mask: MaskKind = "full"
    window: int | None = None
    softcap: float | None = None
    bias: str | None = None
    sinks: str | None = None
    stored: str | None = None

    def __post_init__(self) -> None:
        if self.mask not in ("full", "causal"):
            raise RunShapeError(f"Unknown mask kind {self.mask!r} in a score recipe. Choose “full” or “causal”.")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON; `stored` only if it is set, so that earlier versions can read all other runs."""
        return {name: value for name, value in asdict(self).items() if name != "stored" or value is not None}


def allowed_keys(recipe: ScoreRecipe, queries: int, keys: int, first: int = 0) -> np.ndarray:
    """(query, key) bool: which keys each of `queries` queries, starting at position `first`, may read."""
    distance = np.arange(first, first + queries)[:, None] - np.arange(keys)[None, :]
    allowed = np.ones((queries, keys), dtype=bool)
    if recipe.mask == "causal":
        allowed &= distance >= 0
        if recipe.window is not None:
            allowed &= distance < recipe.window
    elif recipe.window is not None:
        allowed &= np.abs(distance) <= recipe.window
    return allowed


def attention_weights(
    query: np.ndarray,
    key: np.ndarray,
    recipe: ScoreRecipe,
    bias: np.ndarray | None = None,
    sink: float | None = None,
    first: int = 0,
) -> np.ndarray:
    """Compute the attention weights of one head.

    Args:
        query: (query, d_head) float32, after rotary embedding and normalisation.
        key: (key, d_head) float32, likewise.
        recipe: how to make the scores.
        bias: (query, key) float32 added to the scores, if the recipe names one.
        sink: the head's sink logit, if the recipe names one.
        first: position of the first query, if `query` and `bias` are a slice of a longer text's rows.

    Returns:
        (query, key) float32; each row sums to 1 (less with a sink); forbidden pairs are exactly 0. A row whose scores
        are not finite is NaN except at its forbidden pairs.

    Raises:
        RunShapeError: query and key differ in width, or the recipe is one of stored weights.
    """
    if recipe.stored is not None:
        raise RunShapeError(
            f"These weights are stored as {recipe.stored} and not computed from query and key. Read that array."
        )
    if query.ndim != 2 or key.ndim != 2 or query.shape[1] != key.shape[1]:
        raise RunShapeError(f"query {query.shape} and key {key.shape} do not fit. Give (token, d_head) of one width.")
    # non-finite values would warn here; the run reports them itself (contracts/finite.py)
    with np.errstate(invalid="ignore", over="ignore"):
        return _weights(query, key, recipe, bias, sink, first)


def _weights(
    query: np.ndarray, key: np.ndarray, recipe: ScoreRecipe, bias: np.ndarray | None, sink: float | None, first: int
) -> np.ndarray:
    scores = (query @ key.T) * np.float32(recipe.scaling)
    if bias is not None:
        scores += bias
    if recipe.softcap is not None:
        scores = np.tanh(scores / np.float32(recipe.softcap)) * np.float32(recipe.softcap)
    allowed = None
    if recipe.mask != "full" or recipe.window is not None:
        allowed = allowed_keys(recipe, scores.shape[0], scores.shape[1], first)
        scores[~allowed] = -np.inf
    top = scores.max(axis=1, keepdims=True)
    if sink is not None:
        top = np.maximum(top, np.float32(sink))
    weights = np.exp(scores - top)
    total = weights.sum(axis=1, keepdims=True)
    if sink is not None:
        total = total + np.exp(np.float32(sink) - top)
    weights /= total
    if allowed is not None and not np.isfinite(total).all():
        weights[~allowed] = 0.0
    return weights.astype(np.float32, copy=False)
