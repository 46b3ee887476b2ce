"""The cards of the page: each holds several views as tabs, and one card has the large slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.contracts.run import ModelRun
from dashboard.views.controls import Choice
from dashboard.views.declaration import CARDS, View

LARGE = "large"  # address parameter: which card has the large slot


@dataclass(frozen=True)
class Card:
    """A card with its tabs in order; the first is open until the visitor chooses another."""

    name: str
    title: str
    views: tuple[View, ...]

    def opens(self, run: ModelRun) -> str:
        """The name of the tab that is open when the card first shows a run."""
        return next((view.name for view in self.views if view.opens and view.opens(run)), self.views[0].name)

    @property
    def tabs(self) -> Choice:
        """Which tab is open; the address parameter is the card's name."""
        return Choice(
            self.name, f"Tab of {self.title}", tuple((view.name, view.tab or view.title) for view in self.views)
        )


def cards_of(views: Sequence[View]) -> tuple[Card, ...]:
    """Every card that has a view, in page order."""
    cards = (Card(name, title, tuple(view for view in views if view.card == name)) for name, title in CARDS.items())
    return tuple(card for card in cards if card.views)


def opening_tabs(views: Sequence[View], run: ModelRun) -> dict[str, str]:
    """The tabs that a run opens with, by card: only those that are not the card's first."""
    return {card.name: tab for card in cards_of(views) if (tab := card.opens(run)) != card.tabs.default}


def large_of(cards: Sequence[Card]) -> Choice:
    """Which card has the large slot."""
    return Choice(LARGE, "Large card", tuple((card.name, card.title) for card in cards))
