"""Room for export files: one private folder that all web processes share, with limits on how many files each visitor
may have in it.

    OWNER.BYTES.RANDOM.part     a file being written and sent; OWNER is a hash, BYTES the size it will have

A file is removed once it is sent. Files left by killed processes are swept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dashboard.errors import NoSpaceError, QueueFullError
from dashboard.settings import Settings
from dashboard.store.budget import Budget
from dashboard.store.leftovers import bytes_in, remove_left
from dashboard.system.private import alone

MOST_AT_ONCE = 8  # files of all visitors being written or sent
MOST_OF_ONE = 2  # of one visitor
LONGEST_SENDING = 3600.0  # seconds
NAME = "*.*.*.part"


@dataclass(frozen=True)
class ExportRoom:
    """Provides files to write exports into; thread-safe and process-safe."""

    folder: Path
    most_bytes: int
    budget: Budget

    @classmethod
    def from_settings(cls, settings: Settings) -> ExportRoom:
        """Make the export room of this server."""
        return cls(settings.exports_folder, int(settings.export_gigabytes * 1e9), Budget.from_settings(settings))

    def open(self, owner: str, size: int) -> ExportFile:
        """Open an empty file for `size` bytes.

        Args:
            owner: the visitor who asks.

        Raises:
            QueueFullError: this visitor, or all visitors, already have as many files as allowed.
            NoSpaceError: all files together would exceed their limit, or the disk's free space.
            OSError: the folder cannot be written.
        """
        with self._checked(owner, size) as name:
            path = self.folder / f"{name}.{size}.{uuid.uuid4().hex}.part"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        return ExportFile(path, os.fdopen(descriptor, "w+b"))

    def check(self, owner: str, size: int) -> None:
        """Raise what `open` would raise now."""
        with self._checked(owner, size):
            return

    @contextlib.contextmanager
    def _checked(self, owner: str, size: int) -> Iterator[str]:
        """Hold the folder's lock while checking for room; yield the prefix of the owner's file names."""
        name = hashlib.sha256(owner.encode()).hexdigest()[:16]
        with alone(self.folder):
            remove_left(self.folder, NAME, older=LONGEST_SENDING)
            self._check(name, size)
            yield name

    def _check(self, owner: str, size: int) -> None:
        found = {path: path.name.split(".") for path in self.folder.glob(NAME)}
        known = {path: (parts[0], int(parts[1])) for path, parts in found.items() if parts[1].isdigit()}
        taken = sum(most for _owner, most in known.values())
        to_come = sum(max(0, most - bytes_in(path)) for path, (_owner, most) in known.items())
        if sum(whose == owner for whose, _most in known.values()) >= MOST_OF_ONE:
            raise QueueFullError(
                f"{MOST_OF_ONE} of your files are still being made or sent. Wait until one is saved, then export again."
            )
        if len(known) >= MOST_AT_ONCE:
            raise QueueFullError("This server is busy making files for others. Export again in a minute.")
        if taken + size > self.most_bytes:
            if not known:
                raise NoSpaceError(
                    f"This file would take {size / 1e6:,.0f} MB, more than this server gives to exports "
                    "(DASHBOARD_EXPORT_GIGABYTES). Export the run of a shorter text, or export without all "
                    "attention weights."
                )
            raise QueueFullError("Files for others take all the available room. Export again in a minute.")
        room = self.budget.make_room(size + to_come)
        if room.over:
            raise NoSpaceError(
                f"This file would take {size / 1e6:,.0f} MB, and all that this server may keep is in use "
                "(DASHBOARD_CACHE_GIGABYTES). Export again later."
            )
        if room.short:
            raise NoSpaceError(
                "The server's disk has no room for this file. Free some space (or ask whoever runs this server)."
            )


@dataclass(frozen=True)
class ExportFile:
    """A file to write an export into; `close` removes it, even on a full disk."""

    path: Path
    file: IO[bytes]

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closing flushes the buffer, which fails again on a full disk
            self.file.close()
        self.path.unlink(missing_ok=True)
