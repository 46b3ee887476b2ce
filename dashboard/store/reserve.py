"""Room on the disk that saved runs leave free, so that the queue, visitors' lists and exports can be written."""

from __future__ import annotations

import shutil
from pathlib import Path

RESERVE_BYTES = 512_000_000
RESERVE_SHARE = 0.02  # of a small disk


def reserved_bytes(folder: Path) -> int:
    """The bytes that are to stay free on the disk of a folder."""
    return int(min(RESERVE_BYTES, RESERVE_SHARE * shutil.disk_usage(folder).total))


def missing_bytes(folder: Path) -> int:
    """How much less than the reserve is free on the disk of a folder; 0 where there is enough."""
    usage = shutil.disk_usage(folder)
    return int(max(0, min(RESERVE_BYTES, RESERVE_SHARE * usage.total) - usage.free))
