"""The numbers behind the figures as tables, made from the same results as the figures.

Tokens appear as on the page (`·cat`). A whole table, for a file, also has their raw text (` cat`): its "Token" columns
hold the text, its "Label" columns what the page shows. A cell without a number explains why to a person, and is empty
(None) in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dashboard.analysis.attention_reading import AttentionReading
from dashboard.analysis.prediction import BoundedProbability, shared_candidates
from dashboard.analysis.projection import Projection, Trajectories
from dashboard.analysis.similarity import similarity
from dashboard.contracts.context import Context
from dashboard.contracts.prediction import Prediction, TokenProbability
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Cell, Column, Table
from dashboard.contracts.token import Token
from dashboard.figures.outlier_text import names_text
from dashboard.figures.text import elide, isolated, minus, percent, place_name, place_sign
from dashboard.figures.tokens import Names, distinct, label_of, labels_of, run_labels, token_label

LONGEST_IN_HEADING = 20  # characters of a token
BLOCK = 262_144  # weights that are derived at a time while a whole head is read or drawn


def token_table(context: Context, title: str, columns: Sequence[tuple[Column, Sequence[float] | np.ndarray]]) -> Table:
    """One row per token of the selection's stream, which selects it: position, token, and numbers; NaN becomes an empty
    cell."""
    stream, whole = context.stream, context.whole
    rows: list[tuple[Cell, ...]] = []
    for place, label in enumerate(run_labels(stream)):
        numbers = [float(values[place]) for _column, values in columns]
        cells = [None if np.isnan(number) else number for number in numbers]
        rows.append((place, stream.tokens[place].text if whole else label, *cells, *((label,) if whole else ())))
    heads = (Column("Position"), Column("Token"), *(column for column, _values in columns), *_label_column(whole))
    selection = context.selection
    return Table(title, heads, rows, len(rows), marked(selection), "token", added=added(selection))


def row_table(reading: AttentionReading, selection: Selection, place: str) -> Table:
    """One row per key: the selected query's weight, and the second query's; `place` says what the weights are of.

    A query that is left out has no column.
    """
    queries = {query: row for query in marked(selection) if (row := reading.row_of(query)) is not None}
    read: list[list[Cell]] = []
    for row in queries.values():
        weights, allowed = reading.weights(row, row + 1)[0], reading.allowed(row, row + 1)[0]
        read.append([float(weight) if may else "masked" for weight, may in zip(weights, allowed, strict=True)])
    labels, tokens = side_labels(reading, 1), tuple(group[0] for group in reading.columns)
    rows: list[tuple[Cell, ...]] = [
        (token, label, *(weights[at] for weights in read))
        for at, (token, label) in enumerate(zip(tokens, labels, strict=True))
    ]
    names = [
        f"{isolated(side_labels(reading, 0, LONGEST_IN_HEADING)[row])} ({reading.rows[row][0]})"
        for row in queries.values()
    ]
    columns = [Column("Weight")] if len(names) == 1 else [Column(f"Weight of {name}") for name in names]
    verb = "attends" if len(names) == 1 else "attend"
    title = f"{place}: what {' and '.join(names)} {verb} to" if names else f"{place}: the selected token is left out"
    places = [reading.column_of(token) for token in marked(selection)]
    chosen = tuple(dict.fromkeys(at for at in places if at is not None))
    whole = tokens == tuple(range(len(reading.attention.answers)))
    table = (Column("Key"), Column("Token"), *columns)
    return Table(title, table, rows, len(rows), chosen, "second", () if whole else tokens)


def side_labels(reading: AttentionReading, side: int, longest: int | None = None) -> list[str]:
    """The label of each row (side 0) or column (side 1), as in the token strip; a word has one for its pieces."""
    stream = (reading.attention.asks, reading.attention.answers)[side]
    groups, names = ((reading.rows, reading.queries), (reading.columns, reading.keys))[side]
    own = run_labels(stream, longest)
    return [
        own[group[0]] if len(group) == 1 else _cut(label_of(name), longest)
        for group, name in zip(groups, names, strict=True)
    ]


def _cut(label: str, longest: int | None) -> str:
    return label if longest is None else elide(label, longest)


def head_table(reading: AttentionReading, place: str) -> Table:
    """Every pair of a query and a key, row by row; the weight is None where the model's mask forbids the key.

    The rows are derived while they are read, some queries at a time, so a long text needs no whole matrix of one head.
    """
    queries, keys = reading.shape
    names = ("Query", "Query token", "Key", "Key token", "Weight", "Query label", "Key label")
    columns = tuple(Column(name) for name in names)
    title = f"{place}: every weight; empty where the mask hides the key from the query"
    return Table(title, columns, _pairs(reading), queries * keys)


def row_blocks(reading: AttentionReading) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and the (row, column) weights of some rows at a time, so a long text needs no whole matrix of
    one head."""
    queries, keys = reading.shape
    height = max(1, BLOCK // max(1, keys))
    for first in range(0, queries, height):
        yield first, reading.weights(first, min(queries, first + height))


def _pairs(reading: AttentionReading) -> Iterator[tuple[Cell, ...]]:
    keys = len(reading.columns)
    asks, answers = ([token.text for token in side] for side in (reading.queries, reading.keys))
    asking, answering = side_labels(reading, 0), side_labels(reading, 1)
    rows, columns = ([group[0] for group in groups] for groups in (reading.rows, reading.columns))
    for first, weights in row_blocks(reading):
        allowed = reading.allowed(first, first + len(weights))
        for query in range(first, first + len(weights)):
            row, readable = weights[query - first].tolist(), allowed[query - first].tolist()
            for key in range(keys):
                weight = row[key] if readable[key] else None
                pair = (rows[query], asks[query], columns[key], answers[key], weight)
                yield *pair, asking[query], answering[key]


def points_table(
    tokens: Sequence[Token],
    projection: Projection,
    states: np.ndarray,
    place: str,
    selection: Selection,
    whole: bool,
) -> Table:
    """One row per token: its coordinates, and its norm before the projection.

    Args:
        projection: of these tokens. states: (token, hidden), the projected states.
        place: where the states come from, "After layer 3". selection: whose rows are marked. whole: for a file.
    """
    norms = np.linalg.norm(np.asarray(states, dtype=np.float64), axis=1)
    components = projection.coordinates.shape[1]
    rows: list[tuple[Cell, ...]] = []
    labels = labels_of(tokens)
    for position, token in enumerate(tokens):
        found = _coordinates(projection.coordinates[position], position in projection.left_out, whole)
        more = (labels[position],) if whole else ()
        rows.append((position, token.text if whole else labels[position], *found, float(norms[position]), *more))
    shares = ", ".join(f"PC {i + 1} {percent(share)}" for i, share in enumerate(projection.explained))
    axes = [Column(f"PC {i + 1}") for i in range(components)]
    left_out = _left_out(tokens, projection.left_out, projection.ratios)
    title = f"{place}: principal components ({shares} of the variance) and norm.{left_out}"
    columns = (Column("Position"), Column("Token"), *axes, Column("Norm"), *_label_column(whole))
    return Table(title, columns, rows, len(rows), marked(selection), "token", added=added(selection))


def _label_column(whole: bool) -> tuple[Column, ...]:
    """The last column of a file: the token as the page shows it."""
    return (Column("Label"),) if whole else ()


def _coordinates(values: np.ndarray, left: bool, whole: bool) -> list[Cell]:
    """A token's coordinates; for a person, the reason if it has none."""
    why = None if whole else "left out" if left else "not finite"
    return [why if np.isnan(value) else float(value) for value in values]


def _left_out(tokens: Sequence[Token], left: tuple[int, ...], ratios: np.ndarray) -> str:
    """A sentence that names the tokens left out of the fit; empty if there are none."""
    names = names_text(labels_of(tokens), left, ratios)
    return f" Left out of the components: {names}." if left else ""


def path_table(
    tokens: Sequence[Token],
    paths: Trajectories,
    states: Sequence[np.ndarray],
    chosen: tuple[int, int | None],
    whole: bool,
    place: int,
) -> Table:
    """One row per place on the path through the layers: for the selected and the second token, or for every token.

    Args:
        paths: of these tokens. states: (token, hidden) per place, the projected states.
        chosen: the selected and the second token; with a second, each place has their cosine and distance.
        whole: for a file. place: index of the shown place.
    """
    token, other = chosen
    followed = list(range(len(tokens))) if whole else [token] if other is None else [token, other]
    rows: list[tuple[Cell, ...]] = []
    labels = labels_of(tokens)
    for index, layer in enumerate(states):
        norms = np.linalg.norm(layer[followed].astype(np.float64), axis=1)
        pair: list[Cell] = []
        if other is not None and not whole:
            found = similarity(layer, token, other)
            pair = [found.cosine if np.isfinite(found.cosine) else "not defined", found.distance]
        name = place_name(index) if whole else place_sign(index)
        for row, position in enumerate(followed):
            at = _coordinates(paths.coordinates[index, position], position in paths.left_out, whole)
            text = tokens[position].text if whole else labels[position]
            more = (labels[position],) if whole else ()
            rows.append((name, position, text, *at, float(norms[row]), *pair, *more))
    columns = [Column(name) for name in ("Place" if whole else "After layer", "Position", "Token")]
    columns += [Column(f"PC {i + 1}") for i in range(paths.coordinates.shape[2])] + [
        Column("Norm"),
        *_label_column(whole),
    ]
    if other is not None and not whole:
        columns += [Column("Cosine of the two"), Column("Distance of the two")]
    shares = ", ".join(f"PC {i + 1} {percent(share)}" for i, share in enumerate(paths.explained))
    left_out = _left_out(tokens, paths.left_out, paths.ratios)
    short = "" if whole else " E: the embeddings."
    title = (
        f"Through all layers, fitted together: principal components ({shares} of the variance) and "
        f"norm.{left_out}{short}"
    )
    here = tuple(range(place * len(followed), (place + 1) * len(followed))) if not whole else ()
    return Table(title, tuple(columns), rows, len(rows), here)


def candidates_table(prediction: Prediction, count: int | None, what: str, whole: bool, known: Names) -> Table:
    """One row per candidate, most likely first; the actual token comes last if it is not among them.

    Args:
        count: how many candidates, None for all that are kept. what: "Came next" or "Actual token".
        known: labels of the text's own tokens, which no other token may have.
    """
    candidates = prediction.candidates[:count]
    actual = prediction.actual
    ranked: list[tuple[int | None, TokenProbability]] = list(enumerate(candidates, start=1))
    if actual is not None and all(candidate.id != actual.id for candidate in candidates):
        ranked.append((prediction.actual_rank, actual))
    labels = distinct([token_label(c.text) for _rank, c in ranked], [c.id for _rank, c in ranked], known=known)
    rows: list[tuple[Cell, ...]] = [
        (
            rank,
            c.text if whole else label,
            c.id,
            100 * c.probability,
            c.logprob,
            _yes(actual, c),
            *((label,) if whole else ()),
        )
        for (rank, c), label in zip(ranked, labels, strict=True)
    ]
    columns = (
        Column("Rank"),
        Column("Token"),
        Column("Vocabulary id"),
        Column("Probability", "%"),
        Column("Log-probability", "nats"),
        Column(what),
        *_label_column(whole),
    )
    title = f"Position {prediction.position}: the {len(candidates)} most likely of {prediction.vocabulary:,} tokens"
    strong = tuple(index for index, row in enumerate(rows) if row[5])
    return Table(f"{title}; entropy {prediction.entropy:.4g} nats", columns, rows, len(rows), strong=strong)


def shared_candidates_table(one: Prediction, other: Prediction, count: int | None, whole: bool, known: Names) -> Table:
    """One row per token that is likely at either position: both probabilities and their difference.

    If a position did not keep a token, its probability there is below the lowest one kept: a person reads that bound,
    and a file has it in columns of its own.

    Args:
        count: how many tokens, None for all that either position keeps. known: as in `candidates_table`.
    """
    found = shared_candidates(one, other, 10**9 if count is None else count)

    def cell(chance: BoundedProbability) -> Cell:
        if chance.known:
            return 100 * chance.probability
        return None if whole else f"below {100 * chance.probability:.2g}"

    rows: list[tuple[Cell, ...]] = []
    labels = distinct([token_label(row.text) for row in found], [row.id for row in found], known=known)
    for row, label in zip(found, labels, strict=True):
        low, high = (100 * value for value in row.difference)
        between: Cell = high if row.one.known and row.other.known else None if whole else bounds_text(low, high)
        bounds = [None if chance.known else 100 * chance.probability for chance in (row.one, row.other)]
        more = (*bounds, low, high, label) if whole else ()
        rows.append((row.text if whole else label, row.id, cell(row.one), cell(row.other), between, *more))
    columns = (
        Column("Token"),
        Column("Vocabulary id"),
        Column(f"Probability at {one.position}", "%"),
        Column(f"Probability at {other.position}", "%"),
        Column("Difference", "percentage points"),
    )
    title = f"Positions {one.position} and {other.position}: the {len(found)} tokens most likely at either position"
    if not whole:
        return Table(title, columns, rows, len(rows))
    bounded = [Column(f"Not kept at {place.position}: probability below", "%") for place in (one, other)]
    ends = [Column(f"Difference at {end}", "percentage points") for end in ("least", "most")]
    facts = "; ".join(_facts(place) for place in (one, other))
    title = f"Positions {one.position} and {other.position}: all {len(found)} tokens kept for either. {facts}"
    return Table(title, (*columns, *bounded, *ends, *_label_column(whole)), rows, len(rows))


def _facts(prediction: Prediction) -> str:
    """The actual token and the entropy of one position, in words."""
    entropy = f"position {prediction.position}: entropy {prediction.entropy:.6g} nats"
    if prediction.actual is None:
        return entropy
    actual = f"actual token {prediction.actual.text!r}, rank {prediction.actual_rank}"
    surprisal = "∞: impossible" if prediction.actual.probability == 0 else f"{-prediction.actual.logprob:.6g} nats"
    return f"{entropy}, {actual}, surprisal {surprisal}"


def bounds_text(low: float, high: float) -> str:
    """ "−2.61 to −0.549"; one number if both bounds round to it, as in the figure."""
    bounds = dict.fromkeys(minus(f"{bound:.3g}") for bound in (low, high))
    return " to ".join(bounds)


def _yes(actual: TokenProbability | None, candidate: TokenProbability) -> str:
    return "yes" if actual is not None and candidate.id == actual.id else ""


def marked(selection: Selection) -> tuple[int, ...]:
    """The rows of the selected and the second token, in a table with one row per token."""
    return (selection.token,) if selection.second in (None, selection.token) else (selection.token, selection.second)


def added(selection: Selection) -> tuple[int, ...]:
    """The rows of the added tokens, without those of `marked`."""
    return tuple(token for token in selection.all_tokens if token not in marked(selection))
