"""A selection is parsed once, at the edge: every bad value is a named error."""

from __future__ import annotations

import ast
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from dashboard.contracts.selection import FIELDS, LOCATION, Selection, fields_for_browser
from dashboard.errors import BadSelectionError
from tests.support.synthetic import make_run

KEY, OTHER = "0123456789abcdef" * 4, "f" * 64
GOOD: dict[str, Any] = {"run": KEY, "token": 1, "layer": 0, "head": 1, "second": None, "second_run": None}


def test_a_good_selection_is_read() -> None:
    assert Selection.from_json(GOOD) == Selection(KEY, 1, 0, 1)
    assert Selection.from_json({**GOOD, "second": 3, "second_run": OTHER}) == Selection(KEY, 1, 0, 1, 3, OTHER)


def test_a_second_token_that_is_the_first_is_none() -> None:
    assert Selection.from_json({**GOOD, "second": 1}) == Selection(KEY, 1, 0, 1)


def test_an_empty_parameter_is_none() -> None:
    assert Selection.from_json({**GOOD, "second": "", "second_run": "", "stamp": ""}) == Selection(KEY, 1, 0, 1)


def test_addresses_of_before_have_other_names() -> None:
    old = {"run": KEY, "token": "1", "layer": "0", "head": "1", "other": "3", "other_run": OTHER}
    assert Selection.from_json(old) == Selection(KEY, 1, 0, 1, 3, OTHER)
    assert Selection.from_json({**old, "second": "2"}).second == 2  # today's name goes before


def test_a_selection_comes_back_from_its_json_and_its_address() -> None:
    full = Selection(KEY, 1, 0, 1, 3, OTHER, "encoder", "a-stamp", ((24, 4), (10, 8)), (3, 5))
    assert Selection.from_json(full.to_json()) == full
    query = full.to_query()
    told = {"run": KEY, "token": "1", "layer": "0", "head": "1", "second": "3", "second_run": OTHER}
    assert query == {**told, "stream": "encoder", "heads": "24.4,10.8", "tokens": "3,5"}
    assert full.to_json()["heads"] == "24.4,10.8"
    assert Selection(KEY, 1, 0, 1).to_json()["tokens"] is None
    assert Selection.from_json(query) == replace(full, stamp=None)  # a link means the run, not one capture of it
    assert "second" not in Selection(KEY, 1, 0, 1).to_query()


def test_the_browser_is_told_every_field_and_its_bound() -> None:
    told = {field["name"]: field for field in fields_for_browser()}
    assert list(told) == [field.name for field in FIELDS] == [field.name for field in fields(Selection)]
    assert told["second"] == {"name": "second", "of": "token", "optional": True, "address": True, "was": "other"}
    assert told["stamp"] == {"name": "stamp", "of": None, "optional": True, "address": False, "was": None}
    heads = {"name": "heads", "of": None, "optional": True, "address": True, "was": None}
    assert told["heads"] == {**heads, "each": ("layer", "head"), "most": 8}
    assert {field["of"] for field in told.values()} - {None} <= set(make_run().counts())


NAMES = {field.name for field in LOCATION}
ROOT = Path(__file__).resolve().parents[3]
MAY_LIST = {
    "linked_page.py": "parameters that people write",
    "analyse.py": "flags that people write, read before numpy is imported",
    "_outputs.py": "what these flags are for",
    "run_info.py": "says where each of them begins",
}


def listings(source: str) -> list[set[str]]:
    """The names that a Python module writes down together: in one tuple, list, set, or as one mapping's keys."""
    found = []
    for node in ast.walk(ast.parse(source)):
        parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        found.append({part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)})
    return found


def test_no_second_module_and_no_script_lists_the_fields() -> None:
    modules = [path for path in (ROOT / "dashboard").rglob("*.py") if path.name not in {*MAY_LIST, "selection.py"}]
    lists = [path.name for path in modules for names in listings(path.read_text()) if names >= NAMES]
    scripts = {
        path.name: re.findall(r"\{([^{}]*)\}|\[([^\[\]]*)\]", path.read_text())
        for path in (ROOT / "assets").rglob("*.js")
    }
    lists += [
        name for name, braces in scripts.items() for pair in braces if set(re.findall(r"\w+", "".join(pair))) >= NAMES
    ]
    assert len(modules) > 100
    assert len(scripts) > 20
    assert lists == []
    assert {"token", "layer", "head", "second"} in listings('x = {"token": 1, "layer": 2, "head": 3, "second": None}')


def test_numbers_may_come_as_text_and_unknown_fields_are_ignored() -> None:
    raw = {"run": KEY, "token": "3", "layer": "007", "head": "0", "second": "2", "note": "x"}
    assert Selection.from_json(raw) == Selection(KEY, 3, 7, 0, 2)


def test_what_a_named_error_quotes_is_short() -> None:
    with pytest.raises(BadSelectionError) as found:
        Selection.from_json({**GOOD, "token": "x" * 9000})
    assert len(str(found.value)) < 120


@pytest.mark.parametrize(
    "raw", [None, [], "x", 3, {}, {**GOOD, "run": None}, {**GOOD, "run": KEY.upper()}, {**GOOD, "run": "../x"}]
)
def test_a_selection_without_a_run_is_a_named_error(raw: object) -> None:
    with pytest.raises(BadSelectionError, match="does not say which run"):
        Selection.from_json(raw)


@pytest.mark.parametrize("name", ["token", "layer", "head"])
@pytest.mark.parametrize(
    "value",
    [None, -1, "-1", 1.0, 1.5, "1.5", "", " 1", "x", "٣", "²", True, False, [], {}, float("nan"), 10**9, 10**30],
)
def test_a_bad_index_is_a_named_error(name: str, value: object) -> None:
    with pytest.raises(BadSelectionError, match=f"selection's {name}"):
        Selection.from_json({**GOOD, name: value})


@pytest.mark.parametrize("value", [-1, "x", 1.5, True, []])
def test_a_bad_second_token_is_a_named_error(value: object) -> None:
    with pytest.raises(BadSelectionError, match="second token"):
        Selection.from_json({**GOOD, "second": value})


def test_all_heads_and_tokens_are_named_once_the_selected_one_first() -> None:
    selection = Selection.from_json({**GOOD, "heads": "1.1,0.1,1.1", "tokens": "5,1,0"})
    assert selection.heads == ((1, 1), (0, 1))
    assert selection.all_heads == ((0, 1), (1, 1))
    assert selection.all_tokens == (1, 5, 0)
    assert Selection(KEY, 1, 0, 1).all_heads == ((0, 1),)


@pytest.mark.parametrize("name", ["heads", "tokens"])
@pytest.mark.parametrize("value", ["x", 3, "1.", "1.2.3", "-1", "1,,2", ["1.1"], "9" * 3000, "1 , 2", "٣", "1\n", True])
def test_what_is_not_several_is_a_named_error(name: str, value: object) -> None:
    with pytest.raises(BadSelectionError, match=f"added {name}") as found:
        Selection.from_json({**GOOD, name: value})
    assert len(str(found.value)) < 120


def test_only_so_many_can_be_added() -> None:
    heads = [f"0.{i}" for i in range(9)]
    assert len(Selection.from_json({**GOOD, "heads": ",".join(heads[:8])}).heads) == 8
    with pytest.raises(BadSelectionError, match="9 added heads; select at most 8"):
        Selection.from_json({**GOOD, "heads": ",".join(heads)})


@pytest.mark.parametrize("value", ["x", 3, [KEY]])
def test_a_bad_second_run_is_a_named_error(value: object) -> None:
    with pytest.raises(BadSelectionError, match="second run"):
        Selection.from_json({**GOOD, "second_run": value})


def test_a_selection_is_checked_against_its_run() -> None:
    run = make_run()  # 6 tokens, 2 layers, 2 heads
    good = Selection(run.key, 5, 1, 1, 0)
    assert good.checked(run) is good
    for bad in (
        Selection(run.key, 6, 0, 0),
        Selection(run.key, 0, 2, 0),
        Selection(run.key, 0, 0, 2),
        Selection(run.key, 0, 0, 0, second=6),
        Selection(run.key, 0, 0, 0, heads=((0, 1), (2, 0))),
        Selection(run.key, 0, 0, 0, tokens=(5, 6)),
    ):
        with pytest.raises(BadSelectionError, match="in this run; it has"):
            bad.checked(run)


def test_a_very_long_number_stays_a_named_error_or_out_of_bounds() -> None:
    selection = Selection.from_json({**GOOD, "token": "9" * 5000})
    with pytest.raises(BadSelectionError):
        selection.checked(make_run())
