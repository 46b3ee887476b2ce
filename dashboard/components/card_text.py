"""What stands around a view's figure, as a Dash component, so that callbacks give a card its text."""

from __future__ import annotations

from typing import Any

from dash.development.base_component import Component


class CardText(Component):
    """Writes a view's heading, body and footer into its card (assets/45-build.js); shows nothing by itself.

    Texts travel as plain trees (dashboard/markup.py) and not as components: Dash would have to know each of them.

    Args:
        id: of the component.
        words: what `/show/words/VIEW` answers (dashboard/pictures.py); None for the card's invitation.
    """

    _children_props: list[str] = []  # noqa: RUF012 - as Dash declares them
    _base_nodes = ["children"]  # noqa: RUF012
    _namespace = "dashboard_components"
    _type = "CardText"

    def __init__(self, id: str, words: dict[str, Any] | None = None) -> None:
        self._prop_names = ["id", "words"]
        self._valid_wildcard_attributes: list[str] = []
        self.available_properties = self._prop_names
        self.available_wildcard_properties: list[str] = []
        super().__init__(id=id, words=words)
