"""A selection is parsed once, at the edge: every bad value is a named error."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic import make_run

from dashboard.contracts.selection import Selection
from dashboard.errors import BadSelectionError

KEY, OTHER = "0123456789abcdef" * 4, "f" * 64
GOOD: dict[str, Any] = {"run": KEY, "token": 1, "layer": 0, "head": 1, "other": None, "other_run": None}


def test_a_good_selection_is_read() -> None:
    assert Selection.from_json(GOOD) == Selection(KEY, 1, 0, 1)
    assert Selection.from_json({**GOOD, "other": 3, "other_run": OTHER}) == Selection(KEY, 1, 0, 1, 3, OTHER)


def test_a_second_token_that_is_the_first_is_none() -> None:
    assert Selection.from_json({**GOOD, "other": 1}) == Selection(KEY, 1, 0, 1)


def test_numbers_may_come_as_text_and_unknown_fields_are_ignored() -> None:
    raw = {"run": KEY, "token": "3", "layer": "007", "head": "0", "other": "2", "note": "x"}
    assert Selection.from_json(raw) == Selection(KEY, 3, 7, 0, 2)


def test_what_a_named_error_quotes_is_short() -> None:
    with pytest.raises(BadSelectionError) as found:
        Selection.from_json({**GOOD, "token": "x" * 9000})
    assert len(str(found.value)) < 120


@pytest.mark.parametrize(
    "raw", [None, [], "x", 3, {}, {**GOOD, "run": None}, {**GOOD, "run": KEY.upper()}, {**GOOD, "run": "../x"}]
)
def test_a_selection_without_a_run_is_a_named_error(raw: object) -> None:
    with pytest.raises(BadSelectionError, match="names no run"):
        Selection.from_json(raw)


@pytest.mark.parametrize("name", ["token", "layer", "head"])
@pytest.mark.parametrize(
    "value", [None, -1, "-1", 1.0, 1.5, "1.5", "", " 1", "x", "٣", "²", True, False, [], {}, float("nan"), 10**9, 10**30]
)
def test_a_bad_index_is_a_named_error(name: str, value: object) -> None:
    with pytest.raises(BadSelectionError, match=f"selection's {name}"):
        Selection.from_json({**GOOD, name: value})


@pytest.mark.parametrize("value", [-1, "x", 1.5, True, [], ""])
def test_a_bad_second_token_is_a_named_error(value: object) -> None:
    with pytest.raises(BadSelectionError, match="other"):
        Selection.from_json({**GOOD, "other": value})


@pytest.mark.parametrize("value", ["", "x", 3, [KEY]])
def test_a_bad_second_run_is_a_named_error(value: object) -> None:
    with pytest.raises(BadSelectionError, match="second run"):
        Selection.from_json({**GOOD, "other_run": value})


def test_a_selection_is_checked_against_its_run() -> None:
    run = make_run()  # 6 tokens, 2 layers, 2 heads
    good = Selection(run.key, 5, 1, 1, 0)
    assert good.checked(run) is good
    for bad in (
        Selection(run.key, 6, 0, 0),
        Selection(run.key, 0, 2, 0),
        Selection(run.key, 0, 0, 2),
        Selection(run.key, 0, 0, 0, other=6),
    ):
        with pytest.raises(BadSelectionError, match="in this run; it has"):
            bad.checked(run)


def test_a_very_long_number_stays_a_named_error_or_out_of_bounds() -> None:
    selection = Selection.from_json({**GOOD, "token": "9" * 5000})
    with pytest.raises(BadSelectionError):
        selection.checked(make_run())
