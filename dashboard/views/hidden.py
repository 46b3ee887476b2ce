"""Hidden states: PCA of all tokens after the selected layer (rows H1, H3 and H4 of the map)."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from dash import html

from dashboard.analysis.projection import OUTLIER, Projection, project_run
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Table
from dashboard.figures.hidden import hidden_map, percent
from dashboard.figures.theme import Theme
from dashboard.views.declaration import Control, Options, View, Words
from dashboard.views.tables import marked, points_table

CONTROLS = (
    Control("at", "Show", (("layer", "After the selected layer"), ("embeddings", "Embeddings, before layer 0"))),
    Control("fit", "Fit the components on", (("layer", "The layer shown"), ("all", "All layers together"))),
    Control("scaling", "Dimensions", (("centred", "Centred"), ("standardised", "Standardised: each of equal weight"))),
    Control(
        "first",
        "First token",
        (("auto", "Left out where its norm is over 5 times the median"), ("keep", "Kept"), ("leave", "Left out")),
    ),
)


def _projection(run: ModelRun, selection: Selection, options: Options) -> Projection:
    layer = -1 if options["at"] == "embeddings" else selection.layer
    return project_run(run, layer, options["fit"], options["first"], options["scaling"])


def draw(run: ModelRun, selection: Selection, options: Options, theme: Theme) -> go.Figure:
    figure = hidden_map(_projection(run, selection, options), run.tokens, theme=theme, decorate=False)
    basis = "" if options["fit"] == "all" else str(selection.layer)  # a zoom holds as long as the axes mean the same
    figure.update_layout(uirevision="-".join([run.key, basis, *options.values()]))
    return figure


def words(run: ModelRun, selection: Selection, options: Options) -> Words:
    projection = _projection(run, selection, options)
    embeddings = options["at"] == "embeddings"
    place = "Embeddings, before layer 0" if embeddings else f"After layer {selection.layer}"
    return Words(
        f"{place}: which tokens are represented alike",
        _caption(run, selection, options, projection),
        _variance(projection),
        _note(selection, projection),
    )


def _caption(run: ModelRun, selection: Selection, options: Options, projection: Projection) -> str:
    parts = ["PCA of all tokens, all layers fitted together." if options["fit"] == "all" else "PCA of all tokens at this layer."]
    if options["scaling"] == "standardised":
        parts.append("Dimensions standardised.")
    parts.append(_first_token(projection))
    if selection.layer == run.model.layers - 1 and run.model.final_norm and options["at"] == "layer":
        before = "residual_final" in run.arrays
        parts.append("Before the final norm." if before else "Past the final norm.")
    if projection.approximate:
        parts.append("Components from a randomised solver.")
    return " ".join(parts)


def _first_token(projection: Projection) -> str:
    ratio = f"its norm is {projection.first_ratio:.0f}× the median"
    if not projection.left_out:
        return "All tokens kept." if projection.first_ratio <= OUTLIER else f"All tokens kept; beware the first: {ratio}."
    return (
        f"First token left out: {ratio if projection.first_ratio > OUTLIER else 'as chosen, or for its norm in another layer'}."
    )


def _variance(projection: Projection) -> list[Any]:
    numbers = [
        html.Span([f"PC {i + 1}", html.B(percent(share))], className="number") for i, share in enumerate(projection.explained)
    ]
    both = html.Span(["PC 1 + 2", html.B(percent(float(projection.explained[:2].sum())))], className="number last")
    return [html.Span("Explained variance", className="lead-in"), *numbers, both]


def _note(selection: Selection, projection: Projection) -> Any:
    if selection.token in projection.left_out:
        return html.P("The selected token is the one left out. Options can keep it.", className="note")
    return ()


def table(run: ModelRun, selection: Selection, options: Options, whole: bool) -> Table:
    embeddings = options["at"] == "embeddings"
    states = run.hidden_states[0] if embeddings else run.after_layer(selection.layer)
    place = "Embeddings, before layer 0" if embeddings else f"After layer {selection.layer}"
    return points_table(run.tokens, _projection(run, selection, options), states, place, marked(selection), whole)


VIEW = View(
    name="hidden",
    title="Hidden states",
    order=2,
    invitation=(
        "Run a text to see which tokens the model treats alike.",
        "Each token becomes a point at the chosen layer; near points have similar representations.",
    ),
    figure_reads=("run", "layer"),
    draw=draw,
    words=words,
    controls=CONTROLS,
    table=table,
)
