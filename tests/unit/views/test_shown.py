"""Tables and words as they are shown: rows, numbers, marks, and what is said to who does not see the figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from dash import html

from dashboard.components.markup import plain
from dashboard.contracts.context import Context
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Cell, Column, Table
from dashboard.views import all_views
from dashboard.views.declaration import SHOW, View, Words
from dashboard.views.shown import MOST_ROWS, alternative, long_table, number_text, shown_table
from tests.support.synthetic import CLASSIFIERS, make_classifier, make_run, words_in


def many(count: int, selected: tuple[int, ...] = (), **more: Any) -> Table:
    rows: list[tuple[Cell, ...]] = [(i, f"t{i}", i / 10) for i in range(count)]
    return Table(
        "Rows of a test", (Column("Position"), Column("Token"), Column("Share", "%")), rows, count, selected, **more
    )


def parts(table: Table) -> tuple[str, list[Any], list[Any]]:
    """Caption, heading cells and body rows, as plain nodes."""
    (_tag, _found, caption, head, body) = plain(shown_table(table))[0]
    return words_of(caption), head[2][2:], body[2:]


def words_of(node: Any) -> str:
    return node if isinstance(node, str) else "".join(words_of(child) for child in node[2:])


def test_every_row_of_a_short_table_is_there_with_its_units() -> None:
    caption, head, rows = parts(many(3))
    assert caption == "Rows of a test"
    assert [words_of(cell) for cell in head] == ["Position", "Token", "Share (%)"]
    assert [cell[1]["scope"] for cell in head] == ["col"] * 3
    assert [[words_of(cell) for cell in row[2:]] for row in rows] == [
        ["0", "t0", "0.000000"],
        ["1", "t1", "0.100000"],
        ["2", "t2", "0.200000"],
    ]
    assert [cell[1]["class"] for cell in rows[0][2:]] == ["number", "text", "number"]
    assert rows[1][4][1]["title"] == "0.1"


@pytest.mark.parametrize(
    ("selected", "first", "words"),
    [
        ((), 0, "The first 10,000 rows"),
        ((9_999,), 0, "The first 10,000 rows"),
        ((10_000, 3), 5_000, "Rows 5,001 to 15,000"),
        ((19_999,), 10_000, "Rows 10,001 to 20,000"),
    ],
)
def test_a_very_long_table_shows_the_rows_around_the_selected_one(
    selected: tuple[int, ...], first: int, words: str
) -> None:
    found = long_table(many(20_000, selected))
    assert [row[0] for row in found["rows"]] == list(range(first, first + MOST_ROWS))
    assert found["rows"][0][1:3] == [first, f"t{first}"]
    caption = "".join(map(words_of, found["caption"]))
    assert caption.startswith("Rows of a test")
    assert words in caption
    assert "of 20,000; 10,000 more are in the CSV file" in caption
    assert found["selected"] == list(selected)


def test_a_long_table_has_all_rows_with_their_marks_and_units() -> None:
    found = long_table(many(60, (3, 1), strong=(0,), row_is="second"))
    assert [row[0] for row in found["rows"]] == list(range(60))
    assert found["rows"][7] == [7, 7, "t7", 0.7]
    assert words_of(["", {}, *found["caption"]]) == found["title"] == "Rows of a test"
    assert [(column["name"], column["unit"], column["number"]) for column in found["columns"]] == [
        ("Position", "", True),
        ("Token", "", False),
        ("Share", "%", True),
    ]
    assert [column["decimals"] for column in found["columns"]][::2] == [0, 5], "5.9 has six digits with five decimals"
    assert (found["selected"], found["strong"], found["row_is"]) == ([3, 1], [0], "second")


def test_a_long_tables_numbers_can_be_sent() -> None:
    values = [0.1 + 0.2, float("nan"), float("inf"), -float("inf"), None, "masked"]
    table = Table("Odd", (Column("Key"), Column("Weight")), [(i, value) for i, value in enumerate(values)], 6)
    rows = long_table(table)["rows"]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row[2] for row in rows] == [0.3, "–", "∞", "−∞", None, "masked"]


@pytest.mark.parametrize("make", [shown_table, long_table])
def test_no_more_rows_are_read_than_are_shown(make: Callable[[Table], Any]) -> None:
    read = []

    def rows() -> Any:
        for i in range(15_000):
            read.append(i)
            yield (i, "t", 0.5)

    columns = (Column("Position"), Column("Token"), Column("Share"))
    make(Table("Long", columns, rows(), 15_000))
    assert len(read) == MOST_ROWS


def test_selected_second_and_bold_rows_are_marked_in_words_of_their_own() -> None:
    _caption, _head, rows = parts(many(5, (3, 1), strong=(0,)))
    assert [row[1].get("class") for row in rows] == ["strong", "second", None, "selected", None]


def test_rows_of_added_tokens_are_marked_too() -> None:
    table = many(60, (3, 1), strong=(0,), added=(0, 4))
    found = long_table(table)
    assert (found["selected"], found["added"]) == ([3, 1], [0, 4])
    _caption, _head, rows = parts(many(6, (3, 1), strong=(0,), added=(0, 4)))
    assert [row[1].get("class") for row in rows] == ["strong added", "second", None, "selected", "added", None]
    assert [row[1].get("aria-current") for row in rows] == [None, "true", None, "true", None, None]


def test_rows_that_are_tokens_can_be_chosen() -> None:
    _caption, _head, rows = parts(many(3, row_is="second"))
    button = rows[2][2][2]
    assert button[0] == "button"
    assert (button[1]["data-row"], button[1]["data-row-is"], words_of(button)) == ("2", "second", "2")
    assert all(words_of(cell) and "data-row" not in str(cell) for cell in parts(many(3))[2][2][2:])


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.25, 6, "0.250000"),
        (-33.329, 3, "−33.329"),
        (1.5e-9, 6, "1.5e-09"),
        (-1.5e-9, 6, "−1.5e-09"),
        (0.0, 6, "0.000000"),
        (float("nan"), 3, "–"),
    ],
)
def test_numbers_read_as_such(value: float, decimals: int, text: str) -> None:
    assert number_text(value, decimals) == text


def test_what_is_no_number_stands_apart_in_a_column_of_numbers() -> None:
    table = Table("Masked", (Column("Key"), Column("Weight")), [(0, 1.0), (1, "masked"), (2, None)], 3)
    _caption, _head, rows = parts(table)
    assert [words_of(row[3]) for row in rows] == ["1.00000", "masked", ""]
    assert [row[3][1]["class"] for row in rows] == ["number", "number none", "number"]


def test_the_alternative_says_title_and_numbers_in_one_line() -> None:
    numbers = [html.Span([html.Span("·Mary"), html.B("0.848")], className="number") for _ in range(2)]
    facts = html.Dl([html.Div([html.Dt("Rank"), html.Dd(["1 ", html.Small("of 20")])]) for _ in range(2)])
    words = Words(
        ["What ", html.Span("·to"), " (15) reads"], "colours", [html.Span("Most", className="lead-in"), *numbers], facts
    )
    assert alternative(words) == "What ·to (15) reads. Most: ·Mary 0.848, ·Mary 0.848. Rank: 1 of 20; Rank: 1 of 20."


@pytest.mark.parametrize("kind", ["causal", "encoder", "masked", *CLASSIFIERS])
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_every_figure_has_an_alternative(view: View, kind: Any) -> None:
    run = make_classifier(kind) if kind in CLASSIFIERS else make_run(kind)
    options = {control.name: control.default for control in view.controls}
    words = view.text(Context(run, Selection(run.key, 3, 1, 0, 1), options))
    said = alternative(words)
    assert said.startswith(" ".join(words_in(words.title).split())[:12])
    assert "; ;" not in said
    assert "  " not in said


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_every_view_with_a_table_offers_it_first(view: View) -> None:
    assert (SHOW in view.controls) is not view.is_table, "there is nothing to choose where the figure is a table"
    assert view.is_table or view.controls[0] is SHOW
    assert SHOW.default == "figure"
