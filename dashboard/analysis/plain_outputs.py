"""Plain Hugging Face outputs, tensors or arrays, as analysis and figures take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dashboard.errors import RunShapeError


def as_array(values: Any) -> np.ndarray:
    """`values` as a numpy array of floats; tensors are detached and moved to the CPU."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def of_layers(attentions: Any) -> Iterator[np.ndarray]:
    """Yield (head, query, key) for each layer, checking that all layers have the same heads and tokens."""
    first: Sequence[int] | None = None
    for values in () if attentions is None else attentions:
        weights = as_array(values)
        weights = weights[0] if weights.ndim == 4 and weights.shape[0] == 1 else weights
        if weights.ndim != 3 or not weights.shape[0]:
            raise RunShapeError(f"Attention is {weights.shape}; give (head, query, key) per layer, one text at a time.")
        if first is not None and weights.shape != first:
            raise RunShapeError(
                f"A layer's attention is {weights.shape}, that of the first layer {first}; give layers of one text."
            )
        first = weights.shape
        yield weights
    if first is None:
        raise RunShapeError("There is no layer. Ask the model for output_attentions=True with eager attention.")
