"""Logit lens: what the model would predict at every position if it stopped after each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.lens import MEASURES, Measure
from dashboard.components.glossary import term
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.lens import LogitLens
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.lens import LensMap, framed_lens, left_out_text, lens_column, lens_map
from dashboard.figures.spec import Spec
from dashboard.figures.text import at_place, place_name, place_sign, probability_text
from dashboard.figures.tokens import run_labels, run_names
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, Sentence, View, Words, waits
from dashboard.views.explanation import NOT_COMPUTED, counted, without_predictions
from dashboard.views.not_finite import not_finite_message
from dashboard.views.predictions.lens_results import (
    MODE,
    from_place,
    is_small,
    labels_of_ids,
    masks,
    no_lens,
    position_lens_of,
    position_request,
    position_words,
    usable,
    vocabulary_token,
    waiting,
    where_predicted,
    whole_lens,
    whole_request,
)

TITLE = "Logit lens"
EXPECTS = math.log(0.2)  # nats from which the sentence may say that the model "expects" a token
CONTROLS = (Choice("colour", "Colour", tuple((name, measure.title) for name, measure in MEASURES.items())), MODE)


def needs(context: Context) -> tuple[DerivedRequest, ...]:
    """The selected position first, then all positions, which include it and which a small slot does not show."""
    run = context.run
    if not run.has_predictions or run.corrected:
        return ()
    if masks(context):
        return (position_request(context),)
    whole = whole_request(context)
    if context.result(whole) is not None:
        return (whole,)
    return (position_request(context),) if is_small(context) else (position_request(context), whole)


def _measure(context: Context) -> Measure:
    return MEASURES[context.options["colour"]]


def _map(context: Context, lens: LogitLens) -> LensMap:
    return LensMap(
        lens, _measure(context), context.run.model.vocabulary, run_labels(context.run), run_names(context.run)
    )


def _column(context: Context) -> LensMap | None:
    """The selected position alone, if its lens exists."""
    run, position = context.run, context.selection.token
    found = position_lens_of(context)
    if found is None:
        return None
    return LensMap(found.lens, _measure(context), run.model.vocabulary, [run_labels(run)[position]], run_names(run))


def _drawn_whole(context: Context) -> LogitLens | None:
    """The lens of all positions if it is drawn whole: in the large slot, with the text read as it is."""
    return None if masks(context) or is_small(context) else whole_lens(context)


def draw(context: Context) -> Spec | None:
    if no_lens(context.run, TITLE) is not None:
        return None
    whole = _drawn_whole(context)
    if whole is not None:
        spec = lens_map(_map(context, whole))
        spec["layout"]["meta"]["reads"] = ["run"]  # the browser marks the selection itself
    else:
        column = _column(context)
        if column is None or not np.isfinite(column.lens.entropy).any():
            return None
        spec = lens_column(column, context.selection.token)
    spec["layout"]["uirevision"] = context.run.key
    return spec


def export(context: Context) -> go.Figure | None:
    """The whole lens with marks of the selection; only the selected position if the rest does not exist."""
    if no_lens(context.run, TITLE) is not None:
        return None
    selection = context.selection
    whole = None if masks(context) else whole_lens(context)
    if whole is not None:
        return framed_lens(_map(context, whole), selection.token, selection.second, selection.layer)
    column = _column(context)
    return (
        None if column is None else go.Figure(lens_column(column, selection.token)).update_layout(width=560, height=520)
    )


def text(context: Context) -> Words:
    run = context.run
    refused = no_lens(run, TITLE)
    if refused is not None:
        return refused
    found = position_lens_of(context)
    if found is None:
        return waiting(context, [TITLE, ": ", *_lower(position_words(context)), " …"], position_request(context))
    lens = found.lens
    if not np.isfinite(lens.entropy).any():
        return Words(
            TITLE, message=not_finite_message(run, "The predictions at this position are not finite in any layer.")
        )
    labels = labels_of_ids(run, lens, lens.top_ids[:, 0, 0].tolist())
    return Words(_title(context, lens, labels), _caption(context), _footer(context, lens, labels))


def _lower(words: list[Any]) -> list[Any]:
    return [words[0][0].lower() + words[0][1:], *words[1:]]


def _title(context: Context, lens: LogitLens, labels: dict[int, str]) -> list[Any]:
    """Where the final prediction started to lead, and what the layer before it still predicted."""
    last = lens.places - 1
    best = [
        identifier if known else -1
        for identifier, known in zip(lens.top_ids[:, 0, 0].tolist(), lens.finite[:, 0], strict=True)
    ]
    final = best[-1]
    since = next((place + 1 for place in range(last, -1, -1) if best[place] != final), 0)

    head: list[Any] = [] if is_small(context) else [f"{TITLE}: "]
    if masks(context):
        head = [*position_words(context), ": "]

    if final < 0:
        return _sentence(head, ["the values are not finite ", from_place(lens)])

    def said(place: int) -> list[Any]:
        share = probability_text(math.exp(float(lens.top_logprobs[place, 0, 0])))
        return [vocabulary_token(lens, labels, best[place]), f", {share}"]

    if since == 0 or best[since - 1] < 0:
        where = "the embeddings" if since == 0 else f"layer {since - 1}"
        words: list[Any] = ["the final prediction, ", *said(last), f", leads from {where} on"]
    else:
        before = at_place(since - 1)
        verb = (
            "the model still expects"
            if lens.top_logprobs[since - 1, 0, 0] > EXPECTS
            else "the most likely token is still"
        )
        words = [f"{before} {verb if since > 1 else verb.replace(' still', '')} ", *said(since - 1)]
        words += [f"; after layer {since - 1} ", *said(since)]
    return _sentence(head, words)


def _sentence(head: list[Any], words: list[Any]) -> list[Any]:
    return [*head, *words] if head else [words[0][0].upper() + words[0][1:], *words[1:]]


def _caption(context: Context) -> list[Any]:
    measure, whole = _measure(context), _drawn_whole(context)
    what = "next token" if context.run.model.kind == "causal" else "token here"
    strong = {
        "share": "Stronger colour: more likely (square-root scale).",
        "rank": "Stronger colour: nearer to rank 1 (log scale).",
    }
    colour = strong.get(measure.scale, "Stronger colour: more nats, from 0 to the largest shown.")
    head = f"Each row: the most likely {what} if that layer were the last. E: the embeddings. Colour: "
    words: list[Any] = [head, _in_a_sentence(measure.title), ". ", colour]
    if measure.of == "actual":
        words.append(" Hatched: there is no actual token.")
    if whole is not None:
        return [*words, *(f" {line}" for line in left_out_text(_map(context, whole)))]
    if len(context.run) == 1:
        return words
    if not is_small(context) and not masks(context):
        words += [
            " ",
            html.Span(
                "Only the selected token so far; the others are being computed.", **waits(whole_request(context))
            ),
        ]
    else:
        words.append(
            " Only the selected token" + ("; enlarge the card to see all of them." if not masks(context) else ".")
        )
    return words


def _in_a_sentence(title: str) -> str:
    return title if title[1].isupper() else title[0].lower() + title[1:]


def _footer(context: Context, lens: LogitLens, labels: dict[int, str]) -> list[Any]:
    """Exact numbers at the selected position and layer."""
    layer = context.selection.layer
    place, final = layer + 1, int(lens.top_ids[-1, 0, 0])
    lead = html.Span([*_lower(position_words(context)), f", after layer {layer}"], className="lead-in")
    if not lens.finite[place, 0]:
        return [lead, html.Span("not finite", className="number")]
    best = lens.top(layer, 0)[0]
    share = html.B(probability_text(best.probability), title=f"{best.probability:.9g}")
    numbers = [lead, html.Span([vocabulary_token(lens, labels, best.id), " ", share], className="number")]
    if lens.finite[-1, 0]:
        rank = html.B(f"{int(lens.final_rank[place, 0]):,}")
        numbers.append(html.Span(["rank of ", vocabulary_token(lens, labels, final), " ", rank], className="number"))
    for name, values in (("entropy", lens.entropy), ("KL to the final prediction", lens.kl)):
        value = float(values[place, 0])
        shown = "∞" if math.isinf(value) else f"{value:.2f}"
        if not math.isnan(value):
            numbers.append(html.Span([name, " ", html.B(shown, title=f"{value:.9g}"), " nats"], className="number"))
    if int(lens.actual_rank[place, 0]) > 0:
        numbers.append(
            html.Span(["rank of the actual token ", html.B(f"{int(lens.actual_rank[place, 0]):,}")], className="number")
        )
    return numbers


def explain(context: Context) -> Explanation:
    run = context.run
    if not run.has_predictions:
        return without_predictions(run)
    run.check_current()
    found = position_lens_of(context)
    return _explain_lens(context, None if found is None else found.lens)


def _explain_lens(context: Context, lens: LogitLens | None) -> Explanation:
    """Explain what the lens asks, and its answer after the selected layer; `lens` is that of the selected position."""
    layer = context.selection.layer
    asks: Sentence = ["The ", term("logit lens"), " shows what the model would predict ", *where_predicted(context)]
    layers = context.run.model.layers
    asks += (
        [" if it stopped after its only ", term("layer"), "."]
        if layers == 1
        else [" if it stopped after one of its ", *counted(layers, "layer"), "."]
    )
    trained = "A model is trained to predict after its last layer only, so earlier layers give just a hint."
    if lens is None:
        return asks, NOT_COMPUTED, [trained]
    labels = labels_of_ids(context.run, lens, lens.top_ids[:, 0, 0].tolist())
    place = layer + 1
    if not lens.finite[place, 0]:
        return asks, [f"After layer {layer}, the values are not finite, so there is no prediction."], [trained]
    best = lens.top(layer, 0)[0]
    says: Sentence = [f"After layer {layer}, the most likely token is ", vocabulary_token(lens, labels, best.id)]
    says.append(f", with {probability_text(best.probability)}")
    if lens.finite[-1, 0]:
        final = int(lens.top_ids[-1, 0, 0])
        says += ["; the ", term("final prediction"), ", ", vocabulary_token(lens, labels, final)]
        says += [", has ", term("rank"), f"\u00a0{int(lens.final_rank[place, 0]):,} there"]
    return asks, [*says, "."], [trained]


def table(context: Context) -> Table | None:
    """One row per layer at the selected position; in a file, for every existing position."""
    run, position = context.run, context.selection.token
    found = position_lens_of(context)
    if found is None:
        return None
    whole = whole_lens(context) if context.whole and not masks(context) else None
    lens, positions = (whole, list(range(len(run)))) if whole is not None else (found.lens, [position])
    names = ["Place", "Position", "Token"] if context.whole else ["After layer"]
    columns = [Column(name) for name in (*names, "Likeliest")]
    columns += [Column("Probability", "%"), Column("Entropy", "nats"), Column("Rank of the final prediction")]
    columns += [Column("Probability of the final prediction", "%"), Column("Rank of the actual token")]
    columns += [Column("Probability of the actual token", "%"), Column("KL to the final prediction", "nats")]
    columns += [Column("Label"), Column("Label of the most likely token")] if context.whole else []
    title = "Logit lens: the most likely token after each layer" + (
        "" if context.whole else f", position {position}. E: the embeddings."
    )
    here = () if context.whole else (context.selection.layer + 1,)
    return Table(title, tuple(columns), _rows(context, lens, positions), lens.places * len(positions), here)


def _rows(context: Context, lens: LogitLens, positions: list[int]) -> Iterator[tuple[Cell, ...]]:
    run, whole = context.run, context.whole
    labels, own = labels_of_ids(run, lens, np.unique(lens.top_ids[:, :, 0]).tolist()), run_labels(run)
    for place in range(lens.places):
        for column, position in enumerate(positions):
            best, known = int(lens.top_ids[place, column, 0]), bool(lens.finite[place, column])
            text, label = (lens.texts[best], labels[best]) if known else (None, None)
            numbers = _numbers(lens, place, column, None if whole else "none")
            if whole:
                yield (place_name(place), position, run.tokens[position].text, text, *numbers, own[position], label)
            else:
                yield (place_sign(place), label or "not finite", *numbers)


def _numbers(lens: LogitLens, place: int, column: int, none: Cell) -> list[Cell]:
    """The numbers of a row. `none`: the cell if there is no actual token; NaN if the values are not finite."""
    known = bool(lens.finite[place, column])
    final, actual = known and bool(lens.finite[-1, column]), int(lens.actual_rank[place, column])
    return [
        _percent(lens.top_logprobs[place, column, 0]),
        float(lens.entropy[place, column]),
        int(lens.final_rank[place, column]) if final else math.nan,
        _percent(lens.final_logprob[place, column]) if final else math.nan,
        none if not actual else actual if known else math.nan,
        _percent(lens.actual_logprob[place, column]) if actual else none,
        float(lens.kl[place, column]),
    ]


def _percent(logprob: float) -> float:
    return 100 * math.exp(float(logprob))


VIEW = View(
    name="lens",
    title=TITLE,
    card="prediction",
    tab="Logit lens",
    order=31,
    adapts=True,
    invitation=(
        "Run a text to see how the prediction forms, layer by layer.",
        "Each cell will name the token that the model would predict if it stopped after that layer.",
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
