"""The order and the groups of heads: hand-built attention whose groups are known, and scikit-learn's own clustering."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering

from dashboard.analysis import head_order, read_scores
from dashboard.analysis.attention_reading import NO_AIDS, Aids, read_attention
from dashboard.analysis.head_order import by_score, similar_heads
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError
from tests.support.synthetic import make_run
from tests.unit.analysis.test_attention_reading import stored

TEXTS = ("a", " b", " c", " d", " e")
KINDS = {  # what a head of each kind attends to, from each of five tokens
    "first": np.eye(5)[[0, 0, 0, 0, 0]],
    "previous": np.eye(5)[[0, 0, 1, 2, 3]],
    "self": np.eye(5),
    "even": np.full((5, 5), 0.2),
}
PLAN = [
    ["self", "first", "previous", "even"],
    ["even", "self", "previous", "first"],
    ["first", "self", "even", "previous"],
]


def planned(noise: float = 0.02) -> ModelRun:
    """Three layers of four heads of known kinds, none exactly like another."""
    rng = np.random.default_rng(1)
    weights = np.array([[KINDS[kind] for kind in row] for row in PLAN]) + noise * rng.random((3, 4, 5, 5))
    return stored(weights / weights.sum(axis=-1, keepdims=True), TEXTS)


def test_heads_of_one_kind_are_one_group_and_groups_begin_with_their_first_head() -> None:
    found = similar_heads(planned().attention_of(), NO_AIDS, 4)
    assert found.source == "weights"
    kinds = [[PLAN[layer][head] for layer, head in group] for group in found.groups]
    assert kinds == [["self"] * 3, ["first"] * 3, ["previous"] * 3, ["even"] * 3]
    assert [set(group) for group in found.groups] == [
        {(layer, head) for layer in range(3) for head in range(4) if PLAN[layer][head] == kind}
        for kind in ("self", "first", "previous", "even")
    ]
    numbers = found.group_of(3, 4)
    assert numbers.tolist() == [[1, 2, 3, 4], [4, 1, 3, 2], [2, 1, 4, 3]]


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 8, 12, 20])
def test_the_partition_is_scikit_learns(groups: int) -> None:
    rng = np.random.default_rng(groups)
    weights = rng.dirichlet(np.full(5, 0.3), size=(3, 4, 5))
    attention = stored(weights, TEXTS).attention_of()
    found = similar_heads(attention, NO_AIDS, groups)
    roots = np.sqrt(weights.astype(np.float32)).reshape(12, 25)
    wanted = AgglomerativeClustering(n_clusters=min(groups, 12), linkage="ward").fit_predict(roots)
    parts = {frozenset((i // 4, i % 4) for i in np.flatnonzero(wanted == label)) for label in set(wanted.tolist())}
    assert {frozenset(group) for group in found.groups} == parts
    assert sorted(place for group in found.groups for place in group) == [(i // 4, i % 4) for i in range(12)]


def test_within_a_group_the_two_heads_that_are_most_alike_are_neighbours() -> None:
    attention = planned().attention_of()
    [order] = similar_heads(attention, NO_AIDS, 1).groups
    roots = {place: np.sqrt(attention.weights(*place)) for place in order}
    apart = {
        (one, other): float(np.linalg.norm(roots[one] - roots[other]))
        for one in order
        for other in order
        if one < other
    }
    one, other = min(apart, key=lambda pair: apart[pair])
    assert abs(order.index(one) - order.index(other)) == 1


def test_aids_hold_for_what_is_compared() -> None:
    """Two kinds that differ in the first column alone are alike without the first token."""
    rng = np.random.default_rng(5)
    tails = rng.dirichlet(np.full(4, 0.5), size=(2, 5))
    weights = np.zeros((1, 4, 5, 5))
    for head in range(4):  # heads 0 and 2 have one tail, heads 0 and 1 one share of the first token
        share = 0.05 if head < 2 else 0.9
        weights[0, head, :, 0], weights[0, head, :, 1:] = share, (1 - share) * tails[head % 2]
    attention = stored(weights, TEXTS).attention_of()
    assert similar_heads(attention, Aids(first=True, sums=True), 2).groups == (((0, 0), (0, 2)), ((0, 1), (0, 3)))
    assert set(similar_heads(attention, NO_AIDS, 2).groups[1]) >= {(0, 2), (0, 3)}
    kept = read_attention(attention, 0, 3, aids=Aids(first=True, sums=True)).weights()
    np.testing.assert_allclose(kept, tails[1][1:], rtol=1e-5)


def test_a_long_text_is_compared_by_its_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_scores, "MOST_WEIGHTS", 0)
    run = make_run("causal")
    attention = run.attention_of()
    found = similar_heads(attention, Aids(first=True), 2)
    assert found.source == "pictures"
    roots = attention.thumbnails.reshape(4, -1) / 255
    wanted = AgglomerativeClustering(n_clusters=2, linkage="ward").fit_predict(roots)
    parts = {frozenset((i // 2, i % 2) for i in np.flatnonzero(wanted == label)) for label in (0, 1)}
    assert {frozenset(group) for group in found.groups} == parts


def test_too_many_heads_are_refused_and_a_weight_that_is_not_finite_counts_as_none(monkeypatch: Any) -> None:
    weights = np.array([[KINDS[kind] for kind in row] for row in PLAN])
    weights[0, 0, 2] = np.nan
    found = similar_heads(stored(weights, TEXTS).attention_of(), NO_AIDS, 4)
    assert sum(map(len, found.groups)) == 12
    monkeypatch.setattr(head_order, "MOST_HEADS", 11)
    with pytest.raises(MissingArrayError, match="12 heads are too many to compare"):
        similar_heads(planned().attention_of(), NO_AIDS, 4)


def test_one_head_is_one_group() -> None:
    found = similar_heads(stored(np.full((1, 1, 5, 5), 0.2), TEXTS).attention_of(), NO_AIDS, 8)
    assert found.groups == (((0, 0),),)


def test_the_largest_score_comes_first_equal_ones_by_layer_and_none_last() -> None:
    values = np.array([[0.2, np.nan, 0.7], [0.7, 0.1, 0.2]])
    assert by_score(values) == ((0, 2), (1, 0), (0, 0), (1, 2), (1, 1), (0, 1))
