"""What is wrong with a job, if anything. Reads only, changes nothing."""

from __future__ import annotations

import time
from typing import Literal

from dashboard.jobs.failure import NO_WORKER, NO_WORKER_FOR_RESULT, JobFailure, is_result
from dashboard.jobs.records import JobRecord, WorkerRecord, overtime, worker_lost
from dashboard.jobs.transitions import Transitions
from dashboard.jobs.workers import WorkerTable
from dashboard.settings import Settings

Verdict = JobFailure | Literal["leave", "stop", "again"] | None
MOST_ATTEMPTS = 3  # at one job, if server after server ends while computing it


class Verdicts:
    """Judges jobs through the table of workers and the steps of the queue."""

    def __init__(self, step: Transitions, worker_table: WorkerTable, settings: Settings) -> None:
        self._step, self._roster, self._settings = step, worker_table, settings

    def on(self, record: JobRecord) -> Verdict:
        """Return why a job failed; "leave" if nobody waits for it; "stop" if it may end; "again" if another server's
        worker must do it; None if it goes on or has ended."""
        now, settings = time.time(), self._settings
        if not record.active:
            return None
        if record.state == "running":
            worker = self._roster.get(record.worker)
            if self._roster.is_gone(worker):
                return self._on_loss(record, worker)
            if record.resting is None and now - (record.started or now) > settings.job_seconds:
                return overtime(record, settings.job_seconds)
        elif record.stopping(now):
            return "stop"
        elif not self._roster.serving() and now - record.created > settings.heartbeat_seconds:
            return JobFailure(NO_WORKER_FOR_RESULT if is_result(record.name) else NO_WORKER)
        return "leave" if record.cancel_at is None and not self._step.is_awaited(record) else None

    def goes_on(self, record: JobRecord, worker: WorkerRecord | None) -> bool:
        """Whether a worker of another server can redo a job whose own server ended."""
        return record.cancel_at is None and record.attempt < MOST_ATTEMPTS and self._roster.supervised(but=worker)

    def _on_loss(self, record: JobRecord, worker: WorkerRecord | None) -> Verdict:
        """Judge a running job whose worker is gone.

        If its supervisor is alive, it will report the loss itself in a moment.
        """
        if worker is None:
            return worker_lost(record)
        if self._roster.has_supervisor(worker):
            return worker_lost(record) if self._roster.is_silent(worker) else None
        return "again" if self.goes_on(record, worker) else worker_lost(record)
