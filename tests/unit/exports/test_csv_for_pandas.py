"""A CSV file read by pandas with the lines of docs/saving.md: every text is what it was, every number a number."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dashboard import read_table
from dashboard.contracts.context import Context
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Table
from dashboard.errors import BadRequestError
from dashboard.exports.provenance import of_run
from dashboard.exports.tables import TEXT_COLUMNS, csv_of, guarded, original
from dashboard.exports.token_table import _cells, head_of, names_for, perplexity, rows_of
from dashboard.views import all_views
from tests.support.synthetic import CLASSIFIERS, make_classifier, make_run, values_of

MISSING = ("null", "nan", "NaN", "None", "NA", "N/A", "n/a", "<NA>", "", "inf", "-nan", "#N/A", "NULL")
NUMBERS = ("1e5", "007", "0x1F", "1_000", "TRUE", "False", "1.0", "+1", "-1", "12:30", "2026-01-01")
ODD = (
    "#",
    "# Model: x",
    "#x",
    " # ",
    '"',
    '""',
    '"#',
    "a,b",
    "\n",
    "\n# x\n",
    "\r\n",
    "\r",
    "\t",
    " leading",
    "trailing ",
    "  ",
)
GUARDED = ("=1+1", "@x", "'=1", "''-", "'", "''", "'a")
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff"), min_size=1, max_size=8)


def frame_of(pieces: tuple[str, ...], kind: ModelKind = "causal") -> pd.DataFrame:
    run = make_run(kind, pieces)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes((head_of(run) + rows_of(run, 1)).encode())
        plain = pd.read_csv(path, comment="#", keep_default_na=False, dtype=str)
        assert [original(text) for text in plain["Token"]] == list(pieces)
        return read_table(path)


@pytest.mark.parametrize("pieces", [MISSING, NUMBERS, ODD, GUARDED])
def test_every_token_is_read_as_it_was(pieces: tuple[str, ...]) -> None:
    tokens = tuple(piece or "x" for piece in pieces)
    frame = frame_of(tokens)
    assert frame["Token"].tolist() == list(tokens)
    assert frame["Text"].tolist() == ["".join(tokens)] + [""] * (len(tokens) - 1)
    assert frame["Position"].tolist() == list(range(len(tokens)))


@given(st.lists(TEXTS, min_size=2, max_size=6))
@example(["null", "\n#", '"'])
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_as_it_was(pieces: list[str]) -> None:
    assume("".join(pieces).strip())
    frame = frame_of(tuple(pieces))
    assert frame["Token"].tolist() == pieces
    assert frame["Text"][0] == "".join(pieces)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_the_apostrophe_of_a_formula_goes_away_again(text: str) -> None:
    assert original(guarded(text)) == text


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_numbers_are_numbers_and_a_row_names_its_whole_run(kind: ModelKind) -> None:
    run = make_run(kind)
    frame = frame_of(tuple(token.text for token in run.tokens), kind)
    surprisal = run.surprisal
    assert surprisal is not None
    np.testing.assert_allclose(frame["Surprisal (nats)"], surprisal, rtol=1e-6)
    assert set(frame["Run"]) == {run.key}
    assert len(run.key) == 64
    assert set(frame["Tokens"]) == {len(run)}
    name = "Pseudo-perplexity" if kind == "masked" else "Perplexity"
    known = [float(value) for value in surprisal if not math.isnan(value)]
    expected = math.exp(sum(known) / len(known))  # by hand: exp of the mean
    assert frame[name].tolist() == pytest.approx([expected] * len(run))


def test_an_encoder_has_no_perplexity() -> None:
    run = make_run("encoder")
    assert perplexity(run) is None
    assert frame_of(tuple(token.text for token in run.tokens), "encoder")["Perplexity"].isna().all()


WORDS = (
    ("null", "nan", "None", "1", "007", "TRUE"),
    ("1", "007", "1", "007"),
    ("TRUE", "False", "TRUE", "x"),
    ("1e5",) * 4,
)


def whole_tables(run: ModelRun) -> list[Table]:
    """Every table that a card, or one of its further figures, leaves the page as."""
    found: list[Table | None] = []
    for view in all_views():
        default = {control.name: control.default for control in view.controls}
        choices = [{**default, control.name: value} for control in view.controls for value in values_of(control)]
        for other in (None, 3):
            selection = Selection(run.key, 2, 1, 0, other)
            found += (
                [view.table(Context(run, selection, options, whole=True)) for options in choices] if view.table else []
            )
            found += [extra.table(Context(run, selection)) for extra in view.more]
    return [table for table in found if table is not None]


def made(kind: Any, words: tuple[str, ...]) -> ModelRun:
    return make_classifier("tokens", words) if kind == "classifier" else make_run(kind, words)


@pytest.mark.parametrize("kind", ["causal", "encoder", "masked", "classifier"])
@pytest.mark.parametrize("words", WORDS, ids="/".join)
def test_every_table_of_the_page_is_read_as_it_was(kind: Any, words: tuple[str, ...], tmp_path: Path) -> None:
    run, path, seen = made(kind, words), tmp_path / "t.csv", set[str]()
    for table in whole_tables(run):
        kept = dataclasses.replace(table, rows=list(table.rows))
        path.write_text("".join(csv_of(kept, of_run(run))), encoding="utf-8", newline="")
        frame = read_table(path)
        for index, column in enumerate(table.columns):
            values, cells = frame[column.heading], [row[index] for row in kept.rows]
            texts = [cell for cell in cells if isinstance(cell, str)]
            if texts:
                assert values.tolist() == cells, column.heading
                seen |= set(texts)
            else:
                numbers = [math.nan if cell is None else float(cell) for cell in cells if not isinstance(cell, str)]
                np.testing.assert_allclose(values.astype(float), numbers, rtol=1e-8)
    assert set(words) <= seen


def names_of_text(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> set[str]:
    return {headings[i] for row in rows for i, cell in enumerate(row) if isinstance(cell, str)}


def test_the_columns_of_text_are_those_of_the_tables() -> None:
    found = set[str]()
    pairs = [make_run(kind, second_at=3) for kind in get_args(ModelKind)]
    for run in (*map(make_run, get_args(ModelKind)), *map(make_classifier, CLASSIFIERS), *pairs):
        found |= names_of_text(names_for(run.model.kind, len(run.texts) > 1, run.class_head), _cells(run, 1))
        for table in whole_tables(run):
            found |= names_of_text([column.heading for column in table.columns], table.rows)
    assert found - set(TEXT_COLUMNS) == set(), "name them in TEXT_COLUMNS of dashboard/exports/tables.py, too"
    assert set(TEXT_COLUMNS) - found == set(), "no table has such a column"


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(BadRequestError, match="not a table of this program"):
        read_table(tmp_path / "empty.csv")
