"""Predictions: the most likely tokens at the selected position."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import plotly.graph_objects as go
from dash import html

from dashboard.analysis.prediction import SharedCandidate, shared_candidates
from dashboard.compute import masked_prediction
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.prediction import Prediction, TokenProbability
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Table
from dashboard.figures.prediction import page_bars, prediction_bars
from dashboard.figures.prediction_pair import Side, page_pair, prediction_pair
from dashboard.figures.spec import Spec
from dashboard.figures.text import on_one_line, ordinal, probability_text
from dashboard.figures.tokens import distinct, run_names, token_label
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, View, Words, waits
from dashboard.views.explanation import without_predictions
from dashboard.views.not_finite import not_finite_message
from dashboard.views.predictions.messages import being_computed, no_predictions
from dashboard.views.predictions.top_k_explained import explain_prediction
from dashboard.views.tables import candidates_table, shared_candidates_table
from dashboard.views.token_spans import token_at, token_span

CONTROLS = (
    Choice("count", "Tokens", (("10", "10 likeliest"), ("5", "5"), ("20", "20"), ("50", "50"))),
    Choice(
        "mode",
        "The model reads the text",
        (("masked", "With this position masked"), ("given", "As it stands")),
        kinds=("masked",),
    ),
)
T = TypeVar("T")
EXPECTED = 0.5  # probability from which a sentence says that the model expects a token
NUMBER_WORDS = {5: "five", 10: "ten", 20: "twenty", 50: "fifty"}


def prediction_of(context: Context, position: int) -> Prediction | None:
    """The prediction that the options ask for; None if it must be computed first. A mask in the text is its own
    question: what the model predicts there when it reads the text.
    """
    run = context.run
    if run.model.kind != "masked" or context.options["mode"] == "given" or _asks(run, position):
        return run.prediction(position, "given")
    if run.has_masked(position):
        return run.prediction(position, "masked")
    result = context.result(_request(run, position))
    return None if result is None else masked_prediction.read(run, result)


def _request(run: ModelRun, position: int) -> DerivedRequest:
    """Request the prediction with this position masked, for a worker to compute."""
    return DerivedRequest.of(run.key, masked_prediction.NAME, position=position)


def _asks(run: ModelRun, position: int) -> bool:
    """Whether the text has a mask at this position."""
    return run.model.kind == "masked" and run.tokens[position].sign == "mask"


def _second(context: Context) -> Prediction | None:
    """The second token's prediction, if there is a second token and its prediction exists and is finite."""
    selection = context.selection
    if selection.second is None or selection.second == selection.token:
        return None
    found = prediction_of(context, selection.second)
    return found if found is None or found.finite else None


def needs(context: Context) -> tuple[DerivedRequest, ...]:
    """The predictions at the selected and the second position that the run does not hold."""
    run, selection = context.run, context.selection
    if not run.has_predictions or run.model.kind != "masked" or context.options["mode"] == "given":
        return ()
    places = dict.fromkeys(place for place in (selection.token, selection.second) if place is not None)
    return tuple(_request(run, place) for place in places if not _asks(run, place) and not run.has_masked(place))


def draw(context: Context) -> Spec | None:
    return _drawn(context, page_bars, page_pair)


def _drawn(context: Context, bars: Callable[..., T], pair: Callable[..., T]) -> T | None:
    """What `bars` makes of one position's candidates, or `pair` of two positions'; None if there is nothing to draw
    yet."""
    run, selection, options = context.run, context.selection, context.options
    prediction = prediction_of(context, selection.token) if run.has_predictions else None
    if prediction is None or not prediction.finite:
        return None
    other, known = _second(context), run_names(run)
    rows = _rows_of(prediction, other, int(options["count"]))
    if other is None:
        return bars(rows, _actual(prediction), known)
    return pair(rows, _sides(run, prediction, other), known)


def _rows_of(
    prediction: Prediction, other: Prediction | None, count: int
) -> Sequence[TokenProbability] | Sequence[SharedCandidate]:
    """The candidates that the figure shows with one bar or two."""
    return prediction.candidates[:count] if other is None else shared_candidates(prediction, other, count)


Labels = dict[int, str]  # by vocabulary id


def _labels(run: ModelRun, prediction: Prediction, other: Prediction | None, count: int) -> Labels:
    """The card's labels for the tokens it names, the same as beside their bars: each differs from all others in the
    card and the text."""
    named = [*_rows_of(prediction, other, count), prediction.candidates[0], prediction.actual, other and other.actual]
    texts = {token.id: token.text for token in named if token is not None}
    labels = distinct([token_label(text) for text in texts.values()], list(texts), known=run_names(run))
    return dict(zip(texts, labels, strict=True))


def _sides(run: ModelRun, prediction: Prediction, other: Prediction) -> tuple[Side, Side]:
    return Side(_side(run, prediction), _actual(prediction)), Side(_side(run, other), _actual(other))


def _actual(prediction: Prediction) -> int | None:
    return prediction.actual.id if prediction.actual else None


def _side(run: ModelRun, prediction: Prediction) -> str:
    """The heading of a position's column."""
    return f"{'after' if run.model.kind == 'causal' else 'at'} {prediction.position}"


def export(context: Context) -> go.Figure | None:
    """The standalone figure, with exact values on hover."""
    figure = _drawn(context, prediction_bars, prediction_pair)
    if figure is None:
        return None
    margin, rows = figure.layout.margin, len(figure.data[0].y)
    figure.update_layout(xaxis={"title": {"text": "probability", "standoff": 4, "font": {"size": 11}}})
    figure.update_layout(margin={"t": max(6, margin.t), "b": 42})
    figure.update_layout(width=margin.l + 420 + margin.r, height=48 + 24 * rows + (16 if len(figure.data) > 1 else 0))
    return figure


def text(context: Context) -> Words:
    run, selection, options = context.run, context.selection, context.options
    if not run.has_predictions:
        return Words("Predictions", message=no_predictions(run))
    prediction = prediction_of(context, selection.token)
    if prediction is None:
        return Words(
            [*_lead(run, selection, "masked"), "…"],
            message=being_computed(_request(run, selection.token)),
            waiting=True,
        )
    if not prediction.finite:
        return Words(
            "Predictions", message=not_finite_message(run, f"The logits at position {selection.token} are not finite.")
        )
    best, other, asked = prediction.candidates[0], _second(context), int(options["count"])
    labels = _labels(run, prediction, other, asked)
    expected = token_span(best.text, labels[best.id])
    title = [
        *_lead(run, selection, prediction.mode),
        _verb(best.probability),
        expected,
        f", {probability_text(best.probability)}",
    ]
    if other is not None:
        return Words(title, _pair_caption(run, prediction, other), _facts_of(run, labels, prediction, other))
    count = min(asked, len(prediction.candidates))
    what = "next tokens" if run.model.kind == "causal" else "tokens here"
    tail = _where_actual(prediction, count, "what came next" if run.model.kind == "causal" else "the actual token")
    most = f"The {NUMBER_WORDS.get(count, count)} most likely"
    caption: list[Any] = [f"{most} of {prediction.vocabulary:,} {what}{tail}"]
    if selection.second not in (None, selection.token):
        caption += [" ", _without_second(context)]
    return Words(title, caption, body=_table(run, labels, prediction))


def _without_second(context: Context) -> Any:
    """Why the second token's prediction is not shown beside the selected token's."""
    second = context.selection.second
    if second is None or prediction_of(context, second) is not None:
        return "The model's values at the second token's position are not finite."
    late = "The second token's position is not computed yet."
    return html.Span(late, **waits(_request(context.run, second)))


def _pair_caption(run: ModelRun, prediction: Prediction, other: Prediction) -> list[Any]:
    causal = run.model.kind == "causal"
    where, head = ("after", "Most likely next tokens after") if causal else ("at", "Most likely tokens at")
    one, two = (token_at(run, p.position, True) for p in (prediction, other))
    bold = "what came next" if causal else "the actual token"
    return [f"{head} each selected token. Filled: {where} ", one, f"; outlined: {where} ", two, f". Bold: {bold}."]


def _facts_of(run: ModelRun, labels: Labels, *predictions: Prediction) -> list[Any]:
    """A line of exact numbers for each of two positions."""
    found: list[Any] = []
    for prediction, mark in zip(predictions, ("selected", "second"), strict=True):
        if found:
            found.append(html.Span(className="line-end"))
        found.append(html.Span([token_at(run, prediction.position, class_name=f"tok {mark}")], className="lead-in"))
        if prediction.actual is None:
            found.append(html.Span(_nothing(run, prediction.position), className="number"))
        else:
            actual = prediction.actual
            came = "came next" if run.model.kind == "causal" else "actual token"
            found += [
                html.Span([came, " ", token_span(actual.text, labels[actual.id], "tok strong")], className="number"),
                html.Span(["rank", html.B(f"{prediction.actual_rank:,}")], className="number"),
                html.Span(html.B(_exact(actual.probability)), className="number"),
                html.Span(
                    ["surprisal", html.B(surprisal_text(actual.logprob)), f" {surprisal_unit(actual.logprob)}"],
                    className="number",
                ),
            ]
        found.append(html.Span(["entropy", html.B(f"{prediction.entropy:.2f}"), " nats"], className="number"))
    return found


def _nothing(run: ModelRun, position: int) -> str:
    """What to show instead of a token to compare with."""
    if run.model.kind == "causal":
        return "no next token"
    return "a mask" if _asks(run, position) else "not part of the text"


def _where_actual(prediction: Prediction, count: int, what: str) -> str:
    if prediction.actual is None or prediction.actual_rank is None:
        return "."
    shown = prediction.actual.id in {candidate.id for candidate in prediction.candidates[:count]}
    return f"; the bold row is {what}." if shown else f"; {what} ranks {ordinal(prediction.actual_rank)}."


def _lead(run: ModelRun, selection: Selection, mode: str) -> list[Any]:
    token = token_at(run, selection.token)
    if run.model.kind == "causal":
        cut, end = _end_of_text(run, selection.token)
        return [f"After “{cut}", html.Bdi(end), "”"]
    if _asks(run, selection.token):
        return ["In place of ", token, f" ({selection.token})"]
    if mode == "masked":
        return ["With ", token, f" ({selection.token}) masked"]
    return ["Reading ", token, f" ({selection.token}) as it stands"]


def _verb(probability: float) -> str:
    """The verb for a probability: a model "expects" a token that it finds more likely than not."""
    return ", the model expects " if probability >= EXPECTED else ", most likely: "


def _end_of_text(run: ModelRun, position: int, longest: int = 20) -> tuple[str, str]:
    """The end of the text up to a token: "… " if it is cut, and the words."""
    text = " ".join(run.source[: run.tokens[position].end].split())
    if len(text) <= longest:
        return "", on_one_line(text or run.tokens[position].text)
    cut = text[-longest:]
    space = cut.find(" ")
    return "… ", on_one_line(cut[space + 1 :] if 0 <= space < longest // 2 else cut)


def _table(run: ModelRun, labels: Labels, prediction: Prediction) -> Any:
    causal = run.model.kind == "causal"
    share = prediction.entropy / math.log(prediction.vocabulary) if prediction.vocabulary > 1 else 0.0
    entropy = ("Entropy", [f"{prediction.entropy:.2f} ", html.Small(f"nats, {100 * share:.0f} % of max.")])
    if prediction.actual is None:
        last = _last(run) if causal else "There is no token of the text here."
        if _asks(run, prediction.position):
            last = "The text has a mask here, so there is no actual token to compare with."
        return [html.H3("What really came next" if causal else "The actual token"), html.P(last), _rows([entropy])]
    actual = prediction.actual
    rows = [
        ("Token", token_span(actual.text, labels[actual.id], "tok strong")),
        ("Rank", [f"{prediction.actual_rank:,} ", html.Small(f"of {prediction.vocabulary:,}")]),
        ("Probability", _exact(actual.probability)),
        ("Surprisal", [f"{surprisal_text(actual.logprob)} ", html.Small(surprisal_unit(actual.logprob))]),
        entropy,
    ]
    return [html.H3("What really came next" if causal else "The actual token"), _rows(rows)]


def _last(run: ModelRun) -> str:
    """Why no token came next: only the last one has none; a last token that the tokenizer added comes after the end of
    the text."""
    return (
        f"{'Nothing comes after the last token' if run.tokens[-1].special else 'The text ends here'}, so there is no "
        f"next token."
    )


def surprisal_text(logprob: float) -> str:
    """ "15.63"; "∞" for a token with probability 0."""
    return "∞" if math.isinf(logprob) else f"{abs(logprob):.2f}"


def surprisal_unit(logprob: float) -> str:
    """The unit after `surprisal_text`."""
    return "nats (impossible)" if math.isinf(logprob) else "nats"


def _exact(probability: float) -> Any:
    text = probability_text(probability) if probability >= 5e-4 else f"{100 * probability:.2g} %"
    return html.Span(text, title=f"{probability:.9g}")


def _rows(rows: list[tuple[str, Any]]) -> html.Dl:
    return html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in rows], className="facts")


def explain(context: Context) -> Explanation:
    run, token = context.run, context.selection.token
    if not run.has_predictions:
        return without_predictions(run)
    prediction = prediction_of(context, token)
    labels = {} if prediction is None else _labels(run, prediction, None, int(context.options["count"]))
    mask = _asks(run, token)
    reads = "given" if prediction is not None and prediction.mode == "given" else "masked"
    return explain_prediction(run, token, prediction, labels, "mask" if mask else reads)


def table(context: Context) -> Table | None:
    run, selection, options, whole = context.run, context.selection, context.options, context.whole
    prediction = prediction_of(context, selection.token) if run.has_predictions else None
    if prediction is None or not prediction.finite:
        return None
    what = "Came next" if run.model.kind == "causal" else "Actual token"
    count, other = None if whole else int(options["count"]), _second(context)
    if other is not None:
        return shared_candidates_table(prediction, other, count, whole, run_names(run))
    return candidates_table(prediction, count, what, whole, run_names(run))


VIEW = View(
    name="prediction",
    title="Predictions",
    card="prediction",
    tab="Next token",
    order=3,
    invitation=(
        "Run a text to see which token the model expects after each token.",
        "You see the ten most likely tokens with exact probabilities, and the token that really came next.",
    ),
    selects_nothing="A bar stands for a token of the vocabulary, not for one of the text.",
    figure_reads=("run", "token", "second"),
    draw=draw,
    text=text,
    explain=explain,
    controls=CONTROLS,
    needs=needs,
    table=table,
    export=export,
)
