"""The numbers behind a figure, as a table: what "Show as table" shows and what a CSV file holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Cell = str | int | float | None


@dataclass(frozen=True)
class Column:
    """One column: its heading, and the unit of its numbers ("nats", "%"; "" where they have none)."""

    name: str
    unit: str = ""

    @property
    def heading(self) -> str:
        """In one line: "Entropy (nats)"."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """Rows of exact numbers.

    Attributes:
        title: what the rows are, with layer, head and token where they matter.
        columns: as many as each row has cells. rows: read once, one after the other; they may be made as they are read.
        count: how many rows there are. selected: indices of the rows of the selected and the second token.
        row_is: what row i stands for, where that is a token: choosing it proposes `token` or `second` = i; "" for
            nothing.
        strong: indices of rows that the figure draws bold.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Iterable[tuple[Cell, ...]]
    count: int
    selected: tuple[int, ...] = ()
    row_is: Literal["", "token", "second"] = ""
    strong: tuple[int, ...] = ()
