"""Background callbacks without a worker: what a page asks for is computed in this process, in the request that asks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from dashboard.contracts.job import JobSpec
from dashboard.errors import DashboardError, unforeseen
from dashboard.jobs.manager import Builder, ResidentWorkerManager
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import JobFailure, Outcome, done_outcome, error_outcome
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore

log = logging.getLogger(__name__)
Compute = Callable[[JobSpec, RunStore], None]


class InProcessManager(ResidentWorkerManager):
    """For a page whose models, if any, are in this process (a notebook): every outcome is known at once.

    Args:
        compute: leaves the artifact that a spec names in the store, or raises a `DashboardError` whose sentence the page shows.
    """

    def __init__(self, queue: JobQueue, store: RunStore, settings: Settings, compute: Compute) -> None:
        super().__init__(queue, store, settings)
        self.compute = compute

    def _begin(self, key: str, job_fn: Builder, args: Any) -> str:
        outcome, spec = self._build(key, job_fn, args)
        if outcome is None and spec is not None:
            outcome = self._outcome(spec, key)
        if outcome is not None:
            self.queue.deliver(key, outcome)
        return key

    def _outcome(self, spec: JobSpec, serial: str) -> Outcome:
        try:
            if not self.store.is_current(spec.key):
                self.compute(spec, self.store)
        except DashboardError as error:
            return error_outcome(JobFailure.of(error), serial, spec.name, spec.key)
        except Exception as error:
            log.exception("a computation for a page failed")
            return error_outcome(
                JobFailure(unforeseen(error), "", type(error).__name__, retry=False), serial, spec.name, spec.key
            )
        return done_outcome(spec.name, spec.key, serial)
