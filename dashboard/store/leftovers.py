"""Leftovers of killed processes: files and folders of known names that nobody has written to for a long time."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

FORGOTTEN_SECONDS = 600.0  # a live writer writes more often than this
DOWNLOAD_SECONDS = 86400.0  # a conversion may be silent for longer
STOPPED_SECONDS = 7 * 86400.0  # a stopped download may be resumed, if anybody still wants it


def remove_left(folder: Path, *patterns: str, older: float = FORGOTTEN_SECONDS) -> int:
    """Remove our old items with these names from a folder; return the bytes of those that are not old yet."""
    kept = 0
    for path in _found(folder, patterns):
        with contextlib.suppress(OSError):  # it was removed meanwhile, or is not ours
            status = path.lstat()
            if status.st_uid != os.geteuid():
                continue
            if time.time() - last_written(path) <= older:
                kept += bytes_in(path)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    return kept


def bytes_in(path: Path) -> int:
    """Return the disk space of a file, or of everything in a folder; what cannot be read counts as nothing."""
    return sum(status.st_blocks * 512 for status in _states(path))


def _found(folder: Path, patterns: Iterable[str]) -> list[Path]:
    try:
        return [path for pattern in patterns for path in folder.glob(pattern)]
    except OSError:
        return []


def last_written(path: Path) -> float:
    """Return when a file, or anything in a folder, was last written; 0 if nothing of it is left."""
    return max((status.st_mtime for status in _states(path)), default=0.0)


def _states(path: Path) -> Iterator[os.stat_result]:
    """Yield the states of a file, or of a folder and everything in it, not following links; skip what disappears."""
    walked = () if path.is_symlink() else os.walk(path)
    inner = (Path(parent) / name for parent, folders, files in walked for name in (*folders, *files))
    for item in (path, *inner):
        with contextlib.suppress(OSError):
            yield item.lstat()
