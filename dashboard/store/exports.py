"""Room for files that are made to be saved: one private folder that all web processes share, and who may have how many
in it.

    OWNER.BYTES.RANDOM.part     a file that is being written and sent; OWNER is a hash, BYTES what it will take

A file leaves the folder when it was sent. What a killed process left is swept.
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

MOST_AT_ONCE = 8  # files of all visitors that are written or sent
MOST_OF_ONE = 2  # of one visitor
LONGEST_SENDING = 3600.0  # seconds
NAME = "*.*.*.part"


@dataclass(frozen=True)
class ExportRoom:
    """Gives files to write exports into; safe for threads and for several processes."""

    folder: Path
    most_bytes: int
    budget: Budget

    @classmethod
    def from_settings(cls, settings: Settings) -> ExportRoom:
        """The room of this server."""
        return cls(settings.exports_folder, int(settings.export_gigabytes * 1e9), Budget.from_settings(settings))

    def open(self, owner: str, size: int) -> ExportFile:
        """An empty file for `size` bytes.

        Args:
            owner: the visitor who asks.

        Raises:
            QueueFullError: they, or all visitors, have as many files as there may be.
            NoSpaceError: all files together would take more room than they may, or than the disk has.
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
        """Hold the folder's lock, where there is room for a file; gives how the owner's files are called."""
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
                f"{MOST_OF_ONE} of your files are being made or sent. Wait until one is saved, then export again."
            )
        if len(known) >= MOST_AT_ONCE:
            raise QueueFullError("This server is busy making files for others. Export again in a minute.")
        if taken + size > self.most_bytes:
            if not known:
                raise NoSpaceError(
                    f"This file would take {size / 1e6:,.0f} MB, more than this server gives to exports "
                    "(DASHBOARD_EXPORT_GIGABYTES). Export a shorter text's run, or without all attention weights."
                )
            raise QueueFullError(
                "The files that are being made for others take all the room there is. Export again in a minute."
            )
        room = self.budget.make_room(size + to_come)
        if room.over:
            raise NoSpaceError(
                f"This file would take {size / 1e6:,.0f} MB, and all that this server may keep is in use "
                "(DASHBOARD_CACHE_GIGABYTES). Export again later."
            )
        if room.short:
            raise NoSpaceError(
                "The server's disk has no room for this file. Free some space (or ask whoever keeps this server)."
            )


@dataclass(frozen=True)
class ExportFile:
    """A file to write an export into; `close` removes it, on a full disk too."""

    path: Path
    file: IO[bytes]

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closing writes what is left in the buffer, and fails again on a full disk
            self.file.close()
        self.path.unlink(missing_ok=True)
