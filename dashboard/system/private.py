"""Folders for their owner alone: how threads and processes take turns in one, and mark it as in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

LOCK = "lock"
LEAVING = ".leaving-"  # prefix of a folder that is being removed


def private_folder(folder: Path) -> Path:
    """Return the folder, created for its owner alone (mode 0700) if missing, as are the folders above it.

    Raises:
        OSError: the folder cannot be created.
    """
    if not folder.is_dir():
        if folder.parent != folder:
            private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextlib.contextmanager
def alone(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold a folder's lock, which threads and processes share; creates the folder if missing.

    Args:
        name: of the lock's file: each kind of work done in turns has its own.

    Raises:
        OSError: the folder cannot be created or written.
    """
    private_folder(folder)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def hold(folder: Path) -> int | None:
    """Mark a folder as in use by this process, until the returned descriptor is closed or the process ends; None if
    its disk does not support that, or the folder is gone.
    """
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def remove_unused(folder: Path) -> bool:
    """Remove a folder, all of it or nothing, unless a process holds it; return whether it was removed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leaving = folder.with_name(f"{LEAVING}{uuid.uuid4().hex}")
        folder.rename(leaving)
    except OSError:  # in use, or not ours
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(leaving, ignore_errors=True)
    return True
