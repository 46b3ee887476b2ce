"""The services that callbacks and routes use: runs, models, settings, and the visitors' lists."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from dash import ctx

from dashboard.catalog.catalog import Catalog
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import DashboardError, ReplacedRunError, said
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """Runs, models, settings and, if the server has visitors, their lists of runs."""

    settings: Settings
    store: RunStore
    catalog: Catalog
    visitors: VisitorLists | None = None

    def opened(self, key: str) -> str:
        """Record that this request's visitor has opened a run, and return their name for it. Errors here never fail a
        run."""
        visitor = None if self.visitors is None else self.visitors.visitor_in(ctx.cookies or {})
        if self.visitors is None or visitor is None:
            return ""
        try:
            return self.visitors.opened(visitor, key).name
        except OSError:  # perhaps the disk is full
            log.exception("a visitor's list of runs cannot be kept")
            return ""

    def run_of(self, selection: Selection) -> ModelRun:
        """The selection's run.

        Raises:
            RunNotFoundError: there is no such run. BadSelectionError: it has no such token, layer or head.
            ReplacedRunError: it was computed again after the requesting page opened it.
        """
        run = self.store.open(selection.run)
        selection.checked(run)
        return run

    def results_of(self, run: ModelRun, requests: Iterable[DerivedRequest]) -> dict[str, Derived]:
        """Those of the derived results that are in the store, by the name of their request."""
        found = {request.name: self.store.derived(request, run.stamp) for request in requests}
        return {name: result for name, result in found.items() if result is not None}

    kept_of = results_of


def guarded(function: Callable[[], T]) -> tuple[T | None, str | None]:
    """Call a function and turn an error into its sentence (`said`); unexpected errors are logged.

    Raises:
        ReplacedRunError: a run was computed again; nothing of the new one may be shown beside the old one.
    """
    try:
        return function(), None
    except ReplacedRunError:
        raise
    except DashboardError as error:
        return None, said(error)
    except Exception as error:
        log.exception("a view failed")
        return None, said(error)
