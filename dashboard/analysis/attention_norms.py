"""Attention weighted by the length of what it transports: ‖α f(x)‖ (Kobayashi et al. 2020, equation 3).

A head's output at a query is Σ_j α_j f(x_j), where f(x) = (x W_V + b_V) W_O is what a key passes on. A key with a large
weight adds little if its f(x) is short. Over all heads of a layer, the vector that one key adds is Σ_h α_h f_h(x); the
bias of the output projection belongs to no key and is in neither.

With the residual connection, a token also gets its own state; a LayerNorm after that sum acts on each vector by its
linear part (Kobayashi et al. 2021, dashboard/capture/block_norms.py).
"""

from __future__ import annotations

import numpy as np

from dashboard.contracts.passed_on import STAGES, BlockNorms, PassedOn
from dashboard.contracts.streams import Attention

BLOCK = 2**20  # weights of all heads that are held at once


def pairs_of_heads(heads: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second head of each pair, in the order of `PassedOn.grams`."""
    rows, columns = np.triu_indices(heads)
    return rows, columns


def head_norms(attention: Attention, passed: PassedOn, layer: int, head: int, first: int, last: int) -> np.ndarray:
    """(query, key) float32 of the queries `first` … `last` (exclusive): α ‖f(x)‖ in one head."""
    weights = attention.rows(layer, head, first, last)
    return np.asarray(weights * passed.norms[layer, head], dtype=np.float32)


def layer_norms(attention: Attention, passed: PassedOn, layer: int, first: int, last: int) -> np.ndarray:
    """(query, key) float32 of these queries: ‖Σ_h α_h f_h(x)‖ over all heads of a layer.

    Raises:
        ValueError: the layer has no inner products.
    """
    return _of_all_heads(attention, passed.grams[layer], layer, first, last)


def residual_norms(
    attention: Attention, passed: PassedOn, block: BlockNorms, layer: int, first: int, last: int
) -> np.ndarray:
    """(query, key) float32 of these queries: ‖Σ_h α_h f_h(x)‖, with the query's own state added where it is the key.

    Raises:
        ValueError: the layer has no inner products.
    """
    found = layer_norms(attention, passed, layer, first, last)
    return _with_own(found, block.own[STAGES.index("residual"), layer], first, last)


def layernorm_norms(attention: Attention, block: BlockNorms, layer: int, first: int, last: int) -> np.ndarray:
    """(query, key) float32 of these queries: the same past the layer's LayerNorm.

    Raises:
        ValueError: the layer has no inner products.
    """
    found = _of_all_heads(attention, block.grams[layer], layer, first, last)
    found /= block.deviation[layer, first:last, None]
    return _with_own(found, block.own[STAGES.index("layernorm"), layer], first, last)


def _with_own(found: np.ndarray, own: np.ndarray, first: int, last: int) -> np.ndarray:
    """Put (token,) norms in the places of the diagonal of these queries."""
    found[np.arange(last - first), np.arange(first, last)] = own[first:last]
    return found


def _of_all_heads(attention: Attention, gram: np.ndarray | None, layer: int, first: int, last: int) -> np.ndarray:
    """(query, key) float32: the norm of Σ_h α_h v_h, from (key, pair) inner products of the v_h."""
    if gram is None:
        raise ValueError(f"Layer {layer} has no inner products between heads.")
    rows, columns = pairs_of_heads(attention.heads)
    factor = np.where(rows == columns, 1.0, 2.0) * gram  # (key, pair) float64
    found = np.empty((last - first, len(attention.answers)), dtype=np.float32)
    step = max(1, BLOCK // (attention.heads * len(attention.answers)))
    for start in range(first, last, step):
        end = min(last, start + step)
        weights = np.stack([attention.rows(layer, head, start, end) for head in range(attention.heads)])
        found[start - first : end - first] = np.sqrt(np.maximum(_squares(weights, factor, rows, columns), 0))
    return found


def _squares(weights: np.ndarray, factor: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(query, key) float64: Σ over pairs of α_h α_g f_h(x)·f_g(x), from (head, query, key) weights."""
    total = np.zeros(weights.shape[1:])
    for pair, (one, other) in enumerate(zip(rows, columns, strict=True)):
        total += weights[one].astype(np.float64) * weights[other] * factor[:, pair]
    return total


def mean_weights(attention: Attention, layer: int, first: int, last: int) -> np.ndarray:
    """(query, key) float32 of these queries: the mean weight over the heads of a layer."""
    total = np.zeros((last - first, len(attention.answers)))
    for head in range(attention.heads):
        total += attention.rows(layer, head, first, last)
    return np.asarray(total / attention.heads, dtype=np.float32)
