"""Aggregates and reading aids: examples worked by hand, and numpy on the weights of single heads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dashboard.analysis.aggregates import largest_of, mean_of, rolled_out, rollout
from dashboard.analysis.attention_reading import Aids, AttentionReading, offered, read_attention, words_of
from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.streams import Attention
from dashboard.errors import RunShapeError
from tests.support.synthetic import make_parts, make_run, make_two_streams

KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")
AGGREGATES: Any = ("head", "mean", "max", "mean-all", "max-all", "rollout")


def matrices(attention: Attention) -> np.ndarray:
    """(layer, head, query, key) float64, every head."""
    return np.array(
        [[attention.weights(layer, head) for head in range(attention.heads)] for layer in range(attention.layers)],
        dtype=np.float64,
    )


def stored(weights: np.ndarray, texts: tuple[str, ...], kind: ModelKind = "encoder", **changes: Any) -> ModelRun:
    """A run with these weights (layer, head, query, key), stored as they are. `changes`: fields of tokens, by place."""
    layers, heads = weights.shape[:2]
    header, arrays = make_parts(kind, texts, layers=layers, heads=heads)
    stream = "decoder" if kind == "causal" else "encoder"
    mask: Any = "causal" if kind == "causal" else "full"
    recipes = [ScoreRecipe(1.0, mask, stored=f"weights/{layer}").to_json() for layer in range(layers)]
    header["recipes"] = {stream: recipes}
    for layer in range(layers):
        arrays[f"{stream}/weights/{layer}"] = weights[layer].astype(np.float32)
    run = ModelRun(header, arrays)
    tokens = [replace(token, **changes.get(f"at{i}", {})) for i, token in enumerate(run.tokens)]
    header["tokens"] = {stream: [token.to_row() for token in tokens]}
    return ModelRun(header, arrays)


# aggregates


@pytest.mark.parametrize("kind", KINDS)
def test_means_and_maxima_are_numpys_over_the_heads(kind: ModelKind) -> None:
    attention = make_run(kind).attention_of()
    every = matrices(attention)
    wanted = {
        "mean": every[1].mean(axis=0),
        "max": every[1].max(axis=0),
        "mean-all": every.mean(axis=(0, 1)),
        "max-all": every.max(axis=(0, 1)),
    }
    for aggregate, values in wanted.items():
        found = read_attention(attention, 1, None, aggregate)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.weights(), values, rtol=1e-6)
        np.testing.assert_array_equal(found.weights(2, 4), found.weights()[2:4])
    chosen = read_attention(attention, 1, None, "mean", heads=[(0, 1), (1, 0)])
    np.testing.assert_allclose(chosen.weights(), (every[0, 1] + every[1, 0]) / 2, rtol=1e-6)


def test_the_mean_and_the_largest_of_two_heads_by_hand() -> None:
    first = [[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.2, 0.6]]
    other = [[1, 0, 0], [0.1, 0.9, 0], [0.6, 0.4, 0]]
    attention = stored(np.array([[first, other]]), ("a", " b", " c"), "causal").attention_of()
    heads = [(0, 0), (0, 1)]
    np.testing.assert_allclose(mean_of(attention, heads), [[1, 0, 0], [0.3, 0.7, 0], [0.4, 0.3, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(largest_of(attention, heads), [[1, 0, 0], [0.5, 0.9, 0], [0.6, 0.4, 0.6]], rtol=1e-6)


def test_rollout_of_three_tokens_by_hand() -> None:
    """Ã = ½A + ½I, then Ã₁Ã₀. Row 2 of Ã₁ is (0, ½, ½): half of row 1 of Ã₀ and half of its row 2."""
    first = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]])
    second = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    mixed = np.array([[1, 0, 0], [0.25, 0.75, 0], [0, 0, 1]])
    np.testing.assert_allclose(rolled_out([first]), mixed)
    np.testing.assert_allclose(rolled_out([first, second]), [[1, 0, 0], [0.25, 0.75, 0], [0.125, 0.375, 0.5]])
    attention = stored(np.array([[first], [second]]), ("a", " b", " c"), "causal").attention_of()
    np.testing.assert_allclose(rollout(attention, 1), [[1, 0, 0], [0.25, 0.75, 0], [0.125, 0.375, 0.5]])
    np.testing.assert_allclose(rollout(attention, 1, share=1.0), second @ first)
    np.testing.assert_allclose(rollout(attention, 1, share=0.0), np.eye(3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_rollout_is_the_papers_chain_of_products(kind: ModelKind, share: float) -> None:
    attention = make_run(kind).attention_of()
    means, wanted = matrices(attention).mean(axis=1), np.eye(attention.shape[0])
    for layer in range(attention.layers):
        mixed = share * means[layer] + (1 - share) * np.eye(len(wanted))
        wanted = (mixed / mixed.sum(axis=1, keepdims=True)) @ wanted
        found = read_attention(attention, layer, None, "rollout", share=share)
        np.testing.assert_allclose(found.weights(), wanted, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.weights().sum(axis=1), 1, rtol=1e-6)
        assert not found.weights()[~found.allowed()].any()


def test_uniform_attention_stays_uniform() -> None:
    uniform = np.full((3, 2, 4, 4), 0.25)
    attention = stored(uniform, ("a", " b", " c", " d")).attention_of()
    for aggregate in AGGREGATES:
        found = read_attention(attention, 2, 0, aggregate, share=1.0)
        np.testing.assert_allclose(found.weights(), uniform[0, 0])
    half = read_attention(attention, 2, None, "rollout").weights()  # ⅛ of each token is left where it was
    np.testing.assert_allclose(half, np.full((4, 4), 0.25 * (1 - 0.125)) + 0.125 * np.eye(4))


def test_a_row_is_lost_only_if_it_reads_what_is_not_finite() -> None:
    first, second = np.eye(3), np.array([[1.0, 0, 0], [0, 1, 0], [0.5, 0, 0.5]])
    first[1] = np.nan
    found = rolled_out([first, second])
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2]], [[1, 0, 0], [0.25, 0, 0.75]])


def test_a_sink_takes_nothing_from_a_rollout() -> None:
    found = rolled_out([np.array([[0.5, 0], [0.2, 0.3]])])
    np.testing.assert_allclose(found, [[1, 0], [0.1 / 0.75, 0.65 / 0.75]], rtol=1e-6)


def test_what_cannot_be_aggregated_is_refused() -> None:
    cross = make_two_streams().attention_of("cross")
    with pytest.raises(RunShapeError, match="one stream"):
        read_attention(cross, 0, None, "rollout")
    with pytest.raises(RunShapeError, match="one stream"):
        rollout(cross, 0)
    with pytest.raises(RunShapeError, match="no heads"):
        mean_of(cross, [])
    with pytest.raises(RunShapeError, match="square"):
        rolled_out([np.ones((2, 3))])
    with pytest.raises(RunShapeError, match="at least one"):
        rolled_out([])
    with pytest.raises(RunShapeError, match="needs a head"):
        read_attention(cross, 0)
    assert read_attention(cross, 0, None, "mean").weights().shape == (3, 5)


# reading aids


PIECES = np.array(
    [
        [0.4, 0.1, 0.2, 0.1, 0.2],
        [0.1, 0.2, 0.3, 0.2, 0.2],
        [0.3, 0.3, 0.1, 0.1, 0.2],
        [0.2, 0.0, 0.4, 0.4, 0.0],
        [0.6, 0.1, 0.1, 0.1, 0.1],
    ]
)
SPECIAL: dict[str, dict[str, Any]] = {
    "at0": {"special": True, "start": 0, "end": 0, "word": None},
    "at4": {"special": True, "start": 17, "end": 17, "word": None},
    "at3": {"word": 2, "sign": "continuation"},
}


def pieces() -> Attention:
    """[CLS] a play ##ing [SEP]: one word of two pieces, two special tokens."""
    return stored(PIECES[None, None], ("[CLS]", "a", " play", "ing", "[SEP]"), **SPECIAL).attention_of()


def read(attention: Attention, **aids: Any) -> AttentionReading:
    return read_attention(attention, 0, 0, aids=Aids(**aids))


def test_special_tokens_left_out_by_hand() -> None:
    found = read(pieces(), special=True)
    assert found.rows == found.columns == ((1,), (2,), (3,))
    np.testing.assert_allclose(found.weights(), [[0.2, 0.3, 0.2], [0.3, 0.1, 0.1], [0.0, 0.4, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(found.shares(), [0.7, 0.5, 0.8], rtol=1e-6)
    again = read(pieces(), special=True, sums=True)
    np.testing.assert_allclose(
        again.weights(), [[2 / 7, 3 / 7, 2 / 7], [0.6, 0.2, 0.2], [0, 0.5, 0.5]], rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(again.shares(), [0.7, 0.5, 0.8], rtol=1e-6)
    assert found.row_of(0) is None
    assert found.row_of(2) == 1


def test_word_pieces_are_added_as_keys_and_averaged_as_queries() -> None:
    """Clark et al. 2019: [CLS] gives “playing” 0.2 + 0.1; “playing” gives [CLS] (0.3 + 0.2) / 2."""
    found = read(pieces(), words=True)
    assert found.rows == found.columns == ((0,), (1,), (2, 3), (4,))
    wanted = [[0.4, 0.1, 0.3, 0.2], [0.1, 0.2, 0.5, 0.2], [0.25, 0.15, 0.5, 0.1], [0.6, 0.1, 0.2, 0.1]]
    np.testing.assert_allclose(found.weights(), wanted, rtol=1e-6)
    np.testing.assert_allclose(found.weights().sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found.weights(2, 3), found.weights()[2:3])
    assert [word.text for word in found.keys] == ["[CLS]", "a", " playing", "[SEP]"]
    assert found.row_of(3) == found.column_of(2) == 2


def test_aids_work_together_by_hand() -> None:
    found = read(pieces(), special=True, words=True, sums=True)
    np.testing.assert_allclose(found.weights(), [[2 / 7, 5 / 7], [0.15 / 0.65, 0.5 / 0.65]], rtol=1e-6)
    first = read(pieces(), first=True)
    np.testing.assert_allclose(first.weights(), PIECES[1:, 1:], rtol=1e-6)


def pair() -> Attention:
    """Two tokens of a first text, three of a second, without special tokens."""
    header, arrays = make_parts("encoder", ("a", " b", "c", " d", " e"), second_at=2)
    return ModelRun(header, arrays).attention_of()


@pytest.mark.parametrize(
    ("direction", "rows", "columns"),
    [("aa", "01", "01"), ("ab", "01", "234"), ("ba", "234", "01"), ("bb", "234", "234")],
)
def test_one_direction_of_a_pair(direction: Any, rows: str, columns: str) -> None:
    attention = pair()
    found = read(attention, direction=direction, sums=True)
    queries, keys = [int(at) for at in rows], [int(at) for at in columns]
    assert [group[0] for group in found.rows] == queries
    assert [group[0] for group in found.columns] == keys
    kept = attention.weights(0, 0).astype(np.float64)[np.ix_(queries, keys)]
    np.testing.assert_allclose(found.weights(), kept / kept.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(found.shares(), kept.sum(axis=1), rtol=1e-5)


def test_a_row_whose_whole_weight_is_left_out_is_empty() -> None:
    weights = np.array([[1, 0, 0], [1, 0, 0], [0.5, 0, 0.5]])
    attention = stored(weights[None, None], ("a", " b", " c"), "causal").attention_of()
    found = read(attention, first=True, sums=True)
    np.testing.assert_array_equal(found.weights(), [[0, 0], [0, 1]])
    assert found.emptied().tolist() == [True, False]
    nothing = read(make_run("causal", ["The"]).attention_of(), first=True)
    assert nothing.shape == nothing.weights().shape == nothing.allowed().shape == (0, 0)


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("aids", [Aids(), Aids(first=True), Aids(words=True), Aids(words=True, first=True)])
def test_a_pair_of_words_is_allowed_if_any_of_its_tokens_is(mask: Any, window: int | None, aids: Aids) -> None:
    header, arrays = make_parts("causal", ("a", "b", "c", " d", "e", " f"))
    header["recipes"] = {"decoder": [ScoreRecipe(0.5, mask, window).to_json()] * 2}
    tokens = [[*row] for row in header["tokens"]["decoder"]]
    for at, word in enumerate((0, 0, 0, 1, 1, 2)):
        tokens[at][6] = word
    header["tokens"] = {"decoder": tokens}
    attention = ModelRun(header, arrays).attention_of()
    single = attention.allowed(0)
    for aggregate, allowed in (("head", single), ("rollout", (single.astype(int) @ single.astype(int)) > 0)):
        found = read_attention(attention, 1, 0, aggregate, aids=aids)  # type: ignore[arg-type]
        wanted = [[allowed[np.ix_(query, key)].any() for key in found.columns] for query in found.rows]
        assert found.allowed().tolist() == wanted
        assert not found.weights()[~found.allowed()].any()


def test_words_end_at_white_space_and_at_the_other_text() -> None:
    run = stored(np.full((1, 1, 4, 4), 0.25), ("a", "b", " c", "d"), **{f"at{i}": {"word": 0} for i in range(4)})
    assert words_of(run.main) == ((0, 1), (2, 3))
    header, arrays = make_parts("encoder", ("a", "b"), second_at=1)
    tokens = [[*row] for row in header["tokens"]["encoder"]]
    tokens[1][6] = 0
    header["tokens"] = {"encoder": tokens}
    assert words_of(ModelRun(header, arrays).main) == ((0,), (1,))


def test_what_a_text_offers() -> None:
    assert offered(make_run("causal").main) == {"several"}
    assert offered(make_run("causal", ["The"]).main) == frozenset()
    assert offered(pieces().asks) == {"several", "special", "pieces"}
    assert offered(pair().asks) == {"several", "pair"}


def test_one_head_of_a_long_text_is_read_some_rows_at_a_time() -> None:
    attention = make_run("causal", [f" w{i}" for i in range(40)]).attention_of()
    found = read_attention(attention, 1, 1, aids=Aids(first=True, sums=True))
    kept = attention.weights(1, 1).astype(np.float64)[1:, 1:]
    np.testing.assert_allclose(found.weights(), kept / kept.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(found.weights(7, 9), found.weights()[7:9])
    assert math.isclose(float(found.shares(5, 6)[0]), kept[5].sum(), rel_tol=1e-5)
