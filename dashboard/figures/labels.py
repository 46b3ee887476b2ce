"""Where labels beside points find room, in figures that Plotly draws alone (the page has its own:
assets/overlays/points.js)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HEIGHT = 14  # pixels of a label
POINT = 4  # pixels around a point that no label covers
GAP, MARKED_GAP = 6, 10  # pixels between a point and its label
SIDES = {"middle right": (1, 0), "middle left": (-1, 0), "top center": (0, -1), "bottom center": (0, 1)}


def place_labels(
    points: np.ndarray, wide: Sequence[float], marked: Sequence[bool], room: tuple[float, float]
) -> list[str | None]:
    """On which side of its point each label stands, so that labels cover neither points nor each other.

    Args:
        points: (point, 2), pixels from the left and from the top. wide: pixels of each label.
        marked: points whose labels are placed before the others, and always. room: pixels to the right and below.

    Returns:
        Plotly's `textposition`, one of `SIDES`, for each point; None where there is no room.
    """
    taken = np.concatenate([points - POINT, points + POINT], axis=1)
    found: list[str | None] = [None] * len(points)
    for index in sorted(range(len(points)), key=lambda index: not marked[index]):
        gap = MARKED_GAP if marked[index] else GAP
        boxes = {side: _box(points[index], direction, wide[index], gap) for side, direction in SIDES.items()}
        inside = [side for side, box in boxes.items() if (box[:2] >= 0).all() and (box[2:] <= room).all()]
        free = [side for side in inside if not _covers(boxes[side], taken)]
        if not free and marked[index]:  # over points, but not over a label if it can be had
            free = (
                [side for side in inside if not _covers(boxes[side], taken[len(points) :])]
                or inside
                or ["middle right"]
            )
        if free:
            found[index] = free[0]
            taken = np.concatenate([taken, boxes[free[0]][None]])
    return found


def _box(point: np.ndarray, direction: tuple[int, int], wide: float, gap: float) -> np.ndarray:
    """(left, top, right, bottom) pixels of a label beside a point."""
    dx, dy = direction
    left = point[0] + gap if dx > 0 else point[0] - gap - wide if dx < 0 else point[0] - wide / 2
    middle = point[1] + dy * (gap + HEIGHT / 2)
    return np.array([left, middle - HEIGHT / 2, left + wide, middle + HEIGHT / 2])


def _covers(box: np.ndarray, taken: np.ndarray) -> bool:
    left, top, right, bottom = box
    return bool(((left < taken[:, 2]) & (right > taken[:, 0]) & (top < taken[:, 3]) & (bottom > taken[:, 1])).any())
