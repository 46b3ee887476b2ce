"""Placement of labels beside points, in figures that only Plotly draws (the page has its own:
assets/overlays/points.js)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

HEIGHT = 14  # pixels of a label
POINT = 4  # pixels around a point that no label may cover
GAP, MARKED_GAP = 6, 10  # pixels between a point and its label
# labels in the order of placing: of the selected and the second token, of added ones, of a path's layers, of others
MARKED, ADDED, LAYERS, OTHERS = 0, 1, 2, 5
SIDES = {"middle right": (1, 0), "middle left": (-1, 0), "top center": (0, -1), "bottom center": (0, 1)}


def place_labels(
    points: np.ndarray,
    wide: Sequence[float],
    rank: Sequence[int],
    room: tuple[float, float],
    solid: np.ndarray | None = None,
) -> list[str | None]:
    """Choose the side of its point on which each label goes, so that labels cover neither points nor each other.

    Args:
        points: (point, 2), pixels from the left and from the top. wide: width of each label in pixels.
        rank: 0 for labels that are placed first, and always; the others follow by rank, if there is room for them.
        room: pixels to the right and below. solid: (point, 2), the points that no label may cover; by default, all.

    Returns:
        Plotly's `textposition`, one of `SIDES`, for each point; None if there is no room.
    """
    solid = points if solid is None else solid
    taken = np.concatenate([solid - POINT, solid + POINT], axis=1)
    found: list[str | None] = [None] * len(points)
    for index in sorted(range(len(points)), key=lambda index: rank[index]):
        always = rank[index] == 0
        gap = MARKED_GAP if always else GAP
        boxes = {side: _box(points[index], direction, wide[index], gap) for side, direction in SIDES.items()}
        inside = [side for side, box in boxes.items() if (box[:2] >= 0).all() and (box[2:] <= room).all()]
        free = [side for side in inside if not _covers(boxes[side], taken)]
        if not free and always:  # may cover points, but avoids other labels if possible
            free = (
                [side for side in inside if not _covers(boxes[side], taken[len(solid) :])] or inside or ["middle right"]
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


def name_chosen(axis: Any, chosen: Sequence[tuple[float, str]], least: float) -> None:
    """Write these labels along an axis, even where others are skipped, and drop labels closer to them than `least`.

    Two chosen labels that are too close move apart, each by half of the missing distance.

    Args:
        axis: of a figure with text at its ticks. chosen: one or two locations and their labels, as Plotly markup.
    """
    locations = [at for at, _text in chosen]
    shown = [
        (at, text)
        for at, text in zip(axis.tickvals, axis.ticktext, strict=True)
        if all(abs(at - location) >= least for location in locations)
    ]
    if len(locations) == 2:
        first, last = sorted(map(float, axis.range))
        locations = list(spread((locations[0], locations[1]), least, (first, last)))
    shown += [(location, text) for location, (_at, text) in zip(locations, chosen, strict=True)]
    axis.tickvals, axis.ticktext = [at for at, _text in shown], [text for _at, text in shown]


def spread(locations: tuple[float, float], least: float, ends: tuple[float, float]) -> tuple[float, float]:
    """Move two locations apart, between two ends, if they are closer than `least`."""
    low, high = sorted(locations)
    lacking = max(0.0, least - (high - low))
    low, high = low - lacking / 2, high + lacking / 2
    shift = max(0.0, ends[0] - low) - max(0.0, high - ends[1])
    low, high = low + shift, high + shift
    return (low, high) if locations[0] <= locations[1] else (high, low)


def layer_rank(place: int, count: int) -> int:
    """The rank of the label of a place on a path: its ends come first, then every fifth layer."""
    return LAYERS + (0 if place in (0, count - 1) else 1 if (place - 1) % 5 == 0 else 2)
