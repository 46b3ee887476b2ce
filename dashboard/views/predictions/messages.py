"""What the views of predictions say in place of a figure."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.views.declaration import waits

READS_MASKED = "The model reads the text once more, with this token masked."


def no_predictions(run: ModelRun) -> list[Any]:
    """For a run of a model that predicts no tokens."""
    return [html.B(run.without_predictions), html.P("Attention and hidden states are available.")]


def being_computed(request: DerivedRequest, how: str = READS_MASKED) -> html.Div:
    """While the result of one position is being computed."""
    return html.Div([html.B("Computing this position …"), html.P(how)], **waits(request))
