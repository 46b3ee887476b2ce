"""How a file is written, whole or not at all; and the files of the run store by name: which there are, how large they
are, when each run was used last."""

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
    """A file that is written under another name and takes the place of `path` at the end: whoever reads that sees all
    of it or what was there before. An error leaves nothing behind; only a killed writer leaves its part.

    Args:
        name, private: as of `part_of`. durable: its content is on the disk before its name is.

    Raises:
        OSError: it cannot be written.
    """
    with part_of(path, name, private) as part:
        yield part
        if private:
            part.chmod(0o600)  # a library may have put a file of its own there
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(path)


@contextlib.contextmanager
def part_of(path: Path, name: str | None = None, private: bool = False) -> Iterator[Path]:
    """The name of a part beside `path`, NAME.RANDOM.part, to write to; what still has that name at the end is removed.

    Args:
        name: what the part's name begins with; by default, all of the file's name.
        private: nobody but its owner may read it at any time.
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
    """A run, or a result that is derived from one.

    Attributes:
        name: a run's key, or a key and a derived name. bytes: on the disk.
        used: ns since 1970; of a run, when one of its files was used last.
    """

    name: str
    bytes: int
    used: int

    @property
    def key(self) -> str:
        """Of the run."""
        return self.name[:KEY_LENGTH]

    @property
    def is_run(self) -> bool:
        return self.name == self.key


def is_name(value: object) -> bool:
    """Whether `value` can name a file of the store: a run's key, or a key and a derived name."""
    return is_run_key(value) or (isinstance(value, str) and DERIVED_NAME.fullmatch(value) is not None)


def file_of(folder: Path, name: str) -> Path:
    """Where the file of this name is, or would be."""
    return folder / f"{name}{SUFFIX}"


def derived_from(folder: Path, key: str) -> list[Path]:
    """The files with what was computed from a run later."""
    return list(folder.glob(f"{key}.*{SUFFIX}"))


def remove_run(folder: Path, key: str) -> None:
    """Let a run go, with everything derived from it."""
    for path in (file_of(folder, key), *derived_from(folder, key)):
        path.unlink(missing_ok=True)


def files_in(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Names and states of all files of the store; none where someone deleted the folder (the next write makes it
    again)."""
    found: list[tuple[str, os.stat_result]] = []
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.removesuffix(SUFFIX)
            if name != entry.name and is_name(name):
                with contextlib.suppress(OSError):  # it left while we looked
                    found.append((name, entry.stat(follow_symlinks=False)))
    return found


def kept_in(folder: Path) -> list[Kept]:
    """All runs and derived results of the store, in no order."""
    files = files_in(folder)
    used: dict[str, int] = {}
    for name, status in files:
        used[name[:KEY_LENGTH]] = max(used.get(name[:KEY_LENGTH], 0), status.st_mtime_ns)
    return [Kept(name, status.st_size, used.get(name, status.st_mtime_ns)) for name, status in files]


def in_leaving_order(kept: Iterable[Kept], pinned: Collection[str]) -> list[Kept]:
    """What is derived leaves first, then runs; the least recently used first, and of pinned runs last."""
    return sorted(kept, key=lambda one: (one.is_run, one.key in pinned, one.used))


def remove(folder: Path, name: str) -> None:
    """Let a derived result go, or a run with everything derived from it."""
    if is_run_key(name):
        remove_run(folder, name)
    else:
        file_of(folder, name).unlink(missing_ok=True)


def keep_results_within(folder: Path, key: str, most: int, keep: str) -> None:
    """Let the least recently used results of a run go until all of them take `most` bytes; `keep` was written just
    now."""
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
    """Note that a file or folder was used; at most once a second."""
    now = time.time_ns()
    with contextlib.suppress(OSError):  # it left just now, or belongs to someone else: its last use is not kept
        if abs(now - path.stat().st_mtime_ns) > 1_000_000_000:
            os.utime(path, ns=(now, now))
