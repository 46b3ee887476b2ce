"""One score of every head, layer × head, as a figure that stands by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.theme import Theme, axis, base_layout

TILE = 34  # pixels of one head
LABEL_STEPS = (1, 2, 5, 10, 20)


def scores_map(
    values: np.ndarray, name: str, most: float, is_weight: bool, selected: tuple[int, int], theme: Theme
) -> go.Figure:
    """Every head's score by colour: a row a layer, a column a head, the selected head framed.

    Args:
        values: (layer, head), NaN where a head has none. name: of the score, with its unit. most: where the scale ends.
        is_weight: the colour follows the square root, as everywhere for weights.
    """
    layers, heads = values.shape
    tile = max(12, min(TILE, 900 // max(layers, heads)))
    steps = len(theme.weights) - 1
    scale = [[(i / steps) ** 2 if is_weight else i / steps, colour] for i, colour in enumerate(theme.weights)]
    bar = {"title": {"text": name, "side": "right"}, "thickness": 10, "outlinewidth": 0, "len": 1}
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=0,
            zmax=most or 1,
            colorscale=scale,
            xgap=1,
            ygap=1,
            colorbar=bar,
            hoverongaps=False,
            hovertemplate=f"layer %{{y}}, head %{{x}}: %{{z:.4f}}<extra>{name}</extra>",
        ),
        layout=base_layout(theme),
    )
    layer, head = selected
    line = {"color": theme.selected, "width": 2}
    figure.add_shape(type="rect", x0=head - 0.5, x1=head + 0.5, y0=layer - 0.5, y1=layer + 0.5, line=line)
    figure.update_layout(
        xaxis=axis(theme, title=_title("head"), side="top", range=[-0.5, heads - 0.5], **_ticks(heads, tile)),
        yaxis=axis(theme, title=_title("layer"), range=[layers - 0.5, -0.5], **_ticks(layers, tile)),
        margin={"l": 52, "r": 92, "t": 46, "b": 8},
        width=max(360, heads * tile + 144),
        height=max(200, layers * tile + 54),
    )
    return figure


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}, "standoff": 6}


def _ticks(count: int, tile: int) -> dict[str, list[int]]:
    step = next((step for step in LABEL_STEPS if step * tile >= 16), LABEL_STEPS[-1])
    return {"tickvals": list(range(0, count, step))}
