"""One score of every head, layer × head, as a figure that stands by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.attention import label_step
from dashboard.figures.heads import APART, TILE, frame_head
from dashboard.figures.theme import COLOURS, axis, base_layout


def scores_map(values: np.ndarray, name: str, most: float, is_weight: bool, selected: tuple[int, int]) -> go.Figure:
    """Every head's score by colour: a row a layer, a column a head, the selected head framed.

    Args:
        values: (layer, head), NaN where a head has none. name: of the score, with its unit. most: where the scale ends.
        is_weight: the colour follows the square root, as everywhere for weights.
    """
    layers, heads = values.shape
    tile = max(12, min(TILE, 900 // max(layers, heads)))
    steps = len(COLOURS.weights) - 1
    scale = [[(i / steps) ** 2 if is_weight else i / steps, colour] for i, colour in enumerate(COLOURS.weights)]
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
        layout=base_layout(),
    )
    frame_head(figure, *selected)
    figure.update_layout(
        xaxis=axis(title=_title("head"), side="top", range=[-0.5, heads - 0.5], **_ticks(heads, tile)),
        yaxis=axis(title=_title("layer"), range=[layers - 0.5, -0.5], **_ticks(layers, tile)),
        margin={"l": 52, "r": 92, "t": 46, "b": 8},
        width=max(360, heads * tile + 144),
        height=max(200, layers * tile + 54),
    )
    return figure


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}, "standoff": 6}


def _ticks(count: int, tile: int) -> dict[str, list[int]]:
    return {"tickvals": list(range(0, count, label_step(count, count * tile, APART)))}
