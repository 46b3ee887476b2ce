"""A tab's content as a Dash component, so that callbacks can set its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash.development.base_component import Component

from dashboard.components.markup import Plain


class ViewPanel(Component):
    """A view's heading, options and figure, with the text around it (assets/components/panels.js).

    Its parts and text are plain trees (dashboard/components/markup.py) instead of components, because Dash would check
    each component on every change. The options are components, created when their menu is first opened.

    Args:
        children: the view's graph, and anything above it.
        options: the components in the menu *Options*.
        id: of the component. view: the view's name. tab: the id of its tab.
        parts: the trees that are there from the start, by slot: heading, beside, above, body, export.
        words: the answer of `/show/words/VIEW` (dashboard/web/routes/figures.py); None for the card's invitation.
        grid: the component of a long table in place of the figure; the browser sets it when the first is shown
            (assets/components/long-tables.js).
    """

    _children_props: list[str] = ["options", "grid"]  # noqa: RUF012 - as Dash declares them
    _base_nodes = ["options", "grid", "children"]  # noqa: RUF012
    _namespace = "dashboard_components"
    _type = "ViewPanel"

    def __init__(
        self,
        children: Sequence[Component],
        options: Sequence[Component],
        id: str,
        view: str,
        tab: str,
        parts: dict[str, list[Plain]],
        words: dict[str, Any] | None = None,
        grid: Component | None = None,
    ) -> None:
        self._prop_names = ["children", "options", "id", "view", "tab", "parts", "words", "grid"]
        self._valid_wildcard_attributes: list[str] = []
        self.available_properties = self._prop_names
        self.available_wildcard_properties: list[str] = []
        more = {} if grid is None else {"grid": grid}
        super().__init__(
            children=list(children), options=list(options), id=id, view=view, tab=tab, parts=parts, words=words, **more
        )
