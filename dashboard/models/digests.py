"""SHA-256 of model files, each read once: remembered by size and times, in this process and in a file. No torch.

Nothing is held while a file is read, which may take a minute: who asks for another file, or for what is known, does not wait.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from dashboard.models.foreign import open_regular
from dashboard.private import alone

UNFINISHED = ".fingerprints-"  # begins the name of a memory that is being written
BLOCK = 1 << 22  # bytes between two reports
Entry = list[object]  # size, times in ns, sha256
Report = Callable[[int], None]  # bytes that have been read since the last report

_known: dict[str, Entry] = {}  # by path, shared by all threads; single operations only


class Digests:
    """Digests of files.

    Args:
        memory: a JSON file in which they are kept from one process to the next; None for this process alone.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._remembered = {**_read_memory(memory)}

    def known(self, path: Path) -> str | None:
        """The digest of a file that was read before, and has not changed since; None where it would have to be read."""
        real = path.resolve()
        state = _state(real)
        for source in (_known, self._remembered):
            entry = source.get(str(real))
            if entry is not None and entry[:-1] == state:
                return str(entry[-1])
        return None

    def of(self, path: Path, report: Report | None = None) -> str:
        """The digest of a file, which is read unless it is known.

        Args:
            report: is called every few megabytes; what it raises stops the reading.

        Raises:
            ForeignFileError: it is not a regular file. OSError: it cannot be read.
        """
        known = self.known(path)
        if known is not None:
            return known
        real = path.resolve()
        state = _state(real)  # before it is read: an edit meanwhile makes the entry worthless, as it should be
        with open_regular(real) as stream:
            digest = _read_whole(stream, report)
        _known[str(real)] = self._remembered[str(real)] = [*state, digest]
        _remember(self._memory, str(real), [*state, digest])
        return digest


def _state(real: Path) -> Entry:
    status = real.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]  # the last one changes with every edit


def _read_whole(stream: BufferedReader, report: Report | None) -> str:
    digest, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    while count := stream.readinto(block):
        digest.update(block[:count])
        if report is not None:
            report(count)
    return digest.hexdigest()


def _read_memory(memory: Path | None) -> dict[str, Entry]:
    try:
        found = json.loads(memory.read_text(encoding="utf-8")) if memory is not None else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: entry for key, entry in found.items() if isinstance(entry, list) and entry}


def _remember(memory: Path | None, path: str, entry: Entry) -> None:
    """Add an entry to the file, beside what other processes have added."""
    if memory is None:
        return
    try:
        with alone(memory.parent, f"{memory.stem}.lock"):
            kept = {name: old for name, old in _read_memory(memory).items() if os.path.exists(name)}
            handle, name = tempfile.mkstemp(prefix=UNFINISHED, dir=memory.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({**kept, path: entry}, stream)
            os.replace(name, memory)
    except OSError:
        return  # it is only a shortcut: a folder that cannot be written costs time, not correctness
