"""Through the layers: rank and probability of chosen tokens at the selected position, if the model stopped after each
layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.components.glossary import term
from dashboard.compute.position_lens import LONGEST, MOST_WORDS, FollowedWord, PositionLens, words_in
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.layer_lines import Line, ValueAxis, decades, framed_lines, layer_lines, word_style
from dashboard.figures.spec import Spec
from dashboard.figures.text import isolated, on_one_line, place_sign, probability_text
from dashboard.figures.theme import COLOURS
from dashboard.figures.tokens import token_label
from dashboard.views.controls import Choice, Text
from dashboard.views.declaration import Explanation, Sentence, View, Words
from dashboard.views.explanation import NOT_COMPUTED, without_predictions
from dashboard.views.not_finite import not_finite_message
from dashboard.views.predictions.lens_results import (
    MODE,
    actual_id,
    from_place,
    labels_of_ids,
    no_lens,
    position_lens_of,
    position_request,
    position_words,
    usable,
    waiting,
    where_predicted,
)
from dashboard.views.token_spans import token_span

TITLE = "Through the layers"
CONTROLS = (
    Choice("value", "Show", (("rank", "Rank"), ("probability", "Probability"))),
    Text(
        "words",
        "Words to follow",
        longest=80,
        help="Up to eight, separated by spaces. Mary is read as ·Mary, as within a text; in double quotes, as typed.",
    ),
    MODE,
)


@dataclass(frozen=True)
class Followed:
    """One token through the layers.

    Attributes:
        id: in the vocabulary. role: "final", "actual", "final and actual" or "word". logprob: (place,) nats; rank:
            (place,).
    """

    id: int
    role: str
    logprob: np.ndarray
    rank: np.ndarray


def words_of(context: Context) -> str:
    """The typed words, as many as can be followed."""
    return " ".join(words_in(str(context.options["words"])[:LONGEST])[:MOST_WORDS])


def needs(context: Context) -> tuple[DerivedRequest, ...]:
    run = context.run
    if not run.has_predictions or run.corrected:
        return ()
    words = words_of(context)
    found = [] if words else [request for request in usable(context) if context.result(request) is not None]
    return tuple(found) or (position_request(context, words),)


def followed(context: Context, found: PositionLens) -> list[Followed]:
    """The final prediction, the actual token and the words, each token once; no final prediction if the last layer is
    not finite."""
    lens = found.lens
    final, actual = int(lens.top_ids[-1, 0, 0]) if lens.finite[-1, 0] else -1, actual_id(context, found)
    rows = []
    if final >= 0:
        role = "final and actual" if final == actual else "final"
        rows.append(Followed(final, role, lens.final_logprob[:, 0], lens.final_rank[:, 0]))
    if actual is not None and actual != final:
        rows.append(Followed(actual, "actual", lens.actual_logprob[:, 0], lens.actual_rank[:, 0]))
    met = {row.id for row in rows}
    for word in found.words:
        if word.id >= 0 and word.id not in met:
            met.add(word.id)
            rows.append(Followed(word.id, "word", word.logprob, word.rank))
    return rows


def draw(context: Context) -> Spec | None:
    if no_lens(context.run, TITLE) is not None:
        return None
    found = position_lens_of(context, words_of(context))
    rows = [] if found is None else followed(context, found)
    if found is None or not _any_finite(rows):
        return None
    rank = context.options["value"] == "rank"
    labels = labels_of_ids(context.run, found.lens, [row.id for row in rows])
    lines, words = [], 0
    for row in rows:
        colour, dash = COLOURS.ink, "solid" if row.role.startswith("final") else "dash"
        if row.role == "word":
            (colour, dash), words = word_style(words), words + 1
        lines.append(Line(labels[row.id], _values(row, rank), _texts(row, rank), colour, dash, 2))  # type: ignore[arg-type]
    spec = layer_lines(lines[::-1], _axis(lines, rank))
    spec["layout"]["uirevision"] = f"{context.run.key}-{context.options['value']}"
    return spec


def _any_finite(rows: Sequence[Followed]) -> bool:
    return any(not np.isnan(row.logprob).all() for row in rows)


def _values(row: Followed, rank: bool) -> np.ndarray:
    logprobs = np.asarray(row.logprob, dtype=np.float64)
    known = ~np.isnan(logprobs)
    return np.where(known, row.rank if rank else 100 * np.exp(logprobs), np.nan)


def _texts(row: Followed, rank: bool) -> list[str]:
    """Rank and probability at each place."""
    return [_both(row, place, rank) for place in range(len(row.rank))]


def _both(row: Followed, place: int, rank: bool) -> str:
    logprob = float(row.logprob[place])
    if math.isnan(logprob):
        return "not finite"
    parts = (f"rank {int(row.rank[place]):,}", probability_text(math.exp(logprob)))
    return ", ".join(parts if rank else parts[::-1])


def _axis(lines: Sequence[Line], rank: bool) -> ValueAxis:
    if not rank:
        return ValueAxis(0, 100, at=(0, 25, 50, 75, 100), texts=("0", "25", "50", "75", "100 %"))
    values = np.concatenate([line.values for line in lines])
    most = float(np.nanmax(values))
    at, texts = decades(1, max(most, 2))
    return ValueAxis(1, max(most, 10), log=True, down=True, at=at, texts=texts)


def export(context: Context) -> go.Figure | None:
    spec = draw(context)
    return None if spec is None else framed_lines(spec, context.selection.layer)


def text(context: Context) -> Words:
    run = context.run
    refused = no_lens(run, TITLE)
    if refused is not None:
        return refused
    words = words_of(context)
    found = position_lens_of(context, words)
    if found is None:
        return waiting(context, [*position_words(context), ": …"], position_request(context, words))
    rows = followed(context, found)
    if not _any_finite(rows):
        return Words(TITLE, message=not_finite_message(run, "The predictions at this position are not finite."))
    labels = labels_of_ids(run, found.lens, [row.id for row in rows])
    return Words(_title(context, found, rows, labels), _caption(context, found), _footer(context, found, rows, labels))


def _title(context: Context, found: PositionLens, rows: list[Followed], labels: dict[int, str]) -> list[Any]:
    """The layer from which the final prediction leads."""
    final, last = rows[0], found.lens.places - 1
    if not final.role.startswith("final"):
        return [*position_words(context), f": the values are not finite {from_place(found.lens)}"]
    behind = np.flatnonzero((final.rank > 1) | np.isnan(final.logprob))
    since = int(behind[-1]) + 1 if behind.size else 0
    token = token_span(found.lens.texts[final.id], labels[final.id])
    leads = (
        " already leads at the embeddings"
        if since == 0
        else f" leads from layer {since - 1} on"
        if since < last
        else " leads only after the last layer"
    )
    return [*position_words(context), ": ", token, leads]


def _caption(context: Context, found: PositionLens) -> list[Any]:
    vocabulary = context.run.model.vocabulary
    what = (
        f"Rank among {vocabulary:,} tokens (log scale, 1 at the top)"
        if context.options["value"] == "rank"
        else "Probability"
    )
    really = "what came next" if context.run.model.kind == "causal" else "the actual token"
    words = (
        f"{what} if each layer were the last. E: the embeddings. Solid: the final prediction; dashed: {really}, and "
        f"typed words."
    )
    more = len(words_in(str(context.options["words"]))) > MOST_WORDS
    notes = [note for word in found.words if (note := _note(word))] + (
        [f"The first {MOST_WORDS} words are followed."] if more else []
    )
    return [words, *(f" {note}" for note in notes)]


def _note(word: FollowedWord) -> str:
    """A note on a word that is not exactly one token."""
    typed = isolated(on_one_line(word.typed))
    if word.id < 0:
        return f"No token for “{typed}” in this vocabulary."
    if len(word.pieces) > 1:
        pieces = " + ".join(isolated(token_label(piece)) for piece in word.pieces)
        return f"“{typed}” is {len(word.pieces)} tokens ({pieces}): the first is followed."
    return ""


def _footer(context: Context, found: PositionLens, rows: list[Followed], labels: dict[int, str]) -> list[Any]:
    """Exact numbers of each token after the selected layer."""
    layer, really = context.selection.layer, "came next" if context.run.model.kind == "causal" else "actual token"
    roles = {
        "final": "final prediction ",
        "actual": f"{really} ",
        "final and actual": f"final prediction, {really} ",
        "word": "",
    }
    parts: list[Any] = [html.Span(f"after layer {layer}", className="lead-in")]
    for row in rows:
        logprob = float(row.logprob[layer + 1])
        token = token_span(found.lens.texts[row.id], labels[row.id])
        rank = html.B("–" if math.isnan(logprob) else f"{int(row.rank[layer + 1]):,}")
        share = "–" if math.isnan(logprob) else probability_text(math.exp(logprob))
        exact = html.B(share, title="" if math.isnan(logprob) else f"{math.exp(logprob):.9g}")
        parts.append(html.Span([roles[row.role], token, " rank ", rank, ", ", exact], className="number"))
    return parts


def explain(context: Context) -> Explanation:
    run = context.run
    if not run.has_predictions:
        return without_predictions(run)
    run.check_current()
    return _explain_lines(context, position_lens_of(context, words_of(context)))


def _explain_lines(context: Context, found: PositionLens | None) -> Explanation:
    """Explain what a line is, the final prediction's rank after the selected layer, and where it starts to lead."""
    layer, vocabulary = context.selection.layer, context.run.model.vocabulary
    ranks: Sentence = [f"Of all {vocabulary:,} tokens, the most likely one has ", term("rank"), "\u00a01."]
    asks: Sentence = ["Each line follows one token and shows how likely it would be ", *where_predicted(context)]
    asks += [" if the model stopped after a ", term("layer"), "."]
    if found is None:
        return asks, NOT_COMPUTED, ranks
    lens = found.lens
    if not lens.finite[-1, 0]:
        none: Sentence = [
            "After the last layer the values are not finite, so there is no ",
            term("final prediction"),
            ".",
        ]
        return asks, none, ranks
    final = int(lens.top_ids[-1, 0, 0])
    labels = labels_of_ids(context.run, lens, [row.id for row in followed(context, found)])
    name: Sentence = [term("final prediction"), ", ", token_span(lens.texts[final], labels[final])]
    place = layer + 1
    says: Sentence = [f"After layer {layer}, the ", *name, ", has ", term("rank")]
    says += [f"\u00a0{int(lens.final_rank[place, 0]):,} of {vocabulary:,} and a ", term("probability"), " of "]
    says += [f"{probability_text(math.exp(float(lens.final_logprob[place, 0])))}."]
    if not lens.finite[place, 0]:
        says = [f"After layer {layer}, the values are not finite; the ", *name, ", has no rank there."]
    behind = np.flatnonzero((lens.final_rank[:, 0] > 1) | np.isnan(lens.final_logprob[:, 0]))
    since = int(behind[-1]) + 1 if behind.size else 0
    end = probability_text(math.exp(float(lens.final_logprob[-1, 0])))
    where = "the embeddings" if since == 0 else f"layer {since - 1}"
    return asks, says, [f"It leads from {where} on, and ends with {end}."]


def table(context: Context) -> Table | None:
    """One row per layer and token: rank, probability, log-probability."""
    found = position_lens_of(context, words_of(context)) if context.run.has_predictions else None
    if found is None:
        return None
    rows, whole = followed(context, found), context.whole
    labels = labels_of_ids(context.run, found.lens, [row.id for row in rows])
    cells: list[tuple[Cell, ...]] = []
    for place in range(found.lens.places):
        for row in rows:
            logprob = float(row.logprob[place])
            known = not math.isnan(logprob)
            name = found.lens.texts[row.id] if whole else labels[row.id]
            numbers: tuple[Cell, ...] = (
                int(row.rank[place]) if known else None,
                100 * math.exp(logprob) if known else None,
                logprob if known else None,
            )
            head: tuple[Cell, ...] = (place_sign(place), name, row.id)
            cells.append((*head, *numbers, *((labels[row.id],) if whole else ())))
    columns = [
        Column("After layer"),
        Column("Token"),
        Column("Vocabulary id"),
        Column("Rank"),
        Column("Probability", "%"),
    ]
    columns += [Column("Log-probability", "nats"), *([Column("Label")] if whole else [])]
    first = (context.selection.layer + 1) * len(rows)
    title = f"Position {context.selection.token}: tokens through the layers, if each were the last. E: the embeddings"
    return Table(title, tuple(columns), cells, len(cells), () if whole else tuple(range(first, first + len(rows))))


VIEW = View(
    name="through",
    title=TITLE,
    card="prediction",
    tab="Through the layers",
    order=32,
    invitation=(
        "Run a text to follow words through the layers.",
        "You get the rank and probability of the final prediction, of what really came next, and of any word that you "
        "type.",
    ),
    selects="axes",
    figure_reads=("run", "token"),
    draw=draw,
    text=text,
    explain=explain,
    controls=CONTROLS,
    needs=needs,
    uses=usable,
    table=table,
    export=export,
)
