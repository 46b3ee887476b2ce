"""Who holds the queue's lock, as the system says it; and a process that does not give it back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.jobs import lock_watch
from dashboard.jobs.cache import open_cache
from dashboard.jobs.lock_watch import holders, lock_watched

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0
HOLDER = """
import sys, time
from pathlib import Path
from dashboard.jobs.cache import open_cache
cache = open_cache(Path(sys.argv[1]))
cache.get("x")
print("open", flush=True)
sys.stdin.readline()
with cache.transact():
    print("held", flush=True)
    sys.stdin.readline()
print("given back", flush=True)
sys.stdin.readline()
"""
pytestmark = pytest.mark.skipif(
    not lock_watch.SYSTEMS_LOCKS.exists(), reason="this system does not say who holds a lock"
)


class Holder:
    """A process that takes the lock and gives it back when it is told."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.says("open")

    def says(self, words: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{words}\n"

    def go_on(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.says(words)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    made = Holder(tmp_path)
    with made.process:
        yield made
        made.process.kill()


def test_the_process_that_holds_the_lock_is_named(holder: Holder, tmp_path: Path) -> None:
    """Not one that has the database open, and not one that holds another's."""
    cache = open_cache(tmp_path)
    cache.set("x", 1)
    assert holders(tmp_path) == frozenset()
    holder.go_on("held")
    assert holders(tmp_path) == {holder.process.pid}
    assert holders(tmp_path / "elsewhere") == frozenset()
    holder.go_on("given back")
    assert holders(tmp_path) == frozenset()
    with cache.transact():
        assert holders(tmp_path) == {os.getpid()}
    cache.close()


@pytest.mark.parametrize(
    "line",
    [
        "7: -> POSIX  ADVISORY  WRITE 831 fe:00:{} 120 120",  # it waits
        "7: POSIX  ADVISORY  READ 831 fe:00:{} 124 124",
        "7: POSIX  ADVISORY  WRITE 831 fe:00:1{} 120 120",
        "7: LEASE  ACTIVE    READ  831 fe:00:{} 0 EOF",
        "7:",
        "",
    ],
)
def test_who_waits_or_reads_holds_nothing(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache.db").touch()
    inode = (tmp_path / "cache.db").stat().st_ino
    (tmp_path / "locks").write_text(line.format(inode) + "\n")
    monkeypatch.setattr(lock_watch, "SYSTEMS_LOCKS", tmp_path / "locks")
    assert holders(tmp_path) == frozenset()
    (tmp_path / "locks").write_text(f"7: POSIX  ADVISORY  WRITE 831 fe:00:{inode} 120 120\n")
    assert holders(tmp_path) == {831}
    monkeypatch.setattr(lock_watch, "SYSTEMS_LOCKS", tmp_path / "nothing")
    assert holders(tmp_path) == frozenset()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lock_watch, "HELD_SECONDS", 1.0)


@pytest.mark.usefixtures("often")
def test_a_process_of_ours_that_keeps_the_lock_is_ended(holder: Holder, tmp_path: Path) -> None:
    holder.go_on("held")
    os.kill(holder.process.pid, signal.SIGSTOP)
    with lock_watched(tmp_path, lambda: [os.getpid(), holder.process.pid]):
        assert holder.process.wait(PATIENCE) == -signal.SIGKILL
    cache = open_cache(tmp_path)
    cache.set("x", 2)  # at once
    cache.close()


@pytest.mark.usefixtures("often")
def test_a_process_of_another_server_is_left_alone(holder: Holder, tmp_path: Path) -> None:
    asked: list[None] = []

    def ours() -> list[int]:
        asked.append(None)
        return []

    holder.go_on("held")
    with lock_watched(tmp_path, ours):
        until = time.monotonic() + PATIENCE
        while len(asked) < 40 and time.monotonic() < until:
            time.sleep(0.05)
    assert holder.process.poll() is None
    holder.go_on("given back")


@pytest.mark.usefixtures("often")
def test_a_process_that_takes_the_lock_again_and_again_is_left_alone(holder: Holder, tmp_path: Path) -> None:
    """It is seen with the lock at many looks, and never at as many one after another."""
    seen = iter([True] * 19 + [False] + [True] * 19 + [False] * 1000)
    looks: list[None] = []

    def ours() -> list[int]:
        looks.append(None)
        return [holder.process.pid] if next(seen) else []

    holder.go_on("held")
    with lock_watched(tmp_path, ours):
        until = time.monotonic() + PATIENCE
        while len(looks) < 45 and time.monotonic() < until:
            time.sleep(0.05)
    assert holder.process.poll() is None
