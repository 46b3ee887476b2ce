"""The whole view state as one value: the selection, open tabs, and every view's options, as in the address bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboard.components import ids
from dashboard.contracts.selection import Selection
from dashboard.views.cards import LARGE, cards_of, large_of
from dashboard.views.controls import Control
from dashboard.views.declaration import CARDS, View

MOVED = {  # choices of earlier versions that are tabs today: what an address said → what it says today
    ("hidden-draw", "path"): {"hidden": "path"},
}
MOVED_WITH = {
    ("hidden", "path"): ("axes", "at", "scaling", "first", "show")
}  # tabs that kept the options of the view that they used to be a choice of


@dataclass(frozen=True)
class Setting:
    """A setting besides the selection.

    Attributes:
        id, property: the component that holds it. name: its address parameter. control: the values it may have.
        title: of the card or view that it belongs to.
    """

    id: str
    property: str
    name: str
    control: Control
    title: str


def settings_of(views: Sequence[View]) -> list[Setting]:
    """Every control of every view, every card's open tab, and which card is large."""
    cards = cards_of(views)
    controls: dict[str, tuple[str, Control]] = {}
    for view in views:
        for control in view.controls:  # a shared one is declared by several views
            title = CARDS[view.card] if control.shared else view.title
            controls.setdefault(view.setting(control), (title, control))
    return [
        *(Setting(name, "value", name, control, title) for name, (title, control) in controls.items()),
        *(Setting(ids.tabs_id(card.name), "active_tab", card.name, card.tabs, card.title) for card in cards),
        Setting(ids.LARGE, "data", LARGE, large_of(cards), "The page"),
    ]


def todays(query: Mapping[str, object], views: Sequence[View]) -> dict[str, object]:
    """A query in today's terms, converted from what earlier versions wrote."""
    found = dict(query)
    names = {view.name for view in views}
    for (name, value), means in MOVED.items():
        if found.get(name) != value or not names.issuperset(means.values()):
            continue
        del found[name]
        for card, view in means.items():
            found.setdefault(card, view)
            for option in MOVED_WITH.get((card, view), ()):
                if f"{card}-{option}" in found:
                    found.setdefault(ids.control_id(view, option), found.pop(f"{card}-{option}"))
    return found


def options_in(raw: Mapping[str, object], views: Sequence[View]) -> tuple[dict[str, Any], list[str]]:
    """The value of every setting in an address, by name, and a sentence for each invalid value.

    Args:
        raw: the address bar's values; anything else in it is ignored.
    """
    query = todays(raw, views)
    found, problems = {}, []
    for setting in settings_of(views):
        control, name = setting.control, setting.name
        found[name] = control.parse(query.get(name))
        if name in query and not control.takes(query[name]):
            problems.append(
                f"The address asks for “{str(query[name])[:40]}” in {setting.title}, {control.label}, which is not an "
                f"option there; “{control.words(found[name])}” is shown."
            )
    return found, problems


@dataclass(frozen=True)
class ViewState:
    """What one person is looking at.

    Attributes:
        selection: run, token, layer, head and second token.
        options: by view name and control name, the chosen value.
        tabs: by card name, the open view; by default the first. large: the card in the large slot.
    """

    selection: Selection
    options: Mapping[str, Mapping[str, Any]]
    tabs: Mapping[str, str] = field(default_factory=dict)
    large: str = "attention"

    @classmethod
    def from_query(cls, raw: Mapping[str, str], views: Sequence[View]) -> ViewState:
        """The state that an address names: the selection's fields, and `<view>-<control>`, `<card>` and `large` if they
        differ from their defaults. An unknown choice becomes the default.

        Raises:
            BadSelectionError: it does not say which run it belongs to, or an index is not a number.
        """
        query = todays(raw, views)
        options = {view.name: view.options_in(query) for view in views}
        cards = cards_of(views)
        tabs = {card.name: card.tabs.parse(query.get(card.name)) for card in cards}
        return cls(Selection.from_json(query), options, tabs, large_of(cards).parse(query.get(LARGE)))

    def slot_of(self, view: View) -> str:
        """The slot that a view's card is in."""
        return "large" if view.card == self.large else "small"

    def open_views(self, views: Sequence[View]) -> list[View]:
        """The open tab of each card."""
        return [
            view
            for card in cards_of(views)
            for view in card.views
            if view.name == self.tabs.get(card.name, card.tabs.default)
        ]

    def to_query(self, views: Sequence[View]) -> dict[str, str]:
        """The address of this state, with only what differs from the defaults."""
        query = self.selection.to_query()
        values = {
            view.setting(control): self.options[view.name][control.name]
            for view in views
            if view.name in self.options
            for control in view.controls
            if control.name in self.options[view.name]
        }
        values |= {**self.tabs, LARGE: self.large}
        for setting in settings_of(views):
            value = values.get(setting.name, setting.control.default)
            if value != setting.control.default:
                query[setting.name] = setting.control.text(value)
        return query
