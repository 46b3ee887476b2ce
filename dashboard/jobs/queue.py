"""The queue: jobs, their subscribers, and every transition between states, each in one transaction of the cache.

    submit ─► queued ─► running ─► done | failed
                 └─────────┴─────► cancelled        (nobody waits for it any more)

There are two lanes, each with its own workers. A job whose model is not ready waits for a job in the lane "prepare", as
a page would; then it takes its turn in the lane "compute".

A job is named by its key: two requests for the same key are one job with two subscriptions. A subscription holds a
lease that each poll renews, so that a closed tab drops out by itself. The transaction that ends a job also writes its
outcome into each subscription, so everyone learns it once it is known, whatever happens to the job's name afterwards.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from dashboard.contracts.job import JobSpec, Lane, Progress, Rank
from dashboard.errors import JobCancelledError, StorageError
from dashboard.jobs.backend import Failed, Health, Standing, Underway
from dashboard.jobs.cache import HealingCache, open_cache
from dashboard.jobs.failure import CANCELLED, FORGOTTEN, RESULT_CANCELLED, RESULT_FORGOTTEN, JobFailure, is_result
from dashboard.jobs.job_table import BOARDS, JobTable
from dashboard.jobs.queue_positions import QueuePositions
from dashboard.jobs.queue_room import check_room
from dashboard.jobs.records import Claim, JobRecord, Subscription, Told, worker_lost
from dashboard.jobs.transitions import Transitions
from dashboard.jobs.verdicts import Verdicts
from dashboard.jobs.workers import WorkerTable
from dashboard.settings import Settings


class JobQueue:
    """Thread-safe and process-safe; its only state is the cache. `worker_table` is the list of workers."""

    def __init__(self, cache: HealingCache, settings: Settings | None = None) -> None:
        self.cache, self.settings = cache, settings or Settings()
        self.job_table = JobTable(cache)
        self.worker_table = WorkerTable(cache, self.settings)
        self._step = Transitions(self.job_table, self.settings)
        self._verdicts = Verdicts(self._step, self.worker_table, self.settings)
        self._positions = QueuePositions(self.job_table, self.worker_table)

    @classmethod
    def from_settings(cls, settings: Settings) -> JobQueue:
        """Open the queue of this server."""
        return cls(open_cache(settings.queue_folder), settings)

    # ---- subscribers -------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, subscriber: str | None = None, owner: str = "") -> str:
        """Wait for a job, starting it unless it is under way; return the subscription's id.

        Args:
            owner: the visitor who asks; "" has no name and no limit of its own.

        Raises:
            QueueFullError: this visitor, or all together, have as many jobs or bytes waiting as the settings allow.
        """
        subscriber, size = subscriber or uuid.uuid4().hex, len(json.dumps(spec.payload))
        self.job_table.shed()
        with self.job_table.change():
            record = self.job_table.job(spec.key)
            if record is None or self._adds(record, owner):
                check_room(self.job_table.board(), self.settings, spec, owner, size)
            if record is None or record.state != "running":
                self.job_table.put_payload(spec.key, spec.payload)
            subscription = Subscription(spec.key, spec.name, time.time(), owner=owner, rank=spec.rank)
            self._step.join(subscriber, subscription, size, None if spec.needs is None else asdict(spec.needs))
        return subscriber

    def deliver(self, subscriber: str, outcome: Told, name: str = "") -> None:
        """Give a subscriber an outcome at once, without a job."""
        self.job_table.shed()
        self.job_table.put_subscription(subscriber, Subscription("", name, time.time(), outcome))

    def poll(self, subscriber: str) -> Told | None:
        """Return the job's outcome, or None while that is open.

        Renews the lease and checks whether the job still lives.

        A briefly full disk is tolerated as long as the lease lasts.
        """
        found = self.job_table.subscription(subscriber)
        if found is None:
            return Failed(JobFailure(FORGOTTEN)).to_json(subscriber)
        if found.outcome is None:
            try:
                self._renew(subscriber, found)
                self.check(found.job)
            except StorageError as error:
                lapsed = time.time() - found.renewed > self.settings.lease_seconds
                return Failed.of(error, found.name, found.job).to_json(subscriber) if lapsed else None
            found = self.job_table.subscription(subscriber) or found
        if found.outcome is not None and not found.delivered:
            with contextlib.suppress(StorageError):  # the outcome is then delivered twice
                self.job_table.put_subscription(subscriber, replace(found, delivered=True))
        return found.outcome

    def drop(self, subscriber: str) -> None:
        """End this subscriber's wait; the job goes on for others, else it stops."""
        with self.job_table.change():
            found = self.job_table.subscription(subscriber)
            if found is None or found.outcome is not None:
                return
            error = JobCancelledError(RESULT_CANCELLED if is_result(found.name) else CANCELLED)
            cancelled = Failed.of(error, found.name, found.job)
            self.job_table.put_subscription(subscriber, replace(found, outcome=cancelled.to_json(subscriber)))
            record = self.job_table.job(found.job)
            if record is not None and record.active:
                others = tuple(other for other in record.subscribers if other != subscriber)
                left = record.cancel_at if self._step.any_live(others) else record.cancel_at or time.time()
                self._step.put_waiting(replace(record, subscribers=others, cancel_at=left))

    def progress(self, subscriber: str) -> Underway | None:
        """Return the job's progress, for a person; None once the outcome is known."""
        found = self.job_table.subscription(subscriber)
        record = self.job_table.job(found.job) if found is not None and found.outcome is None else None
        return None if record is None or not record.active else self._positions.of(record)

    def standing(self, subscriber: str) -> Standing:
        """Return whether the outcome is open, known, or known and delivered."""
        found = self.job_table.subscription(subscriber)
        if found is None:
            return "unknown"
        return "waiting" if found.outcome is None else "told" if found.delivered else "known"

    def health(self) -> Health:
        """Return the state of the workers in one word, and how many jobs wait."""
        return self._positions.health()

    # ---- workers -----------------------------------------------------------------------------------------------------

    def claim(self, worker: str, lane: Lane = "compute", before: Claim | None = None) -> Claim | None:
        """Take the next job: the longest-waiting job of the least recently served visitor, in the highest rank.

        Args:
            before: the worker's current job, if it may rest: then only a job that comes before it by rank is taken, and
                its clock stops until `go_on`.
        """
        ranks = [rank for rank in Rank if before is None or rank < before.spec.rank]
        # cheap check, because workers ask very often
        if not any(job.ready and job.rank in ranks for job in self.job_table.board(lane).waiting):
            return None
        with self.job_table.change():
            for job in self.job_table.board(lane).waiting:
                if job.left:
                    self.check(job.key)
            for key, owner in self._candidates(lane):
                self.check(key)
                record = self.job_table.job(key)
                if record is None or record.state != "queued" or record.cancel_at is not None:
                    continue
                if record.rank not in ranks:
                    break
                now = time.time()
                if before is not None:
                    self._step.rest(self._running(before.spec.key, before.attempt))
                self.job_table.put_job(replace(record, state="running", worker=worker, started=now))
                self.job_table.put_board(self.job_table.board(lane).take(key, owner), lane)
                self.worker_table.change(worker, state="busy", job=key, attempt=record.attempt)
                return Claim(
                    JobSpec(record.name, key, self.job_table.payload(key) or {}, rank=record.rank), record.attempt
                )
        return None

    def go_on(self, claim: Claim) -> None:
        """Resume a job, once the worker has done the jobs that outrank it."""
        with self.job_table.change():
            self._step.go_on(self._running(claim.spec.key, claim.attempt))

    def put_back(self, claim: Claim) -> None:
        """Put back a job that the worker cannot do now; it begins again, first in its rank."""
        with self.job_table.change():
            record = self._running(claim.spec.key, claim.attempt)
            if record is not None:
                self._step.begin_again(record)

    def preparations_due(self) -> int:
        """Return how many preparations could begin now."""
        return len(list(self._candidates("prepare")))

    def _candidates(self, lane: Lane) -> Iterator[tuple[str, str]]:
        """Yield the jobs that may be taken, in turn; a visitor gets one long job at a time, not every worker."""
        board = self.job_table.board(lane)
        running = [
            record
            for record in map(self.job_table.job, board.running)
            if record is not None and record.rank == Rank.LONG
        ]
        served = {owner for record in running for owner in self._step.owners(record)} - {""}
        return board.in_turn(served)

    def report(self, claim: Claim, progress: Progress) -> bool:
        """Record the job's progress; return False if nobody waits for this attempt any more, so that it should stop."""
        with self.job_table.change():
            record = self._wanted(claim.spec.key, claim.attempt)
            if record is not None:  # a download is not computing: a run's time limit starts after it
                started = time.time() if progress.phase == "fetch" else record.started
                self.job_table.put_job(replace(record, progress=progress, started=started))
            return record is not None

    def finish(self, claim: Claim, result: str) -> None:
        """End the job as done; `result` is its artifact's key."""
        with self.job_table.change():
            record = self._running(claim.spec.key, claim.attempt)
            if record is not None:
                self._step.done(record, result)

    def fail(self, claim: Claim, failure: JobFailure) -> None:
        """End the job without a result."""
        with self.job_table.change():
            record = self._running(claim.spec.key, claim.attempt)
            if record is not None:
                self._step.fail(record, failure)

    def stopped(self, claim: Claim) -> None:
        """Record that the worker stopped because nobody waited; if someone has come since, the job starts over, first
        in the queue."""
        with self.job_table.change():
            record = self._running(claim.spec.key, claim.attempt)
            if record is None:
                return
            if record.cancel_at is None:
                self._step.begin_again(record)
            else:
                self._step.end(record, "cancelled")

    def lose_worker(
        self, worker: str, why: Callable[[JobRecord], JobFailure] = worker_lost, by_order: bool = False
    ) -> None:
        """Handle a worker that is gone: its job failed, and the worker is removed from the table.

        Args:
            by_order: its server is shutting down, so the job goes to a worker of another server with this cache, if
                there is one.
        """
        with self.job_table.change():
            entered = self.worker_table.get(worker)
            for key in [key for lane in BOARDS for key in self.job_table.board(lane).running]:
                record = self.job_table.job(key)
                if record is None or record.worker != worker or record.state != "running":
                    continue
                if by_order and self._verdicts.goes_on(record, entered):
                    self._step.begin_again(record)
                else:
                    self._step.fail(record, why(record))
            self.worker_table.remove(worker)

    def fail_waiting(self, lane: Lane, failure: JobFailure) -> None:
        """Fail everything that waits in a lane, which can do nothing more, and everything that depends on it."""
        with self.job_table.change():
            for key in self.job_table.board(lane).queued:
                record = self.job_table.job(key)
                if record is not None and record.state == "queued":
                    self._step.fail(record, failure)

    # ---- watching ----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Check every job: stop those nobody waits for, fail those whose worker is gone or whose time is up."""
        self.watch_running()
        for board in map(self.job_table.board, BOARDS):
            for job in board.waiting:
                self.check(job.key)

    def watch_running(self) -> None:
        """Check every running job."""
        for board in map(self.job_table.board, BOARDS):
            for key in board.running:
                self.check(key)

    def check(self, key: str) -> None:
        """Check one job."""
        record = self.job_table.job(key)
        if record is None or self._verdicts.on(record) is None:
            return
        with self.job_table.change():
            record = self.job_table.job(key)
            verdict = None if record is None else self._verdicts.on(record)
            if record is None or verdict is None:
                return
            if verdict == "leave":
                self._step.put_waiting(replace(record, cancel_at=time.time()))
            elif verdict == "stop":
                self._step.end(record, "cancelled")
            elif verdict == "again":
                self._step.begin_again(record)
            else:
                self._step.fail(record, verdict)

    def is_wanted(self, key: str, attempt: int) -> bool:
        """Whether this attempt is running and someone waits for it."""
        return self._wanted(key, attempt) is not None

    def close(self) -> None:
        """Close this thread's connection."""
        self.cache.close()

    def _renew(self, subscriber: str, found: Subscription) -> None:
        """Renew the lease, if a fifth of it is over; a subscriber that returns after it lapsed waits again."""
        if 0 <= time.time() - found.renewed < self.settings.lease_seconds / 5:
            return
        with self.job_table.change():
            now_found = self.job_table.subscription(subscriber)
            if now_found is None or now_found.outcome is not None:
                return
            key, renewed = now_found.job, replace(now_found, renewed=time.time())
            record = self.job_table.job(key)
            if record is None and self.job_table.payload(key) is None:
                why = JobFailure(RESULT_FORGOTTEN if is_result(now_found.name) else FORGOTTEN)
                outcome = Failed(why, now_found.name, key).to_json(subscriber)
                self.job_table.put_subscription(subscriber, replace(now_found, outcome=outcome))
            elif not self._step.waits(subscriber, record):
                self._step.join(
                    subscriber, renewed, self._step.payload_size(key), None if record is None else record.needs
                )
            else:
                self.job_table.put_subscription(subscriber, renewed)

    def _adds(self, record: JobRecord, owner: str) -> bool:
        """Whether a visitor who joins the wait for a known job takes up room in the queue."""
        return not record.active or (not self._step.goes_on(record) and owner not in self._step.owners(record))

    def _running(self, key: str, attempt: int) -> JobRecord | None:
        record = self.job_table.job(key)
        return record if record is not None and record.state == "running" and record.attempt == attempt else None

    def _wanted(self, key: str, attempt: int) -> JobRecord | None:
        record = self._running(key, attempt)
        return None if record is None or record.stopping(time.time()) else record
