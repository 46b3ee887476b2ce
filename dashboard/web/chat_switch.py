"""The switch that makes the text a chat message, for models with a chat template (assets/state/chat-switch.js)."""

from __future__ import annotations

from dash import html

from dashboard.components import ids
from dashboard.components.markup import attributes, frozen

NAME = "As a chat message"
MEANING = (
    "The model reads your text as a user’s message in its own chat template, up to where its answer begins. The "
    "template may add more, such as a system message: the tokens below show all of it."
)


def chat_switch() -> html.Button:
    """The switch, hidden until a model with a chat template is chosen."""
    state = attributes(aria_checked="false", aria_describedby=ids.CHAT_HELP)
    title = "Read the text as a user’s message in the model’s chat template"
    return html.Button(
        NAME, id=ids.CHAT_BOX, className="tick", type="button", role="checkbox", hidden=True, title=title, **state
    )


def chat_help() -> html.P:
    """What the switch does, while it is on."""
    return html.P(id=ids.CHAT_HELP, className="caption chat-help", hidden=True, **frozen(MEANING))
