"""SHA-256 of model files, each read once: remembered by size and times, in this process and in a file. No torch.

No lock is held while a file is read, which may take a minute: a caller that asks for another file, or for a known
digest, does not wait.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from io import BufferedReader
from pathlib import Path

from dashboard.catalog.foreign_files import open_regular
from dashboard.store.files import whole_file
from dashboard.system.private import alone

UNFINISHED = ".fingerprints-"  # prefix of a memory file that is being written
BLOCK = 1 << 22  # bytes between progress reports
Entry = list[object]  # size, times in ns, sha256
Report = Callable[[int], None]  # bytes read since the last report

_known: dict[str, Entry] = {}  # by path, shared by all threads; single operations only


class Digests:
    """SHA-256 digests of files.

    Args:
        memories: JSON files that keep digests from one process to the next; new ones go to the first writable file.
            None: digests are known in this process alone.
    """

    def __init__(self, memories: Sequence[Path] = ()) -> None:
        self._memories = memories
        self._remembered = [_read_memory(memory) for memory in memories]

    def known(self, path: Path) -> str | None:
        """Return the digest of a file already read and unchanged since; None if the file would have to be read."""
        return _found(path, [_known, *self._remembered])

    def kept(self, path: Path) -> bool:
        """Whether other processes know the digest, too."""
        return _found(path, self._remembered) is not None

    def of(self, path: Path, report: Report | None = None) -> str:
        """Return the digest of a file, reading it unless the digest is known.

        Args:
            report: called every few megabytes; an exception from it stops the reading.

        Raises:
            ForeignFileError: `path` is not a regular file. OSError: it cannot be read.
        """
        known = self.known(path)
        if known is not None:
            return known
        real = path.resolve()
        state = _state(real)  # before reading: an edit meanwhile must invalidate the entry
        with open_regular(real) as stream:
            digest = _read_whole(stream, report)
        _known[str(real)] = [*state, digest]
        for memory in self._memories:
            if _remember(memory, str(real), [*state, digest]):
                break
        return digest


def _found(path: Path, sources: Sequence[Mapping[str, Entry]]) -> str | None:
    real = path.resolve()
    state = _state(real)
    entries = (source.get(str(real)) for source in sources)
    return next((str(entry[-1]) for entry in entries if entry is not None and entry[:-1] == state), None)


def _state(real: Path) -> Entry:
    status = real.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]  # ctime changes with every edit


def _read_whole(stream: BufferedReader, report: Report | None) -> str:
    digest, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    while count := stream.readinto(block):
        digest.update(block[:count])
        if report is not None:
            report(count)
    return digest.hexdigest()


def _read_memory(memory: Path) -> dict[str, Entry]:
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: entry for key, entry in found.items() if isinstance(entry, list) and entry}


def _remember(memory: Path, path: str, entry: Entry) -> bool:
    """Add an entry to the file, keeping what other processes added; return whether that worked."""
    try:
        with alone(memory.parent, f"{memory.stem}.lock"):
            kept = {name: old for name, old in _read_memory(memory).items() if os.path.exists(name)}
            with whole_file(memory, UNFINISHED, private=True) as part:
                part.write_text(json.dumps({**kept, path: entry}), encoding="utf-8")
    except OSError:
        return False
    return True
