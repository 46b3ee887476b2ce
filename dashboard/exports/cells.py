"""The cells of a figure as colours, so that the browser can draw one rectangle per cell
(assets/components/picture-paper.js).

Plotly puts a heatmap of any size into an SVG as an image, and the server sends the heads' small pictures as images too.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import plotly.graph_objects as go

LARGEST_SIDE = 64  # rows and columns of a heatmap whose cells are drawn one by one
MOST_CELLS = 100_000  # in all heads' pictures together
HEX = 16


def vector_cells(figure: go.Figure) -> tuple[list[dict[str, Any]], str]:
    """The data for drawing each cell by itself, and a sentence if some cells stay an image.

    Each dict describes one image of the drawing: `of` ("trace" or "image") and `index` identify it; `columns` and
    `rows` are the edges of its cells, from 0 to 1 and downwards; `gap` is the pixels between cells, and `colours` maps
    each colour to the indices of its cells, row by row. Empty cells appear nowhere.
    """
    traces = [trace for trace in figure.data if trace.type == "heatmap"]
    found = []
    for index, trace in enumerate(traces):
        if not _is_plain(trace, figure):
            continue
        colours = _turned(_of_trace(trace), figure)
        if max(colours.shape) <= LARGEST_SIDE:
            rows, columns = (np.linspace(0, 1, count + 1) for count in colours.shape)
            found.append(_described("trace", index, colours, rows, columns, trace.xgap or 0))
    images = [_of_picture(image.source) for image in figure.layout.images]
    few = sum(int(np.count_nonzero(colours + 1)) for colours, *_edges in images) <= MOST_CELLS
    if few and _is_grid(figure):
        found += [_described("image", index, *image, 0) for index, image in enumerate(images)]
    whole = len(found) == len(traces) + len(images)
    return found, "" if whole else _sentence(figure)


def _is_plain(trace: go.Heatmap, figure: go.Figure) -> bool:
    """Whether the trace states all that places and colours a cell; otherwise Plotly works it out when it draws."""
    said = (trace.colorscale, trace.zmin, trace.zmax, figure.layout.xaxis.range, figure.layout.yaxis.range)
    return all(value is not None for value in said) and trace.x is None and trace.y is None and not trace.zsmooth


def _is_grid(figure: go.Figure) -> bool:
    """Whether the layout's images are those of all heads, not the cells of one long text."""
    return len(figure.layout.images) > 1 or figure.layout.yaxis.scaleanchor is None


def _sentence(figure: go.Figure) -> str:
    if figure.layout.images and _is_grid(figure):
        return f"The heads are pictures: they have more than {MOST_CELLS:,} cells in all."
    if figure.layout.images or any(_is_plain(trace, figure) for trace in figure.data if trace.type == "heatmap"):
        return f"The cells are one picture: there are more than {LARGEST_SIDE} in a row or column."
    return "The cells are one picture."


def _described(
    of: str, index: int, colours: np.ndarray, rows: np.ndarray, columns: np.ndarray, gap: float
) -> dict[str, Any]:
    flat = colours.ravel()
    by_colour = {f"#{value:06X}": np.flatnonzero(flat == value).tolist() for value in np.unique(flat[flat >= 0])}
    edges = {"rows": np.round(rows, 6).tolist(), "columns": np.round(columns, 6).tolist()}
    return {"of": of, "index": index, **edges, "gap": gap, "colours": by_colour}


def _turned(colours: np.ndarray, figure: go.Figure) -> np.ndarray:
    """Flip rows to start at the top and columns at the left, following the axes."""
    (left, right), (bottom, top) = figure.layout.xaxis.range, figure.layout.yaxis.range
    colours = colours if bottom > top else colours[::-1]
    return colours if left < right else colours[:, ::-1]


def _of_trace(trace: go.Heatmap) -> np.ndarray:
    """(row, column) int32 colours, 0xRRGGBB; −1 for no colour."""
    values = _matrix(trace.z)
    stops, colours = zip(*trace.colorscale, strict=True)
    rgba = np.array([_rgba(colour) for colour in colours])
    share = np.clip((np.nan_to_num(values) - trace.zmin) / (trace.zmax - trace.zmin), 0, 1)
    red, green, blue, alpha = (np.interp(share, stops, rgba[:, channel]) for channel in range(4))
    found = (red.round().astype(np.int32) << 16) + (green.round().astype(np.int32) << 8) + blue.round().astype(np.int32)
    return np.where(np.isnan(values) | (alpha < 1), -1, found)


def _matrix(value: Any) -> np.ndarray:
    if isinstance(value, dict):  # in the form of `figures.spec.typed`
        shape = [int(side) for side in str(value["shape"]).split(",")]
        return np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"]).reshape(shape).astype(np.float64)
    return np.array(value, dtype=np.float64)  # None becomes NaN


def _rgba(colour: str) -> list[float]:
    if colour.startswith("#"):
        return [*(float(int(colour[i : i + 2], HEX)) for i in (1, 3, 5)), 1.0]
    return [float(part) for part in colour.removeprefix("rgba(").removesuffix(")").split(",")]


def _of_picture(source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The colours of a palette PNG, as in `_of_trace`, and the edges of rows and columns, from 0 to 1. Identical
    neighbouring lines, common in an enlarged image, are merged."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
        rgba = np.asarray(image.convert("RGBA")).astype(np.int32)
    colours = np.where(rgba[:, :, 3] > 0, (rgba[:, :, 0] << 16) + (rgba[:, :, 1] << 8) + rgba[:, :, 2], -1)
    starts = [np.flatnonzero(np.append(True, np.diff(colours, axis=axis).any(axis=1 - axis))) for axis in (0, 1)]
    edges = [np.append(start, size) / size for start, size in zip(starts, colours.shape, strict=True)]
    return colours[np.ix_(*starts)], edges[0], edges[1]
