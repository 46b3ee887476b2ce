"""Classes: what a classifier says of the text, of the selected token, or of where the answer to a question is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.components.glossary import term
from dashboard.contracts.classes import APPLIES, AnswerSpan, ClassHead, ClassScore
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.table import Table
from dashboard.figures.classes import (
    ClassRow,
    answer_bars,
    class_bars,
    class_names,
    framed_answer,
    framed_classes,
    value_text,
)
from dashboard.figures.spec import Spec
from dashboard.figures.text import elide, isolated, on_one_line, probability_text
from dashboard.figures.tokens import run_labels
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, View, Words
from dashboard.views.explanation import counted
from dashboard.views.not_finite import not_finite_message
from dashboard.views.predictions import classes_explained
from dashboard.views.predictions.class_tables import answer_table, classes_table
from dashboard.views.token_spans import token_at

TITLE = "Classes"
MOST_BARS = 100  # labels that are drawn; the table has all
CONTROLS = (
    Choice("count", "Labels", (("all", "All"), ("10", "10 likeliest"), ("20", "20"), ("50", "50"))),
    Choice("order", "Order", (("likeliest", "Likeliest first"), ("model", "In the model's order"))),
)
SPOKEN = 8  # labels that a sentence names


def head_of(run: ModelRun) -> ClassHead | None:
    """The run's head; None if its model has none that is read.

    Raises:
        MissingArrayError: an earlier version computed the run, without its classes.
    """
    run.check_classes()
    return run.class_head


def scores_of(context: Context, head: ClassHead, position: int | None = None) -> tuple[ClassScore, ...]:
    """All labels, likeliest first: of the text, or of a token, by default the selected one."""
    if head.of == "text":
        return context.run.classes()
    return context.run.classes(context.selection.token if position is None else position)


def is_finite(scores: tuple[ClassScore, ...]) -> bool:
    """Whether the model gave numbers; −∞ rules a label out."""
    return all(math.isfinite(score.logit if score.probability is None else score.probability) for score in scores)


def second_of(context: Context, head: ClassHead) -> tuple[ClassScore, ...] | None:
    """The second token's labels, if the model classifies tokens and they are finite."""
    if head.of != "tokens":
        return None
    selection = context.selection
    if selection.second is None or selection.second == selection.token:
        return None
    found = scores_of(context, head, selection.second)
    return found if is_finite(found) else None


def _value(score: ClassScore) -> float:
    return score.logit if score.probability is None else score.probability


def draw(context: Context) -> Spec | None:
    run = context.run
    head = head_of(run)
    if head is None:
        return None
    if head.of == "answer":
        return _answer(run)
    scores = scores_of(context, head)
    if not is_finite(scores):
        return None
    names, second = class_names(head.labels), second_of(context, head)
    others = {score.index: _value(score) for score in second or ()}
    count = MOST_BARS if context.options["count"] == "all" else int(context.options["count"])
    shown = list(scores[:count])
    if context.options["order"] == "model":
        shown.sort(key=lambda score: score.index)
    rows = [ClassRow(names[score.index], _value(score), others.get(score.index), score is scores[0]) for score in shown]
    places = (context.selection.token, context.selection.second) if second else ("", "")
    spec = class_bars(rows, head.scale != "none", (f"at {places[0]}", f"at {places[1]}") if second else ("", ""))
    spec["layout"]["meta"]["reads"] = ["run", "token", "second"] if head.of == "tokens" else ["run"]
    return spec


def _answer(run: ModelRun) -> Spec | None:
    shares, found = run.class_probabilities, run.answer()
    if shares is None or not np.isfinite(shares).all():
        return None
    spec = answer_bars(shares, run_labels(run), None if found is None else (found.first, found.last))
    spec["layout"]["meta"]["reads"] = ["run"]
    return spec


def export(context: Context) -> go.Figure | None:
    spec, head, selection = draw(context), head_of(context.run), context.selection
    if spec is None or head is None:
        return None
    if head.of == "answer":
        return framed_answer(spec, selection.token, selection.second)
    return framed_classes(spec, head.scale != "none")


def text(context: Context) -> Words:
    run = context.run
    head = head_of(run)
    if head is None:
        return Words(TITLE, message=[html.B(run.without_classes), html.P(_instead(run))])
    if head.of == "answer":
        return _answer_words(context)
    scores = scores_of(context, head)
    if not is_finite(scores):
        return Words(TITLE, message=not_finite_message(run, "The classes here are not finite."))
    names = class_names(head.labels)
    spoken = ", ".join(f"{isolated(names[one.index])} {_number(one)}" for one in scores[:SPOKEN])
    more = f" and {len(scores) - SPOKEN:,} more" if len(scores) > SPOKEN else ""
    title, caption = _title(context, head, scores, names), _caption(context, head, len(scores))
    return Words(title, caption, _footer(head, scores, names), spoken=f"{spoken}{more}")


def _instead(run: ModelRun) -> str:
    if not run.is_classifier:
        return (
            "Its predictions are in the other tabs."
            if run.has_predictions
            else "Attention and hidden states are available."
        )
    unread = "; ".join(str(line) for line in run.header.get("unread") or ())
    return (
        (f"Not read: {unread}. " if unread else "")
        + "Classes are shown for texts, for tokens, and for answers to questions, if “architectures” in config.json "
        "names the model’s class. Attention and hidden states are available."
    )


def _number(score: ClassScore) -> str:
    return value_text(_value(score), score.probability is not None)


def class_span(name: str, longest: int = 40) -> html.Span:
    """A label of the model, in the token font."""
    return html.Span(elide(name, longest), className="tok strong", dir="auto", title=name)


def _title(context: Context, head: ClassHead, scores: tuple[ClassScore, ...], names: list[str]) -> list[Any]:
    best = scores[0]
    label, number = class_span(names[best.index]), _number(best)
    of: list[Any] = [] if head.of == "text" else [token_at(context.run, context.selection.token), ": "]
    if head.scale == "none":
        alone = len(scores) == 1
        return (
            [*of, f"value {number}"]
            if alone and of
            else [f"Value: {number}"]
            if alone
            else [*of, label, f" is highest, {number}"]
        )
    if head.scale == "softmax":
        return [*of, "most likely " if of else "Most likely: ", label, f", {number}"]
    applies = [score for score in scores if score.probability is not None and score.probability >= APPLIES]
    if not applies:
        return ["No label reaches 50 %; closest: ", label, f", {number}"]
    title: list[Any] = []
    for score in applies[:3]:
        title += [", " if title else "", class_span(names[score.index], 20), f" {_number(score)}"]
    more = f" and {len(applies) - 3} more" if len(applies) > 3 else ""
    return [*title, f"{more} {'apply' if len(applies) > 1 else 'applies'}"]


def _caption(context: Context, head: ClassHead, count: int) -> list[Any]:
    what = "The text as a whole" if head.of == "text" else "One token"
    labels = "its one label" if count == 1 else f"all {count:,} labels"
    sums = {
        "softmax": "Together they add up to 100 %.",
        "sigmoid": "Each applies independently, so they need not add up to 100 %.",
        "none": "The numbers are the model’s own values, not probabilities.",
    }[head.scale]
    found: list[Any] = [f"{what}, {labels}. {sums}"]
    if head.of == "tokens":
        found.append(" The tokens above are coloured by their most likely label.")
    second = context.selection.second
    if head.of == "tokens" and second_of(context, head) is not None and second is not None:
        one, two = (token_at(context.run, place, True) for place in (context.selection.token, second))
        found += [" Filled: ", one, "; outlined: ", two, "."]
    if context.options["count"] == "all" and count > MOST_BARS:
        found.append(f" The {MOST_BARS} likeliest are drawn; the table has all.")
    return found


def _footer(head: ClassHead, scores: tuple[ClassScore, ...], names: list[str]) -> list[Any]:
    best = scores[0]
    found: list[Any] = [html.Span(["logit", html.B(f"{best.logit:.4f}".replace("-", "−"))], className="number")]
    if head.scale == "none":
        found = []
    if len(scores) > 1:
        after = scores[1]
        found.append(
            html.Span(["next", " ", class_span(names[after.index], 20), html.B(_number(after))], className="number")
        )
    if head.scale == "softmax" and len(scores) > 1:
        shares = np.array([score.probability for score in scores], dtype=np.float64)
        known = shares[shares > 0]
        entropy = float(-(known * np.log(known)).sum())
        found.append(html.Span(["entropy", html.B(f"{abs(entropy):.2f}"), " nats"], className="number"))
    return found


def _answer_words(context: Context) -> Words:
    run = context.run
    shares, found = run.class_probabilities, run.answer()
    if shares is None or not np.isfinite(shares).all():
        return Words(TITLE, message=not_finite_message(run, "The classes here are not finite."))
    where = "second text" if run.request.text_pair is not None else "text"
    hint = (
        ""
        if run.request.text_pair is not None
        else " This is a single text: enter the question and its context as two texts."
    )
    caption = (
        "Filled: how likely the answer is to start at a token; outlined: how likely it is to end there; shaded: the "
        f"most likely answer in the {where}.{hint}"
    )
    return Words(_answer_title(found), caption, _answer_footer(context, shares, found))


def _answer_title(found: AnswerSpan | None) -> list[Any]:
    if found is None:
        return ["No token of the text can be an answer"]
    said = html.Bdi(elide(on_one_line(found.text) or "∅", 60))
    span: list[Any] = ["“", said, f"”, {probability_text(found.probability)}"]
    if found.nothing is not None and found.nothing > found.probability:
        return [f"Probably no answer, {probability_text(found.nothing)}; otherwise ", *span]
    return ["Most likely answer: ", *span]


def _answer_footer(context: Context, shares: np.ndarray, found: AnswerSpan | None) -> list[Any]:
    selection, parts = context.selection, list[Any]()
    for place, mark in ((selection.token, "selected"), (selection.second, "second")):
        if place is None or (mark == "second" and place == selection.token):
            continue
        if parts:
            parts.append(html.Span(className="line-end"))
        parts.append(html.Span([token_at(context.run, place, class_name=f"tok {mark}")], className="lead-in"))
        for name, value in zip(("starts", "ends"), shares[place].tolist(), strict=True):
            parts.append(
                html.Span([name, html.B(html.Span(probability_text(value), title=f"{value:.9g}"))], className="number")
            )
    if found is not None:
        tokens = f"{found.first} to {found.last}" if found.last > found.first else str(found.first)
        parts.append(
            html.Span(
                ["answer: tokens" if found.last > found.first else "answer: token", html.B(tokens)], className="number"
            )
        )
        if found.nothing is not None:
            parts.append(html.Span(["no answer", html.B(probability_text(found.nothing))], className="number"))
    return parts


def explain(context: Context) -> Explanation:
    run = context.run
    head = head_of(run)
    if head is None:
        return (
            [run.without_classes],
            ["Classes are what a ", term("classification head"), " makes of the last layer’s hidden states."],
            ["This run has the ", term("hidden states", "hidden state"), " of ", *counted(len(run), "token"), "."],
        )
    if head.of == "answer":
        return classes_explained.answer(run, context.selection.token)
    scores = scores_of(context, head)
    return classes_explained.labels(context, head, scores, is_finite(scores))


def table(context: Context) -> Table | None:
    run = context.run
    head = head_of(run)
    if head is None:
        return None
    if head.of == "answer":
        return answer_table(context)
    return classes_table(context, head, scores_of(context, head), second_of(context, head))


def opens(run: ModelRun) -> bool:
    """Whether Predictions opens with this tab: for a classifier, whose other tabs have nothing to show."""
    return run.is_classifier


VIEW = View(
    name="classes",
    title=TITLE,
    card="prediction",
    tab="Classes",
    order=33,
    invitation=(
        "Run a text with a classifier to see its classes.",
        "You get every label with its exact probability: for the text, for each token, or for where an answer starts "
        "and ends.",
    ),
    selects="axes",
    figure_reads=("run", "token", "second"),
    draw=draw,
    text=text,
    explain=explain,
    controls=CONTROLS,
    table=table,
    export=export,
    opens=opens,
)
