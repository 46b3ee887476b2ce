"""The source of what views show: runs and their existing derived results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.views.declaration import View
from dashboard.views.state import ViewState


class Library(Protocol):
    """Runs and their derived results: a server's store, or what a command has computed."""

    def run_of(self, selection: Selection) -> ModelRun:
        """The selection's run, checked to have every location that the selection names.

        Raises:
            DashboardError: there is no such run or location.
        """

    def results_of(self, run: ModelRun, requests: Iterable[DerivedRequest]) -> Mapping[str, Derived]:
        """The existing ones among these results, by the name of their request."""

    def kept_of(self, run: ModelRun, requests: Iterable[DerivedRequest]) -> Mapping[str, Derived]:
        """The same for results that nobody should compute if they are missing."""


def context_of(view: View, state: ViewState, library: Library) -> Context:
    """All that a view may look at in this state, with the existing ones of the results that it needs."""
    selection = state.selection
    context = Context(library.run_of(selection), selection, state.options[view.name], slot=state.slot_of(view))
    used = library.kept_of(context.run, view.uses(context)) if view.uses else {}
    context = replace(context, results=used)
    wanted = [request for request in view.wanted(context) if request.name not in used]
    return replace(context, results={**used, **library.results_of(context.run, wanted)}) if wanted else context
