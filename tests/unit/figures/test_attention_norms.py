"""`plot_attention_norms` on plain arrays, against a worked example by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard import plot_attention_norms
from dashboard.errors import BadSelectionError, RunShapeError
from dashboard.figures.attention_norms import LARGEST, largest, page_norms
from tests.support.synthetic import FakeTensor, array_of

TOKENS = ["a", "b"]
WEIGHTS = np.array([[[1, 0], [0.25, 0.75]], [[1, 0], [0.5, 0.5]]])  # (head, query, key)
VALUES = np.array([[[3.0], [1.0]]])  # one key head, d_value 1
PROJECTION = np.array([[1.0, 0.0], [0.0, -2.0]])  # head 0 writes (v, 0), head 1 writes (0, −2 v)


def told(figure: object) -> list[list[str]]:
    return np.asarray(figure.data[0].customdata)[..., 2].tolist()  # type: ignore[attr-defined]


def test_one_head_by_hand() -> None:
    figure = plot_attention_norms(FakeTensor(WEIGHTS[None]), VALUES[None], PROJECTION, TOKENS, head=1)
    assert told(figure) == [["6", "0"], ["3", "1"]]  # ½ · |−2 · 3|, ½ · |−2 · 1|
    assert list(figure.data[-1].marker.colorbar.ticktext) == ["0", "0.38", "1.5", "3.4", "6"]


def test_all_heads_by_hand() -> None:
    figure = plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS)
    wanted = [[np.hypot(3, 6), 0], [np.hypot(0.25 * 3, 0.5 * 6), np.hypot(0.75, 0.5 * 2)]]
    assert told(figure) == [[f"{value:.6g}" for value in row] for row in wanted]


def test_heads_that_write_against_each_other_cancel() -> None:
    """Their norms add up to 6; the vector they add together is 0."""
    figure = plot_attention_norms(np.ones((2, 1, 1)), VALUES[:, :1], np.array([[1.0, -1.0]]), ["a"])
    assert told(figure) == [["0"]]


STATES = np.array([[1.0, 1.0], [4.0, -1.0]])  # (token, hidden)


def test_the_residual_connection_by_hand() -> None:
    """Token 1 keeps (¾, −1) and (4, −1): together (4.75, −2); what it takes from token 0 stays as it was."""
    figure = plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS, residual=FakeTensor(STATES[None]))
    wanted = [[np.hypot(3 + 1, -6 + 1), 0], [np.hypot(0.25 * 3, 0.5 * 6), np.hypot(4.75, -2)]]
    assert told(figure) == [[f"{value:.6g}" for value in row] for row in wanted]


def test_layernorm_by_hand() -> None:
    """Of two numbers (u, v), the mean off leaves ±(u − v) / 2, and the standard deviation is |u − v| / 2."""
    figure = plot_attention_norms(
        *(WEIGHTS, VALUES, PROJECTION, TOKENS), residual=STATES, layer_norm=(np.array([2.0, 1.0]), 0.0), bias=[0.5, 0]
    )
    # token 0: (3 + 1, −6 + 1) is all it has, and with the bias (4.5, −5): 9 / 9.5, times γ (2, 1)
    # token 1: (0.75, −3) and (4.75, −2), with the bias (6, −5): 3.75 / 11 and 6.75 / 11
    wanted = [[9 / 9.5, 0], [3.75 / 11, 6.75 / 11]]
    assert told(figure) == [[f"{value * 5**0.5:.6g}" for value in row] for row in wanted]
    assert "with residual and LayerNorm" in figure.layout.title.text


def test_what_the_block_needs_is_asked_for() -> None:
    norm = (np.ones(2), 1e-5)
    with pytest.raises(RunShapeError, match="Give residual, too"):
        plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS, layer_norm=norm)
    with pytest.raises(BadSelectionError, match="Leave out head or residual"):
        plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS, head=0, residual=STATES)
    with pytest.raises(RunShapeError, match=r"The residual is \(1, 2\)\. Give \(2, 2\)"):
        plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS, residual=STATES[:1])
    with pytest.raises(RunShapeError, match=r"The γ is \(3,\)\. Give \(2,\)"):
        plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS, residual=STATES, layer_norm=(np.ones(3), 0))
    with pytest.raises(RunShapeError, match="The bias"):
        plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS, residual=STATES, layer_norm=norm, bias=np.ones(3))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RunShapeError, match="for 2 tokens"):
        plot_attention_norms(WEIGHTS[:, :1], VALUES, PROJECTION, TOKENS)
    with pytest.raises(RunShapeError, match="key_head"):
        plot_attention_norms(WEIGHTS, VALUES[:, :1], PROJECTION, TOKENS)
    with pytest.raises(RunShapeError, match=r"Give \(hidden, 2\)"):
        plot_attention_norms(WEIGHTS, VALUES, PROJECTION[:, :1], TOKENS)
    with pytest.raises(BadSelectionError, match="head 2"):
        plot_attention_norms(WEIGHTS, VALUES, PROJECTION, TOKENS, head=2)


def test_a_long_text_has_fewer_cells_and_each_shows_the_largest() -> None:
    count = 2 * LARGEST - 1
    values = np.zeros((count, count), dtype=np.float32)
    values[3, 700] = 4
    names = ["x"] * count
    spec = page_norms(values, np.ones(values.shape, dtype=bool), names, names, "norm", largest(values))
    cells = array_of(spec["data"][0]["z"])
    assert cells.shape == (LARGEST, LARGEST)
    assert np.argwhere(cells == 255).tolist() == [[1, 350]]
    assert (spec["data"][0]["x0"], spec["data"][0]["dx"], spec["layout"]["meta"]["block"]) == (0.5, 2, 2)
    assert "exact" not in spec["layout"]["meta"]


def test_a_scale_without_values_ends_at_one() -> None:
    assert largest(np.array([np.nan, np.inf])) == 1
    assert largest(np.zeros(3)) == 1
    assert largest(np.array([2.0, 5.0]), np.array([True, False])) == 2
