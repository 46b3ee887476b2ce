"""The queue: jobs, those who wait for them, and every transition between states, each in one transaction of the cache.

    submit ─► queued ─► running ─► done | failed
                 └─────────┴─────► cancelled        (nobody waits for it any more)

A job is named by its key: the same key asked for twice is one job with two subscriptions. A subscription holds a lease
that asking renews, so that a closed tab leaves by itself. What a job comes to is written into each subscription in the
same transaction, so everyone is told once it is known, whatever happens to the job's name afterwards.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from dashboard.contracts.job import JobSpec, Progress
from dashboard.errors import StorageError
from dashboard.jobs.cache import HealingCache, open_cache
from dashboard.jobs.ledger import Ledger
from dashboard.jobs.records import (
    FORGOTTEN,
    NO_WORKER,
    Claim,
    JobFailure,
    JobRecord,
    JobState,
    Outcome,
    Subscription,
    cancelled_outcome,
    done_outcome,
    error_outcome,
    overtime,
    worker_lost,
)
from dashboard.jobs.roster import Roster
from dashboard.settings import Settings

Verdict = JobFailure | Literal["leave", "stop"] | None


class JobQueue:
    """Safe for threads and processes; holds nothing itself but the cache. `roster` is the list of workers."""

    def __init__(self, cache: HealingCache, settings: Settings | None = None) -> None:
        self.cache, self.settings = cache, settings or Settings()
        self.ledger = Ledger(cache)
        self.roster = Roster(cache, self.settings)

    @classmethod
    def from_settings(cls, settings: Settings) -> JobQueue:
        """The queue of this server."""
        return cls(open_cache(settings.queue_folder), settings)

    # ---- those who wait ----------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, subscriber: str | None = None) -> str:
        """Wait for a job, which begins unless it is under way; returns the subscription's id."""
        subscriber = subscriber or uuid.uuid4().hex
        with self.ledger.change():
            self.ledger.put_payload(spec.key, spec.payload)
            self._join(subscriber, spec.key, spec.name)
        return subscriber

    def deliver(self, subscriber: str, outcome: Outcome, name: str = "") -> None:
        """Tell a subscriber at once, without any job."""
        self.ledger.put_subscription(subscriber, Subscription("", name, time.time(), outcome))

    def poll(self, subscriber: str) -> Outcome | None:
        """What became of the job, or None while that is open. Renews the lease and looks whether the job still lives.

        A disk that is full for a moment is waited for as long as the lease lasts.
        """
        found = self.ledger.subscription(subscriber)
        if found is None:
            return error_outcome(JobFailure(FORGOTTEN), subscriber)
        if found.outcome is None:
            try:
                self._renew(subscriber, found)
                self.check(found.job)
            except StorageError as error:
                lapsed = time.time() - found.renewed > self.settings.lease_seconds
                return error_outcome(JobFailure.of(error), subscriber, found.name, found.job) if lapsed else None
            found = self.ledger.subscription(subscriber) or found
        if found.outcome is not None and not found.delivered:
            with contextlib.suppress(StorageError):  # then it is told twice
                self.ledger.put_subscription(subscriber, replace(found, delivered=True))
        return found.outcome

    def drop(self, subscriber: str) -> None:
        """This one does not want it any more; the job goes on for others, else it stops."""
        with self.ledger.change():
            found = self.ledger.subscription(subscriber)
            if found is None or found.outcome is not None:
                return
            self.ledger.put_subscription(subscriber, replace(found, outcome=cancelled_outcome(found.name, subscriber, found.job)))
            record = self.ledger.job(found.job)
            if record is not None and record.active:
                others = tuple(other for other in record.subscribers if other != subscriber)
                left = record.cancel_at if self._any_live(others) else record.cancel_at or time.time()
                self.ledger.put_job(replace(record, subscribers=others, cancel_at=left))

    def progress(self, subscriber: str) -> dict[str, Any] | None:
        """Where the job is, for a person: phase, done, total, message, seconds; `ahead` while it is queued."""
        found = self.ledger.subscription(subscriber)
        record = self.ledger.job(found.job) if found is not None and found.outcome is None else None
        if record is None or not record.active:
            return None
        seconds = round(max(0.0, time.time() - (record.started or record.created)), 1)
        if record.state == "running":
            at = record.progress or Progress("load", message="Starting")
            return {"phase": at.phase, "done": at.done, "total": at.total, "message": at.message, "seconds": seconds}
        ahead, message = self._ahead(record.key)
        return {"phase": "queued", "done": 0, "total": 0, "message": message, "seconds": seconds, "ahead": ahead}

    # ---- workers -----------------------------------------------------------------------------------------------------

    def claim(self, worker: str) -> Claim | None:
        """Take the job that has waited longest and is still wanted."""
        if not self.ledger.board().queued:  # cheap, and asked fifty times a second
            return None
        with self.ledger.change():
            for key in self.ledger.board().queued:
                self.check(key)
                record = self.ledger.job(key)
                if record is None or record.state != "queued" or record.cancel_at is not None:
                    continue
                now = time.time()
                self.ledger.put_job(replace(record, state="running", worker=worker, started=now))
                self.ledger.move(key, to="running")
                self.roster.change(worker, state="busy", job=key, attempt=record.attempt)
                return Claim(JobSpec(record.name, key, self.ledger.payload(key) or {}), record.attempt)
        return None

    def report(self, claim: Claim, progress: Progress) -> bool:
        """Note where the job is; False where nobody waits for this attempt any more, and it should stop."""
        with self.ledger.change():
            record = self._wanted(claim.spec.key, claim.attempt)
            if record is not None:  # a download is no computing: the time that a run may take begins after it
                started = time.time() if progress.phase == "fetch" else record.started
                self.ledger.put_job(replace(record, progress=progress, started=started))
            return record is not None

    def finish(self, claim: Claim, result: str) -> None:
        """It is done; `result` is its artifact's key."""
        with self.ledger.change():
            record = self._running(claim.spec.key, claim.attempt)
            if record is not None:
                ended = self._end(record, "done", result=result)
                self._tell(ended, lambda subscriber: done_outcome(ended.name, result, subscriber))

    def fail(self, claim: Claim, failure: JobFailure) -> None:
        """It has no result."""
        with self.ledger.change():
            record = self._running(claim.spec.key, claim.attempt)
            if record is not None:
                self._fail(record, failure)

    def stopped(self, claim: Claim) -> None:
        """The worker has stopped because nobody waited; if someone has come since, it begins anew, first in the queue."""
        with self.ledger.change():
            record = self._running(claim.spec.key, claim.attempt)
            if record is None:
                return
            if record.cancel_at is None:
                self._begin(record.key, record.name, record.subscribers, record.attempt + 1, first=True)
            else:
                self._end(record, "cancelled")

    def lose_worker(self, worker: str, why: Callable[[JobRecord], JobFailure] = worker_lost) -> None:
        """A worker has gone: its job failed, and it leaves the roster."""
        with self.ledger.change():
            for key in self.ledger.board().running:
                record = self.ledger.job(key)
                if record is not None and record.worker == worker and record.state == "running":
                    self._fail(record, why(record))
            self.roster.remove(worker)

    # ---- watching ----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Look at every job: stop those nobody waits for, fail those whose worker is gone or whose time is up."""
        board = self.ledger.board()
        for key in (*board.running, *board.queued):
            self.check(key)

    def check(self, key: str) -> None:
        """Look at one job."""
        record = self.ledger.job(key)
        if record is None or self._verdict(record) is None:
            return
        with self.ledger.change():
            record = self.ledger.job(key)
            verdict = None if record is None else self._verdict(record)
            if record is None or verdict is None:
                return
            if verdict == "leave":
                self.ledger.put_job(replace(record, cancel_at=time.time()))
            elif verdict == "stop":
                self._end(record, "cancelled")
            else:
                self._fail(record, verdict)

    def is_wanted(self, key: str, attempt: int) -> bool:
        """Whether this attempt runs and someone waits for it."""
        return self._wanted(key, attempt) is not None

    def close(self) -> None:
        """Close this thread's connection."""
        self.cache.close()

    def _verdict(self, record: JobRecord) -> Verdict:
        """What is wrong with a job, if anything: why it failed, that nobody waits ("leave"), that it may go ("stop")."""
        now, settings = time.time(), self.settings
        if not record.active:
            return None
        if record.state == "running":
            if self.roster.is_gone(self.roster.get(record.worker)):
                return worker_lost(record)
            if now - (record.started or now) > settings.job_seconds:
                return overtime(record, settings.job_seconds)
        elif record.stopping(now):
            return "stop"
        elif now - record.created > settings.heartbeat_seconds and not self.roster.serving():
            return JobFailure(NO_WORKER)
        return "leave" if record.cancel_at is None and not self._any_live(record.subscribers) else None

    def _join(self, subscriber: str, key: str, name: str) -> None:
        record = self.ledger.job(key)
        if record is None or not record.active or (record.state == "running" and record.stopping(time.time())):
            self._begin(key, name, (subscriber,), 1 if record is None else record.attempt + 1)
        else:
            others = tuple(other for other in record.subscribers if other != subscriber)
            self.ledger.put_job(replace(record, subscribers=(*others, subscriber), cancel_at=None))
        self.ledger.put_subscription(subscriber, Subscription(key, name, time.time()))

    def _begin(self, key: str, name: str, subscribers: tuple[str, ...], attempt: int, first: bool = False) -> None:
        self.ledger.put_job(JobRecord(key, name, "queued", attempt, time.time(), subscribers))
        self.ledger.move(key, to="first" if first else "last")

    def _renew(self, subscriber: str, found: Subscription) -> None:
        """Renew the lease, if a fifth of it is over; whoever comes back after it lapsed waits again."""
        if 0 <= time.time() - found.renewed < self.settings.lease_seconds / 5:
            return
        with self.ledger.change():
            now_found = self.ledger.subscription(subscriber)
            if now_found is None or now_found.outcome is not None:
                return
            record = self.ledger.job(found.job)
            if record is None and self.ledger.payload(found.job) is None:
                outcome = error_outcome(JobFailure(FORGOTTEN), subscriber, found.name, found.job)
                self.ledger.put_subscription(subscriber, replace(now_found, outcome=outcome))
            elif not self._waits(subscriber, record):
                self._join(subscriber, found.job, found.name)
            else:
                self.ledger.put_subscription(subscriber, replace(now_found, renewed=time.time()))

    def _waits(self, subscriber: str, record: JobRecord | None) -> bool:
        """Whether the job is under way for this subscriber."""
        return record is not None and record.active and record.cancel_at is None and subscriber in record.subscribers

    def _any_live(self, subscribers: tuple[str, ...]) -> bool:
        found = (self.ledger.subscription(subscriber) for subscriber in subscribers)
        return any(abs(time.time() - one.renewed) <= self.settings.lease_seconds for one in found if one is not None)

    def _running(self, key: str, attempt: int) -> JobRecord | None:
        record = self.ledger.job(key)
        return record if record is not None and record.state == "running" and record.attempt == attempt else None

    def _wanted(self, key: str, attempt: int) -> JobRecord | None:
        record = self._running(key, attempt)
        return None if record is None or record.stopping(time.time()) else record

    def _fail(self, record: JobRecord, failure: JobFailure) -> None:
        state: JobState = "failed" if record.cancel_at is None else "cancelled"
        ended = self._end(record, state, error=failure.message, details=failure.details)
        self._tell(ended, lambda subscriber: error_outcome(failure, subscriber, ended.name, ended.key))

    def _end(self, record: JobRecord, state: JobState, **changes: Any) -> JobRecord:
        ended = replace(record, state=state, ended=time.time(), **changes)
        self.ledger.put_job(ended)
        self.ledger.move(record.key, to=None)
        return ended

    def _tell(self, record: JobRecord, outcome: Callable[[str], Outcome]) -> None:
        for subscriber in record.subscribers:
            found = self.ledger.subscription(subscriber)
            if found is not None and found.outcome is None:
                self.ledger.put_subscription(subscriber, replace(found, outcome=outcome(subscriber)))

    def _ahead(self, key: str) -> tuple[int, str]:
        """How many jobs come before this one, and the sentence about it."""
        board = self.ledger.board()
        ahead = len(board.running) + (board.queued.index(key) if key in board.queued else 0)
        if not any(worker.state != "starting" for worker in self.roster.live()):
            return ahead, "The worker is starting" if self.roster.serving() else "Waiting for a worker"
        if ahead:
            return ahead, f"Waiting for {ahead} {'run' if ahead == 1 else 'runs'} before this one"
        return 0, "Starting"


def status(queue: JobQueue) -> dict[str, Any]:
    """The workers in one word, for /health and for the page: {"worker", "models", "queue", "message"}."""
    live = queue.roster.live()
    states = {worker.state for worker in live}
    word = "none"
    for state, name in (("starting", "starting"), ("loading", "busy"), ("busy", "busy"), ("saving", "busy"), ("idle", "ready")):
        word = name if state in states else word
    models = sorted({model for worker in live for model in worker.models})
    message = next((worker.message for worker in live if worker.message), "" if live else NO_WORKER)
    return {"worker": word, "models": models, "queue": len(queue.ledger.board().queued), "message": message}
