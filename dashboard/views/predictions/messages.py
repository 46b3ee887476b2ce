"""What the prediction views say in place of a figure."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.views.declaration import waits

READS_MASKED = "The model reads the text once more, with this token masked."


def no_predictions(run: ModelRun) -> list[Any]:
    """The message for a run of a model that has no token predictions."""
    there = "Attention and hidden states are available."
    if run.class_head is not None:
        there = "The Classes tab shows its classes. Attention and hidden states are available, too."
    return [html.B(run.without_predictions), html.P(there)]


def being_computed(request: DerivedRequest, how: str = READS_MASKED) -> html.Div:
    """The message while a worker computes the result of one position."""
    return html.Div([html.B("Computing this position …"), html.P(how)], **waits(request))
