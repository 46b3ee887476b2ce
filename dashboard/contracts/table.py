"""The numbers behind a figure, as a table: what "Show as table" shows and a CSV file holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Cell = str | int | float | None


@dataclass(frozen=True)
class Column:
    """One column: its heading, and the unit of its numbers ("nats", "%"; "" if they have none)."""

    name: str
    unit: str = ""

    @property
    def heading(self) -> str:
        """The heading with its unit, on one line: "Entropy (nats)"."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """Rows of exact numbers.

    Attributes:
        title: what the rows are, with layer, head and token where they matter.
        columns: as many as each row has cells. rows: read once, in order; they may be generated lazily.
        count: the number of rows. selected: indices of the rows of the selected and the second token. added: those of
            the rows of further selected tokens.
        row_is: what row i stands for if it is a token: choosing the row proposes `token` or `second` = i; "" for
            nothing. tokens: the token of each row, if that is not i.
        strong: indices of rows that the figure draws bold.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Iterable[tuple[Cell, ...]]
    count: int
    selected: tuple[int, ...] = ()
    row_is: Literal["", "token", "second"] = ""
    tokens: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()
    added: tuple[int, ...] = ()
