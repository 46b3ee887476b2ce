"""The numbers of the tab Classes as tables."""

from __future__ import annotations

import numpy as np

from dashboard.contracts.classes import ClassHead, ClassScore
from dashboard.contracts.context import Context
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.classes import class_names
from dashboard.figures.tokens import run_labels
from dashboard.views.tables import token_table


def classes_table(
    context: Context, head: ClassHead, scores: tuple[ClassScore, ...], second: tuple[ClassScore, ...] | None
) -> Table:
    """One row per label, likeliest first; in a file of a model that classifies tokens, one row per token instead.

    Args:
        scores: of the text, or of the selected token. second: of the second token.
    """
    if context.whole and head.of == "tokens":
        return _every_token(context, head)
    run, token, other = context.run, context.selection.token, context.selection.second
    names = list(head.labels) if context.whole else class_names(head.labels)
    labels = run_labels(run)
    at = "" if head.of == "text" else f" of {labels[token]} ({token})"
    columns = [Column("Rank"), Column("Class"), Column("Class number")]
    if head.scale != "none":
        columns.append(Column("Probability", "%"))
    columns.append(Column("Value" if head.scale == "none" else "Logit"))
    beside = {score.index: score for score in second or ()}
    if second is not None:
        columns.append(Column(f"Probability at {other}", "%"))
    rows: list[tuple[Cell, ...]] = []
    for rank, score in enumerate(scores, start=1):
        cells: list[Cell] = [rank, names[score.index], score.index]
        cells += [] if score.probability is None else [_number(100 * score.probability)]
        cells.append(_number(score.logit))
        if second is not None:
            cells.append(100 * (beside[score.index].probability or 0.0))
        rows.append(tuple(cells))
    count = f"{len(rows):,} label{'' if len(rows) == 1 else 's'}"
    whose = "of the text as a whole" if head.of == "text" else "of one token"
    title = f"{count} {whose}" if head.of == "text" else f"{count}{at}"
    return Table(title, tuple(columns), rows, len(rows), strong=(0,))


def _number(value: float) -> Cell:
    return None if np.isnan(value) else value


def _every_token(context: Context, head: ClassHead) -> Table:
    """Every token with the probability (or value) of each label."""
    run = context.run
    shares = run.class_probabilities
    values = np.asarray(run.class_logits, dtype=np.float64) if shares is None else 100 * shares
    names = class_names(head.labels)
    heads = [Column(f"Value of {name}") if shares is None else Column(name, "%") for name in names]
    columns = [(column, values[:, index]) for index, column in enumerate(heads)]
    return token_table(context, "Every token with all its labels", columns)


def answer_table(context: Context) -> Table:
    """One row per token: how likely the answer is to start and to end there."""
    run = context.run
    shares, logits = run.class_probabilities, np.asarray(run.class_logits, dtype=np.float64)
    known = np.full(logits.shape, np.nan) if shares is None else 100 * shares
    columns = [
        (Column("Start", "%"), known[:, 0]),
        (Column("End", "%"), known[:, 1]),
        (Column("Start logit"), logits[:, 0]),
        (Column("End logit"), logits[:, 1]),
    ]
    return token_table(context, "Where the answer starts and ends", columns)
