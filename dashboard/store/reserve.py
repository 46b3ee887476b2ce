"""Disk space that stays free, so that the queue and visitors' lists can be written."""

from __future__ import annotations

import shutil
from pathlib import Path

RESERVE_BYTES = 512_000_000
RESERVE_SHARE = 0.02  # of a small disk


def reserved_bytes(folder: Path) -> int:
    """Return the bytes that must stay free on the disk of a folder."""
    return int(min(RESERVE_BYTES, RESERVE_SHARE * shutil.disk_usage(folder).total))


def there(folder: Path) -> Path:
    """Return a folder, or if it is missing the nearest existing one above it."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def disk_of(folder: Path) -> int:
    """Return the number of a folder's disk; the folder may not exist yet."""
    return there(folder).stat().st_dev


def missing_bytes(folder: Path, needed: int = 0) -> int:
    """Return how many bytes a folder's disk lacks for the reserve plus `needed` bytes; 0 if there is enough space."""
    return max(0, needed + reserved_bytes(folder) - shutil.disk_usage(folder).free)
