"""Derived results on the page when processes die, disks are full and queues too: what runs have, they have.

The web process is a real one; its worker is one without a model (tests/support/fake_jobs.py: `results`), which
begins a result and goes on when the file `closed` is gone, so that a result is in the middle for as long as a test
wants.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Locator, expect

from dashboard.catalog.catalog import Catalog
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import artifact_of
from dashboard.contracts.run import ModelRun
from dashboard.jobs.board import Board
from dashboard.jobs.queue import JobQueue
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.system.parent_watch import end_with
from dashboard.web.serving import web_command
from tests.support.pages import Pages
from tests.support.person import Person
from tests.support.server import ROOT, Server, free_port, own_models_folder
from tests.support.synthetic import make_parts

pytestmark = [pytest.mark.browser, pytest.mark.fresh]
WORKER = """
import sys
from dashboard.settings import Settings
from dashboard.jobs.supervisor import run_worker
run_worker(Settings.from_env(), "tests.support.fake_jobs:results")
"""
PATIENCE = 60.0
TOKEN = 2
SHOWN = re.compile("masked, (the model expects|most likely:) [^…]+,")


@dataclass
class Site:
    """A server whose parts can be ended and started: "web", "worker"."""

    settings: Settings
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def closed(self) -> Path:
        return self.settings.cache_dir / "closed"

    @property
    def full(self) -> Path:
        return self.settings.cache_dir / "full"

    def start(self, *names: str) -> None:
        environment = {**os.environ, **self.settings.to_env(), "FAKE_DISK_IS_FULL_WHILE": str(self.full)}
        for name in names:
            command = web_command(self.settings) if name == "web" else [sys.executable, "-c", WORKER]
            with (self.settings.cache_dir / f"{name}.log").open("ab") as log:
                dies_too = partial(end_with, os.getpid(), signal.SIGTERM)
                self.processes[name] = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=log, preexec_fn=dies_too
                )

    def stop(self, *names: str, by: signal.Signals = signal.SIGTERM) -> None:
        for name in names:
            process = self.processes.pop(name)
            process.send_signal(by)
            process.wait(30)

    def worker_pid(self) -> int:
        [worker] = [
            child
            for child in psutil.Process(self.processes["worker"].pid).children(recursive=True)
            if any("spawn_main" in part for part in child.cmdline())
        ]
        return worker.pid

    def begun(self, run: ModelRun) -> list[str]:
        """The results of a run whose computation was begun."""
        log = self.settings.cache_dir / "log.txt"
        found = [artifact_of(line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []
        return [name for name in found if name.startswith(run.key)]

    def until(self, question: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not question():
            assert time.monotonic() < deadline, (self.settings.cache_dir / "worker.log").read_text()[-3000:]
            time.sleep(0.03)

    def rests(self) -> bool:
        """Whether nothing waits or runs, and the worker is ready."""
        queue = JobQueue.from_settings(self.settings)
        try:
            return queue.health().worker == "ready" and queue.job_table.board() == Board()
        finally:
            queue.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("fakes")
    settings = Settings(port=free_port(), cache_dir=folder, models_dir=own_models_folder(folder), queue_runs=1)
    site = Site(settings)
    site.start("web", "worker")
    yield site
    site.stop(*site.processes)


@pytest.fixture(scope="module")
def server(site: Site) -> Server:
    server = Server(site.settings, site.processes["web"], RunStore.from_settings(site.settings), Catalog(site.settings))
    server.wait_until_ready()
    return server


@pytest.fixture(scope="module")
def pages(browser: Browser, server: Server) -> Pages:
    return Pages(browser, server)


@pytest.fixture
def held(site: Site, server: Server) -> Iterator[Path]:
    """Results are begun, and held as long as this file is there."""
    site.until(site.rests)
    site.closed.touch()
    yield site.closed
    for flag in (site.closed, site.full):
        flag.unlink(missing_ok=True)


@pytest.fixture
def run(server: Server, request: pytest.FixtureRequest) -> ModelRun:
    """A masked run that holds no prediction; each test has its own."""
    header, arrays = make_parts("masked", masked=False, text=request.node.name, model="rxnmapper")
    server.store.save(header["key"], header, arrays)
    return server.store.open(header["key"])


def card(person: Person) -> Locator:
    return person.at("prediction-card")


def in_the_middle(person: Person, run: ModelRun) -> Person:
    """Someone whose card says how far its result is."""
    person.load(f"?run={run.key}&token={TOKEN}&layer=0&head=0")
    expect(card(person)).to_contain_text(f"Masking token {TOKEN}")
    return person


def shows_it(person: Person) -> None:
    expect(person.title("prediction")).to_contain_text(SHOWN)
    expect(card(person).get_by_role("button", name="Try again")).to_have_count(0)


def try_again(person: Person) -> None:
    card(person).get_by_role("button", name="Try again").click()


def test_a_worker_that_is_killed_in_the_middle_is_told_in_the_card(
    site: Site, person: Person, run: ModelRun, held: Path
) -> None:
    in_the_middle(person, run)
    os.kill(site.worker_pid(), signal.SIGKILL)
    expect(card(person)).to_contain_text(
        "The worker stopped while computing the predictions, so there is no result. A new worker is starting. Try "
        "again;"
    )
    held.unlink()
    try_again(person)
    shows_it(person)
    assert len(site.begun(run)) == 2


def test_a_server_that_is_restarted_in_the_middle_is_told_and_the_page_goes_on(
    site: Site, person: Person, open_page: Callable[..., Person], run: ModelRun, held: Path
) -> None:
    in_the_middle(person, run)
    site.stop("worker", "web")
    held.unlink()
    site.start("web", "worker")
    expect(card(person)).to_contain_text(
        "The worker stopped while computing the predictions, so there is no result.", timeout=30_000
    )
    site.until(site.rests)  # a worker is there again
    try_again(person)
    shows_it(person)
    other = open_page().load(f"?run={run.key}&token={TOKEN}&layer=0&head=0")
    shows_it(other)
    assert len(site.begun(run)) == 2, "what was computed before is found"
    nobody_answers = ("ERR_", "Callback failed")  # for a moment
    person.log[:] = [line for line in person.log if not any(words in line for words in nobody_answers)]


def test_a_result_of_a_page_that_is_closed_is_stopped(site: Site, person: Person, run: ModelRun, held: Path) -> None:
    in_the_middle(person, run)
    person.page.close()
    site.until(site.rests)
    assert held.exists(), "it was stopped, and did not end by itself"
    assert person.server.store.all_derived(run) == []


def test_cancel_stops_what_is_computed_and_it_is_tried_again(
    site: Site, person: Person, run: ModelRun, held: Path
) -> None:
    in_the_middle(person, run)
    card(person).get_by_role("button", name="Cancel").click()
    expect(card(person)).to_contain_text("Cancelled.")
    site.until(site.rests)
    held.unlink()
    try_again(person)
    shows_it(person)
    assert len(site.begun(run)) == 2


def test_two_people_who_want_one_result_have_it_computed_once(
    site: Site, person: Person, open_page: Callable[..., Person], run: ModelRun, held: Path
) -> None:
    in_the_middle(person, run)
    other = in_the_middle(open_page(), run)
    held.unlink()
    for one in (person, other):
        shows_it(one)
    assert site.begun(run) == [DerivedRequest.of(run.key, "masked-prediction", position=TOKEN).name]


def test_who_leaves_takes_it_from_nobody_else(
    site: Site, person: Person, open_page: Callable[..., Person], run: ModelRun, held: Path
) -> None:
    in_the_middle(person, run)
    other = in_the_middle(open_page(), run)
    card(other).get_by_role("button", name="Cancel").click()
    expect(card(other)).to_contain_text("Cancelled.")
    held.unlink()
    shows_it(person)
    assert len(site.begun(run)) == 1


def test_a_disk_that_is_full_when_a_result_is_kept_is_told_in_the_card(
    site: Site, person: Person, run: ModelRun, held: Path
) -> None:
    in_the_middle(person, run)
    site.full.touch()
    held.unlink()
    site.until(lambda: "this result could not be kept" in (site.settings.cache_dir / "worker.log").read_text())
    site.full.unlink()
    expect(card(person)).to_contain_text(
        "The disk that holds the saved runs is full, so this result could not be kept."
    )
    # it left to make room
    person.server.store.save(run.key, run.header, {name: run.arrays[name] for name in run.arrays})
    try_again(person)
    shows_it(person)


def test_a_full_queue_is_told_in_the_card(
    site: Site, person: Person, open_page: Callable[..., Person], run: ModelRun, held: Path
) -> None:
    """One is computed, one waits, and that is all that this server keeps."""
    in_the_middle(person, run)
    waits = open_page().load(f"?run={run.key}&token=1&layer=0&head=0")
    expect(card(waits)).to_contain_text("1 before this one")
    late = open_page().load(f"?run={run.key}&token=4&layer=0&head=0")
    expect(card(late)).to_contain_text(
        "1 result is waiting on this server, and it accepts no more. Wait a few minutes, then try again."
    )
    held.unlink()
    for one in (person, waits):
        shows_it(one)
    try_again(late)
    shows_it(late)
