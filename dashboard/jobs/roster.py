"""The roster: which workers there are, and which of them are alive."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import psutil

from dashboard.errors import StorageError
from dashboard.jobs.cache import HealingCache
from dashboard.jobs.records import WorkerRecord
from dashboard.settings import Settings

ENTRY = "workers"
PROBE = "probe"
SECOND_LOOK_SECONDS = 0.75  # after a sleep of the whole computer every worker looks silent until it beats again
FORGET_SECONDS = 60.0


class Roster:
    """The workers' records, all in one entry of the cache, each change in one transaction."""

    def __init__(self, cache: HealingCache, settings: Settings) -> None:
        self._cache, self._settings = cache, settings
        self._silent_since: dict[str, float] = {}  # worker id → when this process first found it silent (monotonic)
        self._lock = threading.Lock()

    def all(self) -> dict[str, WorkerRecord]:
        """Every record, of the dead as well, by id."""
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
        """Change some fields of a worker, which is a sign of life too; False if it is not entered."""
        with self._cache.transact(retry=True):
            known = self.all()
            if worker not in known:
                return False
            self._write({**known, worker: replace(known[worker], **{"beat": time.time(), **changes})})
            return True

    def remove(self, worker: str) -> None:
        with self._cache.transact(retry=True):
            self._write({name: record for name, record in self.all().items() if name != worker})

    def live(self) -> list[WorkerRecord]:
        """The workers that are alive."""
        return [record for record in self.all().values() if not self.is_gone(record)]

    def serving(self) -> bool:
        """Whether any worker, or its supervisor that will start it anew, gave a sign of life lately."""
        return any(self._may_not_judge() or not self._silent(record) for record in self.all().values())

    def is_gone(self, record: WorkerRecord | None) -> bool:
        """Whether a worker has stopped: its process is no more, or it has been silent for too long.

        That is looked at twice, and at the first look this process must be able to write: on a full disk nobody gives a
        sign of life, and once there is room everybody has given one before the second look.
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
        """Whether this process could give a sign of life itself just now."""
        try:
            self._cache.set(PROBE, 1, expire=FORGET_SECONDS, retry=True)
        except StorageError:
            return False
        return True

    def _silent(self, record: WorkerRecord) -> bool:
        return not -FORGET_SECONDS < time.time() - record.beat <= self._settings.heartbeat_seconds

    def _may_not_judge(self) -> bool:
        """Whether this process could not write lately (a full disk): then the silence of others says nothing."""
        return time.monotonic() - self._cache.failed_at < self._settings.heartbeat_seconds + SECOND_LOOK_SECONDS

    def _write(self, records: dict[str, WorkerRecord]) -> None:
        self._cache.set(ENTRY, [record.to_json() for record in records.values()])


def this_host() -> str:
    """Names the host and, where there are several, the process namespace: where a process id means the same process."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def is_running(pid: int) -> bool:
    """Whether a process is there and is not just the remains of one."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
