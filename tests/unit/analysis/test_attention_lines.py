"""Which lines are drawn: a worked example by hand, and everything that is left out is counted."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.analysis.attention_lines import MOST_LINES, Direction, Lines, between, strongest_lines, tokens_shown

CAUSAL = np.array([[1, 0, 0], [0.7, 0.3, 0], [0.015, 0.985, 0.0]], dtype=np.float32)
EVEN = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5]], dtype=np.float32)


def lines(
    matrices: list[np.ndarray], tokens: tuple[int, ...], direction: Direction, least: float = 0.02, causal: bool = True
) -> Lines:
    mask = np.tril(np.ones(matrices[0].shape, dtype=bool)) if causal else np.ones(matrices[0].shape, dtype=bool)
    return strongest_lines(
        lambda head, first, last: (matrices[head][first:last], mask[first:last]),
        len(matrices),
        (len(mask), len(mask)),
        tokens,
        direction,
        least,
    )


def drawn(found: Lines) -> list[tuple[int, int, int, float]]:
    weights = [round(float(weight), 6) for weight in found.weight]
    return list(zip(found.head.tolist(), found.query.tolist(), found.key.tolist(), weights, strict=True))


def test_what_a_token_attends_to_weakest_first() -> None:
    found = lines([CAUSAL, EVEN], (2,), "to")
    assert drawn(found) == [(1, 2, 0, 0.25), (1, 2, 1, 0.25), (1, 2, 2, 0.5), (0, 2, 1, 0.985)]
    assert (found.possible, found.left_out, found.lost) == (6, 2, 0)
    assert found.left_weight == pytest.approx(0.015, abs=1e-6)
    assert found.readable.tolist() == [True, True, True]
    assert lines([CAUSAL], (1,), "to").readable.tolist() == [True, True, False]


def test_what_attends_to_a_token() -> None:
    found = lines([CAUSAL], (1,), "from")
    assert drawn(found) == [(0, 1, 1, 0.3), (0, 2, 1, 0.985)]
    assert (found.possible, found.left_out, found.left_weight) == (2, 0, 0.0)
    assert found.readable.tolist() == [False, True, True]


def test_every_pair_and_several_tokens() -> None:
    found = lines([CAUSAL], (0,), "all")
    assert [one[:3] for one in drawn(found)] == [(0, 1, 1), (0, 1, 0), (0, 2, 1), (0, 0, 0)]
    assert found.left_out == 2
    assert [one[1:3] for one in drawn(lines([EVEN], (2, 0), "to", least=0.5))] == [(2, 2), (0, 0)]
    assert len(lines([CAUSAL, EVEN], (0,), "all", causal=False, least=0)) == 18


def test_weights_that_are_not_finite_are_counted_apart() -> None:
    broken = CAUSAL.copy()
    broken[2] = np.nan
    found = lines([broken], (0,), "all")
    assert (found.possible, found.lost, found.left_out, len(found)) == (6, 3, 0, 3)
    assert len(lines([broken], (2,), "to")) == 0


def test_no_more_lines_than_there_is_room_for_and_the_strongest_stay() -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(60), size=60).astype(np.float32)
    found = lines([weights, weights], (0,), "all", least=0, causal=False)
    assert len(found) == MOST_LINES
    assert found.left_out == found.crowded == 2 * 3600 - MOST_LINES
    assert found.weight.tolist() == sorted(np.concatenate([weights, weights]).ravel().tolist())[-MOST_LINES:]
    assert found.left_weight == pytest.approx(120 - float(found.weight.sum(dtype=float)), abs=1e-4)


def test_a_long_text_shows_the_token_its_neighbours_and_the_ends_of_the_strongest_lines() -> None:
    weights = np.full((1000, 1000), 1e-5, dtype=np.float32)
    weights[500, [3, 900]], weights[500, 7] = 0.3, 0.1
    found = lines([weights], (500,), "to", causal=False)
    shown = tokens_shown(found, range(1000), (500,))
    assert shown == (3, 7, 499, 500, 501, 900)
    assert len(between(found, shown)) == 3
    few = tokens_shown(found, range(1000), (500,), most=4)
    assert few == (3, 499, 500, 501) or few == (499, 500, 501, 900)
    left = between(found, few)
    assert (len(left), left.left_out, left.crowded, found.crowded) == (1, found.left_out + 2, 2, 0)
    assert left.left_weight == pytest.approx(found.left_weight + 0.4, abs=1e-5)
    assert tokens_shown(found, range(30), (5,)) == tuple(range(30))
    assert tokens_shown(found, range(1000), (0, 999))[:3] == (0, 1, 3)
