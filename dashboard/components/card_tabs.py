"""A card's row of tabs, as a Dash component whose `active_tab` callbacks read and write."""

from __future__ import annotations

from collections.abc import Sequence

from dash.development.base_component import Component


class CardTabs(Component):
    """A row of tab buttons, one of them open, and a panel per tab, created when it is first opened
    (assets/components/card-tabs.js).

    A panel that does not exist yet costs nothing: on every change, Dash asks each component on the page whether the
    change concerns it.

    The tabs of dash-bootstrap-components point to panels that do not exist and cannot be moved through by keyboard;
    those of dash.dcc have no roles and cannot take the focus (docs/decisions/033).

    Args:
        children: the panels, in the order of the tabs. options: the fields of what the tabs share, which stand in the
            options of the open one.
        id: of the row. label: the row's accessible name.
        tabs: each with `id`, `value`, `label` and `panel`, the id of its panel. active_tab: the open tab's value.
    """

    _children_props: list[str] = ["options"]  # noqa: RUF012 - as Dash declares them
    _base_nodes = ["options", "children"]  # noqa: RUF012
    _namespace = "dashboard_components"
    _type = "CardTabs"

    def __init__(
        self,
        children: Sequence[Component],
        id: str,
        label: str,
        tabs: Sequence[dict[str, str]],
        active_tab: str,
        options: Sequence[Component] = (),
    ) -> None:
        self._prop_names = ["children", "id", "label", "tabs", "active_tab", "options"]
        self._valid_wildcard_attributes: list[str] = []
        self.available_properties = self._prop_names
        self.available_wildcard_properties: list[str] = []
        given = {"id": id, "label": label, "tabs": list(tabs), "active_tab": active_tab, "options": list(options)}
        super().__init__(children=list(children), **given)
