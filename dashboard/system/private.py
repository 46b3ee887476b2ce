"""Folders for their owner alone, how threads and processes take turns in one, and how they say that they use one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

LOCK = "lock"
LEAVING = ".leaving-"  # begins the name of a folder that is being removed


def private_folder(folder: Path) -> Path:
    """The folder, made for its owner alone (mode 0700) where it is missing, as are the folders above it.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        if folder.parent != folder:
            private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextlib.contextmanager
def alone(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold a folder's lock, which threads and processes share; the folder is made where it is missing.

    Args:
        name: of the lock's file: each thing that is done in turns has its own.

    Raises:
        OSError: the folder cannot be made or written.
    """
    private_folder(folder)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


def hold(folder: Path) -> int | None:
    """Say that this process uses a folder, until the descriptor that comes is closed or the process ends; None where
    its disk knows no such thing, or the folder is gone.
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
    """Remove a folder, all of it or nothing, unless a process holds it; gives whether it went."""
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
