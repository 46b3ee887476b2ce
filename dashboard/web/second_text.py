"""The second text box, for models that take pairs (assets/state/text-boxes.js shows it)."""

from __future__ import annotations

from dash import dcc, html

from dashboard.components import ids
from dashboard.components.markup import frozen

ADD, NAME, REMOVE = "Add a second text", "Second text", "Remove"


def second_composer() -> html.Div:
    """The box, hidden until somebody asks for it or a run has two texts."""
    text = dcc.Textarea(
        id=ids.TEXT_PAIR, value="", placeholder="The text to pair with it", rows=1, spellCheck=False, className="text"
    )
    side = html.Div(
        className="composer-side",
        **frozen(
            html.Button("Edit", id=ids.EDIT_PAIR, className="quiet", hidden=True),
            html.Button(REMOVE, id=ids.REMOVE_PAIR, className="quiet", title="Run the first text alone"),
        ),
    )
    label = html.Label(NAME, htmlFor=ids.TEXT_PAIR, className="visually-hidden")
    return html.Div([label, text, side], className="composer", id=ids.SECOND_COMPOSER, hidden=True)


def add_button() -> html.Button:
    """The control that opens the box, shown for models that take pairs."""
    title = "This model also reads pairs: a question and its context, a premise and a hypothesis"
    return html.Button(ADD, id=ids.ADD_PAIR, className="quiet", hidden=True, title=title)
