"""What the Map and the Path of hidden states share: PCA of all tokens at one layer, or of their paths through the
layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.projection import Fit, Projection, project_stream, states_at, trajectories
from dashboard.analysis.similarity import similarity
from dashboard.components.glossary import term
from dashboard.contracts.context import Context, Options
from dashboard.contracts.selection import Selection
from dashboard.contracts.streams import Stream
from dashboard.contracts.table import Table
from dashboard.figures.space import Space, page_points, space_figure, space_frame
from dashboard.figures.spec import Spec, spec_of
from dashboard.figures.text import isolated, minus, ordinal, percent
from dashboard.figures.tokens import run_labels
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, Sentence, Words
from dashboard.views.explanation import counted, named
from dashboard.views.hidden_states.left_out import left_out_caption, not_shown_note
from dashboard.views.not_finite import not_finite_message
from dashboard.views.tables import marked, path_table, points_table
from dashboard.views.token_spans import token_at

AXES = Choice("axes", "Components", (("2", "Two"), ("3", "3-D (drag to rotate)")))
AT = Choice("at", "Points", (("layer", "After the selected layer"), ("embeddings", "Embeddings, before layer 0")))
FIT = Choice("fit", "Fit the components on", (("layer", "This layer only"), ("all", "All layers together")))
SCALING = Choice(
    "scaling",
    "Scale",
    (
        ("centred", "None"),
        ("standardised", "Standardise each dimension"),
        ("unit", "Unit length (direction only)"),
    ),
)
FIRST = Choice(
    "first",
    "Outlier tokens",
    (
        ("auto", "Automatic: left out if its norm exceeds 5 × the median"),
        ("keep", "All tokens kept"),
        ("leave", "First token left out"),
    ),
)

SCALED = {"standardised": "Dimensions standardised.", "unit": "Each state scaled to length 1."}


def _layer(selection: Selection, options: Options) -> int:
    """The layer whose states are shown as points; −1 for the embeddings."""
    return -1 if options["at"] == "embeddings" else selection.layer


def is_path(options: Options) -> bool:
    """Whether the options are the Path's: it has one basis for all layers, and so does not offer the choice."""
    return FIT.name not in options


def _fit(options: Options) -> Fit:
    return "all" if is_path(options) or options["fit"] == "all" else "layer"


def reads(options: Options) -> tuple[str, ...]:
    """What the Map draws; the embeddings belong to no layer."""
    return ("run", "stream") if options["at"] == "embeddings" else ("run", "stream", "layer")


def export_reads(options: Options) -> tuple[str, ...]:
    """A standalone figure marks the layer and the tokens, too."""
    return (*reads(options), "tokens")


def _projection(stream: Stream, selection: Selection, options: Options) -> Projection:
    return project_stream(stream, _layer(selection, options), _fit(options), options["first"], options["scaling"])


def _space(stream: Stream, selection: Selection, options: Options, follows: bool = False) -> Space:
    """The points or paths that the options ask for, with every layer's coordinates if paths are drawn; `follows`: the
    browser chooses the layer."""
    dimensions = int(options["axes"])
    if is_path(options):
        found = trajectories(stream, options["first"], options["scaling"])
        at = 0 if follows else _layer(selection, options) + 1
        return Space(found.coordinates, found.explained, at, True, dimensions)
    projection = _projection(stream, selection, options)
    return Space(projection.coordinates[None], projection.explained, 0, False, dimensions)


def _empty(stream: Stream, selection: Selection, options: Options) -> bool:
    """Whether there is nothing to draw: no token here has finite values or, for paths, none in any layer."""
    if is_path(options):
        return not _space(stream, selection, options).followed
    return len(_projection(stream, selection, options).not_finite) == len(stream)


def draw(context: Context) -> Spec:
    stream, selection, options = context.stream, context.selection, context.options
    if not is_path(options) and options["axes"] == "2":
        spec = page_points(_space(stream, selection, options))
    else:
        follows = is_path(options) and options["at"] == "layer"
        spec = spec_of(space_frame(_space(stream, selection, options, follows), follows))
    # keep the zoom as long as the axes mean the same
    basis = "" if _fit(options) == "all" else str(_layer(selection, options))
    spec["layout"]["uirevision"] = "-".join([context.run.key, stream.name, basis, *options.values()])
    return spec


def export(context: Context) -> go.Figure:
    """The standalone figure, with labels and marks; in three components, a scene that can be rotated."""
    stream, selection = context.stream, context.selection
    space, marks = _space(stream, selection, context.options), (selection.token, selection.second)
    figure = space_figure(space, stream.tokens, marks, selection.tokens)
    figure.update_layout(width=760, height=560)
    return figure


def _place(selection: Selection, options: Options) -> str:
    return "Embeddings, before layer 0" if options["at"] == "embeddings" else f"After layer {selection.layer}"


def text(context: Context) -> Words:
    stream, selection, options = context.stream, context.selection, context.options
    projection = _projection(stream, selection, options)
    place = _place(selection, options)
    if _empty(stream, selection, options):
        return Words(
            "Hidden states", message=not_finite_message(context.run, f"{place}: the hidden states are not finite.")
        )
    title: Any = f"{place}: which tokens are represented alike"
    if is_path(options):
        title = [
            f"{place} on the path of ",
            token_at(stream, selection.token),
            f" ({selection.token}) through all layers",
        ]
    footer = [*_variance(projection, int(options["axes"])), *_pair(stream, selection, options)]
    caption = _caption(stream, selection, options, projection)
    note = _note(stream, selection, options, projection)
    return Words(title, caption, footer, note, spoken=_spoken(stream, selection, projection, caption))


def _spoken(stream: Stream, selection: Selection, projection: Projection, caption: Any) -> list[Any]:
    """Where the selected and the second token are, and what is left out, for people who cannot see the points."""
    found = []
    for token in marked(selection):
        name = f"{isolated(run_labels(stream)[token])} {token}"
        place = ", ".join(minus(f"PC {i + 1} {value:.4g}") for i, value in enumerate(projection.coordinates[token]))
        missing = np.isnan(projection.coordinates[token]).any()
        found.append(f"{name} is not shown" if missing else f"{name} lies at {place}")
    return ["; ".join(found), "; ", *(caption if isinstance(caption, list) else [caption])]


def _caption(stream: Stream, selection: Selection, options: Options, projection: Projection) -> list[Any]:
    path, together = is_path(options), _fit(options) == "all"
    head = "PCA of all tokens, all layers fitted together." if together else "PCA of all tokens at this layer."
    if options["scaling"] in SCALED:
        head += f" {SCALED[options['scaling']]}"
    tail = ""
    if path:
        step = _space(stream, selection, options).step
        if len(stream) > 1:
            tail += " Thin: the other tokens." if step == 1 else f" Thin: every {ordinal(step)} token."
    if stream.final_norm and options["at"] == "layer" and (path or selection.layer == stream.layers - 1):
        side = "before" if stream.has("residual_final") else "past"
        tail += (
            f" Layer {stream.layers - 1}: {side} the final norm." if path else f" {side.capitalize()} the final norm."
        )
    if projection.approximate:
        tail += " Components from a randomised solver."
    return [f"{head} ", *left_out_caption(stream, projection, together), *([tail] if tail else [])]


def _variance(projection: Projection, dimensions: int) -> list[Any]:
    numbers = [
        html.Span([f"PC {i + 1}", html.B(percent(share))], className="number")
        for i, share in enumerate(projection.explained)
    ]
    name = " + ".join(["PC 1", *(str(i + 1) for i in range(1, dimensions))])
    shown = percent(float(projection.explained[:dimensions].sum()))
    both = html.Span([name, html.B(shown)], className="number last")
    return [html.Span("Explained variance", className="lead-in"), *numbers, both]


def _pair(stream: Stream, selection: Selection, options: Options) -> list[Any]:
    """A line on how similar the selected and the second token are, from their unscaled states."""
    if selection.second is None:
        return []
    found = similarity(states_at(stream, _layer(selection, options)), selection.token, selection.second)
    both = [token_at(stream, i, True) for i in (selection.token, selection.second)]
    distance = "not defined" if math.isnan(found.distance) else f"{found.distance:.4g}"
    cosine = "not defined" if math.isnan(found.cosine) else minus(f"{found.cosine:.3f}")
    return [
        html.Span(className="line-end"),
        html.Span([both[0], " and ", both[1]], className="lead-in"),
        html.Span(["cosine", html.B(cosine, title=f"{found.cosine:.9g}")], className="number"),
        html.Span(["distance", html.B(distance, title=f"{found.distance:.9g}")], className="number"),
        html.Span(f"in all {found.dimensions:,} dimensions", className="aside"),
    ]


def _note(stream: Stream, selection: Selection, options: Options, projection: Projection) -> Any:
    left = not_shown_note(stream, selection, projection, _fit(options) == "all")
    if left:
        return left
    if not np.any(projection.explained):
        why = "All tokens have the same representation here, so there is nothing to plot."
        return html.P("A single token cannot be compared with anything." if len(stream) == 1 else why, className="note")
    return ()


def explain(context: Context) -> Explanation:
    stream, selection, options = context.stream, context.selection, context.options
    projection = _projection(stream, selection, options)
    share = float(projection.explained[: int(options["axes"])].sum())
    what = (
        _path_in_words(stream, selection, options)
        if is_path(options)
        else _points(stream, options, selection, projection)
    )
    if _empty(stream, selection, options):
        return what, ["Values that are not finite cannot be plotted."], ["Select another layer, or run another text."]
    if not share:
        coincide: Sentence = ["All points coincide here, so there is no direction in which they vary."]
        if len(stream) == 1:
            coincide = ["A single token cannot be compared with anything."]
        return (
            what,
            coincide,
            ["With several different tokens, ", term("PCA"), " shows which of them lie close together."],
        )
    states = "the hidden states of all layers vary" if _fit(options) == "all" else "these hidden states vary"
    number = "two" if options["axes"] == "2" else "three"
    spread: Sentence = [term("PCA"), f" finds the directions in which {states} most: the {number} shown hold "]
    spread += [f"{percent(share)} of the ", term("variance"), "."]
    rest = f"The other {percent(1 - share)} cannot be seen here, so points that lie close together may still differ."
    if 1 - share < 0.0005:
        rest = "That is nearly all of it, so points that lie close together stand for similar hidden states."
    return what, spread, [rest]


def _points(stream: Stream, options: Options, selection: Selection, projection: Projection) -> Sentence:
    """How many tokens are shown, and where their hidden states come from."""
    many, shown = len(stream), int((~np.isnan(projection.coordinates).any(axis=1)).sum())
    place = "before layer 0" if options["at"] == "embeddings" else f"after layer {selection.layer}"
    where: Sentence = [", placed by its ", term("hidden state"), f" {place}, a list of {_width(stream):,} numbers."]
    if not shown:
        return ["No ", term("hidden state"), f" {place} is finite, so no token can be shown."]
    if many == 1:
        return ["The only ", term("token"), " of this text is a point", *where]
    if shown < many:
        return [
            f"{shown:,} of the {many:,} ",
            term("tokens", "token"),
            " of this text are points, each",
            where[0][1:],
            *where[1:],
        ]
    return [f"Each of the {many:,} ", term("tokens", "token"), " of this text is a point", *where]


def _width(stream: Stream) -> int:
    """How many numbers a hidden state has."""
    return int(stream.hidden_states[0].shape[1])


def _path_in_words(stream: Stream, selection: Selection, options: Options) -> Sentence:
    """Whose path it is, or why there is none."""
    token, found = selection.token, trajectories(stream, options["first"], options["scaling"])
    places = int((~np.isnan(found.coordinates[:, token]).any(axis=1)).sum())
    who = named(stream, token)
    if token in found.left_out:
        return [*who, " has no path here, because it is left out; you can keep it in Options."]
    if not places:
        return [*who, " has no path here, because none of its ", term("hidden states", "hidden state"), " is finite."]
    stops: Sentence = [": each stop is a ", term("hidden state"), f" of {_width(stream):,} numbers."]
    if places < stream.layers + 1:
        return [
            "The path follows ",
            *who,
            f" through the stops at which its values are finite, {places:,} of {stream.layers + 1:,}",
            *stops,
        ]
    layers = counted(stream.layers, "layer")
    return ["The path follows ", *who, " from the ", term("embeddings"), " through ", *layers, *stops]


def table(context: Context) -> Table:
    stream, selection, options, whole = context.stream, context.selection, context.options, context.whole
    if is_path(options):
        paths = trajectories(stream, options["first"], options["scaling"])
        states = [states_at(stream, layer) for layer in range(-1, stream.layers)]
        chosen = (selection.token, selection.second)
        return path_table(stream.tokens, paths, states, chosen, whole, _layer(selection, options) + 1)
    states_shown = states_at(stream, _layer(selection, options))
    shown = _projection(stream, selection, options)
    return points_table(stream.tokens, shown, states_shown, _place(selection, options), selection, whole)
