"""What processes that were killed left behind: files and folders of known names that nobody has written to for long."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

FORGOTTEN_SECONDS = 600.0  # whoever writes a file writes to it more often
DOWNLOAD_SECONDS = 86400.0  # whoever converts a model may be silent for longer
STOPPED_SECONDS = 7 * 86400.0  # a download that was stopped is gone on with, if anybody still wants it


def remove_left(folder: Path, *patterns: str, older: float = FORGOTTEN_SECONDS) -> int:
    """Remove what stands in a folder under these names and is old and ours; gives the bytes of what is not old yet."""
    kept = 0
    for path in _found(folder, patterns):
        with contextlib.suppress(OSError):  # it left while we looked, or is not ours
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
    """The room that a file, or everything in a folder, takes on the disk; what cannot be read counts for nothing."""
    return sum(status.st_blocks * 512 for status in _states(path))


def _found(folder: Path, patterns: Iterable[str]) -> list[Path]:
    try:
        return [path for pattern in patterns for path in folder.glob(pattern)]
    except OSError:
        return []


def last_written(path: Path) -> float:
    """When a file, or anything in a folder, was written last; 0 where nothing of it is there any more."""
    return max((status.st_mtime for status in _states(path)), default=0.0)


def _states(path: Path) -> Iterator[os.stat_result]:
    """Of a file, or of a folder and everything in it, links not followed; what leaves while we look is passed over."""
    walked = () if path.is_symlink() else os.walk(path)
    inner = (Path(parent) / name for parent, folders, files in walked for name in (*folders, *files))
    for item in (path, *inner):
        with contextlib.suppress(OSError):
            yield item.lstat()
