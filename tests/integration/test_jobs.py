"""The queue with real worker processes: shared runs, cancels, deaths, time limits. The jobs are fake, the deaths are
not."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import dash
import numpy as np
import psutil
import pytest
from dash import Input, Output, dcc, html

from dashboard.catalog.catalog import Catalog
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import JobSpec, Rank, preparation
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.errors import DashboardError, EmptyTextError
from dashboard.jobs.board import Board
from dashboard.jobs.diskcache_backend import DiskcacheBackend
from dashboard.jobs.manager import ResidentWorkerManager
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.worker import OWN_REGISTRY
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support import fake_jobs

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
START = """
import importlib, sys
from dashboard.settings import Settings
from dashboard.jobs.supervisor import run_worker
importlib.import_module(sys.argv[1].partition(":")[0])
run_worker(Settings.from_env(), sys.argv[1], None, *sys.argv[2:])
"""
UNKILLABLE = """
from multiprocessing.context import SpawnProcess
SpawnProcess.kill = lambda process: None  # as where a process hangs in the system, and no signal reaches it
"""
FAKE = "tests.support.fake_jobs"
FAKE_JOBS = f"{FAKE}:registry"
POLL = 0.03
PATIENCE = 120.0  # seconds for what nobody promises a time for: torch is imported, a long text has got so far


class Keys:
    """Each test has keys of its own, so that what tests of one server have saved is no answer to the next."""

    first = 0


@pytest.fixture(autouse=True)
def _own_keys() -> None:
    Keys.first += 10_000


def key(number: int) -> str:
    return f"{Keys.first + number:064x}"


@dataclass
class Server:
    """A web process's side of a server, and the supervisors that a test starts beside it."""

    settings: Settings
    backend: DiskcacheBackend
    manager: ResidentWorkerManager
    supervisors: list[subprocess.Popen[bytes]] = field(default_factory=list)
    noted: int = 0

    @property
    def queue(self) -> JobQueue:
        return self.backend.queue

    def start_workers(
        self, registry: str = FAKE_JOBS, ready: bool = True, within: float = 20, before: str = "", preparation: str = ""
    ) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.settings.to_env()}
        command = [sys.executable, "-c", before + START, registry, *([f"{FAKE}:{preparation}"] if preparation else [])]
        with (self.settings.cache_dir / "workers.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.supervisors.append(process)
        if ready:
            self.until(lambda: self.queue.health().to_json()["worker"] == "ready", within)
        return process

    def ask(self, name: str, job: int | str, rank: Rank = Rank.USUAL, **payload: Any) -> str:
        """What a click does; returns the handle."""
        spec = JobSpec(name, key(job) if isinstance(job, int) else job, payload, rank=rank)
        handle = self.manager.build_cache_key(None, [], [], None)
        return self.manager.call_job_fn(handle, self.manager.make_job_fn(lambda: spec, True), [], {})

    def ask_run(self, model: str, text: str) -> str:
        """What a click on Run does; returns the handle."""
        request, fingerprint = RunRequest(model, text), Catalog(self.settings).fingerprint(ModelRequest(model))
        return self.ask("capture", request.key(fingerprint), request=request.to_json(), fingerprint=fingerprint)

    def poll(self, handle: str) -> Any:
        """What the page does every 120 ms; None while it must wait."""
        self.manager.get_progress(handle)
        result = self.manager.get_result(handle, handle)
        running = self.manager.job_running(handle)
        if result is self.manager.UNDEFINED:
            assert running, "neither running nor a result: Dash would end this in silence"
            return None
        return result

    def outcome(self, handle: str, within: float = 10.0) -> Any:
        return self.until(lambda: self.poll(handle), within)

    def running(self, handle: str) -> None:
        self.until(lambda: (self.manager.get_progress(handle) or [{}])[0].get("phase") == "layers", 10)

    def says(self, handle: str, beginning: str) -> None:
        """Wait until the run's progress says something that begins so."""

        def heard() -> bool:
            self.poll(handle)
            progress = self.manager.get_progress(handle)
            return bool(progress) and progress[0]["message"].startswith(beginning)

        self.until(heard, PATIENCE)

    def reaches(self, handle: str, layer: int) -> None:
        """Wait until the run's progress says that it computes this layer, or a later one: not every one is told."""

        def reached() -> bool:
            self.poll(handle)
            progress = self.manager.get_progress(handle)
            found = re.match(r"Layer (\d+) of", progress[0]["message"]) if progress else None
            return found is not None and int(found[1]) >= layer

        self.until(reached, PATIENCE)

    def until(self, question: Callable[[], Any], within: float) -> Any:
        deadline = time.monotonic() + within
        while not (answer := question()):
            assert time.monotonic() < deadline, f"not within {within} s; the workers' log:\n{self.log()}"
            time.sleep(POLL)
        return answer

    def worker_pid(self) -> int:
        (record,) = self.queue.worker_table.live()
        return record.pid

    def begun(self) -> list[str]:
        """The jobs that were ever begun: name, key, process id each."""
        path = self.settings.cache_dir / "log.txt"
        return path.read_text().splitlines() if path.exists() else []

    def done(self) -> list[str]:
        """The jobs that were begun in this test."""
        return self.begun()[self.noted :]

    def log(self) -> str:
        return (self.settings.cache_dir / "workers.log").read_text()[-3000:]

    def end(self) -> None:
        for process in self.supervisors:
            children = psutil.Process(process.pid).children() if process.poll() is None else []
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:
                if child.is_running():
                    child.kill()
        self.queue.close()


def server_in(folder: Path, **changes: Any) -> Server:
    settings = replace(Settings(cache_dir=folder / "cache", worker_threads=1), **changes)
    store, backend = RunStore.from_settings(settings), DiskcacheBackend.from_settings(settings)
    return Server(settings, backend, ResidentWorkerManager(backend, store, settings))


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**changes: Any) -> Server:
        made.append(server_in(tmp_path, **changes))
        return made[-1]

    yield make
    for server in made:
        server.end()


@dataclass
class Keeper:
    """Keeps one server for test after test, as long as it is whole."""

    folder: Callable[[str], Path]
    kept: Server | None = None

    def whole(self) -> Server:
        """A server with its supervisor, a worker that is ready, and nothing that waits or runs."""
        if self.kept is not None and not self._is_whole(self.kept):
            self.end()
        if self.kept is None:
            self.kept = server_in(self.folder("kept"))
            self.kept.start_workers()
        self.kept.noted = len(self.kept.begun())
        return self.kept

    def _is_whole(self, server: Server) -> bool:
        def rests() -> bool:
            return server.queue.health().to_json()["worker"] == "ready" and server.queue.job_table.board() == Board()

        try:
            server.until(rests, 5)
        except (AssertionError, DashboardError):
            return False
        return [process.poll() for process in server.supervisors] == [None]

    def end(self) -> None:
        if self.kept is not None:
            self.kept.end()
            self.kept = None


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path_factory.mktemp)
    yield keeper
    keeper.end()


@pytest.fixture
def server(keeper: Keeper) -> Server:
    """A server that may have served tests before this one; a test may take its worker, its supervisor or its queue."""
    return keeper.whole()


def test_a_running_server_sweeps_and_keeps_its_budget(make_server: Callable[..., Server]) -> None:
    """The worker service does it by itself, at its start at the latest: left-over files, and what is over the
    budget."""
    server = make_server(cache_gigabytes=0.004)
    old = server.settings.models_folder / "gguf" / "old"
    old.mkdir(parents=True)
    (old / "model.safetensors").write_bytes(b"x" * 5_000_000)
    left = [server.settings.cache_dir / "signing-secret.01.part", server.settings.exports_folder / "0.1.2.part"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    for path in (*left, *old.iterdir(), old):
        os.utime(path, (1, 1))
    server.start_workers(ready=False)
    server.until(lambda: not old.exists() and not any(path.exists() for path in left), 20)


def test_two_people_and_one_computation(server: Server) -> None:
    one, other = server.ask("slow", 1, seconds=1), server.ask("slow", 1, seconds=1)
    assert server.outcome(one)["run"] == server.outcome(other)["run"]
    assert len(server.done()) == 1


def test_a_cancel_leaves_the_other_its_result(server: Server) -> None:
    one, other = server.ask("slow", 1, seconds=1), server.ask("slow", 1, seconds=1)
    server.running(one)
    server.manager.terminate_job(one)
    assert server.outcome(one)["cancelled"]
    assert server.outcome(other)["run"].startswith(key(1))
    assert len(server.done()) == 1


@pytest.mark.alone
def test_a_cancel_frees_the_worker_which_keeps_its_models(server: Server) -> None:
    handle = server.ask("slow", 1, seconds=60)
    server.running(handle)
    pid, start = server.worker_pid(), time.monotonic()
    server.manager.terminate_job(handle)
    assert server.outcome(handle)["cancelled"]
    server.until(lambda: server.queue.health().to_json()["worker"] == "ready", 2)
    assert time.monotonic() - start < 2
    assert server.outcome(server.ask("slow", 2))["run"]
    assert server.worker_pid() == pid


def test_asking_again_for_what_runs_changes_nothing(server: Server) -> None:
    old = server.ask("slow", 1, seconds=1)
    server.running(old)
    server.manager.terminate_job(old)  # Dash drops the old handle and makes a new one, in one request
    new = server.ask("slow", 1, seconds=1)
    assert server.outcome(new)["run"]
    assert len(server.done()) == 1


@pytest.mark.alone
def test_a_job_that_ignores_its_cancel_is_killed(server: Server) -> None:
    handle = server.ask("deaf", 1)
    server.running(handle)
    pid = server.worker_pid()
    server.manager.terminate_job(handle)
    server.until(lambda: not psutil.pid_exists(pid), 4)
    assert server.outcome(server.ask("slow", 2))["run"]
    assert server.worker_pid() != pid


@pytest.mark.alone
def test_a_killed_worker_is_an_error_and_the_next_run_works(server: Server) -> None:
    handle, waiting = server.ask("deaf", 1), server.ask("slow", 2)
    server.running(handle)
    os.kill(server.worker_pid(), signal.SIGKILL)
    outcome = server.outcome(handle, within=3)
    assert outcome["error"].startswith("The worker stopped while computing layer 17 of 30, so this run has no result.")
    assert not outcome["cancelled"]
    assert server.outcome(waiting)["run"]
    assert server.outcome(server.ask("slow", 1))["run"], "the failure was not kept as a result"


@pytest.mark.alone
def test_a_worker_that_is_frozen_is_replaced(server: Server) -> None:
    """Who waits behind the frozen run goes on waiting, and gets a run."""
    handle, waiting = server.ask("deaf", 1), server.ask("slow", 3)
    server.running(handle)
    fake_jobs.freeze(server.worker_pid(), server.settings)
    server.until(lambda: server.poll(waiting) or server.poll(handle), 10)
    assert "The worker stopped" in server.outcome(handle, within=5)["error"]
    assert server.outcome(waiting)["run"]
    assert server.outcome(server.ask("slow", 2))["run"]


def test_a_worker_that_cannot_be_ended_is_given_up(make_server: Callable[..., Server]) -> None:
    """Its place is another's, its supervisor goes on, and ends when it is asked to."""
    server = make_server()
    supervisor = server.start_workers(before=UNKILLABLE)
    handle, waiting, pid = server.ask("deaf", 1), server.ask("slow", 3), server.worker_pid()
    server.running(handle)
    fake_jobs.freeze(pid, server.settings)
    try:
        assert "The worker stopped" in server.outcome(handle, PATIENCE)["error"]
        assert server.outcome(waiting, PATIENCE)["run"]
        assert server.worker_pid() != pid
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
        supervisor.terminate()
        assert supervisor.wait(30) == 1
    finally:
        os.kill(pid, signal.SIGKILL)
    assert f"process {pid} cannot be ended" in server.log()


def awaited(server: Server, job: int) -> str:
    """A run whose model must be made ready first; gives the subscription."""
    return server.queue.submit(JobSpec("slow", key(job), {}, preparation(ModelRequest("someone/big"))))


def test_preparations_that_die_before_they_begin_are_told(make_server: Callable[..., Server]) -> None:
    """Nobody waits for ever; workers go on, and so do runs of models that are ready."""
    server = make_server()
    server.start_workers(preparation="dying")
    for job in (1, 2):
        outcome = server.until(partial(server.queue.poll, awaited(server, job)), PATIENCE)
        assert outcome["error"].startswith("The model could not be prepared: the process that prepares it keeps ending")
        assert outcome["retry"]
    log = (server.settings.cache_dir / "workers.log").read_text()
    assert log.count("SystemError: this one dies") == 4, "three times for the first, who comes later hears it sooner"
    assert server.outcome(server.ask("slow", 3))["run"]


@pytest.mark.alone
def test_a_preparation_that_freezes_before_it_begins_is_replaced(make_server: Callable[..., Server]) -> None:
    server = make_server(stall_seconds=6.0)  # a busy machine stops a process for some seconds, too
    server.start_workers(preparation="freezing")
    outcome = server.until(partial(server.queue.poll, awaited(server, 1)), PATIENCE)
    assert outcome.get("run"), (outcome, server.log())
    assert "is silent; it is replaced" in server.log()


@pytest.mark.alone
def test_a_worker_that_freezes_while_it_starts_is_replaced(make_server: Callable[..., Server]) -> None:
    """Its supervisor gives signs of life for a worker that starts, and no more once it stands still."""
    server = make_server(stall_seconds=6.0)
    server.start_workers(f"{FAKE}:frozen_at_first", within=PATIENCE)
    assert "is silent; it is replaced" in server.log()
    assert server.outcome(server.ask("slow", 1))["run"]


@pytest.mark.parametrize("lane", ["compute", "prepare"])
def test_a_process_that_freezes_while_it_writes_is_replaced(make_server: Callable[..., Server], lane: str) -> None:
    """It has the lock of the queue, so its supervisor can write nothing, either. Whoever waits goes on waiting."""
    server = make_server()
    if lane == "compute":
        server.start_workers(f"{FAKE}:frozen_while_it_writes", within=PATIENCE)
        assert server.outcome(server.ask("slow", 1), PATIENCE)["run"]
    else:
        server.start_workers(preparation="freezing_while_it_writes")
        assert server.until(partial(server.queue.poll, awaited(server, 1)), PATIENCE).get("run")
    assert "has held the queue's lock for 10 s; it is replaced" in server.log()


@pytest.mark.alone
def test_a_worker_that_computes_and_gives_no_sign_of_life_while_it_starts_stays(
    make_server: Callable[..., Server],
) -> None:
    """It imports torch, say, which lets no other thread of it run, for longer than anything may stall."""
    server = make_server(stall_seconds=1.0, heartbeat_seconds=1.0)
    server.start_workers(f"{FAKE}:absorbed", within=PATIENCE)
    assert "it is replaced" not in server.log()
    assert server.outcome(server.ask("slow", 1))["run"]


@pytest.mark.alone
def test_a_killed_supervisor_is_an_error(server: Server) -> None:
    running, waiting = server.ask("deaf", 1), server.ask("slow", 2)
    server.running(running)
    pid = server.worker_pid()
    server.supervisors[0].kill()
    server.supervisors[0].wait()
    assert "The worker stopped" in server.outcome(running, within=3)["error"]
    assert server.outcome(waiting, within=5)["error"].startswith("No worker is running")
    server.until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 2)
    server.start_workers()
    assert server.outcome(server.ask("slow", 1))["run"]


@pytest.mark.alone
def test_an_ended_supervisor_ends_its_workers_and_says_so(server: Server) -> None:
    handle = server.ask("deaf", 1)
    server.running(handle)
    pid = server.worker_pid()
    server.supervisors[0].terminate()
    assert server.supervisors[0].wait(5) == 0
    assert not psutil.pid_exists(pid)
    assert "The worker stopped" in server.outcome(handle, within=3)["error"]
    assert server.queue.health().to_json()["worker"] == "none"


@pytest.mark.alone
def test_without_any_worker_there_is_an_error(make_server: Callable[..., Server]) -> None:
    server = make_server()
    assert "python -m dashboard worker" in server.outcome(server.ask("slow", 1), within=3)["error"]


def test_what_is_stored_needs_no_worker(make_server: Callable[..., Server]) -> None:
    server, name = make_server(), f"{key(1)}.fill-1"
    fake_jobs.leave(server.manager.store, name, {"a": np.zeros(1)})
    assert server.poll(server.ask("slow", name))["run"] == name


@pytest.mark.parametrize(
    ("job", "kind", "words"),
    [
        ("raising", "JobError", "failed in the worker (ZeroDivisionError)"),
        ("panicking", "JobError", "failed in the worker (PanicException)"),
        ("refusing", "TextTooLongError", "812 tokens; this server allows 256. Shorten the text."),
        ("hungry", "JobError", "not enough memory"),
        ("suicidal", "JobError", "stopped while computing layer 17 of 30"),
        ("unheard of", "DashboardError", "does not know how to do 'unheard of'"),
        ("prolix", "JobError", "failed in the worker (ValueError)"),
        ("unspeakable", "JobError", "failed in the worker (UnspeakableError)"),
        ("odd", "TextTooLongError", "yyy"),
        ("nothing", "JobError", "failed in the worker (TypeError)"),
    ],
)
def test_a_failure_is_told_and_tried_again(server: Server, job: str, kind: str, words: str) -> None:
    for _attempt in range(2):
        outcome = server.outcome(server.ask(job, 1))
        assert (outcome["kind"], outcome["cancelled"]) == (kind, False)
        assert words in outcome["error"]
        assert len(json.dumps(outcome)) < 3_000, "a page can take it"
        assert "Traceback" not in json.dumps(outcome)
        assert str(ROOT) not in json.dumps(outcome)
        if "our fault" in outcome["error"]:
            number = outcome["details"].removeprefix("The server's log has the details under ").rstrip(".")
            assert f"details {number}" in (server.settings.cache_dir / "workers.log").read_text(errors="replace")
    assert server.outcome(server.ask("slow", 1))["run"]


@pytest.mark.alone
def test_a_closed_tab_stops_its_job(make_server: Callable[..., Server]) -> None:
    server = make_server(lease_seconds=1.0)
    server.start_workers()
    server.running(server.ask("slow", 1, seconds=60))
    server.until(lambda: server.queue.health().to_json()["worker"] == "ready", 4)
    record = server.queue.job_table.job(key(1))
    assert record is not None
    assert record.state == "cancelled"


@pytest.mark.alone
def test_a_job_over_its_time_is_stopped(make_server: Callable[..., Server]) -> None:
    server = make_server(job_seconds=1.0)
    server.start_workers()
    pid = server.worker_pid()
    assert "longer than the 1 seconds" in server.outcome(server.ask("deaf", 1), within=4)["error"]
    assert server.outcome(server.ask("slow", 2))["run"]
    assert server.worker_pid() != pid


@pytest.mark.alone
def test_a_job_over_its_memory_is_stopped(make_server: Callable[..., Server]) -> None:
    server = make_server(worker_gigabytes=0.5)
    server.start_workers()
    pid = server.worker_pid()
    outcome = server.outcome(server.ask("greedy", 1), within=30)
    assert outcome["error"].startswith(
        "This run was stopped while computing layer 17 of 30: its worker needed more than the 0.5 GB"
    )
    assert (outcome["kind"], outcome["cancelled"]) == ("JobError", False)
    assert server.outcome(server.ask("slow", 2), within=30)["run"]
    assert server.worker_pid() != pid


def test_a_model_that_raises_while_it_is_loaded_at_the_start_is_told_and_the_worker_stays(
    make_server: Callable[..., Server],
) -> None:
    server = make_server()
    server.start_workers(FAKE_JOBS.replace("registry", "not_ready"))
    assert "could not be loaded (MemoryError)" in server.queue.health().to_json()["message"]
    pid = server.worker_pid()
    assert server.outcome(server.ask("slow", 1))["run"]
    assert server.worker_pid() == pid


def test_two_hundred_queued_runs_then_all_cancelled(make_server: Callable[..., Server]) -> None:
    """Nothing is left: no job that waits or runs, no worker that was lost, no entry that stays for ever."""
    server = make_server(lease_seconds=120.0)
    server.start_workers()
    before = kept_for_ever(server)
    first, pid = server.ask("slow", 999, seconds=600), server.worker_pid()
    server.running(first)
    handles = [*[server.ask("slow", number, seconds=600) for number in range(200)], first]
    assert server.queue.health().to_json()["queue"] == 200
    for handle in handles:
        server.manager.terminate_job(handle)
    assert all(server.outcome(handle)["cancelled"] for handle in handles)
    server.until(lambda: server.queue.health().to_json()["worker"] == "ready", 30)
    server.until(lambda: server.queue.job_table.board() == Board(), 30)
    assert server.queue.health().to_json()["queue"] == 0
    assert kept_for_ever(server) == before
    assert len(server.queue.worker_table.all()) == 1
    assert server.outcome(server.ask("slow", 1000))["run"]
    assert server.worker_pid() == pid, "its models are still in memory"
    assert [line.split()[1] for line in server.done()] == [key(999), key(1000)], "none of the others was begun"


def kept_for_ever(server: Server) -> set[str]:
    """What the queue's database holds without an end; all that is about one run must have one."""
    rows = server.queue.cache._con.execute("SELECT key FROM Cache WHERE expire_time IS NULL").fetchall()
    return {str(key) for (key,) in rows} - {"board"}


@pytest.mark.alone
def test_a_disk_that_is_full_for_a_while(make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking is refused with a sentence, what runs goes on, the worker keeps its models; and then everything works
    again."""
    server = make_server(lease_seconds=60.0)
    flag = server.settings.cache_dir / "full"
    monkeypatch.setenv(fake_jobs.FULL_WHILE, str(flag))
    server.start_workers()
    fake_jobs.fill_disk_while(flag, monkeypatch.setattr)
    pid, running, unsaved = server.worker_pid(), server.ask("slow", 1, seconds=1.5), server.ask("slow", 2, seconds=0.2)
    server.running(running)
    flag.touch()
    refused = server.outcome(server.ask("slow", 3))
    assert (refused["kind"], refused["retry"]) == ("StorageError", True)
    assert "disk is full" in refused["error"]
    time.sleep(4)  # longer than a silent worker counts as alive
    assert server.poll(running) is None, "it is waited for: nobody could write down what became of it"
    flag.unlink()
    outcome = server.outcome(running, within=30)
    assert "The disk that holds the saved runs is full, so this result could not be kept." in outcome["error"]
    assert server.outcome(unsaved, within=30)["run"]
    assert server.outcome(server.ask("slow", 1), within=30)["run"]
    assert server.worker_pid() == pid


@pytest.mark.alone
@pytest.mark.parametrize("how", ["garbage", "deleted"])
def test_a_queue_that_is_lost_while_a_job_runs_is_told_and_begun_anew(server: Server, how: str) -> None:
    fake_jobs.leave(server.manager.store, f"{key(7)}.fill-1", {"a": np.zeros(1)})
    handle, pid = server.ask("slow", 1, seconds=60), server.worker_pid()
    server.running(handle)
    server.queue.cache._con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database = server.settings.queue_folder / "cache.db"
    if how == "garbage":
        with database.open("r+b") as file:
            file.write(b"garbage!" * (database.stat().st_size // 8))
    else:
        database.unlink()
    outcome = server.outcome(handle, within=30)
    assert outcome["retry"]
    assert "no longer knows this run" in outcome["error"] or "has been reset" in outcome["error"]
    assert server.manager.store.has(f"{key(7)}.fill-1"), "saved runs are no part of it"
    server.until(lambda: server.queue.health().to_json()["worker"] == "ready", 30)
    assert server.outcome(server.ask("slow", 2), within=30)["run"]
    assert server.worker_pid() == pid, "the worker entered itself again, with its models"


def test_a_hundred_at_once_come_in_order(server: Server) -> None:
    handles = [server.ask("slow", number) for number in range(100)]
    for handle in handles:
        assert server.outcome(handle)["run"]
    assert [line.split()[1] for line in server.done()] == [key(number) for number in range(100)]


def test_workers_that_die_at_the_start_are_not_started_without_pause(make_server: Callable[..., Server]) -> None:
    server = make_server()
    server.start_workers(FAKE_JOBS.replace("registry", "crashing"), ready=False)
    handle = server.ask("slow", 1)
    assert server.outcome(handle, within=20)["error"]
    time.sleep(1)
    assert server.log().count("started, process") < 8


def test_two_workers_and_one_computation_each(make_server: Callable[..., Server]) -> None:
    server = make_server(workers=2)
    server.start_workers()
    server.until(lambda: len(server.queue.worker_table.live()) == 2, 10)
    handles = [server.ask("slow", number // 2, seconds=0.3) for number in range(8)]
    for handle in handles:
        assert server.outcome(handle)["run"]
    assert sorted(line.split()[1] for line in server.done()) == [key(number) for number in range(4)]


class Planted:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_planted_pickle_is_not_run(server: Server, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with sqlite3.connect(server.settings.queue_folder / "cache.db", timeout=10) as connection:
        connection.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(Planted(marker)),))
    connection.close()
    time.sleep(1)
    server.manager.get_progress("x")
    server.manager.get_result("x", "x")
    assert not marker.exists()
    assert server.outcome(server.ask("slow", 1))["run"], "the worker enters itself again"


@dataclass
class RealKeeper:
    """Keeps one server with bundled models, whose worker imports torch once, as long as that worker lives."""

    folder: Callable[[str], Path]
    kept: Server | None = None

    def holding(self, model: str) -> Server:
        """A server whose only worker rests, with this model in its memory; RXNMapper is loaded at its start."""
        if self.kept is not None and self.kept.log().count("started, process") > 1:
            self.end()
        if self.kept is None:
            models = Settings.from_env().models_folder
            self.kept = server_in(self.folder("real"), models_dir=models, default_model="rxnmapper")
            self.kept.start_workers(OWN_REGISTRY, within=PATIENCE)
        server = self.kept
        server.until(lambda: server.queue.health().to_json()["worker"] == "ready", PATIENCE)
        if model not in server.queue.health().to_json()["models"]:
            assert server.outcome(server.ask_run(model, "Load it."), PATIENCE)["run"]
        return server

    def end(self) -> None:
        if self.kept is not None:
            self.kept.end()
            self.kept = None


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKeeper]:
    keeper = RealKeeper(tmp_path_factory.mktemp)
    yield keeper
    keeper.end()


@pytest.mark.skipif(not (Settings().models_folder / "rxnmapper").is_dir(), reason="the bundled models are not here")
def test_a_real_model_is_loaded_once_and_its_runs_are_kept(real: RealKeeper) -> None:
    server = real.holding("rxnmapper")
    assert server.queue.health().to_json()["models"] == ["rxnmapper"]
    fingerprint = Catalog(server.settings).fingerprint(ModelRequest("rxnmapper"))
    runs = []
    for text in ("CC(=O)O.OCC>>CC(=O)OCC", "CCO>>CC=O"):
        request = RunRequest("rxnmapper", text)
        payload = {"request": request.to_json(), "fingerprint": fingerprint}
        handle = server.ask("capture", request.key(fingerprint), **payload)
        outcome = server.outcome(handle, within=30)
        runs.append(server.manager.store.open(outcome["run"]))
        named = {"run": request.key(fingerprint), "stamp": runs[-1].stamp}
        assert outcome == {**named, "job": "capture", "serial": handle}
    assert server.log().count("model rxnmapper ready") == 1
    assert all(server.manager.store.summary(run.key) for run in runs)
    assert runs[0].attention(10, 5).sum(axis=1) == pytest.approx(1, abs=1e-5)

    third, beyond = (DerivedRequest.of(runs[0].key, "masked-prediction", position=place) for place in (3, 999))
    outcome = server.outcome(server.ask("derive", third.name, **third.to_json()), within=30)
    assert outcome["run"] == third.name
    found = server.manager.store.derived(third)
    assert found is not None
    assert "masked/top_ids" in found.arrays
    outcome = server.outcome(server.ask("derive", beyond.name, **beyond.to_json()))
    assert outcome["kind"] == "BadSelectionError"


LONG = "The quick brown fox jumps over the lazy dog. " * 300  # 3,001 tokens of SmolLM2
REACTION = "CC(=O)O." * 15 + "CC>>CC(=O)OCC"  # 134 tokens: near the most of which every position is masked


def assert_still_there(server: Server, model: str, pid: int, cancelled: float, text: str) -> None:
    """The worker that was told to stop is free in under two seconds, and still holds its model: it computes this new
    text."""
    server.until(lambda: server.queue.health().to_json()["worker"] == "ready", 2 - (time.monotonic() - cancelled))
    assert not server.manager.store.has(
        RunRequest(model, text).key(Catalog(server.settings).fingerprint(ModelRequest(model)))
    )
    outcome = server.outcome(server.ask_run(model, text), within=10)
    assert outcome["run"]
    assert server.worker_pid() == pid
    assert server.log().count(f"model {model} ready") == 1


@pytest.mark.alone
@pytest.mark.parametrize(("layer", "text"), [(2, LONG), (20, LONG[: len(LONG) // 3])])
def test_a_cancel_of_a_long_run_frees_the_worker_which_keeps_its_model(real: RealKeeper, layer: int, text: str) -> None:
    server = real.holding("smollm2-135m")
    handle, pid = server.ask_run("smollm2-135m", text), server.worker_pid()
    server.reaches(handle, layer)
    cancelled = time.monotonic()
    server.manager.terminate_job(handle)
    assert server.outcome(handle, within=1)["cancelled"]
    assert_still_there(server, "smollm2-135m", pid, cancelled, f"After {layer}")


@pytest.mark.alone
def test_a_cancel_while_tokens_are_masked_keeps_the_worker(real: RealKeeper) -> None:
    server = real.holding("rxnmapper")
    handle, pid = server.ask_run("rxnmapper", REACTION), server.worker_pid()
    server.says(handle, "Masking token")
    cancelled = time.monotonic()
    server.manager.terminate_job(handle)
    assert server.outcome(handle, within=1)["cancelled"]
    assert_still_there(server, "rxnmapper", pid, cancelled, "C C")


@pytest.mark.alone
def test_a_worker_killed_in_a_long_run_is_told_at_once_and_replaced(real: RealKeeper) -> None:
    server = real.holding("smollm2-135m")
    handle, pid = server.ask_run("smollm2-135m", LONG), server.worker_pid()
    server.reaches(handle, 2)
    os.kill(pid, signal.SIGKILL)
    outcome = server.outcome(handle, within=3)
    assert outcome["error"].startswith("The worker stopped while computing layer ")
    assert (outcome["retry"], outcome["cancelled"]) == (True, False)
    assert outcome["key"] == RunRequest("smollm2-135m", LONG).key(
        Catalog(server.settings).fingerprint(ModelRequest("smollm2-135m"))
    )
    assert server.outcome(server.ask_run("smollm2-135m", "The next one."), PATIENCE)["run"]
    assert server.worker_pid() != pid


def make_app(server: Server) -> dash.Dash:
    app = dash.Dash("jobs", background_callback_manager=server.manager)
    app.layout = html.Div([html.Button(id="run"), html.Button(id="cancel"), dcc.Store(id="out"), dcc.Store(id="state")])

    @app.callback(
        Output("out", "data"),
        Input("run", "n_clicks"),
        background=True,
        progress=Output("state", "data"),
        cancel=[Input("cancel", "n_clicks")],
        prevent_initial_call=True,
    )
    def submit(clicks: int) -> JobSpec:
        if clicks == 0:
            raise EmptyTextError("There is no text to run.")
        return JobSpec("slow", key(clicks), {"seconds": 0.5})

    return app


class Page:
    """What dash-renderer does with one background callback."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = make_app(server).server.test_client()
        text = self.client.get("/").get_data(as_text=True)
        self.end_id = text.split('"end_id":"')[1].split('"')[0]
        self.cancels = [
            item["output"]
            for item in self.client.get("/_dash-dependencies").get_json()
            if item["output"].startswith("cancel")
        ]

    def post(self, output: str, identifier: str, value: Any, **arguments: Any) -> tuple[int, Any]:
        identity, prop = output.split("@")[0].rsplit(".", 1)
        body = {
            "output": output,
            "outputs": {"id": identity, "property": prop},
            "inputs": [{"id": identifier, "property": "n_clicks", "value": value}],
            "changedPropIds": [f"{identifier}.n_clicks"],
        }
        reply = self.client.post("/_dash-update-component", json=body, query_string={"endId": self.end_id, **arguments})
        return reply.status_code, reply.get_json(silent=True)

    def click(self, value: int) -> dict[str, str]:
        code, handle = self.post("out.data", "run", value)
        assert code == 200
        return {"cacheKey": handle["cacheKey"], "job": handle["job"]}

    def result(self, handle: dict[str, str]) -> tuple[Any, list[Any]]:
        """Poll until there is a response; that, and the progress seen on the way."""
        progress: list[Any] = []

        def poll() -> Any:
            code, data = self.post("out.data", "run", None, **handle)
            assert code == 200, "Dash ended this in silence"
            if "progress" in data:
                progress.append(data["progress"]["state.data"])
            return data.get("response")

        return self.server.until(poll, 10)["out"]["data"], progress


def test_through_dash_itself(server: Server) -> None:
    page = Page(server)
    outcome, progress = page.result(page.click(1))
    assert outcome["run"] == f"{key(1)}.done-1"
    assert {one["phase"] for one in progress} & {"layers"}
    outcome, _progress = page.result(page.click(0))
    assert (outcome["error"], outcome["kind"]) == ("There is no text to run.", "EmptyTextError")


def test_a_cancel_through_dash_itself(server: Server) -> None:
    page = Page(server)
    handle = page.click(2)
    code, _data = page.post(page.cancels[0], "cancel", 1, cancelJob=handle["job"])
    assert code in (200, 204)
    outcome, _progress = page.result(handle)
    assert outcome["cancelled"]
