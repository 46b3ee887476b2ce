"""Cells and pixels: a pixel that covers several weights shows the largest, so that no strong weight is lost."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np

EFFORT = 2  # of zlib, 1 … 9; 6 takes four times as long for 8 % fewer bytes
URI = "data:image/png;base64,"


def spans(cells: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last cell (exclusive) that each of `pixels` equal pixels overlaps; pixels may share a cell."""
    index = np.arange(pixels, dtype=np.int64)
    return index * cells // pixels, -(-(index + 1) * cells // pixels)


def pooled(shade: np.ndarray, pixels: int) -> np.ndarray:
    """Shrink (row, column) to at most `pixels` rows and columns, each the largest of the cells that it covers."""
    for axis in (0, 1):
        cells = shade.shape[axis]
        if cells > pixels:
            starts, stops = spans(cells, pixels)
            turned = np.moveaxis(shade, axis, 0)
            largest = [turned[start:stop].max(axis=0) for start, stop in zip(starts, stops, strict=True)]
            shade = np.moveaxis(np.stack(largest), 0, axis)
    return shade


def held(cells: int, pixels: int) -> int:
    """The most cells, along one axis, that one of `pixels` pixels overlaps."""
    starts, stops = spans(cells, max(1, min(cells, pixels)))
    return int((stops - starts).max())


def packed(shade: np.ndarray) -> str:
    """(row, column) uint8 as base64 of its zlib-compressed bytes, row by row, which the browser can unpack natively."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(shade, dtype=np.uint8).tobytes(), EFFORT)).decode()


def grey_png(shade: np.ndarray, effort: int = EFFORT) -> bytes:
    """A grey PNG of (row, column) uint8 shades, one pixel per cell; shade 0 is transparent. `effort`: zlib's, 1 … 9."""
    from PIL import Image

    size = (shade.shape[1], shade.shape[0])
    image = Image.frombytes("L", size, np.ascontiguousarray(shade, dtype=np.uint8).tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", transparency=0, compress_level=effort)
    return out.getvalue()


def grey_uri(shade: np.ndarray, effort: int = EFFORT) -> str:
    """A grey PNG as the source of a figure's image; `figures.theme.in_theme` colours it with the rest of the figure."""
    return URI + base64.b64encode(grey_png(shade, effort)).decode()


def coloured_png(source: str, table: np.ndarray) -> str:
    """Colour a source from `grey_uri`, shade by shade. `table`: (256, 3) uint8."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(source.removeprefix(URI)))) as grey:
        image = Image.frombytes("P", grey.size, grey.tobytes())
    image.putpalette(table.tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", transparency=0, compress_level=EFFORT)
    return URI + base64.b64encode(out.getvalue()).decode()
