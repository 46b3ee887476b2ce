"""The backend of a server: the queue in the cache folder, with workers beside it (`python -m dashboard worker`)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from dashboard.contracts.job import JobSpec, Progress
from dashboard.errors import QueueFullError, StorageError
from dashboard.jobs.backend import (
    NOTHING,
    Failed,
    Health,
    Outcome,
    Standing,
    State,
    Underway,
    Watched,
    outcome_from_json,
    wanted,
    watched_as,
)
from dashboard.jobs.job_table import DELIVERED_SECONDS
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import WatchRecord
from dashboard.settings import Settings

KEEP_SECONDS = DELIVERED_SECONDS / 4  # between two extensions of how long a watch's outcomes are kept


class DiskcacheBackend:
    """`JobBackend` on a `JobQueue`: each subscriber is a subscription there, and each watcher's set is one record
    beside them."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue

    @classmethod
    def from_settings(cls, settings: Settings) -> DiskcacheBackend:
        """Open this server's backend; raise `SettingsError` if the cache folder cannot be written."""
        return cls(JobQueue.from_settings(settings))

    def submit(self, spec: JobSpec, subscriber: str, owner: str = "") -> None:
        self.queue.submit(spec, subscriber, owner)

    def deliver(self, subscriber: str, outcome: Outcome) -> None:
        self.queue.deliver(subscriber, outcome.to_json(subscriber))

    def poll(self, subscriber: str) -> Outcome | None:
        told = self.queue.poll(subscriber)
        return None if told is None else outcome_from_json(told)

    def progress(self, subscriber: str) -> Underway | None:
        return self.queue.progress(subscriber)

    def standing(self, subscriber: str) -> Standing:
        return self.queue.standing(subscriber)

    def cancel(self, subscriber: str) -> None:
        self.queue.drop(subscriber)

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
        with self.queue.job_table.change():
            found = self.queue.job_table.watch(watcher) or WatchRecord((), 0.0, turn)
            if turn < found.turn:
                return self._states(watcher, found.keys)
            for key in found.keys:
                if key not in chosen:
                    self.queue.drop(watched_as(watcher, key))
            for key, spec in chosen.items():
                if key not in found.keys or self._is_due(watched_as(watcher, key), key in again):
                    self._begin(spec, watched_as(watcher, key), owner)
            for key, why in refused.items():
                self.deliver(watched_as(watcher, key), why)
            keys = tuple({**chosen, **refused})
            self.queue.job_table.put_watch(watcher, WatchRecord(keys, time.time(), turn))
        return self._states(watcher, keys)

    def watched(self, watcher: str) -> Watched | None:
        found = self.queue.job_table.watch(watcher)
        if found is None:
            return None
        if not 0 <= time.time() - found.renewed < KEEP_SECONDS:
            with contextlib.suppress(StorageError):  # try again soon; nothing has expired yet
                self._keep(watcher, found)
        return self._states(watcher, found.keys)

    def health(self) -> Health:
        return self.queue.health()

    def close(self) -> None:
        self.queue.close()

    def _is_due(self, subscriber: str, again: bool) -> bool:
        """Whether a job that stays wanted must be submitted again: its outcome is unknown, or it should run again."""
        standing = self.queue.standing(subscriber)
        return standing == "unknown" or (again and standing != "waiting")

    def _begin(self, spec: JobSpec, subscriber: str, owner: str) -> None:
        try:
            self.queue.submit(spec, subscriber, owner)
        except QueueFullError as error:
            self.deliver(subscriber, Failed.of(error, spec.name, spec.key))

    def _states(self, watcher: str, keys: Iterable[str]) -> Watched:
        return {key: self._state(watched_as(watcher, key)) for key in keys}

    def _state(self, subscriber: str) -> State:
        """Return a job's state, asking once more if the job ends between the two questions."""
        found = self.poll(subscriber) or self.progress(subscriber) or self.poll(subscriber)
        return found or Underway(Progress("queued"))

    def _keep(self, watcher: str, found: WatchRecord) -> None:
        """Keep a watch, and all its outcomes, for as long as its page asks."""
        with self.queue.job_table.change():
            self.queue.job_table.put_watch(watcher, replace(found, renewed=time.time()))
            for key in found.keys:
                told = self.queue.job_table.subscription(watched_as(watcher, key))
                if told is not None and told.delivered:
                    self.queue.job_table.put_subscription(watched_as(watcher, key), told)
