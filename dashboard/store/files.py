"""The files of the run store, by name: which there are, how large they are, when each run was used last."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from dashboard.contracts.request import is_run_key

SUFFIX = ".safetensors"
DERIVED_NAME = re.compile(r"([0-9a-f]{64})\.[a-z0-9][a-z0-9-]{0,60}")
KEY_LENGTH = 64  # characters with which every name begins


@dataclass(frozen=True)
class KeptRun:
    """A run with all that is derived from it: bytes on the disk, and when one of its files was used last (ns since 1970)."""

    key: str
    bytes: int
    used: int


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
    """Names and states of all files of the store; none where someone deleted the folder (the next write makes it again)."""
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


def runs_in(folder: Path) -> list[KeptRun]:
    """All runs of the store, in no order."""
    sizes: dict[str, int] = {}
    used: dict[str, int] = {}
    for name, status in files_in(folder):
        key = name[:KEY_LENGTH]
        sizes[key] = sizes.get(key, 0) + status.st_size
        used[key] = max(used.get(key, 0), status.st_mtime_ns)
    return [KeptRun(key, sizes[key], used[key]) for key in sizes]


def touch(path: Path) -> None:
    """Note that a file or folder was used; at most once a second."""
    now = time.time_ns()
    with contextlib.suppress(OSError):  # it left just now, or belongs to someone else: its last use is not kept
        if abs(now - path.stat().st_mtime_ns) > 1_000_000_000:
            os.utime(path, ns=(now, now))
