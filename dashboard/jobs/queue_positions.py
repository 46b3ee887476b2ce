"""A job's position in the queue, and the state of the workers, for a person. Reads only, changes nothing."""

from __future__ import annotations

import time

from dashboard.contracts.job import Progress, Rank
from dashboard.jobs.backend import Health, Underway
from dashboard.jobs.board import counted
from dashboard.jobs.failure import NO_WORKER
from dashboard.jobs.job_table import JobTable
from dashboard.jobs.records import JobRecord
from dashboard.jobs.workers import WorkerTable

WORDS = (("starting", "starting"), ("loading", "busy"), ("busy", "busy"), ("saving", "busy"), ("idle", "ready"))


class QueuePositions:
    """Reads jobs and workers through their tables."""

    def __init__(self, job_table: JobTable, worker_table: WorkerTable) -> None:
        self._ledger, self._roster = job_table, worker_table

    def of(self, record: JobRecord) -> Underway:
        """Return the progress of an active job; while it waits for a preparation, that of the preparation."""
        seconds = round(max(0.0, time.time() - (record.started or record.created)), 1)
        record = self._preparation_of(record) or record
        if record.state == "running":
            return self._resting(record, seconds) or Underway(
                record.progress or Progress("load", message="Starting"), seconds
            )
        ahead, message = self._ahead(record)
        return Underway(Progress("queued", message=message), seconds, ahead)

    def health(self) -> Health:
        """Return the state of the workers in one word, and how many jobs wait."""
        live = self._roster.live()
        states = {worker.state for worker in live}
        word = "none"
        for state, name in WORDS:
            word = name if state in states else word
        models = tuple(sorted({model for worker in live for model in worker.models}))
        message = next((worker.message for worker in live if worker.message), "" if live else NO_WORKER)
        if word == "none" and self._roster.supervised():  # its worker died or froze, and is being replaced
            word, message = "starting", "Starting the worker"
        devices = tuple(sorted({worker.device for worker in live} - {""}))
        return Health(word, models, len(self._ledger.board().waiting), message, devices)

    def _preparation_of(self, record: JobRecord) -> JobRecord | None:
        """Return the preparation that a job waits for."""
        found = None if record.needs is None else self._ledger.job(record.needs["key"])
        return found if found is not None and found.active else None

    def _ahead(self, record: JobRecord) -> tuple[int, str]:
        """Return how many jobs come before this one, and the sentence about it."""
        first = self._before(record)
        ahead = len(first)
        if not any(worker.state != "starting" for worker in self._roster.live()):
            return ahead, "The worker is starting" if self._roster.serving() else "Waiting for a worker"
        if record.lane == "prepare":
            return ahead, "Waiting for other downloads" if ahead else "Starting"
        if ahead:
            return ahead, f"Waiting for {counted(first)} before this one"
        return 0, "Starting"

    def _resting(self, record: JobRecord, seconds: float) -> Underway | None:
        """Return the progress of a job that lets others go first."""
        first = [] if record.resting is None else self._before(record)
        message = f"Waiting for {counted(first)} before this one goes on"
        return Underway(Progress("queued", message=message), seconds, len(first)) if first else None

    def _before(self, record: JobRecord) -> list[Rank]:
        """Return the ranks of the jobs that come before this one, which waits or rests."""
        board = self._ledger.board(record.lane)
        others = [one for one in map(self._ledger.job, board.running) if one is not None and one.key != record.key]
        running = [one.rank for one in others if _goes_before(one, record)]
        ranks = {job.key: job.rank for job in board.waiting}
        queued = board.queued
        if record.state == "running":
            return [*running, *(ranks[key] for key in queued if ranks[key] < record.rank)]
        return [*running, *(ranks[key] for key in queued[: queued.index(record.key) if record.key in queued else 0])]


def _goes_before(running: JobRecord, record: JobRecord) -> bool:
    """Whether a running job comes before one that waits or rests; False if it is itself the resting job."""
    if record.state == "running":
        return running.rank < record.rank
    return running.resting is None or running.rank <= record.rank
