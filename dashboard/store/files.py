"""The files of the run store, by name: which there are, how large they are, when each run was used last."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from dashboard.contracts.request import is_run_key

SUFFIX = ".safetensors"
DERIVED_NAME = re.compile(r"([0-9a-f]{64})\.[a-z0-9][a-z0-9-]{0,60}")
KEY_LENGTH = 64  # characters with which every name begins


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
