"""The backend of a page whose models, if any, are in this process (a notebook): submitting a job computes it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from cachetools import FIFOCache

from dashboard.contracts.job import JobSpec
from dashboard.errors import DashboardError, unforeseen
from dashboard.jobs.backend import (
    NOTHING,
    Done,
    Failed,
    Health,
    Outcome,
    Standing,
    Underway,
    Watched,
    wanted,
    watched_as,
)
from dashboard.jobs.failure import FORGOTTEN, NO_WORKER, RESULT_FORGOTTEN, JobFailure
from dashboard.store.run_store import RunStore

log = logging.getLogger(__name__)
Compute = Callable[[JobSpec, RunStore], None]
MOST_KEPT = 1_000  # outcomes, and watchers


@dataclass
class _Kept:
    """An outcome, and whether it was delivered."""

    outcome: Outcome
    told: bool = False


class InProcessBackend:
    """`JobBackend` without queue or worker: every outcome is known at once, and is kept in memory.

    Nothing is ever under way between two calls, so there is nothing to report, to cancel or to share; only this process
    knows the outcomes.

    Args:
        compute: puts the artifact that a spec names into the store, or raises a `DashboardError` whose message the page
            shows.
    """

    def __init__(self, store: RunStore, compute: Compute) -> None:
        self._store, self._compute = store, compute
        self._outcomes: FIFOCache[str, _Kept] = FIFOCache(MOST_KEPT)
        # each watcher's keys, and the turn of that set
        self._watches: FIFOCache[str, tuple[tuple[str, ...], int]] = FIFOCache(MOST_KEPT)
        self._lock = threading.Lock()

    def submit(self, spec: JobSpec, subscriber: str, owner: str = "") -> None:
        self.deliver(subscriber, self._outcome(spec))

    def deliver(self, subscriber: str, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes[subscriber] = _Kept(outcome)

    def poll(self, subscriber: str) -> Outcome:
        return self._told_of(subscriber, Failed(JobFailure(FORGOTTEN)))

    def _told_of(self, subscriber: str, otherwise: Outcome) -> Outcome:
        with self._lock:
            kept = self._outcomes.get(subscriber)
            if kept is None:
                return otherwise
            kept.told = True
            return kept.outcome

    def progress(self, subscriber: str) -> Underway | None:
        return None

    def standing(self, subscriber: str) -> Standing:
        with self._lock:
            kept = self._outcomes.get(subscriber)
            if kept is None:
                return "unknown"
            return "told" if kept.told else "known"

    def cancel(self, subscriber: str) -> None:
        return None

    def watch(
        self,
        watcher: str,
        specs: Iterable[JobSpec],
        owner: str = "",
        again: Collection[str] = (),
        turn: int = 0,
        refused: Mapping[str, Failed] = NOTHING,
    ) -> Watched:
        chosen = wanted(specs)
        with self._lock:
            before, known = self._watches.get(watcher, ((), turn))
            if turn < known:
                chosen, refused = {}, NOTHING
            else:
                self._watches[watcher] = tuple({**chosen, **refused}), turn
        for key, spec in chosen.items():
            subscriber = watched_as(watcher, key)
            if key not in before or key in again or self.standing(subscriber) == "unknown":
                self.submit(spec, subscriber, owner)
        for key, why in refused.items():
            self.deliver(watched_as(watcher, key), why)
        return self.watched(watcher) or {}

    def watched(self, watcher: str) -> Watched | None:
        with self._lock:
            keys = self._watches.get(watcher, (None, 0))[0]
        lost = Failed(JobFailure(RESULT_FORGOTTEN))
        return None if keys is None else {key: self._told_of(watched_as(watcher, key), lost) for key in keys}

    def health(self) -> Health:
        return Health("none", message=NO_WORKER)

    def close(self) -> None:
        return None

    def _outcome(self, spec: JobSpec) -> Outcome:
        try:
            if not self._store.is_current(spec.artifact):
                self._compute(spec, self._store)
        except DashboardError as error:
            return Failed.of(error, spec.name, spec.key)
        except Exception as error:
            log.exception("a computation for a page failed")
            return Failed(JobFailure(unforeseen(error), "", type(error).__name__, retry=False), spec.name, spec.key)
        return Done(spec.name, spec.artifact)
