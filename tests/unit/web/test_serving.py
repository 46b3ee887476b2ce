"""How `serve` and the Procfile start the page: addresses, options, and a worker that keeps ending."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.settings import Settings
from dashboard.web import serving
from dashboard.web.serving import ProcessGroup, check_port, location, web_command

ROOT = Path(__file__).resolve().parents[3]


def options(command: list[str]) -> dict[str, str]:
    """The options of a gunicorn command, by name."""
    return {name: value for name, _, value in (word.partition("=") for word in command if word.startswith("--"))}


def test_the_procfile_names_the_same_options() -> None:
    lines = dict(line.split(":", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    with_defaults = re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", lines["web"])
    theirs, ours = options(shlex.split(with_defaults)), options(web_command(Settings(host="0.0.0.0", web_processes=2)))
    assert theirs == ours


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:8050"),
        ("localhost", "localhost:8050"),
        ("::1", "[::1]:8050"),
        ("::", "[::]:8050"),
        ("[::1]", "[::1]:8050"),
    ],
)
def test_an_address_is_written_one_way(host: str, expected: str) -> None:
    settings = Settings(host=host)
    assert location(settings) == expected
    assert f"--bind={expected}" in web_command(settings)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_page_is_asked_for_at_the_address_it_is_served_on(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Children:
        def poll(self) -> int | None:
            return 0 if asked else None

    def open_address(url: str, timeout: float) -> Any:
        asked.append(url)
        raise OSError

    monkeypatch.setattr(urllib.request, "urlopen", open_address)
    children: Any = {"web": Children(), "worker": Children()}
    assert serving._watch(ProcessGroup(Settings(host=host, port=8051), lambda line: None, children)) == 1
    assert asked == ["http://[::1]:8051/health"]


@pytest.mark.parametrize("host", ["::1", "[::1]", "127.0.0.1"])
def test_a_free_port_of_either_family_can_be_served_on(host: str) -> None:
    bare = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET) as probe:
            probe.bind((bare, 0))
            port = int(probe.getsockname()[1])
    except OSError:
        pytest.skip(f"this computer has no {bare}")
    check_port(Settings(host=host, port=port))


class Mortal:
    """A worker's supervisor that ends as soon as someone looks."""

    def poll(self) -> int:
        return 1


class Clock:
    """Stands for the module `time`."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Noting(ProcessGroup):
    """A process_group that notes when it starts a worker."""

    clock: Clock
    begun: list[float]

    def start(self, name: str) -> None:
        self.begun.append(self.clock.now)
        self.started, self.due = self.clock.now, None


def test_a_worker_that_keeps_ending_is_started_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(serving, "time", clock)
    mortal: Any = Mortal()
    process_group = Noting(Settings(), lambda line: None, {"worker": mortal}, started=clock.now)
    process_group.clock, process_group.begun = clock, []
    for _ in range(500):
        process_group.tend_worker()
        clock.now += 0.1
    waits = [
        round(later - sooner)
        for sooner, later in zip([1000.0, *process_group.begun], process_group.begun, strict=False)
    ]
    assert waits == [1, 2, 4, 8, 10, 10, 10]
    while process_group.due is not None:
        process_group.tend_worker()
        clock.now += 0.1
    clock.now += 60  # this one lives for long
    before = clock.now
    for _ in range(15):
        process_group.tend_worker()
        clock.now += 0.1
    assert process_group.begun[-1] - before == pytest.approx(1, abs=0.2)


Child = subprocess.Popen[bytes]
CHILD = """
import signal, time
signal.signal(signal.SIGTERM, signal.{})
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def child() -> Iterator[Callable[[str], Child]]:
    """Starts a process that is up, and does with SIGTERM as it is told."""
    begun: list[Child] = []

    def start(on_term: str) -> Child:
        begun.append(subprocess.Popen([sys.executable, "-c", CHILD.format(on_term)], stdout=subprocess.PIPE))
        assert begun[-1].stdout is not None
        assert begun[-1].stdout.readline() == b"up\n"
        return begun[-1]

    yield start
    for process in begun:
        with process:  # closes its pipe, and waits for it
            process.send_signal(signal.SIGKILL)


def test_a_child_that_does_not_end_in_time_is_killed(
    child: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one, which does as it is asked, is not."""
    monkeypatch.setattr(serving, "ENDING", 1.0)
    process_group = ProcessGroup(Settings(), lambda line: None, {"web": child("SIG_IGN"), "worker": child("SIG_DFL")})
    process_group.end()
    assert process_group.children["web"].returncode == -signal.SIGKILL
    assert process_group.children["worker"].returncode == -signal.SIGTERM


def test_a_child_that_has_ended_is_left_alone(child: Callable[[str], Child]) -> None:
    process_group = ProcessGroup(Settings(), lambda line: None, {"web": child("SIG_DFL"), "worker": child("SIG_DFL")})
    process_group.children["web"].kill()
    process_group.children["web"].wait()
    process_group.end()
    assert process_group.children["web"].returncode == -signal.SIGKILL
    assert process_group.children["worker"].returncode == -signal.SIGTERM


def test_a_child_that_no_signal_reaches_holds_nobody_up(
    child: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it hangs in the system, in a dying disk, say."""
    monkeypatch.setattr(serving, "ENDING", 0.5)
    process_group = ProcessGroup(Settings(), lambda line: None, {"web": child("SIG_IGN")})
    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "kill", lambda _process: None)
        process_group.end()
    assert process_group.children["web"].poll() is None
