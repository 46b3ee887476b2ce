"""docs/when-things-fail.md says what is so: its numbers are the code's, and every row names a test that is there."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from dashboard.settings import Settings, environ_name

ROOT = Path(__file__).resolve().parents[3]
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


def number_of(cell: str) -> float:
    """ "0.75", "10,000", "16 MB", "2 s" """
    number, _, unit = cell.partition(" ")
    return float(number.replace(",", "")) * {"": 1, "s": 1, "days": 86400, "MB": 10**6, "GB": 10**9}[unit]


@pytest.mark.parametrize("row", [*rows("The numbers"), *rows("Limits")], ids=lambda row: row[0])
def test_every_number_is_the_codes(row: list[str]) -> None:
    assert number_of(row[1]) == number_at(row[2].strip("`"))


LIMIT = re.compile(r"(?:MOST|LONGEST|LARGEST)(?:_[A-Z]+)*")  # how a constant is called that something may not exceed
NO_LIMITS = {  # constants so called that refuse nothing and leave nothing out, and why
    "contents of a plot, where the docs say so": ("figures.attention.LARGEST_*", "figures.attention_norms.LARGEST"),
    "characters or tokens that a label or a line shows": (
        *("exports.provenance.LONGEST_PREVIEW", "figures.bar_texts.LONGEST", "figures.outlier_text.MOST_NAMED"),
        *("figures.layer_lines.LONGEST", "figures.lens.MOST_COLUMNS", "views.hidden_states.layers.MOST_THIN"),
        *(
            "figures.space.LONGEST",
            "figures.space.MOST_PATHS",
            "jobs.failure.LONGEST_MESSAGE",
            "jobs.failure.LONGEST_DETAILS",
        ),
        *(
            "catalog.ids_beyond.LONGEST",
            "catalog.chat_rendering.LONGEST_REASON",
            "catalog.description.LONGEST_LINE",
            "catalog.foreign_files.LONGEST_SHOWN",
        ),
        *("views.hidden_states.layers.MOST_THIN", "views.tables.LONGEST_IN_HEADING"),
        *("figures.class_marks.LONGEST", "figures.classes.LONGEST", "contracts.precision.LONGEST_DEVICE"),
    ),
    "where a scale of colours ends": ("exports.report.MOST_SURPRISAL",),
    "how much is remembered; what is not is looked up again": (
        *("catalog.counting_process.MOST_FAILURES", "catalog.description.MOST_KNOWN", "jobs.cache.LARGEST_LOG"),
        *("jobs.in_process.MOST_KEPT", "views.run_info.LONGEST_DIFF"),
    ),
    "pauses, which stand under *The numbers*, or are as long as one there": ("jobs.supervisor.LONGEST_WAIT_SECONDS",),
    "between two processes of this program": (
        "catalog.limited_process.LONGEST_ANSWER",
        "catalog.chat_rendering.LONGEST_ANSWER",
    ),
    "what a whole number of 64 bits holds": ("catalog.foreign_files.LARGEST_NUMBER",),
}


def limits_in(tree: ast.Module, module: str) -> list[str]:
    """The names of a module's constants that are called as limits are."""
    assigned = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    return [f"{module}.{name.id}" for name in assigned if isinstance(name, ast.Name) and LIMIT.fullmatch(name.id)]


def test_every_limit_of_the_code_stands_in_a_table() -> None:
    """But for those of the list above; an entry there of which there is no constant is one too many."""
    known = {row[2].strip("`").removeprefix("dashboard.") for row in [*rows("The numbers"), *rows("Limits")]}
    package, found = ROOT / "dashboard", []
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        found += limits_in(ast.parse(path.read_text(encoding="utf-8")), module)
    assert len(found) > 50
    elsewhere = [pattern for patterns in NO_LIMITS.values() for pattern in patterns]
    assert [name for name in found if name not in known and not any(fnmatch(name, one) for one in elsewhere)] == []
    assert [one for one in elsewhere if not any(fnmatch(name, one) and name not in known for name in found)] == []


def test_a_limit_is_known_by_its_name() -> None:
    code = "MOST_RUNS = 3\nLONGEST = 4\nmost = 5\nMOSTLY = 6\ndef f():\n    MOST = 7"
    assert limits_in(ast.parse(code), "planted") == ["planted.MOST_RUNS", "planted.LONGEST"]


NUMBERS = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "ten",
    "twenty",
    "thirty",
    "fifty",
    "sixty",
    "hundred",
    "thousand",
)
AMOUNT = rf"\d[\d,.]*|an?|half an?|{'|'.join(NUMBERS)}"
UNITS = r"s|seconds?|minutes?|hours?|days?|times|kB|MB|GB|characters|bytes|entries|values"


def test_times_and_sizes_stand_in_the_tables_alone() -> None:
    """What a sentence says with a number of its own, nothing compares with the code."""
    tables = TEXT.split("\n## The page and its run\n")[1].split("\n## The numbers\n")[0]
    sentences = tables + TEXT.split("\n## Limits\n")[1].split("\n- ", 1)[1]
    assert re.findall(rf"\b(?:{AMOUNT})[ \n](?:{UNITS})\b", sentences) == []


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
    plain = {re.sub(r"^(?:first|longest) (?=restart)|,.*| \(.*", "", name) for name in names}
    assert {name for name in plain if name not in text} == set()
