"""Attention of several heads as one matrix: mean, maximum, and attention rollout.

Rollout (Abnar & Zuidema 2020, arXiv 2005.00928, section 3) follows attention through the layers. A_l is the mean of
layer l's heads, a the share of attention (0.5 in the paper), and I the identity (the residual stream passes each token
on):

    Ã_l = a · A_l + (1 − a) · I, each row divided by its sum          R_l = Ã_l R_{l−1},  R_{−1} = I

Row i of R_l says how much of each input token reaches token i after layer l, if attention alone moved anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dashboard.analysis.plain_outputs import of_layers
from dashboard.contracts.streams import Attention, check
from dashboard.errors import BadRequestError, RunShapeError

SHARE = 0.5  # share of attention in rollout; the rest is the residual stream
Head = tuple[int, int]  # layer, head
Step = Callable[[int], None]


def silent(_done: int) -> None:
    return None


def heads_of(attention: Attention, layers: Iterable[int]) -> list[Head]:
    """Every head of these layers."""
    return [(layer, head) for layer in layers for head in range(attention.heads)]


def mean_of(attention: Attention, heads: Sequence[Head], step: Step = silent) -> np.ndarray:
    """(query, key) float32: the mean weight over these heads. One head's matrix is held at a time.

    Args:
        step: called after each head with how many are done; what it raises stops the computation.

    Raises:
        RunShapeError: no heads. MissingArrayError: the run does not hold queries and keys.
    """
    total = np.zeros(attention.shape, dtype=np.float64)
    for done, (layer, head) in enumerate(_some(heads), start=1):
        total += attention.weights(layer, head)
        step(done)
    return (total / len(heads)).astype(np.float32)


def largest_of(attention: Attention, heads: Sequence[Head], step: Step = silent) -> np.ndarray:
    """(query, key) float32: each pair's largest weight in any of these heads, NaN if one is not finite. As `mean_of`.

    Raises:
        RunShapeError, MissingArrayError: as in `mean_of`.
    """
    found = np.zeros(attention.shape, dtype=np.float32)
    for done, (layer, head) in enumerate(_some(heads), start=1):
        np.maximum(found, attention.weights(layer, head), out=found)
        step(done)
    return found


def rollout(attention: Attention, layer: int, share: float = SHARE, step: Step = silent) -> np.ndarray:
    """(query, key) float32: attention rollout through the layers 0 … `layer`; each row sums to 1.

    Args:
        share: share of attention, 0 … 1; the rest is the residual stream.
        step: as in `mean_of`, over all layers.

    Raises:
        RunShapeError: queries and keys are of different streams. MissingArrayError: as in `mean_of`.
    """
    if attention.asks is not attention.answers:
        raise RunShapeError(
            "Rollout needs self-attention: queries and keys must belong to one stream. Give the attention within one."
        )

    def mean(one: int) -> np.ndarray:
        return mean_of(attention, heads_of(attention, [one]), lambda done: step(one * attention.heads + done))

    return rolled_out(map(mean, range(layer + 1)), share)


def rolled_out(means: Iterable[np.ndarray], share: float = SHARE) -> np.ndarray:
    """Attention rollout of (query, key) matrices, one per layer, from layer 0 on: each the mean over the layer's heads.

    A row that depends on a weight that is not finite is NaN.

    Returns:
        (query, key) float32; each row sums to 1.

    Raises:
        RunShapeError: no matrix, or one that is not square.
    """
    found = None
    for mean in means:
        if mean.ndim != 2 or mean.shape[0] != mean.shape[1]:
            raise RunShapeError(f"Rollout needs square matrices; one is {mean.shape}. Give (query, key) of one stream.")
        mixed = share * mean.astype(np.float64) + (1 - share) * np.eye(len(mean))
        mixed /= mixed.sum(axis=1, keepdims=True)
        found = mixed if found is None else _product(mixed, found)
    if found is None:
        raise RunShapeError("Rollout has no layers. Give at least one layer's attention.")
    return found.astype(np.float32)


def aggregate_attention(
    attentions: Any, of: str = "rollout", layer: int | None = None, attention_share: float = SHARE
) -> np.ndarray:
    """Combine the attention of several heads into one matrix, from plain Hugging Face outputs.

    Args:
        attentions: the model's `attentions`: a sequence of (head, query, key) per layer, with or without a batch axis
            of 1; tensors or arrays.
        of: "rollout" (Abnar & Zuidema 2020, section 3) from layer 0 through `layer`; "mean" or "max" of the heads of
            `layer`, or of all layers if that is None.
        layer: from 0; None is the last layer for a rollout.
        attention_share: share of attention in a rollout, 0 … 1; the rest is the residual stream (half in the paper).

    Returns:
        (query, key) float32; each row of a rollout or a mean sums to 1 if the heads' rows do. NaN where a value depends
        on a weight that is not finite.

    Raises:
        RunShapeError: `attentions` is not one matrix per head and layer of one text.
        BadSelectionError: there is no such layer.
        BadRequestError: there is no such aggregate or share.
    """
    if of not in ("rollout", "mean", "max"):
        raise BadRequestError(f"There is no aggregate “{str(of)[:40]}”. Choose rollout, mean or max.")
    if not 0 <= attention_share <= 1:
        raise BadRequestError(f"The share of attention is {attention_share}. Choose a number from 0 to 1.")
    layers = list(of_layers(attentions))
    check("layer", layer, len(layers))
    if of == "rollout":
        last = len(layers) - 1 if layer is None else layer
        return rolled_out((heads.mean(axis=0, dtype=np.float64) for heads in layers[: last + 1]), attention_share)
    chosen = layers if layer is None else [layers[layer]]
    if of == "max":
        return np.max([heads.max(axis=0) for heads in chosen], axis=0).astype(np.float32)
    return np.mean([heads.mean(axis=0, dtype=np.float64) for heads in chosen], axis=0).astype(np.float32)


def _product(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """`later` @ `earlier`; a row is NaN if it is NaN in `later`, or gives weight above 0 to a NaN row of `earlier`."""
    lost = [~np.isfinite(matrix).all(axis=1) for matrix in (later, earlier)]
    if not (lost[0].any() or lost[1].any()):
        return np.asarray(later @ earlier)
    found = np.asarray(np.nan_to_num(later) @ np.nan_to_num(earlier))
    found[lost[0] | ((np.nan_to_num(later) > 0) & lost[1]).any(axis=1)] = np.nan
    return found


def _some(heads: Sequence[Head]) -> Sequence[Head]:
    if not heads:
        raise RunShapeError("There are no heads to aggregate. Choose at least one.")
    return heads
