"""Watches who holds the queue's lock: a process that freezes while writing would block all other writers forever.

That includes its supervisor, which cannot judge who is silent if it cannot write. So a thread of the supervisor checks
what the system says about the lock (Linux: /proc/locks), which requires no writing, and ends the process, which frees
the lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from dashboard.jobs.cache import DATABASE

log = logging.getLogger(__name__)
SYSTEMS_LOCKS = Path("/proc/locks")
LOCKED = (DATABASE, f"{DATABASE}-shm")  # the files that SQLite locks to write
LOOK_SECONDS = 0.5
HELD_SECONDS = 10.0  # a change takes milliseconds, and processes wait twice this long to make one


@contextlib.contextmanager
def lock_watched(folder: Path, ours: Callable[[], Collection[int]]) -> Iterator[None]:
    """End those processes of `ours` that do not release the lock of the queue in `folder`, in a separate thread."""
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, ours, ended), name="lock watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _watch(folder: Path, ours: Callable[[], Collection[int]], ended: threading.Event) -> None:
    looks: dict[int, int] = {}  # process → at how many successive looks it has held the lock
    while not ended.wait(LOOK_SECONDS):
        try:
            found = holders(folder) & set(ours())
            looks = {pid: looks.get(pid, 0) + 1 for pid in found}
            for pid, count in looks.items():
                if count * LOOK_SECONDS >= HELD_SECONDS:
                    log.warning(
                        "process %s has held the queue's lock for %.0f s; it is replaced", pid, count * LOOK_SECONDS
                    )
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        except Exception:
            log.exception("the holder of the queue's lock cannot be determined")


def holders(folder: Path) -> frozenset[int]:
    """Return the processes that hold the lock of the queue in `folder`; none if the system does not say."""
    files = set()
    for name in LOCKED:
        with contextlib.suppress(OSError):
            files.add(os.stat(folder / name).st_ino)
    try:
        lines = SYSTEMS_LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return frozenset()
    return frozenset(pid for pid, file in map(_writer, lines) if file in files)


def _writer(line: str) -> tuple[int, int | None]:
    """Return (process, inode) of a line such as "7: POSIX ADVISORY WRITE 831 fe:00:2146612 120 120"; no inode if it
    only reads, or waits ("7: -> POSIX …")."""
    words = line.split()
    if len(words) < 6 or words[3] != "WRITE":
        return 0, None
    return int(words[4]), int(words[5].rpartition(":")[2])
