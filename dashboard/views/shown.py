"""Alternatives to a figure: its numbers as a table, and a text for people who cannot see it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from dash import html

from dashboard.components.markup import Plain, attributes, isolates, plain
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.text import isolated
from dashboard.views.declaration import Words

FEW_ROWS = 50  # the longest table that is plain HTML; a longer one is ag-grid's
MOST_ROWS = 10_000  # rows that a card shows; a file has all
DIGITS = 6  # digits of a column's largest number
SEPARATORS = {"p": "; ", "div": "; ", "h3": "; ", "dd": "; ", "dt": ": "}


def shown_table(table: Table) -> list[Any]:
    """A short table as HTML: its caption, and its first `MOST_ROWS` rows, or the rows around the selected one if it is
    not among them.

    If a row is a token (`table.row_is`), its first cell is a button that selects it (assets/components/tables.js).
    """
    first, rows = _rows(table)
    formats, numeric = _formats(table, rows)
    head = html.Tr([_heading(column, number) for column, number in zip(table.columns, numeric, strict=True)])
    body = [_row(table, first + index, row, formats, numeric) for index, row in enumerate(rows)]
    caption = html.Caption(table_caption(table, first, len(rows)))
    return [html.Table([caption, html.Thead(head), html.Tbody(body)], className="numbers-table")]


def long_table(table: Table) -> dict[str, Any]:
    """A long table as data for ag-grid (assets/components/long-tables.js), with the rows that `shown_table` shows.

    Returns:
        `title`; `caption` (a plain tree); `columns`, each with `name`, `unit`, `number` (whether it holds numbers) and
        `decimals`; `rows`, each a list of its index in the table and its cells; `selected`, `added`, `strong`,
        `row_is`, `tokens` as in `Table`. Numbers have nine digits; one that is not finite is a text.
    """
    first, rows = _rows(table)
    formats, numeric = _formats(table, rows)
    floats = [any(isinstance(row[i], float) for row in rows) for i in range(len(table.columns))]
    columns = [
        {"name": column.name, "unit": column.unit, "number": numeric[i], "decimals": formats[i] if floats[i] else 0}
        for i, column in enumerate(table.columns)
    ]
    return {
        "title": table.title,
        "caption": plain(table_caption(table, first, len(rows))),
        "columns": columns,
        "rows": [[first + index, *map(_sent, row)] for index, row in enumerate(rows)],
        "selected": list(table.selected),
        "added": list(table.added),
        "strong": list(table.strong),
        "row_is": table.row_is,
        "tokens": list(table.tokens),
    }


def _sent(value: Cell) -> Cell:
    if not isinstance(value, float):
        return value
    return float(f"{value:.9g}") if math.isfinite(value) else number_text(value, 0)


def _rows(table: Table) -> tuple[int, list[tuple[Cell, ...]]]:
    """The index of the first row that is shown, and the rows from there on."""
    first = _first_row(table)
    return first, list(islice(table.rows, first, first + MOST_ROWS))


def _formats(table: Table, rows: Sequence[Sequence[Cell]]) -> tuple[list[int], list[bool]]:
    """Each column's decimals, and whether it holds numbers."""
    decimals = [_decimals([row[i] for row in rows]) for i in range(len(table.columns))]
    return decimals, [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(table.columns))]


def table_caption(table: Table, first: int, shown: int) -> list[Any]:
    """The table's title, and which rows are shown if not all are."""
    return [table.title, *_rest(table, first, shown)]


def _first_row(table: Table) -> int:
    if not table.selected or table.selected[0] < MOST_ROWS:
        return 0
    return max(0, min(table.selected[0] - MOST_ROWS // 2, table.count - MOST_ROWS))


def _rest(table: Table, first: int, shown: int) -> list[Any]:
    if shown == table.count:
        return []
    which = (
        f"Rows {first + 1:,} to {first + shown:,}, around the selected one" if first else f"The first {shown:,} rows"
    )
    text = f"{which}, of {table.count:,}; {table.count - shown:,} more are in the CSV file (Options, Export)."
    return [html.Span(text, className="more-rows")]


def _heading(column: Column, number: bool) -> html.Th:
    """Name and unit as in a file, "Probability at 15 (%)"; a number that ends the name is not the unit's."""
    unit: list[Any] = [" ", html.Small(f"({column.unit})")] if column.unit else []
    return html.Th([column.name, *unit], scope="col", className="number" if number else "")


def _row(table: Table, index: int, row: Sequence[Cell], formats: list[int], numeric: list[bool]) -> html.Tr:
    order = table.selected.index(index) if index in table.selected else None
    cells = [_cell(value, formats[i], numeric[i]) for i, value in enumerate(row)]
    if table.row_is:
        token = {"data_row_token": str(table.tokens[index])} if table.tokens else {}
        named = attributes(data_row=str(index), data_row_is=table.row_is, **token)
        button = html.Button(str(row[0]), type="button", **named)
        cells[0] = html.Td(button, className="number")
    if order is None:
        return html.Tr(cells, className=_class(table, index))
    kind = "selected" if order == 0 else "second"
    return html.Tr(cells, className=kind, **attributes(aria_current="true"))


def _class(table: Table, index: int) -> str | None:
    """Of a row that is neither the selected nor the second token's."""
    return " ".join(["strong"] * (index in table.strong) + ["added"] * (index in table.added)) or None


def _cell(value: Cell, decimals: int, number: bool) -> html.Td:
    class_name = "number" if number else "text"
    if isinstance(value, float):
        exact = f"{value:.9g}" if math.isfinite(value) else number_text(value, decimals)
        return html.Td(number_text(value, decimals), className=class_name, title=exact)
    return html.Td(
        "" if value is None else str(value),
        className=class_name + (" none" if number and isinstance(value, str) else ""),
    )


def number_text(value: float, decimals: int) -> str:
    """`value` with this many decimals, or in scientific notation if it would round to 0."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    small = value != 0 and abs(value) < 0.5 * 10**-decimals
    text = f"{value:.1e}" if small else f"{value:.{decimals}f}"
    return text.replace("-", "−", 1) if value < 0 else text


def _decimals(values: Sequence[Cell]) -> int:
    """The number of decimals that gives the column's largest number `DIGITS` digits."""
    largest = max((abs(value) for value in values if isinstance(value, float) and math.isfinite(value)), default=0.0)
    if largest == 0:
        return 1
    return max(0, min(DIGITS, DIGITS - 1 - math.floor(math.log10(largest))))


def alternative(words: Words) -> str:
    """A figure's text in one line, for people who cannot see it: title, and the numbers beside and below."""
    parts = [words.title, words.spoken, words.footer, words.body]
    lines = [re.sub(r"([\s,]*;)+\s*", "; ", re.sub(r"\s+", " ", _spoken(plain(part)))).strip(" ;,.") for part in parts]
    return ". ".join(line for line in lines if line) + "."


def _spoken(nodes: Sequence[Plain]) -> str:
    text = ""
    for node in nodes:
        if isinstance(node, str):
            text += node
            continue
        tag, found, *inside = node
        said = _spoken(inside)
        said = isolated(said) if isolates(tag, found) else said
        text += (" " if tag in {"b", "small"} else "") + said
        names = str(found.get("class", "")).split()
        text += SEPARATORS.get(tag, _sign(names, said))
    return text


def _sign(names: Sequence[str], said: str) -> str:
    """The separator after an element of these classes, which the page shows as space."""
    if "verb" in names:
        return " "
    if "lead-in" in names and ": " not in said:
        return ": "
    return "; " if "line-end" in names else ", " if {"lead-in", "number"} & set(names) else ""
