"""`plot_attention_everywhere` and `plot_head_scores` on plain arrays: every cell against its definition, in loops."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard import plot_attention_everywhere, plot_head_scores
from dashboard.errors import BadRequestError, BadSelectionError, RunShapeError
from tests.support.synthetic import FakeTensor, array_of

COUNT = 7
WORDS = ["a", "b", "c", "a", "b", "b", "a"]


def attentions_of(causal: bool, layers: int = 3, heads: int = 2, count: int = COUNT) -> np.ndarray:
    """(layer, head, query, key) whose rows sum to 1."""
    raw = np.random.default_rng(7).random((layers, heads, count, count)) + 0.01
    raw = np.tril(raw) if causal else raw
    return np.asarray(raw / raw.sum(axis=-1, keepdims=True))


def cells_of(figure: go.Figure) -> np.ndarray:
    """What the first trace, the heatmap, holds, as the browser gets it."""
    z = json.loads(figure.to_json())["data"][0]["z"]
    return array_of(z) if isinstance(z, dict) else np.array(z, dtype=np.float64)


def by_hand(weights: np.ndarray, score: str, causal: bool) -> float:
    """One head's score, pair by pair; NaN if no token can have it."""
    count, found = len(weights), []
    for query in range(count):
        earlier = [key for key in range(count) if WORDS[key] == WORDS[query] and key != query]
        earlier = [key for key in earlier if key < query] if causal else earlier
        followed = [key + 1 for key in earlier if key + 1 < query] if causal else []
        row = weights[query]
        if score == "previous" and query > 0:
            found.append(row[query - 1])
        elif score == "next" and query < count - 1:
            found.append(row[query + 1])
        elif score == "self":
            found.append(row[query])
        elif score == "first" and query > 0:
            found.append(row[0])
        elif score == "entropy":
            found.append(-sum(w * math.log(w) for w in row if w > 0))
        elif score == "distance":
            found.append(sum(w * abs(query - key) for key, w in enumerate(row)))
        elif score == "duplicate" and earlier:
            found.append(sum(row[key] for key in earlier))
        elif score == "induction" and followed:
            found.append(sum(row[key] for key in followed))
    return sum(found) / len(found) if found else math.nan


@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("causal", [True, False])
def test_each_cell_is_that_heads_weight(causal: bool, batch: int) -> None:
    weights = attentions_of(causal)
    outputs = tuple(FakeTensor(layer[(None,) * batch]) for layer in weights)
    wanted: list[tuple[dict[str, Any], np.ndarray, str]] = [
        ({"second_idx": 2}, weights[:, :, 4, 2], "How much b (4) attends to c (2) in every head"),
        ({"second_idx": -5}, weights[:, :, 4, 2], "How much b (4) attends to c (2) in every head"),
        ({"weight": "first"}, weights[:, :, 4, 0], "How much b (4) attends to a (0) in every head"),
        ({"weight": "received"}, weights[:, :, :, 4].mean(axis=2), "How much attention b (4) receives in every head"),
    ]
    for options, values, title in wanted:
        figure = plot_attention_everywhere(outputs, WORDS, 4, **options)
        np.testing.assert_allclose(cells_of(figure), 1 + 254 * np.sqrt(values), atol=0.51)  # rounded
        assert figure.data[0].hovertext[2][1] == f"Layer 2, head 1<br>weight {values[2, 1]:.6g}"
        assert figure.layout.title.text.startswith(title)
        assert not figure.layout.shapes
    [frame] = plot_attention_everywhere(outputs, WORDS, 4, 2, layer=2, head=1).layout.shapes
    assert [frame.x0, frame.x1, frame.y0, frame.y1] == [0.5, 1.5, 1.5, 2.5]


def test_a_later_token_gets_a_weight_unless_attention_is_causal() -> None:
    full, causal = attentions_of(False), attentions_of(True)
    np.testing.assert_allclose(
        cells_of(plot_attention_everywhere(full, WORDS, 2, 5)), 1 + 254 * np.sqrt(full[:, :, 2, 5]), atol=0.51
    )
    with pytest.raises(BadSelectionError, match="Token 2 cannot attend to token 5, which comes later"):
        plot_attention_everywhere(causal, WORDS, 2, 5)


def test_a_weight_that_is_not_finite_is_an_empty_cell() -> None:
    weights = attentions_of(False)
    weights[1, 0, 4, 2] = np.nan
    figure = plot_attention_everywhere(weights, WORDS, 4, 2)
    shades = cells_of(figure)
    assert (shades == 0).sum() == 1
    assert shades[1, 0] == 0
    assert "not finite (NaN, ∞): 1 of 6 heads" in figure.layout.title.text


def test_a_token_that_looks_like_markup_is_text() -> None:
    words = ["<b>", *WORDS[1:]]
    assert "&lt;b&gt; (0)" in plot_attention_everywhere(attentions_of(True), words, 3, 0).layout.title.text


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"token_idx": 7}, BadSelectionError, "There is no token 7; there are tokens 0 to 6"),
        ({"second_idx": -8}, BadSelectionError, "There is no token -8"),
        ({"second_idx": None}, BadRequestError, "Give second_idx"),
        ({"weight": "heat"}, BadRequestError, "pair, first, received"),
        ({"tokens": WORDS[:3]}, RunShapeError, "but there are 3 tokens"),
        ({"tokens": []}, RunShapeError, "but there are 0 tokens"),
        ({"attentions": []}, RunShapeError, "output_attentions=True"),
        ({"attentions": attentions_of(True)[0]}, RunShapeError, "one text at a time"),
        ({"layer": 3, "head": 0}, BadSelectionError, "layers 0 to 2 and heads 0 to 1"),
    ],
)
def test_what_cannot_be_drawn_is_a_named_error(wrong: dict[str, Any], error: type[Exception], said: str) -> None:
    given = {"attentions": attentions_of(True), "tokens": WORDS, "token_idx": 4, "second_idx": 2}
    with pytest.raises(error, match=said):
        plot_attention_everywhere(**{**given, **wrong})


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    "score", ["previous", "next", "self", "first", "duplicate", "induction", "entropy", "distance"]
)
def test_each_score_is_its_definition(score: str, causal: bool) -> None:
    weights = attentions_of(causal)
    if score == "induction" and not causal:
        with pytest.raises(BadRequestError, match="nothing to average for “induction”"):
            plot_head_scores(weights, score, WORDS)
        return
    figure = plot_head_scores(tuple(map(FakeTensor, weights)), score, WORDS)
    wanted = [[by_hand(head, score, causal) for head in layer] for layer in weights]
    np.testing.assert_allclose(cells_of(figure), wanted, rtol=1e-12, atol=1e-15)
    assert figure.data[0].zmax == (pytest.approx(np.max(wanted)) if score in ("entropy", "distance") else 1)


def test_tokens_may_be_ids_and_are_needed_only_where_they_matter() -> None:
    weights, ids = attentions_of(True), np.array([5, 9, 2, 5, 9, 9, 5])
    missing = frozenset({"detach", "cpu"})
    for given in (ids, ids.tolist(), FakeTensor(ids[None], missing), FakeTensor(ids, missing)):
        found = cells_of(plot_head_scores(weights, "duplicate", given))
        np.testing.assert_allclose(found, cells_of(plot_head_scores(weights, "duplicate", WORDS)))
    assert plot_head_scores(weights, layer=1, head=0).layout.title.text == (
        "Weight on the previous token, mean of every head over 7 tokens"
    )
    with pytest.raises(BadRequestError, match="Give tokens, such as input_ids"):
        plot_head_scores(weights, "induction")


def test_scores_that_cannot_be_are_named_errors() -> None:
    weights = attentions_of(True)
    with pytest.raises(BadRequestError, match="previous, next, self, first, duplicate, induction, entropy, distance"):
        plot_head_scores(weights, "heat")
    with pytest.raises(BadRequestError, match="nothing to average for “duplicate”"):
        plot_head_scores(weights, "duplicate", list("abcdefg"))
    with pytest.raises(BadRequestError, match="nothing to average for “previous”"):
        plot_head_scores(np.ones((1, 2, 1, 1)))
    with pytest.raises(RunShapeError, match="but there are 3 tokens"):
        plot_head_scores(weights, "duplicate", WORDS[:3])


def test_a_head_that_is_not_finite_has_no_score() -> None:
    weights = attentions_of(True)
    weights[2, 1, 3] = np.nan
    figure = plot_head_scores(weights, "entropy")
    found = cells_of(figure)
    assert np.isnan(found).tolist() == [[False, False], [False, False], [False, True]]
    assert "not finite (NaN, ∞): 1 of 6 heads" in figure.layout.title.text
    assert np.isnan(cells_of(plot_head_scores(np.full((1, 2, 7, 7), np.nan), "self"))).all()
