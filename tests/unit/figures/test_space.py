"""Added tokens in the standalone figure of points and paths: as the page marks them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dashboard.figures.space import Space, label_sides, space_figure
from dashboard.figures.theme import COLOURS
from tests.support.synthetic import array_of

PLACES = [(0.1, 0.1), (0.9, 0.2), (0.3, 0.8), (0.7, 0.9), (0.5, 0.4)]


def space_of(path: bool = False, dimensions: int = 2, left: int | None = None) -> Space:
    """Five tokens; with a path, over three places."""
    coordinates = np.array([[[*place, 0.1 * i] for i, place in enumerate(PLACES)]] * (3 if path else 1))
    coordinates += 0.02 * np.arange(len(coordinates))[:, None, None]
    if left is not None:
        coordinates[:, left] = np.nan
    return Space(coordinates, np.array([0.5, 0.3, 0.1]), len(coordinates) - 1, path, dimensions)


def traces(space: Space, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(space_figure(space, list("abcde"), **more).to_json())["data"]
    return found


def tokens_of(trace: dict[str, Any]) -> list[int]:
    return [item["token"] for item in trace.get("customdata", []) if "token" in item]


@pytest.mark.parametrize("path", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_added_tokens_have_a_dot_a_ring_and_a_label_in_the_accent(path: bool, dimensions: int) -> None:
    space = space_of(path, dimensions)
    data = traces(space, selected=(0, 1), added=(3, 2))
    [others, added] = [trace for trace in data if tokens_of(trace)]
    assert (tokens_of(added), tokens_of(others)) == ([2, 3], [0, 1, 4])
    assert (added["marker"]["color"], others["marker"]["color"]) == (COLOURS.selected, COLOURS.mark)
    assert (added["textfont"]["color"], others["textfont"]["color"]) == (COLOURS.selected, COLOURS.second_ink)
    assert added["text"] == ["c 2", "d 3"]
    [ring] = [trace for trace in data if trace.get("marker", {}).get("symbol") == "circle-open" and "text" not in trace]
    assert ring["marker"]["line"] == {"width": 1, "color": COLOURS.selected}
    found = np.stack([array_of(ring[name]) if isinstance(ring[name], dict) else ring[name] for name in "xy"], 1)
    np.testing.assert_allclose(found, space.coordinates[-1, [2, 3], :2])


def test_what_is_marked_otherwise_or_left_out_has_no_ring() -> None:
    data = traces(space_of(left=4), selected=(0, 1), added=(0, 1, 4))
    assert [tokens_of(trace) for trace in data if tokens_of(trace)] == [[0, 1, 2, 3]]
    assert data == traces(space_of(left=4), selected=(0, 1))


def test_labels_of_added_tokens_are_placed_before_others() -> None:
    """Of tokens at one place, only those that come first have room."""
    space = Space(np.full((1, 12, 2), 0.5), np.array([0.5, 0.5]), 0, False, 2)
    lengths = [8] * 12
    sides = label_sides(space, lengths, [5])
    assert sides[5] is not None
    assert sides[11] is None
    early = label_sides(space, lengths, [5], [11])
    assert [early[5] is not None, early[11] is not None] == [True, True]
    assert early[5] != early[11]
