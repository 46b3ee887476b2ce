"""docs/when-things-fail.md says what is so: its numbers are the code's, and every row names a test that is there."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import re
from pathlib import Path

import pytest

from dashboard.settings import Settings, environ_name

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "when-things-fail.md").read_text(encoding="utf-8")


def rows(section: str) -> list[list[str]]:
    part = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line.strip().strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def number_at(place: str) -> float:
    """The number that stands at a place: a setting's default, a constant of a module, a constant of a script."""
    if place.startswith("DASHBOARD_"):
        [item] = [item for item in dataclasses.fields(Settings) if environ_name(item) == place]
        return float(getattr(Settings(), item.name))
    if place.startswith("assets/"):
        path, _, name = place.partition(": ")
        [found] = re.findall(rf"const {name} = (\d+);", (ROOT / path).read_text(encoding="utf-8"))
        return int(found) / 1000
    module, _, name = place.rpartition(".")
    return float(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("row", rows("The numbers"), ids=lambda row: row[0])
def test_every_number_is_the_codes(row: list[str]) -> None:
    assert float(row[1]) == number_at(row[2].strip("`"))


@functools.cache
def names_of_tests() -> frozenset[str]:
    """The names of all test functions; the files are parsed once."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py")]
    return frozenset(node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("section", ["The page and its run", "Runs", "Processes", "Files"])
def test_every_row_names_a_test(section: str) -> None:
    found = rows(section)
    assert len(found) > 4
    assert [row[0] for row in found if len(row) != 4 or row[3].strip("`") not in names_of_tests()] == []


def test_every_name_of_a_time_is_explained() -> None:
    names = {row[0] for row in rows("The numbers")}
    text = TEXT.split("## The numbers")[0]
    assert {name for name in names if name.removeprefix("first ").removeprefix("longest ") not in text} == set()
