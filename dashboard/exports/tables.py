"""Tables as CSV: RFC 4180 in UTF-8, written row by row.

    # Figure: Attention            lines of provenance
    "query","key","weight"         headings with their unit in brackets
    0,1,0.848125041                numbers with nine digits, the full precision of float32

Every text is quoted, so a `#` or a comma in a token is safe. A text that a spreadsheet would read as a formula (it
begins with = + - @, a tab or a return) gets an apostrophe in front, as does a text with such a start after apostrophes;
`original` removes it again. The file begins with a byte order mark, without which Excel does not recognise UTF-8.

pandas reads quoted words such as "null" and "nan" as missing numbers unless it knows which columns are text;
`dashboard.exports.frames.read_table` tells it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from dashboard.contracts.table import Cell, Column, Table
from dashboard.exports.provenance import Provenance

MARK = "\ufeff"
DELIMITER = ","
BLOCK = 500  # rows that are sent together
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
APOSTROPHE = "'"
_CUT = re.compile(r"[,;|\t][\s\"']*(?=[=+\-@])")  # where a cell may begin, before the sign of a formula
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def csv_of(table: Table, provenance: Provenance) -> Iterator[str]:
    """Yield the file in pieces."""
    entries = (*provenance.entries, ("Rows", table.title))
    yield MARK + "".join(comment(name, value) for name, value in entries)
    yield row([column.heading for column in table.columns])
    yield from _blocks(row(cells) for cells in table.rows)


def comment(name: str, value: str) -> str:
    """One line of provenance; a value with line breaks is written as JSON. A spreadsheet splits the line at its commas,
    so a formula after a comma gets an apostrophe too.
    """
    shown = value if value.isprintable() else json.dumps(value, ensure_ascii=False)
    return f"# {name}: {_CUT.sub(lambda cut: cut[0] + APOSTROPHE, shown)}\r\n"


def row(cells: Sequence[Cell]) -> str:
    """One line of the file."""
    return DELIMITER.join(map(_cell, cells)) + "\r\n"


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return '"' + guarded(cell).replace('"', '""') + '"'
    if isinstance(cell, float):
        return "" if math.isnan(cell) else f"{cell:.9g}"
    return str(cell)


def guarded(text: str) -> str:
    """`text`, with an apostrophe in front if a spreadsheet would read it as a formula."""
    return "'" + text if _FORMULA.match(text) else text


def original(text: str) -> str:
    """Undo `guarded`."""
    return text[1:] if _GUARDED.match(text) else text


def with_segments(table: Table, segments: np.ndarray) -> Table:
    """A table whose rows also say to which text their tokens belong, in columns at the end: 0 the first, 1 the second,
    empty for a token that the tokenizer added.

    Args:
        segments: (token,) by position, as `Stream.segments`.
    """
    names = [column.name for column in table.columns]
    beside = [*names[1:], ""]  # a query or key without its token is a number, not a position
    found = [
        (i, SEGMENT_OF[name])
        for i, name in enumerate(names)
        if name in SEGMENT_OF and (name == "Position" or beside[i] in ("Token", f"{name} token"))
    ]
    if not found:
        return table
    known: list[Cell] = [None if one < 0 else one for one in segments.tolist()]
    rows = ((*cells, *(known[int(cells[i] or 0)] for i, _name in found)) for cells in table.rows)
    return replace(table, columns=(*table.columns, *(Column(name) for _i, name in found)), rows=rows)


SEGMENT_OF = {"Position": "Segment", "Query": "Query segment", "Key": "Key segment"}  # by the column of the positions
TEXT_COLUMNS = (  # headings of columns that hold text, in every file
    *("Text", "Second text", "Run", "Token", "Label", "Likeliest", "Label of the most likely token", "Notes"),
    *("Query token", "Key token", "Query label", "Key label", "Place", "Came next", "Actual token"),
    *("Pattern", "Class", "Drawn", "Dimension or term"),
)


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) == BLOCK:
            yield "".join(block)
            block.clear()
    yield "".join(block)
