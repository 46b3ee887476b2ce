"""Attention weights from query and key: numbers known by hand, and the rules that every recipe keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dashboard.contracts.attention_recipe import ScoreRecipe, allowed_keys, attention_weights
from dashboard.errors import RunShapeError


def made(tokens: int = 9, d_head: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    query, key = generator.normal(size=(2, tokens, d_head)).astype(np.float32) * 2
    return query, key


def test_known_by_hand() -> None:
    query = np.array([[0.0], [1.0]], dtype=np.float32)
    key = np.array([[0.0], [2.0]], dtype=np.float32)
    weights = attention_weights(query, key, ScoreRecipe(scaling=0.5))
    assert weights[0].tolist() == [0.5, 0.5]
    assert weights[1, 1] == pytest.approx(math.e / (1 + math.e))


def test_full_recipe_allows_every_pair() -> None:
    assert allowed_keys(ScoreRecipe(1.0), 3, 3).all()


def test_causal_recipe_allows_the_past_and_itself() -> None:
    assert allowed_keys(ScoreRecipe(1.0, "causal"), 3, 3).tolist() == [
        [True, False, False],
        [True, True, False],
        [True] * 3,
    ]


def test_causal_window_counts_the_token_itself() -> None:
    allowed = allowed_keys(ScoreRecipe(1.0, "causal", window=2), 4, 4)
    assert allowed.sum(axis=1).tolist() == [1, 2, 2, 2]
    assert allowed[3].tolist() == [False, False, True, True]


def test_full_window_reaches_both_ways() -> None:
    allowed = allowed_keys(ScoreRecipe(1.0, window=1), 4, 4)
    assert allowed[1].tolist() == [True, True, True, False]
    assert allowed.sum(axis=1).tolist() == [2, 3, 3, 2]


@pytest.mark.parametrize("recipe", [ScoreRecipe(0.5), ScoreRecipe(0.5, "causal"), ScoreRecipe(0.5, "causal", 3)])
def test_rows_sum_to_one_and_forbidden_pairs_are_zero(recipe: ScoreRecipe) -> None:
    query, key = made()
    weights = attention_weights(query, key, recipe)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert (weights[~allowed_keys(recipe, 9, 9)] == 0).all()


def test_one_token_reads_itself() -> None:
    query, key = made(tokens=1)
    assert attention_weights(query, key, ScoreRecipe(1.0, "causal")).tolist() == [[1.0]]


def test_large_scores_do_not_overflow() -> None:
    query, key = made()
    weights = attention_weights(query * 1000, key * 1000, ScoreRecipe(1.0, "causal"))
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_softcap_bounds_the_scores() -> None:
    query, key = made()
    weights = attention_weights(query * 100, key * 100, ScoreRecipe(1.0, softcap=2.0))
    ratio = weights.max(axis=1) / weights.min(axis=1)
    assert (ratio <= math.exp(4) * (1 + 1e-5)).all()


def test_bias_is_added_to_the_scores() -> None:
    query, key = made()
    bias = np.zeros((9, 9), dtype=np.float32)
    bias[:, 4] = 100
    weights = attention_weights(query, key, ScoreRecipe(0.5, bias="bias/0"), bias=bias)
    np.testing.assert_allclose(weights[:, 4], 1, atol=1e-6)


def test_sink_takes_its_share() -> None:
    query = key = np.zeros((2, 1), dtype=np.float32)
    weights = attention_weights(query, key, ScoreRecipe(1.0, sinks="sinks/0"), sink=math.log(2))
    np.testing.assert_allclose(weights, 0.25, atol=1e-6)


def test_different_widths_are_refused() -> None:
    with pytest.raises(RunShapeError):
        attention_weights(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32), ScoreRecipe(1.0))


def test_a_recipe_of_stored_weights_makes_none() -> None:
    stored = ScoreRecipe(1.0, "causal", stored="attention/0")
    with pytest.raises(RunShapeError, match="stored as attention/0"):
        attention_weights(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), stored)
    assert ScoreRecipe(**stored.to_json()) == stored
    assert "stored" not in ScoreRecipe(1.0).to_json(), "headers of all other runs are as before"


def test_unknown_mask_is_refused() -> None:
    with pytest.raises(RunShapeError):
        ScoreRecipe(1.0, mask="diagonal")  # type: ignore[arg-type]
