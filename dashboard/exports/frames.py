"""This program's CSV files as pandas data frames: text stays text, and numbers stay numbers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.errors import BadRequestError, DashboardError
from dashboard.exports.tables import DELIMITER, TEXT_COLUMNS, original

if TYPE_CHECKING:
    import pandas


def read_table(path: str | Path) -> pandas.DataFrame:
    """Read a CSV file that the page or `analyse` wrote. Needs pandas, which this program does not install.

    Tokens such as "null", "nan" or "1e5" stay text, unlike with pandas alone; the apostrophe that keeps a spreadsheet
    from reading text as a formula is removed; an empty number becomes NaN.

    Raises:
        DashboardError: pandas is not installed. BadRequestError: the file cannot be read, or is not such a table.
    """
    try:
        import pandas
    except ImportError as error:
        raise DashboardError("read_table needs pandas. Install it: pip install pandas") from error
    headings = _headings(Path(path).expanduser())
    texts = [name for name in headings if name in TEXT_COLUMNS]
    frame = pandas.read_csv(
        Path(path).expanduser(),
        sep=DELIMITER,
        comment="#",
        keep_default_na=False,  # for text
        dtype=dict.fromkeys(texts, str),
        na_values={name: [""] for name in headings if name not in texts},
        low_memory=False,  # each column has one type
    )
    for name in texts:
        frame[name] = frame[name].map(original)
    return frame


def _headings(path: Path) -> list[str]:
    """The first row that is not a comment."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = (line for line in file if not line.startswith("#"))
            return next(csv.reader(lines, delimiter=DELIMITER))
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    except (StopIteration, csv.Error, UnicodeDecodeError) as error:
        raise BadRequestError(f"{path} is not a table of this program. Export it again.") from error
