"""What callbacks and routes read: runs, models, settings, and the visitors' lists."""

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
    """Runs, models, settings, and where there are any, the visitors' lists of runs."""

    settings: Settings
    store: RunStore
    catalog: Catalog
    visitors: VisitorLists | None = None

    def opened(self, key: str) -> str:
        """Note that this request's visitor has opened a run; gives their name for it. What fails here fails no run."""
        visitor = None if self.visitors is None else self.visitors.visitor_in(ctx.cookies or {})
        if self.visitors is None or visitor is None:
            return ""
        try:
            return self.visitors.opened(visitor, key).name
        except OSError:  # the disk is full, perhaps
            log.exception("a visitor's list of runs cannot be kept")
            return ""

    def run_of(self, selection: Selection) -> ModelRun:
        """The selection's run.

        Raises:
            RunNotFoundError: it is not there. BadSelectionError: it has no such token, layer or head.
            ReplacedRunError: it was computed again since the page that asks has opened it.
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
    """Call a function; an error is its sentence (`said`), and one that nobody foresaw is logged.

    Raises:
        ReplacedRunError: a run was computed again; nothing of the new one may be shown beside what there is.
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
