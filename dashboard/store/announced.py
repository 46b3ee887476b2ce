"""What will be written soon: room that a download or a conversion was given and has not filled yet.

    announced/RANDOM.json     {"into": a folder, "until": the bytes that it will hold}

Each file is locked by the process that writes into the folder, for as long as it does; what a killed one announced
counts for nothing.
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
    """Bytes that are still to come into a folder; `disk` is where (`disk_of`)."""

    into: Path
    bytes: int
    disk: int


@contextlib.contextmanager
def announced(cache: Path, into: Path, needed: int) -> Iterator[None]:
    """Let `needed` bytes that come into a folder be known to all who make room, until the end.

    Args:
        cache: the cache folder, whose processes share what is announced.
    """
    name = private_folder(cache / FOLDER) / f"{uuid.uuid4().hex}.part"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    final = name.with_suffix(SUFFIX)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps({"into": str(into.absolute()), "until": bytes_in(into) + needed}).encode())
        name.rename(final)  # nobody sees it without its lock
        yield
    finally:
        name.unlink(missing_ok=True)
        final.unlink(missing_ok=True)
        os.close(descriptor)


def coming(cache: Path) -> list[Coming]:
    """All that is announced and not there yet."""
    found = []
    for path in (cache / FOLDER).glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it came to its end just now
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
