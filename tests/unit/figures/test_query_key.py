"""`plot_query_key` on plain vectors."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard import plot_query_key
from dashboard.errors import BadRequestError, RunShapeError
from dashboard.figures.query_key import number, wavelength_text
from tests.support.synthetic import FakeTensor, array_of

QUERY, KEY = np.array([1.0, -2.0, 3.0, 0.5]), np.array([2.0, 1.0, -4.0, 8.0])


def test_bars_and_their_sum() -> None:
    figure = plot_query_key(FakeTensor(QUERY), FakeTensor(KEY))
    bars, line = figure.data
    assert array_of(bars.y).tolist() == [-12, 4, 2, -2]
    assert array_of(line.y).tolist() == [-12, -8, -6, -8]
    assert list(figure.layout.xaxis.ticktext) == ["2", "3", "0", "1"]
    assert figure.layout.title.text == "q·k = −8; the score is −4"  # d_head^−½ is ½


def test_a_score_with_everything() -> None:
    figure = plot_query_key(QUERY, KEY, 0.5, bias=1.0, softcap=2.0, order="dimension")
    assert figure.layout.title.text == "q·k = −8; the score is −1.81"  # 2 tanh(−3/2) = −1.8103


def test_pairs_of_a_rotary_embedding() -> None:
    half = plot_query_key(QUERY, KEY, order="frequency", inv_freq=np.array([1.0, 0.01]))
    assert array_of(half.data[0].y).tolist() == [-10, 2]
    assert list(half.layout.xaxis.ticktext) == ["6.3", "628"]
    beside = plot_query_key(QUERY, KEY, order="frequency", inv_freq=np.array([1.0, 0.01]), interleaved=True)
    assert array_of(beside.data[0].y).tolist() == [0, -8]


def test_what_is_not_two_vectors_is_refused() -> None:
    for query, key in ((QUERY, KEY[:3]), (QUERY[None], KEY[None]), (np.array([]), np.array([]))):
        with pytest.raises(RunShapeError, match="two"):
            plot_query_key(query, key)
    with pytest.raises(BadRequestError, match="order"):
        plot_query_key(QUERY, KEY, order="heat")  # type: ignore[arg-type]
    with pytest.raises(BadRequestError, match="inv_freq"):
        plot_query_key(QUERY, KEY, order="frequency")
    with pytest.raises(RunShapeError, match="at most 2 for 4"):
        plot_query_key(QUERY, KEY, order="frequency", inv_freq=np.ones(3))


def test_numbers_and_wavelengths_in_words() -> None:
    assert [number(value) for value in (45.1649, -0.00203, float("-inf"), float("nan"))] == [
        "45.16",
        "−0.00203",
        "−∞",
        "–",
    ]
    waves = (6.2832, 84.2, 1234.0, 438_459.9, 2.5e6, float("inf"), None)
    assert [wavelength_text(wave) for wave in waves] == ["6.3", "84", "1.2k", "438k", "2.5M", "∞", "none"]
