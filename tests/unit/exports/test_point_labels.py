"""Labels of points and numbers along a path on a narrow sheet: none lies on another, and the most important stay."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dashboard.exports.fitting import fitted
from dashboard.exports.point_labels import plot_size, text_width
from dashboard.figures.space import Space, space_figure
from dashboard.figures.theme import LIGHT, in_theme

HIGH = 14  # pixels of a label
SIDES = {"middle right": (1, 0), "middle left": (-1, 0), "top center": (0, -1), "bottom center": (0, 1)}
WIDTHS = [(85, 400), (170, 800)]  # millimetres and pixels


def path_figure(places: int = 31, tokens: int = 18, dimensions: int = 2, added: tuple[int, ...] = ()) -> Any:
    """Paths that all begin at one place and spread, as those of hidden states do."""
    chance = np.random.default_rng(3)
    steps = chance.normal(size=(places, tokens, 3)) * np.linspace(0.02, 1, places)[:, None, None] ** 2
    coordinates = np.cumsum(steps, axis=0)
    space = Space(coordinates, np.array([0.5, 0.3, 0.1]), 24, True, dimensions)
    names = [f"token{i}" for i in range(tokens)]
    return in_theme(space_figure(space, names, (1, 4), added).update_layout(width=760, height=560), LIGHT)


def boxes(figure: Any) -> dict[str, tuple[float, float, float, float]]:
    """(left, top, right, bottom) pixels of every label in the plane."""
    across, down = plot_size(figure)
    (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
    found = {}
    for number, trace in enumerate(figure.data):
        if "text" not in (trace.mode or ""):
            continue
        for i, text in enumerate(trace.text):
            if not text:
                continue
            x, y = (trace.x[i] - left) / (right - left) * across, (high - trace.y[i]) / (high - low) * down
            (dx, dy), wide = SIDES[trace.textposition[i]], text_width(text)
            gap = 10 if text.startswith("<b>") else 6  # Plotly's own distance is smaller
            start = x + gap if dx > 0 else x - gap - wide if dx < 0 else x - wide / 2
            middle = y + dy * (gap + HIGH / 2)
            found[f"{number}: {text}"] = (start, middle - HIGH / 2, start + wide, middle + HIGH / 2)
    return found


@pytest.mark.parametrize(("_millimetres", "pixels"), WIDTHS)
def test_no_label_of_a_path_lies_on_another(_millimetres: int, pixels: int) -> None:
    figure, _left_out = fitted(path_figure(), pixels)
    found = boxes(figure)
    for (name, one), (other_name, other) in itertools.combinations(found.items(), 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, f"{name} lies on {other_name}"
    texts = [name.partition(": ")[2] for name in found]
    assert {"<b>token1</b>", "<b>token4</b>"} <= set(texts)
    numbers = [text for text in texts if text == "E" or text.isdigit()]
    assert len(numbers) >= 4
    assert len(numbers) == len(set(numbers)), "only the selected token's path is numbered"


def test_numbers_come_back_where_there_is_room() -> None:
    narrow, wide = (fitted(path_figure(), pixels)[0] for _mm, pixels in WIDTHS)
    count = [sum("token" not in name for name in boxes(figure)) for figure in (narrow, wide)]
    assert count[0] < count[1]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_labels_of_added_tokens_stay_on_a_narrow_path(dimensions: int) -> None:
    figure, _left_out = fitted(path_figure(tokens=6, dimensions=dimensions, added=(2,)), 400)
    [added] = [trace for trace in figure.data if trace.meta]
    others = [
        trace
        for trace in figure.data
        if trace.mode == "markers+text" and trace.hovertext is not None and not trace.meta
    ]
    assert list(added.text) == ["token2"]
    assert [set(trace.text) for trace in others] == [{""}]
    marks = [trace.text for trace in figure.data if trace.mode == "markers+text" and trace.hovertext is None]
    assert [list(text) for text in marks] == [["<b>token1</b>"], ["<b>token4</b>"]]
