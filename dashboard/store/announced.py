"""Announced writes: room granted to a download or a conversion that has not filled it yet.

    announced/RANDOM.json     {"into": a folder, "until": the bytes that it will hold}

The process that writes into the folder holds a lock on its file until it is done; an announcement of a killed process
does not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboard.store.leftovers import bytes_in
from dashboard.store.reserve import disk_of
from dashboard.system.private import private_folder

FOLDER = "announced"  # in the cache folder
SUFFIX = ".json"


@dataclass(frozen=True)
class Coming:
    """Bytes still to be written into a folder; `disk` is the disk they go to (`disk_of`)."""

    into: Path
    bytes: int
    disk: int


@contextlib.contextmanager
def announced(cache: Path, into: Path, needed: int) -> Iterator[None]:
    """Announce `needed` bytes for a folder to everyone who makes room, until the block ends.

    Args:
        cache: the cache folder, whose processes share the announcements.
    """
    name = private_folder(cache / FOLDER) / f"{uuid.uuid4().hex}.part"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    final = name.with_suffix(SUFFIX)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps({"into": str(into.absolute()), "until": bytes_in(into) + needed}).encode())
        name.rename(final)  # others see it only once it is locked
        yield
    finally:
        name.unlink(missing_ok=True)
        final.unlink(missing_ok=True)
        os.close(descriptor)


def coming(cache: Path) -> list[Coming]:
    """Return all announced bytes that are not written yet."""
    found = []
    for path in (cache / FOLDER).glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it ended just now
            if not _is_held(path):
                path.unlink()
                continue
            told = json.loads(path.read_bytes())
            into = Path(told["into"])
            found.append(Coming(into, max(0, int(told["until"]) - bytes_in(into)), disk_of(into)))
    return found


def _is_held(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
