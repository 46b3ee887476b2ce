"""One number per head, layer × head: on the page, and as a standalone figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.attention import colour_scale, label_step, legend_trace, shades
from dashboard.figures.heads import APART, TILE, frame_head
from dashboard.figures.spec import Spec, typed
from dashboard.figures.theme import COLOURS, axis, base_layout

WIDE, HIGH = 600, 440  # approximate size of the cells on the page, in pixels


def page_scores(weights: np.ndarray) -> Spec:
    """One weight per head as plain data; `layout.meta.axes` says what each cell stands for.

    Args:
        weights: (layer, head) 0 … 1, NaN where a head has none. Colour uses a square-root scale.
    """
    layers, heads = weights.shape
    known = np.isfinite(weights)
    written = np.where(known, np.char.mod("weight %.6g", weights), "no weight")
    hover = [
        [f"Layer {layer}, head {head}<br>{written[layer, head]}" for head in range(heads)] for layer in range(layers)
    ]
    cells = {
        "type": "heatmap",
        "z": typed(shades(np.nan_to_num(weights), known)),
        **{"zmin": 0, "zmax": 255, "showscale": False, "xgap": 1, "ygap": 1},
        "colorscale": colour_scale(),
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
    }
    x = axis(range=[-0.5, heads - 0.5], side="top", title=_title("head"), **_ticks(heads, WIDE // heads))
    y = axis(range=[layers - 0.5, -0.5], title=_title("layer"), **_ticks(layers, HIGH // layers))
    meta = {"axes": {"x": "head", "y": "layer"}, "first_layer": 0}
    margin = {"l": 48, "r": 72, "t": 44, "b": 8}
    return {
        "data": [cells, legend_trace()],
        "layout": {**base_layout(), "xaxis": x, "yaxis": y, "margin": margin, "meta": meta},
    }


def framed_scores(weights: np.ndarray, selected: tuple[int, int] | None) -> go.Figure:
    """The scores of `page_scores` as a standalone figure, with the selected head framed."""
    layers, heads = weights.shape
    figure = go.Figure(page_scores(weights))
    if selected is not None:
        frame_head(figure, *selected)
    wide, high = _tile(layers, heads)
    margin = figure.layout.margin
    size = {
        "width": margin.l + max(200, heads * wide) + margin.r,
        "height": margin.t + max(190, layers * high) + margin.b,
    }
    return figure.update_layout(meta=None, **size)


def scores_map(
    values: np.ndarray, name: str, most: float, is_weight: bool, selected: tuple[int, int] | None
) -> go.Figure:
    """Every head's score as a colour: one row per layer, one column per head, the selected head framed.

    Args:
        values: (layer, head), NaN where a head has none. name: of the score, with its unit. most: where the scale ends.
        is_weight: whether colour uses a square-root scale, as for all weights.
    """
    layers, heads = values.shape
    wide, high = _tile(layers, heads)
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
    if selected is not None:
        frame_head(figure, *selected)
    figure.update_layout(
        xaxis=axis(title=_title("head"), side="top", range=[-0.5, heads - 0.5], **_ticks(heads, wide)),
        yaxis=axis(title=_title("layer"), range=[layers - 0.5, -0.5], **_ticks(layers, high)),
        margin={"l": 52, "r": 92, "t": 46, "b": 8},
        width=max(360, heads * wide + 144),
        height=max(200, layers * high + 54),
    )
    return figure


def _tile(layers: int, heads: int) -> tuple[int, int]:
    """Pixels of one head, wide and high: many layers are drawn flat, so that all of them fit on a page."""
    return max(12, min(TILE, 900 // heads)), max(12, min(TILE, 480 // layers))


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}, "standoff": 6}


def _ticks(count: int, tile: int) -> dict[str, list[int]]:
    return {"tickvals": list(range(0, count, label_step(count, count * tile, APART)))}
