"""A CSV file of this program as a pandas data frame: every text what it was, every number a number."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.errors import BadRequestError, DashboardError
from dashboard.exports.tables import TEXT_COLUMNS, original

if TYPE_CHECKING:
    import pandas


def read_table(path: str | Path) -> pandas.DataFrame:
    """The rows of a CSV file that the page or `analyse` wrote. Needs pandas, which is not installed with this program.

    Tokens such as "null", "nan" or "1e5" are texts, as pandas alone does not read them; the apostrophe that keeps a
    spreadsheet from taking a text for a formula is gone; an empty number is NaN.

    Raises:
        DashboardError: pandas is not installed. BadRequestError: the file cannot be read, or is no such table.
    """
    try:
        import pandas
    except ImportError as error:
        raise DashboardError("read_table needs pandas. Install it: pip install pandas") from error
    headings = _headings(Path(path).expanduser())
    texts = [name for name in headings if name in TEXT_COLUMNS]
    frame = pandas.read_csv(
        Path(path).expanduser(),
        comment="#",
        keep_default_na=False,  # of texts
        dtype=dict.fromkeys(texts, str),
        na_values={name: [""] for name in headings if name not in texts},
        low_memory=False,  # a column has one type
    )
    for name in texts:
        frame[name] = frame[name].map(original)
    return frame


def _headings(path: Path) -> list[str]:
    """The first row that is no comment."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(line for line in file if not line.startswith("#")))
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    except (StopIteration, csv.Error, UnicodeDecodeError) as error:
        raise BadRequestError(f"{path} is no table of this program. Export it again.") from error
