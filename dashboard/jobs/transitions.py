"""How jobs begin, wait for one another and end: the steps that make up the queue's transactions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from dashboard.contracts.job import JobSpec, Rank
from dashboard.contracts.request import RunRequest
from dashboard.jobs.backend import Done, Failed, Outcome
from dashboard.jobs.board import Waiting
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.job_table import JobTable
from dashboard.jobs.records import JobRecord, JobState, Subscription
from dashboard.settings import Settings


class Transitions:
    """The steps; call each method, except those that only look, inside a transaction of the job table."""

    def __init__(self, job_table: JobTable, settings: Settings) -> None:
        self._ledger, self._settings = job_table, settings

    # ---- who waits for what ------------------------------------------------------------------------------------------

    def is_awaited(self, record: JobRecord) -> bool:
        """Whether anybody waits: a page that asks, or a job that somebody waits for."""
        return self.any_live(record.subscribers) or any(self.depends(key, record.key) for key in record.dependents)

    def any_live(self, subscribers: Iterable[str]) -> bool:
        """Whether any of these pages has asked recently."""
        found = (self._ledger.subscription(subscriber) for subscriber in subscribers)
        return any(abs(time.time() - one.renewed) <= self._settings.lease_seconds for one in found if one is not None)

    def waits(self, subscriber: str, record: JobRecord | None) -> bool:
        """Whether the job is under way for this subscriber."""
        return record is not None and record.active and record.cancel_at is None and subscriber in record.subscribers

    def goes_on(self, record: JobRecord | None) -> bool:
        """Whether a job runs and will not stop: asking for it takes no room in the queue."""
        return record is not None and record.state == "running" and not record.stopping(time.time())

    def depends(self, key: str, preparation: str) -> bool:
        """Whether a job waits for a preparation, and somebody waits for the job."""
        record = self._ledger.job(key)
        wanted = record is not None and record.state == "queued" and record.cancel_at is None
        return wanted and record is not None and record.needs is not None and record.needs["key"] == preparation

    def owners(self, record: JobRecord) -> tuple[str, ...]:
        """Return the visitors who wait for a job, or for those that depend on it."""
        found = (self._ledger.subscription(subscriber) for subscriber in self._subscribers(record))
        return tuple(dict.fromkeys(one.owner for one in found if one is not None))

    def _subscribers(self, record: JobRecord) -> Iterator[str]:
        yield from record.subscribers
        for key in record.dependents:
            dependent = self._ledger.job(key)
            yield from () if dependent is None else dependent.subscribers

    def payload_size(self, key: str) -> int:
        return len(json.dumps(self._ledger.payload(key) or {}))

    # ---- beginning ---------------------------------------------------------------------------------------------------

    def join(self, subscriber: str, subscription: Subscription, size: int, needs: dict[str, Any] | None) -> None:
        """Let a page wait for a job, starting it unless it is under way, with the preparation that it needs."""
        self._ledger.put_subscription(subscriber, subscription)
        key = subscription.job
        record = self._ledger.job(key)
        if record is None or not record.active or (record.state == "running" and record.stopping(time.time())):
            attempt = 1 if record is None else record.attempt + 1
            fresh = JobRecord(
                key,
                subscription.name,
                "queued",
                attempt,
                time.time(),
                (subscriber,),
                needs=needs,
                rank=subscription.rank,
            )
            self._begin(fresh, size)
        else:
            others = tuple(other for other in record.subscribers if other != subscriber)
            fresh = replace(record, subscribers=(*others, subscriber), cancel_at=None)
            self.put_waiting(fresh)
        if fresh.needs is not None:
            self._call_for(JobSpec(**fresh.needs), key)

    def _call_for(self, spec: JobSpec, dependent: str) -> None:
        """Let a job wait for a preparation, starting that unless it is under way."""
        record = self._ledger.job(spec.key)
        if record is None or record.state != "running":
            self._ledger.put_payload(spec.key, spec.payload)
        others = () if record is None else tuple(key for key in record.dependents if key != dependent)
        if record is not None and record.active and not (record.state == "running" and record.stopping(time.time())):
            self.put_waiting(replace(record, dependents=(*others, dependent), cancel_at=None))
            return
        still = tuple(key for key in others if self.depends(key, spec.key))
        attempt = 1 if record is None else record.attempt + 1
        dependents, rank = (*still, dependent), Rank(spec.rank)
        fresh = JobRecord(
            spec.key, spec.name, "queued", attempt, time.time(), lane="prepare", dependents=dependents, rank=rank
        )
        self._begin(fresh, self.payload_size(spec.key))

    def _begin(self, record: JobRecord, size: int, first: bool = False) -> None:
        self._ledger.put_job(record)
        entry = Waiting(record.key, self.owners(record), size, record.needs is None, record.rank)
        self._ledger.put_board(self._ledger.board(record.lane).put(entry, first), record.lane)
        self._ledger.keep_payload(record.key)

    def begin_again(self, record: JobRecord) -> None:
        """Put a running job back into the queue, first of all."""
        fresh = JobRecord(
            record.key,
            record.name,
            "queued",
            record.attempt + 1,
            time.time(),
            record.subscribers,
            lane=record.lane,
            dependents=record.dependents,
            rank=record.rank,
        )
        self._begin(fresh, self.payload_size(record.key), first=True)

    def rest(self, record: JobRecord | None) -> None:
        """Let others go before a running job."""
        if record is not None and record.resting is None:
            self._ledger.put_job(replace(record, resting=time.time()))

    def go_on(self, record: JobRecord | None) -> None:
        """Resume a job that rested; the time it rested does not count."""
        if record is not None and record.resting is not None:
            rested = max(0.0, time.time() - record.resting)
            self._ledger.put_job(replace(record, resting=None, started=(record.started or time.time()) + rested))

    def put_waiting(self, record: JobRecord) -> None:
        """Store a job that other subscribers now wait for; while it is queued, it waits at the turns of all of them."""
        self._ledger.put_job(record)
        board = self._ledger.board(record.lane)
        found, owners = board.job(record.key), self.owners(record)
        if found is not None:
            fresh = replace(found, owners=owners or found.owners, left=record.cancel_at is not None)
            self._ledger.put_board(board.put(fresh), record.lane)

    # ---- ending ------------------------------------------------------------------------------------------------------

    def done(self, record: JobRecord, result: str) -> None:
        """End a job as done: tell its subscribers, and release the jobs that it prepared for."""
        ended = self.end(record, "done", result=result)
        self._tell(ended, Done(ended.name, result))
        for key in record.dependents:
            if self.depends(key, record.key):
                self._release(key, result)

    def fail(self, record: JobRecord, failure: JobFailure) -> None:
        """End a job without a result, and with it those that wait for it."""
        state: JobState = "failed" if record.cancel_at is None else "cancelled"
        ended = self.end(record, state, error=failure.message)
        self._tell(ended, Failed(failure, ended.name, ended.key))
        for key in record.dependents:
            dependent = self._ledger.job(key)
            if dependent is not None and self.depends(key, record.key):
                self.fail(dependent, failure)

    def end(self, record: JobRecord, state: JobState, **changes: Any) -> JobRecord:
        """End the job.

        Deletes its payload, unless its pages only went silent: they may come back, and the job begins again.
        """
        ended = replace(record, state=state, ended=time.time(), **changes)
        self._ledger.put_job(ended)
        self._ledger.put_board(self._ledger.board(record.lane).without(record.key), record.lane)
        if state == "cancelled" and record.subscribers and "error" not in changes:
            self._ledger.lapse_payload(record.key, self.payload_size(record.key))
        else:
            self._ledger.drop_payload(record.key)
        return ended

    def _tell(self, record: JobRecord, outcome: Outcome) -> None:
        for subscriber in record.subscribers:
            found = self._ledger.subscription(subscriber)
            if found is not None and found.outcome is None:
                self._ledger.put_subscription(subscriber, replace(found, outcome=outcome.to_json(subscriber)))

    def _release(self, key: str, fingerprint: str) -> None:
        """Release a job whose model is ready, its fingerprint known: it may be taken, under the run's true name."""
        record = self._ledger.job(key)
        if record is None:
            return
        true_key, payload = truly_named(key, self._ledger.payload(key) or {}, fingerprint)
        if true_key != key:
            self._rename(record, true_key, payload)
            return
        self._ledger.put_job(replace(record, needs=None))
        board = self._ledger.board(record.lane)
        found = board.job(key)
        if found is not None:
            self._ledger.put_board(board.put(replace(found, ready=True)), record.lane)

    def _rename(self, record: JobRecord, key: str, payload: dict[str, Any]) -> None:
        """Move everyone who waits for a job to the job called `key`, which may already be under way."""
        size = self.payload_size(record.key)
        self.end(replace(record, subscribers=()), "cancelled")
        other = self._ledger.job(key)
        if other is None or other.state != "running":
            self._ledger.put_payload(key, payload)
        for subscriber in record.subscribers:
            found = self._ledger.subscription(subscriber)
            if found is not None and found.outcome is None:
                self.join(subscriber, replace(found, job=key), size, None)


def truly_named(key: str, payload: dict[str, Any], fingerprint: str) -> tuple[str, dict[str, Any]]:
    """Return a job's key and payload once the model's fingerprint is known; only the name of a run depends on that."""
    if "request" not in payload:
        return key, payload
    return RunRequest.from_json(payload["request"]).key(fingerprint), {**payload, "fingerprint": fingerprint}
