"""The supervisor: starts the workers, replaces those that die or do not stop, and watches over the queue."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from dashboard.contracts.job import Lane
from dashboard.errors import StorageError
from dashboard.jobs.failure import NEVER_READY, JobFailure
from dashboard.jobs.housekeeping import kept_tidy
from dashboard.jobs.lock_watch import lock_watched
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import WorkerRecord, over_memory
from dashboard.jobs.worker import BEAT_SECONDS, LOG_FORMAT, OWN_PREPARATION, OWN_REGISTRY, entry, prepare_one, work
from dashboard.settings import Settings
from dashboard.system.container import held_bytes, processor_seconds

log = logging.getLogger(__name__)
TICK_SECONDS = 0.1
WATCH_SECONDS = 0.25
END_SECONDS = 1.0  # how long a worker may take to end when the supervisor ends
QUICK_DEATHS = 3  # successive deaths before a worker was ready, after which the supervisor waits between starts
LONGEST_WAIT_SECONDS = 10.0
# multiple of a cancellation's grace, for a worker that loads or saves: replacing it costs more than waiting
LOADING_GRACE = 5.0


def run_worker(
    settings: Settings, registry: str = OWN_REGISTRY, parent: int | None = None, preparation: str = OWN_PREPARATION
) -> None:
    """Run the workers of this server until SIGTERM or SIGINT; the main function of the worker service.

    Args:
        settings: the server's.
        registry: "module:function" that makes the workers' job functions. preparation: the same for the lane "prepare".
        parent: process id to end with, if given.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    stop = threading.Event()
    with _ends_on_signals(stop), kept_tidy(settings):
        supervisor = Supervisor(settings, registry, preparation)
        try:
            with lock_watched(settings.queue_folder, supervisor.processes):
                while not stop.is_set() and (parent is None or os.getppid() == parent):
                    _survive(supervisor.tick)
        finally:
            if not supervisor.end():
                logging.shutdown()
                os._exit(1)  # Python itself would wait for processes that cannot be ended


@dataclass
class _Slot:
    """A slot for one worker of a lane: its current worker, and how often its workers died before they were ready."""

    lane: Lane = "compute"
    number: int = 0  # of its lane
    process: SpawnProcess | None = None
    worker: str = ""
    deaths: int = 0
    start_at: float = 0.0  # monotonic; when the next worker is due
    unwanted_since: float | None = None  # monotonic; since when its worker has computed something nobody waits for
    missed_since: float | None = None  # monotonic; since when its worker is missing from the table (a new one is empty)
    heard_at: float = 0.0  # monotonic; when its process itself last gave a sign of life, or computed anything
    lent: float = 0.0  # the last sign of life that the supervisor gave on its behalf
    computed: float = 0.0  # processor seconds that its process had used by then


class Supervisor:
    """`settings.workers` slots, each with a worker process, and `settings.preparations` slots, each with a process
    while a preparation is due; `tick` does what is due and waits a moment.
    """

    def __init__(self, settings: Settings, registry: str = OWN_REGISTRY, preparation: str = OWN_PREPARATION) -> None:
        self._settings = settings
        self._registries: dict[Lane, str] = {"compute": registry, "prepare": preparation}
        self._queue = JobQueue.from_settings(settings)
        self._spawn = multiprocessing.get_context("spawn")
        self._slots = [_Slot(number=number) for number in range(settings.workers)]
        self._slots += [_Slot("prepare", number) for number in range(settings.preparations)]
        self._watch_at = self._beat_at = 0.0
        self._entered = False  # whether it counts as a supervisor
        self._given_up: list[SpawnProcess] = []  # processes that could not be ended

    def tick(self) -> None:
        """Run one round: start, replace, stop, watch; then wait for a death or a tenth of a second."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is None:
                if now >= slot.start_at and (slot.lane == "compute" or self._is_due()):
                    self._start(slot)
            elif not slot.process.is_alive():
                self._bury(slot)
            else:
                self._stop_unwanted(slot, now)
        if now >= self._beat_at:
            self._beat_at = now + BEAT_SECONDS
            self._beat()
        if now >= self._watch_at:
            self._watch_at = now + WATCH_SECONDS
            for slot in self._slots:
                self._stop_greedy(slot)
            self._queue.watch()
        alive = [slot.process.sentinel for slot in self._slots if slot.process is not None]
        if alive:
            wait(alive, timeout=TICK_SECONDS)
        else:
            time.sleep(TICK_SECONDS)

    def processes(self) -> list[int]:
        """Return the ids of the workers' processes; safe in any thread."""
        found = []
        for slot in self._slots:
            with contextlib.suppress(AttributeError, ValueError):  # it has just ended
                found.append(slot.process.pid)  # type: ignore[union-attr]
        return [pid for pid in found if pid is not None]

    def end(self) -> bool:
        """End every worker; their jobs go to another server with this cache folder, else fail and say so.

        Returns: whether every process has ended, including those of replaced workers.
        """
        with contextlib.suppress(StorageError):
            self._queue.worker_table.supervise(idle=True)
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + END_SECONDS
        for process in running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
            self._let_go(process)
        for slot in self._slots:
            with contextlib.suppress(StorageError):  # watchers notice that its process is gone
                self._queue.lose_worker(slot.worker, by_order=True)
            slot.process = None
        with contextlib.suppress(StorageError):
            self._queue.worker_table.retire()
        self._queue.close()
        return not any(process.is_alive() for process in self._given_up)

    def _is_due(self) -> bool:
        """Whether a preparation waits that has no process yet."""
        due = self._queue.preparations_due()
        return due > 0 and due > sum(self._has_begun(slot) for slot in self._slots if slot.lane == "prepare")

    def _has_begun(self, slot: _Slot) -> bool:
        """Whether a slot's process exists and has no job yet."""
        record = None if slot.process is None else self._queue.worker_table.get(slot.worker)
        return record is not None and record.state == "starting"

    def _start(self, slot: _Slot) -> None:
        before, slot.worker = slot.worker, uuid.uuid4().hex
        process = self._spawn.Process(
            target=work if slot.lane == "compute" else prepare_one,
            args=(self._settings, slot.worker, os.getpid(), self._registries[slot.lane], slot.number),
            name="dashboard-worker",
            daemon=True,
        )
        # enter it before it runs, so that the queue always counts as served; the worker itself reports when it is ready
        self._queue.worker_table.publish(entry(slot.worker, os.getpid(), os.getpid(), slot.lane))
        process.start()
        slot.process, slot.unwanted_since, slot.missed_since = process, None, None
        slot.heard_at, slot.lent = time.monotonic(), 0.0
        log.info("worker %s started, process %s", slot.worker[:8], process.pid)
        self._queue.worker_table.change(slot.worker, pid=process.pid)
        if before:
            self._queue.lose_worker(before)

    def _bury(self, slot: _Slot) -> None:
        """Handle a worker's death: fail its job and start another worker, at once unless they keep dying before they
        are ready. A preparing process ends by itself, and gets a successor only when there is something to do."""
        if slot.process is None:
            return
        record = self._queue.worker_table.get(slot.worker)
        code, slot.process = self._let_go(slot.process), None
        never_ready = record is not None and record.state == "starting" and code != 0
        log.log(logging.INFO if code == 0 else logging.WARNING, "worker %s ended with code %s", slot.worker[:8], code)
        if code == -signal.SIGTERM:  # someone stopped the whole service, all its processes at once
            self._queue.lose_worker(slot.worker, by_order=True)
        pause = self._pause(slot, never_ready)
        if pause:
            log.error("workers end before they are ready; the next is started in %.0f s", pause)
        if pause or slot.lane == "prepare":
            self._queue.lose_worker(slot.worker)
            slot.worker = ""
        else:
            self._start(slot)
        if pause and slot.lane == "prepare":
            self._queue.fail_waiting("prepare", JobFailure(NEVER_READY))

    def _pause(self, slot: _Slot, never_ready: bool) -> float:
        """Return seconds until another worker may start in a slot whose worker ended; preparations share one count."""
        deaths = slot.deaths + 1 if never_ready else 0
        excess = deaths - QUICK_DEATHS
        pause = min(LONGEST_WAIT_SECONDS, 2.0**excess) if excess >= 0 else 0.0
        for other in self._slots:
            if other is slot or other.lane == slot.lane == "prepare":
                other.deaths, other.start_at = deaths, time.monotonic() + pause
        return pause

    def _let_go(self, process: SpawnProcess) -> int | None:
        """Free what is kept of a process that is ending; return its exit code.

        One that hangs in the system (on a dying disk, say) cannot be ended, and is abandoned rather than waited for.
        """
        process.join(END_SECONDS)
        code = process.exitcode
        if code is None:
            log.error(
                "process %s cannot be ended: it hangs in the system. It is given up, and keeps its memory", process.pid
            )
            self._given_up.append(process)
        else:
            process.close()
        return code

    def _stop_unwanted(self, slot: _Slot, now: float) -> None:
        """Replace a worker that keeps computing something nobody waits for, or that has been silent for too long."""
        record = self._queue.worker_table.get(slot.worker)
        wanted = record is None or record.job is None or self._queue.is_wanted(record.job, record.attempt or 0)
        if not wanted and slot.unwanted_since is None:
            slot.unwanted_since = now
        elif wanted:
            slot.unwanted_since = None
        grace = self._settings.cancel_grace_seconds
        if record is not None and record.state in ("loading", "saving"):
            grace *= LOADING_GRACE
        late = slot.unwanted_since is not None and now - slot.unwanted_since > grace
        if late or self._is_silent(slot, record, now):
            self._replace(slot, "did not stop" if late else "is silent")

    def _is_silent(self, slot: _Slot, record: WorkerRecord | None, now: float) -> bool:
        """Whether a worker gives no sign of life; one missing from the table has a moment to enter itself again."""
        if record is not None:
            slot.missed_since = None
            return self._queue.worker_table.is_gone(record) and self._queue.worker_table.can_write()
        if slot.missed_since is None:
            slot.missed_since = now
        return now - slot.missed_since > self._settings.heartbeat_seconds

    def _stop_greedy(self, slot: _Slot) -> None:
        """Replace a worker that holds more memory than allowed, before it takes everyone else's."""
        if slot.process is None or held_bytes(slot.process.pid) <= self._settings.worker_gigabytes * 1e9:
            return
        self._queue.lose_worker(slot.worker, lambda record: over_memory(record, self._settings.worker_gigabytes))
        self._replace(slot, "holds too much memory")

    def _replace(self, slot: _Slot, why: str) -> None:
        if slot.process is not None:
            log.warning("worker %s %s; it is replaced", slot.worker[:8], why)
            slot.process.kill()
            self._bury(slot)

    def _beat(self) -> None:
        """Give signs of life: its own, and those of workers that cannot (importing torch, loading a model).

        Before the first one, check the jobs that were already running at startup: a run whose server had ended by then
        is an error at once, whereas another server's workers would do it again.
        """
        if not self._entered:
            self._queue.watch_running()
            self._entered = True
        self._queue.worker_table.supervise(
            idle=all(slot.process is None for slot in self._slots if slot.lane == "compute")
        )
        for slot in self._slots:
            record = self._queue.worker_table.get(slot.worker)
            if record is not None and record.state in ("starting", "loading") and not self._is_frozen(slot, record):
                slot.lent = time.time()
                self._queue.worker_table.change(slot.worker, beat=slot.lent)

    def _is_frozen(self, slot: _Slot, record: WorkerRecord) -> bool:
        """Whether a process has neither given a sign of life of its own nor computed anything for as long as a download
        may stall. While it imports torch or writes a large file it gives no sign, but computes."""
        now, computed = time.monotonic(), 0.0 if slot.process is None else processor_seconds(slot.process.pid)
        if record.beat != slot.lent or computed != slot.computed:
            slot.heard_at, slot.computed = now, computed
        return now - slot.heard_at > max(self._settings.stall_seconds, self._settings.heartbeat_seconds)


def _survive(tick: Callable[[], None]) -> None:
    """Run one round; a temporarily full disk, say, must not end the supervisor and with it every worker."""
    try:
        tick()
    except Exception:
        log.exception("the supervisor could not do its round")
        time.sleep(1.0)


@contextlib.contextmanager
def _ends_on_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set `stop`, if signals can be handled at all (the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
