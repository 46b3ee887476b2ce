"""Heatmaps of plain Hugging Face outputs: one head, and several as one. Numpy only."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard import aggregate_attention, plot_attention_aggregate, plot_attention_heatmap
from dashboard.errors import BadRequestError, BadSelectionError, RunShapeError
from dashboard.figures.attention import shades
from tests.support.synthetic import FakeTensor, array_of, make_run

RNG = np.random.default_rng(5)


def cells_of(figure: go.Figure) -> np.ndarray:
    """The shades of a heatmap, as the browser gets them."""
    return array_of(json.loads(figure.to_json())["data"][0]["z"])


def causal_layers(layers: int, heads: int, count: int) -> np.ndarray:
    """(layer, head, query, key), rows that add up to 1 below the diagonal."""
    weights = np.tril(RNG.random((layers, heads, count, count)) + 0.01)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def test_attention_heatmap_as_called_in_a_notebook() -> None:
    attention_weights = [RNG.random((2, 3, 3)) for _layer in range(4)]
    layer, head, tokens = 2, 1, ["a", "b", "c"]
    figure = plot_attention_heatmap(attention_weights[layer][head], tokens)
    np.testing.assert_array_equal(cells_of(figure), shades(attention_weights[layer][head]))


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_attention_of_a_tensor_with_or_without_a_batch_axis(batch: int) -> None:
    weights = causal_layers(1, 1, 3)[0, 0]
    tensor = FakeTensor(weights[(None,) * batch])
    z = cells_of(plot_attention_heatmap(tensor, list("abc")))
    np.testing.assert_array_equal(z, shades(weights, np.tril(np.ones((3, 3), dtype=bool))))


def test_a_causal_matrix_leaves_what_is_forbidden_empty_and_a_full_one_does_not() -> None:
    causal = cells_of(plot_attention_heatmap(causal_layers(1, 1, 3)[0, 0], list("abc")))
    assert causal[0].tolist()[1:] == [0, 0]
    full = np.full((3, 3), 1 / 3)
    assert (cells_of(plot_attention_heatmap(full, list("abc"))) > 0).all()
    one = cells_of(plot_attention_heatmap(np.ones((1, 1)), ["a"]))
    assert one.tolist() == [[255]]


@pytest.mark.parametrize("shape", [(2, 3, 3), (1, 2, 3, 3), (3,), (2, 3)])
def test_attention_of_several_heads_is_a_named_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(RunShapeError):
        plot_attention_heatmap(np.zeros(shape), ["a", "b", "c"])


def test_a_run_and_its_tokens_can_be_given_too() -> None:
    run = make_run()
    figure = plot_attention_heatmap(run.attention(1, 0), run.tokens)
    assert list(figure.layout.yaxis.ticktext) == ["The", "·cat", "·sat", "·on", "·it", "."]


@pytest.mark.parametrize("batch", [0, 1])
def test_aggregates_of_plain_outputs(batch: int) -> None:
    layers = causal_layers(3, 2, 4)
    outputs = tuple(FakeTensor(layer[(None,) * batch]) for layer in layers)
    rolled = np.eye(4)
    for layer in layers[:2]:
        rolled = (0.3 * layer.mean(axis=0) + 0.7 * np.eye(4)) @ rolled
    wanted: list[tuple[dict[str, Any], np.ndarray, str]] = [
        ({"of": "mean", "layer": 1}, layers[1].mean(axis=0), "Mean weight of 2 heads, layer 1"),
        ({"of": "max"}, layers.max(axis=(0, 1)), "Largest weight of 6 heads, all layers"),
        ({"layer": 1, "attention_share": 0.3}, rolled, "Attention rollout, layers 0 to 1: 30% attention"),
    ]
    for options, weights, title in wanted:
        found = aggregate_attention(outputs, **options)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, weights, rtol=1e-6, atol=1e-7)
        figure = plot_attention_aggregate(outputs, list("abcd"), **options)
        z = cells_of(figure)
        assert np.abs(z.astype(int) - shades(weights, np.tril(np.ones((4, 4), dtype=bool)))).max() <= 1
        assert figure.layout.title.text.startswith(title)


def test_an_aggregate_that_cannot_be_drawn_is_a_named_error() -> None:
    layers = causal_layers(2, 2, 3)
    for options, error in (({"of": "median"}, BadRequestError), ({"layer": 2}, BadSelectionError)):
        with pytest.raises(error):
            plot_attention_aggregate(layers, list("abc"), **options)
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(BadRequestError, match="Choose a number from 0 to 1"):
            aggregate_attention(layers, attention_share=share)
    for outputs in ((), layers[0], [RNG.random((2, 2, 3, 3))]):
        with pytest.raises(RunShapeError):
            plot_attention_aggregate(outputs, list("abc"))


def test_an_aggregate_is_not_finite_where_a_weight_is_not() -> None:
    layers = causal_layers(2, 2, 3)
    layers[1, 0, 2, 1] = np.nan
    for of in ("mean", "max"):
        assert np.argwhere(np.isnan(aggregate_attention(layers, of))).tolist() == [[2, 1]]
    assert np.isnan(aggregate_attention(layers)).all(axis=1).tolist() == [False, False, True]
    assert "1 of 3 rows" in plot_attention_aggregate(layers, list("abc")).layout.title.text
