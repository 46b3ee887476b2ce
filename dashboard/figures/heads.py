"""The layer × head grid: every head's thumbnail in one picture, drawn large by the browser."""

from __future__ import annotations

import numpy as np

from dashboard.figures.attention import png_of_shades
from dashboard.figures.theme import LIGHT, Theme


def head_sprite(thumbnails: np.ndarray, theme: Theme = LIGHT) -> bytes:
    """One PNG of all heads: layers from top to bottom, heads from left to right, without gaps.

    Args:
        thumbnails: (layer, head, t, t) uint8, 255·sqrt(weight); 0 is "none or forbidden" and stays transparent.

    Returns:
        PNG of layers·t rows and heads·t columns.
    """
    layers, heads, rows, columns = thumbnails.shape
    mosaic = thumbnails.transpose(0, 2, 1, 3).reshape(layers * rows, heads * columns)
    return png_of_shades(np.asarray(mosaic, dtype=np.uint8), theme)
