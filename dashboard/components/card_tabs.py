"""A card's row of tabs, as a Dash component whose `active_tab` callbacks read and write."""

from __future__ import annotations

from collections.abc import Sequence

from dash.development.base_component import Component


class CardTabs(Component):
    """Buttons in a row, one of which is open, and the panel of each; a panel is made when it is first open
    (assets/components/card-tabs.js).

    What is not made costs nothing: at each change of anything, Dash asks every component on the page whether it
    concerns it.

    The tabs of dash-bootstrap-components name panels that do not exist and cannot be gone through by key, and those of
    dash.dcc have no roles and cannot take the focus (docs/decisions/033).

    Args:
        children: the panels, in the order of the tabs.
        id: of the row. label: what it is called by who does not see it.
        tabs: each with `id`, `value`, `label` and `panel`, the id of what it shows. active_tab: the open tab's value.
    """

    _children_props: list[str] = []  # noqa: RUF012 - as Dash declares them
    _base_nodes = ["children"]  # noqa: RUF012
    _namespace = "dashboard_components"
    _type = "CardTabs"

    def __init__(
        self, children: Sequence[Component], id: str, label: str, tabs: Sequence[dict[str, str]], active_tab: str
    ) -> None:
        self._prop_names = ["children", "id", "label", "tabs", "active_tab"]
        self._valid_wildcard_attributes: list[str] = []
        self.available_properties = self._prop_names
        self.available_wildcard_properties: list[str] = []
        super().__init__(children=list(children), id=id, label=label, tabs=list(tabs), active_tab=active_tab)
