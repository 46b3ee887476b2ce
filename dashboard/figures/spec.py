"""A figure as plain data: what Plotly's JSON has, without the time that checking it takes.

`go.Figure` looks at every property that it is given, which takes 12 to 20 ms a figure: longer than to draw it. What the
page draws at every click is made as plain data; `go.Figure(spec)` checks it, which the tests do and a notebook gets.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import plotly.graph_objects as go

Spec = dict[str, Any]  # {"data": [trace, …], "layout": {…}}
DTYPES = {"float64": "f8", "float32": "f4", "uint8": "u1", "int32": "i4"}


def typed(values: np.ndarray) -> dict[str, str]:
    """A vector or matrix as Plotly reads it without parsing numbers: type, little-endian bytes in base64, shape."""
    found = {
        "dtype": DTYPES[values.dtype.name],
        "bdata": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode(),
    }
    return found if values.ndim == 1 else {**found, "shape": ", ".join(str(side) for side in values.shape)}


def spec_of(figure: go.Figure | Spec) -> Spec:
    """`figure` as plain data, its layout a dict of its own."""
    spec = figure if isinstance(figure, dict) else figure.to_plotly_json()
    return {**spec, "layout": dict(spec.get("layout") or {})}
