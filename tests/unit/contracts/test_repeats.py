"""Which tokens repeat others, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dashboard.contracts.repeats import Repeats

A, B, C = 7, 8, 9
TEXT = [A, B, C, A, B, B, A]


def pairs(where: np.ndarray | None) -> set[tuple[int, int]]:
    return set() if where is None else {(int(row), int(column)) for row, column in np.argwhere(where)}


def test_in_causal_attention_a_token_finds_earlier_ones_and_what_followed_them() -> None:
    duplicate, induction = Repeats(TEXT).within(range(7), range(7), "causal")
    assert pairs(duplicate) == {(3, 0), (4, 1), (5, 1), (5, 4), (6, 0), (6, 3)}
    assert pairs(induction) == {(3, 1), (4, 2), (5, 2), (6, 1), (6, 4)}, "5 is not found by itself after 4"


def test_in_full_attention_a_token_finds_all_others_and_there_is_no_induction() -> None:
    duplicate, induction = Repeats(TEXT).within(range(7), range(7), "full")
    once = {(3, 0), (4, 1), (5, 1), (5, 4), (6, 0), (6, 3)}
    assert pairs(duplicate) == once | {(column, row) for row, column in once}
    assert induction is None


@pytest.mark.parametrize("mask", ["causal", "full"])
def test_tiles_and_means_agree_with_the_whole(mask: Any) -> None:
    repeats = Repeats(TEXT)
    whole = repeats.within(range(7), range(7), mask)
    for kind in (0, 1):
        found = set()
        for rows in (range(3), range(3, 5), range(5, 7)):
            for columns in (range(2), range(2, 7)):
                part = repeats.within(rows, columns, mask)[kind]
                found |= {(row + rows.start, column + columns.start) for row, column in pairs(part)}
        assert found == pairs(whole[kind])
        asking = repeats.asking(mask)[kind]
        assert set(np.flatnonzero(asking)) == {row for row, _column in pairs(whole[kind])}


def test_a_text_without_repetitions_has_none() -> None:
    assert Repeats([1, 2, 3]).within(range(3), range(3), "causal") == (None, None)
    assert not any(asking.any() for asking in Repeats([1, 2, 3]).asking("causal"))
    assert not any(len(asking) for asking in Repeats([]).asking("full"))


def test_a_doubled_token_is_a_duplicate_and_no_induction() -> None:
    duplicate, induction = Repeats([A, A]).asking("causal")
    assert (duplicate.tolist(), induction.tolist()) == ([False, True], [False, False])
