"""Writing files whole or not at all; and the run store's files by name: which exist, how large they are, when each run
was last used."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboard.contracts.request import KEY_LENGTH, KEY_PATTERN, is_run_key

SUFFIX = ".safetensors"
DERIVED_NAME = re.compile(rf"({KEY_PATTERN.pattern})\.[a-z0-9][a-z0-9-]{{0,60}}")


@contextlib.contextmanager
def whole_file(path: Path, name: str | None = None, private: bool = False, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` at the end: a reader of `path` sees all of it or the old content.

    After an error nothing remains; only a killed writer leaves its part.

    Args:
        name, private: as in `part_of`. durable: flush the content to the disk before the rename.

    Raises:
        OSError: the file cannot be written.
    """
    with part_of(path, name, private) as part:
        yield part
        if private:
            part.chmod(0o600)  # a library may have put its own file there
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(path)


@contextlib.contextmanager
def part_of(path: Path, name: str | None = None, private: bool = False) -> Iterator[Path]:
    """Yield the name of a part beside `path`, NAME.RANDOM.part, to write to; a part still there at the end is removed.

    Args:
        name: prefix of the part's name; by default, the file's whole name.
        private: only its owner can read it, at any time.
    """
    part = path.with_name(f"{name or path.name}.{uuid.uuid4().hex}.part")
    try:
        if private:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield part
    finally:
        part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Kept:
    """A run, or a result derived from one.

    Attributes:
        name: a run's key, or a key and a derived name. bytes: on the disk.
        used: ns since 1970; for a run, the last use of any of its files.
    """

    name: str
    bytes: int
    used: int

    @property
    def key(self) -> str:
        """The key of the run."""
        return self.name[:KEY_LENGTH]

    @property
    def is_run(self) -> bool:
        return self.name == self.key


def is_name(value: object) -> bool:
    """Whether `value` can be the name of a file in the store: a run's key, or a key and a derived name."""
    return is_run_key(value) or (isinstance(value, str) and DERIVED_NAME.fullmatch(value) is not None)


def file_of(folder: Path, name: str) -> Path:
    """Return where the file of this name is, or would be."""
    return folder / f"{name}{SUFFIX}"


def derived_from(folder: Path, key: str) -> list[Path]:
    """Return the files with results computed later from a run."""
    return list(folder.glob(f"{key}.*{SUFFIX}"))


def remove_run(folder: Path, key: str) -> None:
    """Delete a run, with everything derived from it."""
    for path in (file_of(folder, key), *derived_from(folder, key)):
        path.unlink(missing_ok=True)


def files_in(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Return names and states of all files in the store; none if someone deleted the folder (a write recreates it)."""
    found: list[tuple[str, os.stat_result]] = []
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.removesuffix(SUFFIX)
            if name != entry.name and is_name(name):
                with contextlib.suppress(OSError):  # it was removed meanwhile
                    found.append((name, entry.stat(follow_symlinks=False)))
    return found


def kept_in(folder: Path) -> list[Kept]:
    """Return all runs and derived results in the store, in no order."""
    files = files_in(folder)
    used: dict[str, int] = {}
    for name, status in files:
        used[name[:KEY_LENGTH]] = max(used.get(name[:KEY_LENGTH], 0), status.st_mtime_ns)
    return [Kept(name, status.st_size, used.get(name, status.st_mtime_ns)) for name, status in files]


def in_leaving_order(kept: Iterable[Kept], pinned: Collection[str]) -> list[Kept]:
    """Sort into the order of deletion: derived results, then runs; the least recently used first, pinned runs last."""
    return sorted(kept, key=lambda one: (one.is_run, one.key in pinned, one.used))


def remove(folder: Path, name: str) -> None:
    """Delete a derived result, or a run with everything derived from it."""
    if is_run_key(name):
        remove_run(folder, name)
    else:
        file_of(folder, name).unlink(missing_ok=True)


def keep_results_within(folder: Path, key: str, most: int, keep: str) -> None:
    """Delete the least recently used results of a run until all of them take `most` bytes; `keep` was just written."""
    prefix, newest = f"{key}.", file_of(folder, keep).stat().st_size
    found = sorted((one for one in kept_in(folder) if one.name.startswith(prefix)), key=lambda one: one.used)
    over = newest + sum(one.bytes for one in found if one.name != keep) - most
    for one in found:
        if over <= 0:
            return
        if one.name != keep:
            remove(folder, one.name)
            over -= one.bytes


def touch(path: Path) -> None:
    """Record that a file or folder was used; at most once a second."""
    now = time.time_ns()
    with contextlib.suppress(OSError):  # it was just removed, or belongs to someone else: its last use goes unrecorded
        if abs(now - path.stat().st_mtime_ns) > 1_000_000_000:
            os.utime(path, ns=(now, now))
