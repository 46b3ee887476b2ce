"""The whole view state as one value: the selection and every view's options, as the address bar holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard import ids
from dashboard.contracts.selection import Selection
from dashboard.views.declaration import Control, View


def controls_of(views: Sequence[View]) -> list[tuple[str, Control]]:
    """Every control of every view with its id, in the order of the cards."""
    return [(ids.control_id(view.name, control.name), control) for view in views for control in view.controls]


def options_in(query: Mapping[str, object], views: Sequence[View]) -> tuple[dict[str, str], list[str]]:
    """What an address says of every control, by the control's id, and a sentence for each choice that it does not have.

    Args:
        query: the address bar's values; whatever else it holds is not looked at.
    """
    found, problems = {}, []
    for view in views:
        for control in view.controls:
            name = ids.control_id(view.name, control.name)
            found[name] = control.parse(query.get(name))
            if name in query and query[name] != found[name]:
                asked, shown = str(query[name])[:40], dict(control.choices)[found[name]]
                problems.append(
                    f"The address asks for “{asked}” in {view.title}, {control.label}, which is not one of its choices; "
                    f"“{shown}” is shown."
                )
    return found, problems


@dataclass(frozen=True)
class ViewState:
    """What one person looks at.

    Attributes:
        selection: run, token, layer, head and second token.
        options: per view's name, per control's name, the chosen value.
    """

    selection: Selection
    options: Mapping[str, Mapping[str, str]]

    @classmethod
    def from_query(cls, query: Mapping[str, str], views: Sequence[View]) -> ViewState:
        """The state that an address names: the selection's fields, and `<view>-<control>` where a control is not at its
        default. An unknown choice is the default.

        Raises:
            BadSelectionError: it names no run, or a place is not a number.
        """
        options = {
            view.name: view.options(tuple(query.get(ids.control_id(view.name, control.name)) for control in view.controls))
            for view in views
        }
        return cls(Selection.from_json(query), options)

    def to_query(self, views: Sequence[View]) -> dict[str, str]:
        """The address of this state; only what differs from the defaults."""
        query = self.selection.to_query()
        for view in views:
            for control in view.controls:
                value = self.options[view.name][control.name]
                if value != control.default:
                    query[ids.control_id(view.name, control.name)] = value
        return query
