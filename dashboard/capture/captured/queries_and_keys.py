"""Queries and keys, which determine the attention, and the arrays that their score recipes name; or the weights."""

from __future__ import annotations

import numpy as np

from dashboard.capture.captured import Captured
from dashboard.capture.forward import Forward, as_float32


def arrays(forward: Forward) -> dict[str, np.ndarray]:
    """`query/{layer}` (head, query, d_head), `key/{layer}` (key_head, key, d_head), `bias/…`, `sinks/…`; or, of a model
    with its own attention code, `attention/{layer}` (head, query, key). All are float32.
    """
    found: dict[str, np.ndarray] = {}
    for index, call in enumerate(forward.calls):
        if call.recipe.stored is not None and call.weights is not None:
            found[call.recipe.stored] = as_float32(call.weights)
        if call.query is not None and call.key is not None:
            found[f"query/{index}"] = as_float32(call.query)
            found[f"key/{index}"] = as_float32(call.key)
        if call.recipe.bias is not None and call.bias is not None and call.recipe.bias not in found:
            found[call.recipe.bias] = as_float32(call.bias)
        if call.recipe.sinks is not None and call.sinks is not None:
            found[call.recipe.sinks] = as_float32(call.sinks)
    return found


CAPTURED = Captured("queries and keys, or the attention weights", arrays)
