"""A `JobBackend` in memory, for tests: nothing happens but what a test says, and time passes where it says so.

`tests/unit/jobs/test_backend.py` holds it to the contract that the real one is held to. What it leaves out:
preparations are taken for done, and visitors have neither turns nor shares.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from dashboard.contracts.job import JobSpec, Progress
from dashboard.errors import JobCancelledError, QueueFullError, StorageError
from dashboard.jobs.backend import (
    NOTHING,
    Done,
    Failed,
    Health,
    Outcome,
    Standing,
    State,
    Underway,
    Watched,
    wanted,
    watched_as,
)
from dashboard.jobs.failure import CANCELLED, FORGOTTEN, JobFailure

SETTLE, LEASE = 0.1, 5.0  # seconds; the second is the settings' default
FULL = "1 runs are waiting on this server, and it accepts no more."
BROKEN = "The server's disk is full, so nothing can be run."


@dataclass
class _Job:
    """One attempt at a job; `left` is when nobody wanted it any more."""

    spec: JobSpec
    since: float
    running: bool = False
    progress: Progress | None = None
    left: float | None = None


@dataclass
class _Subscriber:
    job: JobSpec | None
    renewed: float
    outcome: Outcome | None = None
    told: bool = False


@dataclass
class FakeBackend:
    """The backend, and the hands of its one worker: `take`, `report`, `finish`, `fail`.

    Attributes:
        full: no job may wait that does not yet. broken: nothing can be written.
        now: in seconds. computed: the key of each job that was taken, in order.
    """

    full: bool = False
    broken: bool = False
    now: float = 1_800_000_000.0
    computed: list[str] = field(default_factory=list)
    _jobs: dict[str, _Job] = field(default_factory=dict)  # that wait or run, first come first
    _taken: dict[str, _Job] = field(default_factory=dict)
    _subscribers: dict[str, _Subscriber] = field(default_factory=dict)
    _watches: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)

    # ---- the interface
    # -------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, subscriber: str, owner: str = "") -> None:
        self._write()
        job = self._jobs.get(spec.key)
        if self.full and job is None:
            raise QueueFullError(FULL)
        self._join(spec, subscriber)

    def deliver(self, subscriber: str, outcome: Outcome) -> None:
        self._write()
        self._subscribers[subscriber] = _Subscriber(None, self.now, outcome)

    def poll(self, subscriber: str) -> Outcome | None:
        found = self._subscribers.get(subscriber)
        if found is None:
            return Failed(JobFailure(FORGOTTEN))
        if found.outcome is None and found.job is not None:
            if self.broken:
                lapsed = self.now - found.renewed > LEASE
                return Failed.of(StorageError(BROKEN), found.job.name, found.job.key) if lapsed else None
            self._renew(subscriber, found, found.job)
        found.told = found.told or (found.outcome is not None and not self.broken)
        return found.outcome

    def progress(self, subscriber: str) -> Underway | None:
        found = self._subscribers.get(subscriber)
        job = None if found is None or found.job is None or found.outcome is not None else self._jobs.get(found.job.key)
        if job is None:
            return None
        seconds = round(self.now - job.since, 1)
        if job.running:
            return Underway(job.progress or Progress("load", message="Starting"), seconds)
        waiting = [key for key, other in self._jobs.items() if not other.running]
        ahead = len(self._jobs) - len(waiting) + waiting.index(job.spec.key)
        return Underway(Progress("queued", message="Waiting" if ahead else "Starting"), seconds, ahead)

    def standing(self, subscriber: str) -> Standing:
        found = self._subscribers.get(subscriber)
        if found is None:
            return "unknown"
        return "waiting" if found.outcome is None else "told" if found.told else "known"

    def cancel(self, subscriber: str) -> None:
        self._write()
        found = self._subscribers.get(subscriber)
        if found is None or found.outcome is not None or found.job is None:
            return
        found.outcome = Failed.of(JobCancelledError(CANCELLED), found.job.name, found.job.key)
        self._tidy()

    def watch(
        self,
        watcher: str,
        specs: Iterable[JobSpec],
        owner: str = "",
        again: Collection[str] = (),
        turn: int = 0,
        refused: Mapping[str, Failed] = NOTHING,
    ) -> Watched:
        self._write()
        chosen = wanted(specs)
        before, known = self._watches.get(watcher, ((), turn))
        if turn < known:
            return {key: self._state(watched_as(watcher, key)) for key in before}
        for key in before:
            if key not in chosen:
                self.cancel(watched_as(watcher, key))
        keys = tuple({**chosen, **refused})
        self._watches[watcher] = keys, turn
        for key, spec in chosen.items():
            standing = self.standing(watched_as(watcher, key))
            if key not in before or standing == "unknown" or (key in again and standing != "waiting"):
                try:
                    self.submit(spec, watched_as(watcher, key), owner)
                except QueueFullError as error:
                    self.deliver(watched_as(watcher, key), Failed.of(error, spec.name, spec.key))
        for key, why in refused.items():
            self.deliver(watched_as(watcher, key), why)
        return {key: self._state(watched_as(watcher, key)) for key in keys}

    def watched(self, watcher: str) -> Watched | None:
        if watcher not in self._watches:
            return None
        return {key: self._state(watched_as(watcher, key)) for key in self._watches[watcher][0]}

    def health(self) -> Health:
        running = any(job.running for job in self._jobs.values())
        waiting = sum(not job.running for job in self._jobs.values())
        return Health("busy" if running else "ready", queue=waiting)

    def close(self) -> None:
        return None

    # ---- the worker's hands, and time
    # ------------------------------------------------------------------------------------

    def take(self) -> str | None:
        """The worker takes the job whose turn it is; gives its key."""
        self._tidy()
        for key, job in self._jobs.items():
            if not job.running and job.left is None:
                job.running, job.since = True, self.now
                self._taken[key] = job
                self.computed.append(key)
                return key
        return None

    def report(self, key: str, progress: Progress) -> bool:
        """It says where the job is, and stops where nobody wants it; gives whether it goes on."""
        self._tidy()
        job = self._taken[key]
        if self._jobs.get(key) is not job or self._stops(job):
            if self._jobs.get(key) is job:
                del self._jobs[key]
            return False
        job.progress = progress
        return True

    def finish(self, key: str, artifact: str) -> None:
        """The job is done."""
        self._end(key, Done(self._taken[key].spec.name, artifact))

    def fail(self, key: str, failure: JobFailure) -> None:
        """The job has failed."""
        self._end(key, Failed(failure, self._taken[key].spec.name, key))

    def pass_time(self, seconds: float, *asking: Callable[[], object]) -> None:
        """Time passes in steps, in which these ask and the server looks after its jobs."""
        for _ in range(round(seconds / 0.5)):
            self.now += 0.5
            for ask in asking:
                ask()
            self._tidy()

    # ---- inside
    # --------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        if self.broken:
            raise StorageError(BROKEN)

    def _join(self, spec: JobSpec, subscriber: str) -> None:
        self._subscribers[subscriber] = _Subscriber(spec, self.now)
        job = self._jobs.get(spec.key)
        if job is None or (job.running and self._stops(job)):
            self._jobs.pop(spec.key, None)
            self._jobs[spec.key] = _Job(spec, self.now)
        else:
            job.left = None

    def _renew(self, subscriber: str, found: _Subscriber, spec: JobSpec) -> None:
        job = self._jobs.get(spec.key)
        if job is None or job.left is not None:
            self._join(spec, subscriber)
        found = self._subscribers[subscriber]
        found.renewed = self.now

    def _state(self, subscriber: str) -> State:
        return self.poll(subscriber) or self.progress(subscriber) or Underway(Progress("queued"))

    def _stops(self, job: _Job) -> bool:
        return job.left is not None and self.now - job.left >= SETTLE

    def _wanted(self, key: str) -> bool:
        return any(
            found.job is not None
            and found.job.key == key
            and found.outcome is None
            and self.now - found.renewed <= LEASE
            for found in self._subscribers.values()
        )

    def _tidy(self) -> None:
        """Notice what nobody wants any more; of that, what waits leaves. On a full disk nothing is noticed."""
        if self.broken:
            return
        for key, job in list(self._jobs.items()):
            if job.left is None and not self._wanted(key):
                job.left = self.now
            if not job.running and self._stops(job):
                del self._jobs[key]

    def _end(self, key: str, outcome: Outcome) -> None:
        if self._jobs.get(key) is not self._taken[key]:
            return  # the word of an old attempt
        del self._jobs[key]
        for found in self._subscribers.values():
            if found.job is not None and found.job.key == key and found.outcome is None:
                found.outcome = outcome
