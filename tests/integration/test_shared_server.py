"""Whole servers, as a team uses them: gunicorn's processes, a supervisor with its workers, and several people over
HTTP.

The jobs are fake (tests/support/fake_jobs.py: `pages`), everything else is real. A text's last two words say how
many layers its run has, by which its progress can be told from anyone else's, and how many seconds it takes.

To start a web process costs seconds, a worker without a model little: the tests share the web processes of two servers,
which have one cache folder, and each starts the workers that it needs.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from dashboard.catalog.catalog import Catalog
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.jobs.queue import JobQueue
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.serving import web_command
from tests.support.dash_person import Person, health_of

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
MODEL = "smollm2-135m"
WORKER = """
import sys
from dashboard.settings import Settings
from dashboard.jobs.supervisor import run_worker
run_worker(Settings.from_env(), sys.argv[1])
"""
PATIENCE = 60.0
ENDS = [(("worker",), signal.SIGTERM), (("web", "worker"), signal.SIGKILL)]  # of a server: what ends, and how


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Site:
    """One server: its web processes and its supervisor, each of which can be stopped and started.

    Attributes:
        noted: how many runs were begun before this test.
    """

    settings: Settings
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    noted: int = 0

    def start(self, *names: str, **changes: Any) -> Site:
        """Start "web", "worker" or both, with these settings changed, and wait until each does its work."""
        for name in names or ("web", "worker"):
            worker = [sys.executable, "-c", WORKER, "tests.support.fake_jobs:pages"]
            command = web_command(self.settings) if name == "web" else worker
            environment = {**os.environ, **replace(self.settings, **changes).to_env()}
            with (self.settings.cache_dir.parent / "server.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        if "web" in self.processes:
            self.until(lambda: self.health().get("status") == "ok")
        if "web" in self.processes and "worker" in self.processes:
            self.until(lambda: self.health().get("worker") in ("ready", "busy"))
        return self

    def health(self) -> dict[str, Any]:
        return health_of(self.settings.port)

    def stop(self, *names: str, by: signal.Signals = signal.SIGTERM) -> None:
        """End "web", "worker" or both, with all that they started."""
        for name in names or ("web", "worker"):
            process = self.processes.pop(name, None)
            if process is None:
                continue
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(by)
            for child in family if by == signal.SIGKILL else ():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.until(lambda family=family: all(has_ended(child) for child in family))

    def whole(self) -> Site:
        """Its web processes answer, and no worker of its own is there."""
        self.stop("worker")
        if self.health().get("status") != "ok":
            self.stop("web", by=signal.SIGKILL)
            self.start("web")
        self.noted = len(self.all_begun())
        return self

    def person(self) -> Person:
        return Person(self.settings.port).arrive()

    def key(self, text: str) -> str:
        return RunRequest(MODEL, text).key(Catalog(self.settings).fingerprint(ModelRequest(MODEL)))

    def begun(self) -> list[str]:
        """Keys of the runs that were begun in this test."""
        return self.all_begun()[self.noted :]

    def all_begun(self) -> list[str]:
        log = self.settings.cache_dir / "log.txt"
        return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []

    def until(self, question: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (answer := question()):
            assert time.monotonic() < deadline, (self.settings.cache_dir.parent / "server.log").read_text()[-3000:]
            time.sleep(0.05)
        return answer


def has_ended(process: psutil.Process) -> bool:
    """Whether a process runs no more; its remains may wait for whoever takes them."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Two servers with one cache folder, of two web processes and of one."""
    folder = tmp_path_factory.mktemp("servers")
    settings = Settings(
        cache_dir=folder / "cache", models_dir=folder / "models", lease_seconds=60.0, heartbeat_seconds=30.0
    )
    made = [Site(replace(settings, port=free_port(), web_processes=count)) for count in (2, 1)]
    yield made[0], made[1]
    for site in made:
        site.stop(by=signal.SIGKILL)


@pytest.fixture
def site(sites: tuple[Site, Site]) -> Iterator[Site]:
    """A server of two web processes, without a worker."""
    yield sites[0].whole()
    sites[0].stop("worker")


@pytest.fixture
def other(sites: tuple[Site, Site]) -> Iterator[Site]:
    """A server of one web process, without a worker, on the cache folder of `site`."""
    yield sites[1].whole()
    sites[1].stop("worker")


def at_once(*steps: Callable[[], None]) -> None:
    """Each in a thread of its own; their failures are this one's."""
    failures: list[BaseException] = []

    def guarded(step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def own(person: Person, layers: int) -> None:
    """Every progress that this person was shown is of a run of so many layers, or of waiting for it."""
    totals = {seen["total"] for seen in person.seen if seen["phase"] == "layers"}
    assert totals == {layers}, person.seen


def test_three_people_on_two_web_processes_see_their_own(site: Site) -> None:
    """Two run at once, in two workers; the third cancels. Each sees its own progress, run and selection."""
    site.start("worker", workers=2)
    assert len(psutil.Process(site.processes["web"].pid).children()) == 2
    people = [site.person() for _ in range(3)]
    words = ["Anna reads this 11 1.5", "Bert reads that 12 1.5", "Carl does not wait 13 30"]
    outcomes: list[dict[str, Any]] = [{}, {}, {}]

    def read(number: int) -> None:
        outcomes[number] = people[number].wait(people[number].submit(words[number], MODEL))

    def leave() -> None:
        handle = people[2].submit(words[2], MODEL)
        people[2].sees(handle, "layers")
        people[2].cancel(handle)
        outcomes[2] = people[2].wait(handle)

    at_once(lambda: read(0), lambda: read(1), leave)
    assert [outcome.get("run") for outcome in outcomes] == [site.key(words[0]), site.key(words[1]), None]
    assert outcomes[2]["cancelled"]
    for person, layers in zip(people, (11, 12, 13), strict=True):
        own(person, layers)
    infos = [people[number].shown(outcomes[number]) for number in (0, 1)]
    assert [info["text"] for info in infos] == words[:2]
    for round_ in range(6):  # in turn, and each request at whichever process takes it
        for number in (0, 1):
            selection = {"run": infos[number]["run"], "token": round_ % 3, "layer": round_ % 2, "head": number}
            assert people[number].drawn(selection) == {"run": infos[number]["run"], "layer": round_ % 2, "head": number}
    lists = [person.ask("GET", "/recent")[1] for person in people]
    assert [site.key(words[0]) in lists[0], site.key(words[1]) in lists[0]] == [True, False]
    assert [site.key(words[0]) in lists[1], site.key(words[1]) in lists[1]] == [False, True]
    assert "Carl" not in "".join(lists)
    assert not RunStore.from_settings(site.settings).has(site.key(words[2]))


def test_a_page_goes_on_after_its_web_processes_were_restarted(site: Site) -> None:
    site.start("worker")
    person, other = site.person(), site.person()
    running, waiting = (
        person.submit("While the web restarts 21 4", MODEL),
        other.submit("And this one waits 22 0.1", MODEL),
    )
    person.sees(running, "layers")
    site.stop("web")
    with pytest.raises(OSError, match="refused"):
        person.poll(running)
    assert site.health() == {}, "the page says: no connection to the server"
    site.start("web")
    assert person.wait(running)["run"] == site.key("While the web restarts 21 4")
    assert other.wait(waiting)["run"] == site.key("And this one waits 22 0.1")
    assert len(site.begun()) == 2, "nothing was computed twice"
    own(person, 21)


@pytest.mark.parametrize(("what", "by"), ENDS, ids=["worker ended", "both killed"])
def test_a_restart_in_the_middle_is_told_and_the_queue_is_kept(
    other: Site, what: tuple[str, ...], by: signal.Signals
) -> None:
    """What was being computed is an error at once, what waited is computed by the next worker, what was saved stays."""
    site = other.start("worker")
    person, next_one, third = site.person(), site.person(), site.person()
    waits, again = f"This waits for the one after {by.name} 32 0.1", f"And once more after {by.name} 33 0.1"
    saved = third.wait(third.submit(f"Saved before {by.name} 30 0", MODEL))["run"]
    running = person.submit(f"The worker ends with {by.name} in this 31 60", MODEL)
    person.sees(running, "layers")
    waiting = next_one.submit(waits, MODEL)
    next_one.sees(waiting, "queued")
    site.stop(*what, by=by)
    site.start(*what)
    outcome = person.wait(running)
    assert outcome["error"].startswith("The worker stopped while computing layer "), outcome
    assert (outcome["retry"], outcome["cancelled"]) == (True, False)
    assert next_one.wait(waiting)["run"] == site.key(waits)
    assert third.drawn({"run": saved, "token": 0, "layer": 0, "head": 0})["run"] == saved
    assert person.wait(person.submit(again, MODEL))["run"] == site.key(again)
    assert site.health()["queue"] == 0


def test_a_run_file_that_someone_cuts_short_while_it_is_shown(other: Site) -> None:
    """Reading a mapped file that was cut short ends the process that reads; gunicorn starts another, and the page is
    told."""
    site = other.start("worker")
    person = site.person()
    key = person.wait(person.submit("Cut me short 41 0", MODEL))["run"]
    assert person.drawn({"run": key, "token": 0, "layer": 0, "head": 0})["run"] == key
    os.truncate(site.settings.runs_folder / f"{key}.safetensors", 4096)

    def told() -> bool:
        try:
            code, text = person.ask("GET", f"/run/{key}/attention/0/1?from=0&to=1")
        except (OSError, http.client.HTTPException):
            return False
        return code == 404 and text == "This server no longer has that run. Run its text again."

    site.until(told)
    assert not (site.settings.runs_folder / f"{key}.safetensors").exists()
    assert person.wait(person.submit("Cut me short 41 0", MODEL))["run"] == key, "it is computed again"
    assert person.drawn({"run": key, "token": 0, "layer": 0, "head": 1})["run"] == key


def test_two_servers_on_one_cache_folder(site: Site, other: Site) -> None:
    """Each run is computed once, whoever asks; one server ends, with what it computed, and the other goes on."""
    one, other = other.start("worker"), site.start("worker")
    here, there = one.person(), other.person()
    texts = [f"Asked for at both {number} 0.3" for number in range(50, 56)]
    handles = [(person, text, person.submit(text, MODEL)) for text in texts for person in (here, there)]
    for person, text, handle in handles:
        assert person.wait(handle)["run"] == one.key(text)
    assert sorted(one.begun()) == sorted(one.key(text) for text in texts)

    one.stop(by=signal.SIGKILL)
    late = there.submit("The other goes on 60 0.1", MODEL)
    assert there.wait(late)["run"] == other.key("The other goes on 60 0.1")
    assert other.health()["worker"] == "ready"
    one.start()
    assert here.drawn({"run": other.key("The other goes on 60 0.1"), "token": 1, "layer": 1, "head": 1})["layer"] == 1


@pytest.mark.parametrize(("what", "by"), ENDS, ids=["worker ended", "both killed"])
def test_a_run_that_another_server_computes_is_not_lost_with_it(
    site: Site, other: Site, what: tuple[str, ...], by: signal.Signals
) -> None:
    """The other server's worker has the run when its server ends: this one's worker does it again, and nobody hears of
    it."""
    other.start("worker")
    here, text = site.person(), f"Begun at the other one, which {by.name} ends 30 -60"
    handle = here.submit(text, MODEL)
    here.sees(handle, "layers")
    site.start("worker")
    supervisors = {server.processes["worker"].pid for server in (site, other)}
    worker_table = JobQueue.from_settings(site.settings).worker_table
    site.until(lambda: supervisors <= {record.pid for record in worker_table.supervisors()})
    other.stop(*what, by=by)
    assert here.wait(handle)["run"] == site.key(text)
    assert site.begun() == [site.key(text)] * 2
