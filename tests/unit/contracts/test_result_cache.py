"""What is remembered, and what leaves."""

from __future__ import annotations

import pytest

from dashboard.contracts.result_cache import ResultCache


def test_the_least_recently_used_result_leaves() -> None:
    memory, computed = ResultCache(2), []

    def ask(name: str) -> str:
        return memory.remember(name, lambda: computed.append(name) or name.upper())

    assert [ask(name) for name in "abacab"] == ["A", "B", "A", "C", "A", "B"]
    assert computed == ["a", "b", "c", "b"]


def test_what_is_computed_may_itself_be_computed_of_what_is_remembered() -> None:
    memory = ResultCache(1)
    assert memory.remember("outer", lambda: memory.remember("inner", lambda: 1) + 1) == 2
    assert memory.remember("outer", lambda: 0) == 2


def test_nothing_is_remembered_of_what_failed() -> None:
    memory, tries = ResultCache(1), []

    def compute() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("no")
        return len(tries)

    with pytest.raises(ValueError, match="no"):
        memory.remember("a", compute)
    assert memory.remember("a", compute) == 2
