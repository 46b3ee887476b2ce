"""All heads at once: the layer × head grid as one image, and as a standalone figure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.plain_outputs import of_layers
from dashboard.contracts.streams import THUMBNAIL
from dashboard.errors import RunShapeError
from dashboard.figures.attention import label_step, shades, weight_legend
from dashboard.figures.pixels import grey_uri
from dashboard.figures.theme import COLOURS, LIGHT, axis, base_layout, in_theme

GAP = 0.08  # gap between two heads, as a share of a head's side
TILE = 34  # pixels of one head in the figure
APART = 16  # minimum pixels between two labels of an axis
NAME = 14  # pixels of a head's name below its picture
Head = tuple[int, int]  # layer, head


def packed_heads(thumbnails: np.ndarray) -> bytes:
    """All heads as one mosaic: layers from top to bottom, heads from left to right, without gaps.

    Args:
        thumbnails: (layer, head, query, key) uint8, 255·sqrt(weight); 0 means "none or forbidden".

    Returns:
        Width (heads·keys) and height (layers·queries) as two uint32, little-endian, and the zlib-compressed shades, row
        by row (assets/components/head-pictures.js).
    """
    mosaic = np.ascontiguousarray(_mosaic(thumbnails), dtype=np.uint8)
    return struct.pack("<II", mosaic.shape[1], mosaic.shape[0]) + zlib.compress(mosaic.tobytes(), 2)


def _mosaic(thumbnails: np.ndarray) -> np.ndarray:
    layers, heads, rows, columns = thumbnails.shape
    return thumbnails.transpose(0, 2, 1, 3).reshape(layers * rows, heads * columns)


def heads_map(thumbnails: np.ndarray, selected: tuple[int | None, int | None] = (None, None)) -> go.Figure:
    """A small picture of every head's attention: one row per layer, one column per head, with the selected head framed.

    Args:
        thumbnails: (layer, head, query, key) uint8, as in `packed_heads`; within a picture, rows are queries and
            columns are keys.
        selected: layer and head, or None.

    Raises:
        RunShapeError: these are not thumbnails of heads.
    """
    if thumbnails.ndim != 4 or 0 in thumbnails.shape:
        raise RunShapeError(f"Pictures of heads are {thumbnails.shape}; give (layer, head, query, key).")
    layers, heads = thumbnails.shape[:2]
    tile = max(12, min(TILE, 900 // max(layers, heads)))
    figure = go.Figure(layout=base_layout())
    figure.update_layout(
        xaxis=_axis(heads, "head", tile, side="top", range=[-0.5, heads - 0.5]),
        yaxis=_axis(layers, "layer", tile, range=[layers - 0.5, -0.5]),
        margin={"l": 52, "r": 92, "t": 46, "b": 8},
        width=max(360, heads * tile + 144),
        height=layers * tile + 54,
    )
    _add_pictures(figure, thumbnails)
    _add_targets(figure, layers, heads, tile)
    layer, head = selected
    if layer is not None and head is not None:
        frame_head(figure, layer, head)
    weight_legend(figure)
    return figure


def ordered_heads(
    thumbnails: np.ndarray, groups: Sequence[Sequence[Head]], selected: tuple[int | None, int | None] = (None, None)
) -> go.Figure:
    """The pictures of `heads_map` in another order: row by row, each with its name; every group begins a row.

    Args:
        thumbnails: as in `heads_map`. groups: (layer, head) of each head, in order. selected: as there.
    """
    columns = max(1, min(thumbnails.shape[1], max(len(group) for group in groups)))
    rows = [list(group[at : at + columns]) for group in groups for at in range(0, len(group), columns)]
    begins = np.cumsum([0, *(-(-len(group) // columns) for group in groups)]).tolist()
    tile = max(26, min(TILE, 900 // columns))
    high = tile + NAME
    figure = go.Figure(layout=base_layout())
    named = [f"group {number}" for number in range(1, len(groups) + 1)] if len(groups) > 1 else [""]
    figure.update_layout(
        xaxis=axis(range=[-0.5, columns - 0.5], showticklabels=False),
        yaxis=axis(range=[len(rows) - 0.5, -0.5], tickvals=begins[:-1], ticktext=named),
        margin={"l": 64, "r": 92, "t": 12, "b": 8},
        width=max(360, columns * tile + 156),
        height=len(rows) * high + 20,
    )
    below = NAME / high  # share of a row that its names take
    for number, row in enumerate(rows):
        pictures = np.stack([thumbnails[place] for place in row])[None]
        _add_row(figure, pictures, number - 0.5, 1 - below)
    places = [(number, column, *place) for number, row in enumerate(rows) for column, place in enumerate(row)]
    figure.add_trace(
        go.Scatter(
            x=[column for _row, column, *_place in places],
            y=[number + 0.5 - below / 2 for number, *_rest in places],
            mode="text",
            text=[f"{layer}.{head}" for _row, _column, layer, head in places],
            textfont={"size": 10, "color": COLOURS.second_ink},
            customdata=[{"layer": layer, "head": head} for _row, _column, layer, head in places],
            hovertemplate="layer %{customdata.layer}, head %{customdata.head}<extra></extra>",
            showlegend=False,
        )
    )
    for number, column, *place in places:
        if tuple(place) == selected:
            line = {"color": COLOURS.selected, "width": 2}
            ends = {"x0": column - 0.5, "x1": column + 0.5, "y0": number - 0.5, "y1": number + 0.5 - below}
            figure.add_shape(type="rect", **ends, line=line)
    for begin in begins[1:-1]:
        line = {"color": COLOURS.hairline, "width": 1}
        figure.add_shape(type="line", x0=-0.5, x1=columns - 0.5, y0=begin - 0.5, y1=begin - 0.5, line=line)
    weight_legend(figure)
    return figure


def _add_pictures(figure: go.Figure, thumbnails: np.ndarray) -> None:
    """Add one row of pictures per layer, separated by gaps in the background colour."""
    for layer in range(thumbnails.shape[0]):
        _add_row(figure, thumbnails[layer : layer + 1], layer - 0.5 + GAP / 2, 1 - GAP)


def _add_row(figure: go.Figure, pictures: np.ndarray, top: float, high: float) -> None:
    """Add (1, head, t, t) pictures side by side, from the left, `high` below `top`."""
    figure.add_layout_image(
        source=grey_uri(_mosaic(_spaced(pictures)), effort=2),
        xref="x",
        yref="y",
        x=-0.5,
        y=top,
        sizex=pictures.shape[1],
        sizey=high,
        sizing="stretch",
        layer="below",
        xanchor="left",
        yanchor="top",
    )


def _add_targets(figure: go.Figure, layers: int, heads: int, tile: int) -> None:
    """Add an invisible square over each head, which names the head on hover and on a click."""
    names = [(layer, head) for layer in range(layers) for head in range(heads)]
    figure.add_trace(
        go.Scatter(
            x=[head for _layer, head in names],
            y=[layer for layer, _head in names],
            mode="markers",
            marker={"symbol": "square", "size": tile - 2, "color": "rgba(0,0,0,0)"},
            customdata=[{"layer": layer, "head": head} for layer, head in names],
            hovertemplate="layer %{y}, head %{x}<extra></extra>",
        )
    )


def frame_head(figure: go.Figure, layer: int, head: int) -> None:
    """Frame one head in a figure of all heads: one row per layer, one column per head."""
    line = {"color": COLOURS.selected, "width": 2}
    figure.add_shape(type="rect", x0=head - 0.5, x1=head + 0.5, y0=layer - 0.5, y1=layer + 0.5, line=line)


def _spaced(row: np.ndarray) -> np.ndarray:
    """One layer's (1, head, t, t) pictures, each between empty columns, and enlarged so that these columns may be
    thin."""
    factor = max(1, round(96 / row.shape[2]))
    large = row.repeat(factor, axis=2).repeat(factor, axis=3)
    gap = max(1, round(large.shape[3] * GAP / 2))
    wide = np.pad(large, ((0, 0), (0, 0), (0, 0), (gap, gap)))
    return wide


def _axis(count: int, title: str, tile: int, **more: Any) -> dict[str, Any]:
    values = list(range(0, count, label_step(count, count * tile, APART)))
    return axis(
        tickvals=values,
        ticktext=[str(i) for i in values],
        title={"text": title, "standoff": 6, "font": {"size": 11}},
        **more,
    )


def plot_attention_heads(attentions: Any, layer: int | None = None, head: int | None = None) -> go.Figure:
    """Draw all heads of all layers as small pictures, from plain Hugging Face outputs.

    Args:
        attentions: the model's `attentions`: a sequence of (head, query, key) per layer, with or without a batch axis
            of 1; tensors or arrays. Above 32 tokens each pixel shows the largest weight of a block of tokens.
        layer, head: the head to frame.

    Raises:
        RunShapeError: this is not the attention of one text.
    """
    pictures = np.stack([np.stack([_thumbnail(weights) for weights in one]) for one in of_layers(attentions)])
    figure = heads_map(pictures, (layer, head))
    figure.update_layout(
        title={"text": "All heads, layer × head; colour follows √weight", "font": {"size": 13}},
        margin={"t": figure.layout.margin.t + 30},
        height=figure.layout.height + 30,
        paper_bgcolor=COLOURS.surface,
    )
    return in_theme(figure, LIGHT)


def _thumbnail(weights: np.ndarray) -> np.ndarray:
    """(query, key) uint8: the largest weight of each block; 0 where there is no attention."""
    pooled = np.where(np.isfinite(weights), weights, 0)
    for axis_, count in enumerate(weights.shape):
        bins = min(count, THUMBNAIL)
        pooled = np.maximum.reduceat(pooled, [-(-index * count // bins) for index in range(bins)], axis=axis_)
    return np.where(pooled > 0, shades(pooled), 0).astype(np.uint8)
