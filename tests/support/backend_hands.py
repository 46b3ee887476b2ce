"""Both backends for tests: the real one with the hands of a worker and a clock, the same that `FakeBackend` has by
itself."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from dashboard.contracts.job import JobSpec, Progress
from dashboard.jobs.backend import Done, Failed, JobBackend, State, Underway
from dashboard.jobs.cache import HealingCache
from dashboard.jobs.diskcache_backend import DiskcacheBackend
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import Claim, WorkerRecord
from dashboard.jobs.workers import this_host
from dashboard.settings import Settings
from tests.support.fake_backend import FakeBackend

# modules of jobs/ that ask for the time
TIMED = ("diskcache_backend", "queue", "queue_positions", "workers", "transitions", "verdicts")


class Hands(Protocol):
    """What a test does to a backend from the workers' side.

    Attributes:
        full: no more may wait than do now, where one does. broken: nothing can be written.
    """

    full: bool
    broken: bool

    def take(self) -> str | None: ...
    def report(self, key: str, progress: Progress) -> bool: ...
    def finish(self, key: str, artifact: str) -> None: ...
    def fail(self, key: str, failure: JobFailure) -> None: ...
    def pass_time(self, seconds: float, *asking: Callable[[], object]) -> None: ...


@dataclass
class Clock:
    """A clock for both `time.time` and `time.monotonic` of the queue's modules."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def set_in(self, monkeypatch: pytest.MonkeyPatch, *others: str) -> Clock:
        """Let the modules of jobs/ that see to leases tell the time by it, and others by their full names."""
        clock = type(
            "Time", (), {"time": staticmethod(self), "monotonic": staticmethod(self), "sleep": staticmethod(time.sleep)}
        )
        for module in (*(f"dashboard.jobs.{name}" for name in TIMED), *others):
            monkeypatch.setattr(f"{module}.time", clock)
        return self


@dataclass
class QueueHands:
    """A worker "w1" at a queue, without a process."""

    queue: JobQueue
    clock: Clock
    claims: dict[str, Claim] = field(default_factory=dict)
    _disk: dict[str, bool] = field(default_factory=lambda: {"full": False})

    @property
    def full(self) -> bool:
        return self.queue.settings.queue_runs < Settings().queue_runs

    @full.setter
    def full(self, value: bool) -> None:
        most = len(self.queue.job_table.board().waiting) if value else Settings().queue_runs
        self.queue.settings = replace(self.queue.settings, queue_runs=most)

    @property
    def broken(self) -> bool:
        return self._disk["full"]

    @broken.setter
    def broken(self, value: bool) -> None:
        self._disk["full"] = value

    def take(self) -> str | None:
        claim = self.queue.claim("w1")
        if claim is None:
            return None
        self.claims[claim.spec.key] = claim
        return claim.spec.key

    def report(self, key: str, progress: Progress) -> bool:
        wanted = self.queue.report(self.claims[key], progress)
        if not wanted:
            self.queue.stopped(self.claims[key])
        return wanted

    def finish(self, key: str, artifact: str) -> None:
        self.queue.finish(self.claims[key], artifact)

    def fail(self, key: str, failure: JobFailure) -> None:
        self.queue.fail(self.claims[key], failure)

    def pass_time(self, seconds: float, *asking: Callable[[], object]) -> None:
        step = 0.5 if seconds < 60 else 2.0  # as often as all give a sign, and for long times as seldom as they may
        for _ in range(math.ceil(seconds / step)):
            self.clock.now += step
            if not self.broken:
                self.queue.worker_table.change("w1")
            for ask in asking:
                ask()
            if not self.broken:
                self.queue.watch()


@contextmanager
def queue_with_hands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DiskcacheBackend, QueueHands]]:
    """A real backend in a folder, and the hands of its one worker."""
    clock = Clock().set_in(monkeypatch, "dashboard.jobs.cache", "diskcache.core")
    backend = DiskcacheBackend.from_settings(Settings(cache_dir=folder))
    hands = QueueHands(backend.queue, clock)
    begin = HealingCache._begin

    def begin_unless_full(cache: HealingCache) -> Any:
        if hands.broken:
            raise sqlite3.OperationalError("database or disk is full")
        return begin(cache)

    monkeypatch.setattr(HealingCache, "_begin", begin_unless_full)
    backend.queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", 0.0))
    yield backend, hands
    hands.broken = False
    backend.close()


Served = tuple[JobBackend, Hands]


@pytest.fixture(params=["queue", "fake"])
def served(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A backend of either kind, and the hands of its worker."""
    if request.param == "fake":
        fake = FakeBackend()
        yield fake, fake
        return
    with queue_with_hands(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def backend(served: Served) -> JobBackend:
    return served[0]


@pytest.fixture
def hands(served: Served) -> Hands:
    return served[1]


def spec(key: str) -> JobSpec:
    return JobSpec("fill", key, {"position": 1})


def phase(state: State | None) -> str:
    """The phase of a job that is under way; "done", "failed" or "cancelled" of one that has ended."""
    if isinstance(state, Underway):
        return state.at.phase
    return (
        "done"
        if isinstance(state, Done)
        else "cancelled"
        if isinstance(state, Failed) and state.cancelled
        else "failed"
    )


LAYER = Progress("layers", 1, 3, "Layer 1 of 3")


def goes_on(hands: Hands, key: str) -> bool:
    """Whether the worker that has taken a job is to go on with it."""
    return hands.report(key, LAYER)
