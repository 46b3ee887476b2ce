"""The worker table: which workers there are, and which of them are alive."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import psutil

from dashboard.contracts.job import Lane
from dashboard.errors import StorageError
from dashboard.jobs.cache import HealingCache
from dashboard.jobs.records import SupervisorRecord, WorkerRecord
from dashboard.settings import Settings

ENTRY = "workers"
SUPERVISORS = "supervisors"
PROBE = "probe"
SECOND_LOOK_SECONDS = 0.75  # after the computer sleeps, every worker looks silent until it beats again
FORGET_SECONDS = 60.0


class WorkerTable:
    """The workers' records, all in one entry of the cache, each change in one transaction."""

    def __init__(self, cache: HealingCache, settings: Settings) -> None:
        self._cache, self._settings = cache, settings
        self._silent_since: dict[str, float] = {}  # worker id → when this process first found it silent (monotonic)
        self._unserved_since: float | None = None  # monotonic; since when this process has seen nobody at work
        self._looked_at = 0.0  # monotonic; when it last checked that
        self._lock = threading.Lock()

    def all(self) -> dict[str, WorkerRecord]:
        """Return every record by id, including those of dead workers."""
        raw = self._cache.get(ENTRY)
        records = (WorkerRecord.from_json(item) for item in (raw if isinstance(raw, list) else ()))
        return {record.id: record for record in records if record is not None}

    def get(self, worker: str | None) -> WorkerRecord | None:
        return None if worker is None else self.all().get(worker)

    def publish(self, record: WorkerRecord) -> None:
        """Enter a worker, or its new state; forget those long gone."""
        now = time.time()
        with self._cache.transact(retry=True):
            known = {name: other for name, other in self.all().items() if abs(now - other.beat) < FORGET_SECONDS}
            self._write({**known, record.id: replace(record, beat=now)})

    def change(self, worker: str, **changes: Any) -> bool:
        """Change some fields of a worker, which also counts as a sign of life; return False if it is not entered."""
        with self._cache.transact(retry=True):
            known = self.all()
            if worker not in known:
                return False
            self._write({**known, worker: replace(known[worker], **{"beat": time.time(), **changes})})
            return True

    def remove(self, worker: str) -> None:
        with self._cache.transact(retry=True):
            self._write({name: record for name, record in self.all().items() if name != worker})

    def live(self, lane: Lane = "compute") -> list[WorkerRecord]:
        """Return the workers of a lane that are alive."""
        return [record for record in self.all().values() if record.lane == lane and not self.is_gone(record)]

    def serving(self) -> bool:
        """Whether any worker, or a supervisor that will start one again, has recently given a sign of life.

        Silence is checked twice, as in `is_gone`; if nobody is entered at all, a restarting server gets the time of one
        heartbeat.
        """
        workers = [record for record in self.all().values() if record.lane == "compute"]
        if self._may_not_judge() and workers:
            return True
        now, heartbeat = time.monotonic(), self._settings.heartbeat_seconds
        with self._lock:
            seldom = now - self._looked_at > heartbeat
            self._looked_at = now
            if self.supervised() or any(not self._silent(record) for record in workers):
                self._unserved_since = None
                return True
            if self._unserved_since is None or seldom:
                self._unserved_since = now
            return now - self._unserved_since < (SECOND_LOOK_SECONDS if workers else heartbeat)

    # ---- supervisors -------------------------------------------------------------------------------------------------

    def supervisors(self) -> list[SupervisorRecord]:
        """Return every supervisor's record, including those of dead ones."""
        raw = self._cache.get(SUPERVISORS)
        records = (SupervisorRecord.from_json(item) for item in (raw if isinstance(raw, list) else ()))
        return [record for record in records if record is not None]

    def supervise(self, idle: bool = False) -> None:
        """Give a sign of life for this process, which supervises workers; forget those long gone.

        Args:
            idle: it is ending, or waits before restarting workers that keep dying: nobody should wait for it.
        """
        own = SupervisorRecord(os.getpid(), this_host(), time.time(), idle)
        with self._cache.transact(retry=True):
            others = [
                record
                for record in self.supervisors()
                if (record.pid, record.host) != (own.pid, own.host) and abs(own.beat - record.beat) < FORGET_SECONDS
            ]
            self._cache.set(SUPERVISORS, [record.to_json() for record in (*others, own)], retry=True)

    def retire(self) -> None:
        """Remove this process as a supervisor."""
        with self._cache.transact(retry=True):
            others = [
                record for record in self.supervisors() if (record.pid, record.host) != (os.getpid(), this_host())
            ]
            self._cache.set(SUPERVISORS, [record.to_json() for record in others], retry=True)

    def supervised(self, but: WorkerRecord | None = None) -> bool:
        """Whether a supervisor is alive and at work; with `but`, one other than that worker's own."""
        return any(
            self._supervises(record) and (but is None or (record.pid, record.host) != (but.parent, but.host))
            for record in self.supervisors()
        )

    def has_supervisor(self, worker: WorkerRecord) -> bool:
        """Whether a worker's own supervisor is alive and at work."""
        return any(
            self._supervises(record)
            for record in self.supervisors()
            if (record.pid, record.host) == (worker.parent, worker.host)
        )

    def _supervises(self, record: SupervisorRecord) -> bool:
        if record.idle or self._silent(record):
            return False
        return record.host != this_host() or is_running(record.pid)

    def is_gone(self, record: WorkerRecord | None) -> bool:
        """Whether a worker has stopped: its process is gone, or it has been silent for too long.

        Silence is checked twice, and at the first check this process must be able to write: on a full disk nobody gives
        a sign of life, and once there is room everybody has given one before the second check.
        """
        if record is None or (record.host == this_host() and not is_running(record.pid)):
            return True
        if self._may_not_judge() or not self._silent(record):
            with self._lock:
                self._silent_since.pop(record.id, None)
            return False
        with self._lock:
            since = self._silent_since.get(record.id)
        if since is not None:
            return time.monotonic() - since >= SECOND_LOOK_SECONDS
        if self.can_write():
            with self._lock:
                self._silent_since[record.id] = time.monotonic()
        return False

    def can_write(self) -> bool:
        """Whether this process itself could give a sign of life just now."""
        try:
            self._cache.set(PROBE, 1, expire=FORGET_SECONDS, retry=True)
        except StorageError:
            return False
        return True

    def is_silent(self, record: WorkerRecord) -> bool:
        """Whether a worker has given no sign of life for as long as a heartbeat."""
        return self._silent(record)

    def _silent(self, record: WorkerRecord | SupervisorRecord) -> bool:
        return not -FORGET_SECONDS < time.time() - record.beat <= self._settings.heartbeat_seconds

    def _may_not_judge(self) -> bool:
        """Whether this process could not write recently (a full disk), so that the silence of others proves nothing."""
        return time.monotonic() - self._cache.failed_at < self._settings.heartbeat_seconds + SECOND_LOOK_SECONDS

    def _write(self, records: dict[str, WorkerRecord]) -> None:
        self._cache.set(ENTRY, [record.to_json() for record in records.values()])


def this_host() -> str:
    """Return a name for the host and, if there are several, the process namespace in which a process id is valid."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
