"""One worker process: it takes jobs from the queue, one at a time, and gives signs of life meanwhile."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dashboard.contracts.job import Lane, Progress
from dashboard.errors import (
    BROKEN,
    DashboardError,
    JobCancelledError,
    SettingsError,
    StorageError,
    is_panic,
    unforeseen,
    without_paths,
)
from dashboard.jobs.failure import CANCELLED, JobFailure, is_result, new_number, where_noted
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import Claim, WorkerRecord
from dashboard.jobs.work import CrowdedError, JobContext, Registry, share_of
from dashboard.jobs.workers import this_host
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.system.parent_watch import end_with

log = logging.getLogger(__name__)
OWN_REGISTRY = "dashboard.jobs.work:registry"
OWN_PREPARATION = "dashboard.jobs.preparation:registry"
PREPARATIONS_NICE = 10  # runs go first
IDLE_SECONDS = 0.025  # between two checks of an empty queue
BEAT_SECONDS = 0.5
RETRY_SECONDS = 0.5  # between two attempts to use a queue whose disk is full
T = TypeVar("T")
REPORT_SECONDS = 0.03  # between two reports within one phase
AGAIN_SECONDS = 0.2  # longer, if there is nothing new and the report only checks whether anybody still waits
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
NO_MEMORY = (
    "There was not enough memory on the server for this run. Your text is still in the box: shorten it, "
    "or choose a smaller model, and run again."
)
NO_MEMORY_FOR_RESULT = (
    "There was not enough memory on the server for this result. Run a shorter text, or choose a smaller model; "
    "or try again later."
)


def work(settings: Settings, worker: str, parent: int, registry_name: str = OWN_REGISTRY, number: int = 0) -> None:
    """Run a worker process (its main function).

    Args:
        settings: the server's. worker: its id in the table of workers, where its supervisor has entered it.
        parent: process id of the supervisor; the worker ends with it.
        registry_name: "module:function" that makes the `Registry` of `settings`. number: which of the workers it is.
    """
    bench = _set_up(settings, worker, parent, registry_name, "compute", number)
    bench.presence.announce(state="idle", message=_prepare(bench.registry, bench.presence))
    while True:
        claim = insist(lambda: bench.queue.claim(worker))
        if claim is None:
            time.sleep(IDLE_SECONDS)
        else:
            with contextlib.suppress(CrowdedError):  # it begins again, after the job that needed its memory
                _attend(claim, bench)


def prepare_one(
    settings: Settings, worker: str, parent: int, registry_name: str = OWN_PREPARATION, _number: int = 0
) -> None:
    """Run a process that does one preparation, if one waits, and ends (its main function): if a connection or a disk
    hangs, nothing else hangs with it. The arguments are those of `work`.
    """
    with contextlib.suppress(OSError):
        os.nice(PREPARATIONS_NICE)
    bench = _set_up(settings, worker, parent, registry_name, "prepare")
    claim = insist(lambda: bench.queue.claim(worker, "prepare"))
    if claim is not None:
        _attend(claim, bench)


@dataclass(frozen=True)
class _Bench:
    """The tools of a process in a lane; `worker` is its id."""

    worker: str
    queue: JobQueue
    store: RunStore
    registry: Registry
    presence: Presence


def _set_up(settings: Settings, worker: str, parent: int, registry_name: str, lane: Lane, number: int = 0) -> _Bench:
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    _set_threads(settings)
    queue, store = insist(lambda: JobQueue.from_settings(settings)), RunStore.from_settings(settings)
    presence = Presence(queue, worker, lane)
    threading.Thread(target=_beat, args=(presence, parent), name="heartbeat", daemon=True).start()
    module, _, function = registry_name.partition(":")
    if lane == "compute":
        settings = share_of(settings, number)
    registry: Registry = getattr(importlib.import_module(module), function)(settings)
    return _Bench(worker, queue, store, registry, presence)


def _attend(claim: Claim, bench: _Bench) -> None:
    bench.presence.announce(state="busy", job=claim.spec.key, attempt=claim.attempt)
    try:
        _do(claim, bench)
    finally:
        bench.presence.announce(state="idle", job=None, attempt=None)


class _Way:
    """Lets higher-ranked jobs go first, in the middle of a long one, which keeps its results so far."""

    def __init__(self, claim: Claim, bench: _Bench) -> None:
        self._claim, self._bench, self._next = claim, bench, 0.0

    def __call__(self) -> None:
        """Run the higher-ranked jobs.

        Raises:
            CrowdedError: a model does not fit beside this job's: then both begin again, the other one first.
            JobCancelledError: nobody waits for this job any more.
        """
        if time.monotonic() < self._next:
            return
        own, bench = self._claim, self._bench
        try:
            ahead = bench.queue.claim(bench.worker, before=own)
        except StorageError as error:
            log.warning("what comes first is not known: %s", error.details)
            ahead = None
        self._next = time.monotonic() + REPORT_SECONDS
        if ahead is None:
            return
        log.info("%s %s lets others go first", own.spec.name, own.spec.key[:12])
        while ahead is not None:
            _attend(ahead, bench)
            ahead = insist(lambda: bench.queue.claim(bench.worker, before=own))
        insist(lambda: bench.queue.go_on(own))
        bench.presence.announce(state="busy", job=own.spec.key, attempt=own.attempt)
        if not insist(lambda: bench.queue.is_wanted(own.spec.key, own.attempt)):
            raise JobCancelledError(CANCELLED)


class Presence:
    """This worker's record in the table, with a copy in memory: the worker enters itself again if the table is lost."""

    def __init__(self, queue: JobQueue, worker: str, lane: Lane) -> None:
        self._roster = queue.worker_table
        self._record = entry(worker, os.getpid(), os.getppid(), lane)
        self._lock = threading.Lock()

    def announce(self, **changes: Any) -> None:
        """Record changes; if the disk is full, a later sign of life records them."""
        with self._lock:
            self._record = replace(self._record, **changes)
        self.beat()

    def beat(self) -> None:
        """Give a sign of life, with everything known."""
        with self._lock, contextlib.suppress(StorageError):
            self._roster.publish(self._record)


def entry(worker: str, pid: int, parent: int, lane: Lane) -> WorkerRecord:
    """Return the record of a worker that is starting."""
    message = "Starting the worker" if lane == "compute" else ""
    return WorkerRecord(worker, pid, this_host(), "starting", time.time(), message=message, parent=parent, lane=lane)


def insist(step: Callable[[], T]) -> T:
    """Take a step in the queue, however long its disk is full: a worker that gave up would lose its models."""
    while True:
        try:
            return step()
        except (StorageError, SettingsError) as error:
            log.error("the queue cannot be used: %s (%s)", error, getattr(error, "details", ""))
            time.sleep(RETRY_SECONDS)


def _set_threads(settings: Settings) -> None:
    """Set what OpenMP reads when torch is imported: its waiting threads go to sleep soon.

    Spinning, their default, saves 0.07 s a run on idle cores, but makes a run ten times as long if anything else wants
    a core (0.3 s against 1 to 6 s).
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.worker_threads))
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _beat(presence: Presence, parent: int) -> None:
    while os.getppid() == parent:
        try:
            presence.beat()
        except Exception:
            log.exception("a heartbeat could not be written")
        time.sleep(BEAT_SECONDS)
    os._exit(1)


def _prepare(registry: Registry, presence: Presence) -> str:
    """Load what is wanted from the start; an error does not stop the worker, but is shown: return its message."""
    if registry.prepare is None:
        return ""
    try:
        registry.prepare(presence.announce)
    except DashboardError as error:
        log.warning("the default model is not ready: %s", error)
        return without_paths(str(error))
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        log.exception("the default model is not ready")
        return f"The default model could not be loaded ({type(error).__name__}); the server's log has the details."
    return ""


def _do(claim: Claim, bench: _Bench) -> None:
    """Do one job to its end, whatever the outcome."""
    spec, start, queue, jobs = claim.spec, time.perf_counter(), bench.queue, bench.registry.jobs
    reporter = Reporter(queue, claim)
    job_context = JobContext(spec.key, bench.store, reporter, bench.presence.announce, _Way(claim, bench))
    try:
        if spec.name not in jobs:
            raise DashboardError(
                f"The worker does not know how to do {spec.name!r}. Restart the worker: it may be out of date."
            )
        result = jobs[spec.name](spec.payload, job_context)
        if not isinstance(result, str):
            raise TypeError(f"a job returns its artifact's name, not {type(result).__name__}")
    except CrowdedError:
        insist(lambda: queue.put_back(claim))
        raise
    except JobCancelledError:
        insist(lambda: queue.stopped(claim))
        log.info("%s %s cancelled after %.2f s", spec.name, spec.key[:12], time.perf_counter() - start)
    except DashboardError as error:
        failure = JobFailure.of(error)
        log.info("%s %s: %s", spec.name, spec.key[:12], error)
        insist(lambda: queue.fail(claim, failure))
    except BaseException as error:
        if not (isinstance(error, (Exception, SystemExit)) or is_panic(error)):
            raise
        number = new_number()
        log.exception("details %s: %s %s failed", number, spec.name, spec.key[:12])
        defect = explain(error, reporter.phase, where_noted(number), spec.name)
        insist(lambda: queue.fail(claim, defect))
    else:
        insist(lambda: queue.finish(claim, result))
        log.info("%s %s done in %.2f s", spec.name, spec.key[:12], time.perf_counter() - start)


def explain(error: BaseException, phase: str = "", more: str = "", name: str = "") -> JobFailure:
    """Return the failure for an unforeseen error. Only our own bugs are called our fault.

    Args:
        phase: of the job's progress. more: says where the traceback is. name: of the job's function.
    """
    result = is_result(name)
    kept = "" if result else "Your text is still in the box. "
    details = "".join(traceback.format_exception(error))  # works even for an error that cannot be printed
    kind = type(error).__name__
    if isinstance(error, MemoryError) or "not enough memory" in details or "out of memory" in details:
        return JobFailure(NO_MEMORY_FOR_RESULT if result else NO_MEMORY, more)
    if unforeseen(error) != BROKEN:
        if result:
            return JobFailure(unforeseen(error), more)
        return JobFailure(f"{unforeseen(error)} Your text is still in the box.", more)
    if phase in ("fetch", "load"):
        return JobFailure(
            f"This model could not be loaded ({kind}): its files may be damaged, or of a kind that this version does "
            f"not know. {kept}Choose another model; the server's log has the details.",
            more,
        )
    return JobFailure(
        f"This {'result' if result else 'run'} failed in the worker ({kind}), which is our fault. {kept}"
        f"{'Try' if result else 'Run'} again; if it fails again, check the server's log (or ask whoever runs this "
        "server).",
        more,
    )


class Reporter:
    """A job's progress function: passes on reports worth sending, and raises `JobCancelledError` if nobody waits."""

    def __init__(self, queue: JobQueue, claim: Claim) -> None:
        self._queue, self._claim = queue, claim
        self.phase, self._next, self._said = "", 0.0, Progress("load")

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase == self.phase and now < self._next + (AGAIN_SECONDS if progress == self._said else 0.0):
            return
        self.phase, self._next, self._said = progress.phase, now + REPORT_SECONDS, progress
        try:
            wanted = self._queue.report(self._claim, progress)
        except StorageError as error:  # the job goes on even if the report is lost
            log.warning("progress could not be noted: %s", error.details)
            self._next = now + RETRY_SECONDS
            return
        if not wanted:
            raise JobCancelledError(CANCELLED)
