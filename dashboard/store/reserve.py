"""Room on the disk that stays free, so that the queue and visitors' lists can be written."""

from __future__ import annotations

import shutil
from pathlib import Path

RESERVE_BYTES = 512_000_000
RESERVE_SHARE = 0.02  # of a small disk


def reserved_bytes(folder: Path) -> int:
    """The bytes that are to stay free on the disk of a folder."""
    return int(min(RESERVE_BYTES, RESERVE_SHARE * shutil.disk_usage(folder).total))


def there(folder: Path) -> Path:
    """A folder, or where it is missing the nearest one above it."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def disk_of(folder: Path) -> int:
    """The number of the disk of a folder, which may be missing yet."""
    return there(folder).stat().st_dev


def missing_bytes(folder: Path, needed: int = 0) -> int:
    """How much less than the reserve and `needed` bytes is free on the disk of a folder; 0 where there is enough."""
    return max(0, needed + reserved_bytes(folder) - shutil.disk_usage(folder).free)
