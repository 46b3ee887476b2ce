"""One budget for everything in the cache folder: the least recently used items are deleted, whatever their kind.

Only what can be made again is deleted: results derived from runs, which go first; saved runs, converted GGUF files, and
hub models if the hub's cache is inside the cache folder. Bundled models, the queue, visitors' lists and files being
sent count, but stay. What is outside the cache folder (DASHBOARD_MODELS_DIR, a Hugging Face cache that other programs
share) neither counts nor is deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboard.settings import HUB_PREFIX, Settings, hub_cache
from dashboard.store.announced import Coming, coming
from dashboard.store.files import KEY_LENGTH, kept_in, remove
from dashboard.store.leftovers import bytes_in, last_written
from dashboard.store.reserve import disk_of, missing_bytes
from dashboard.store.visits import VisitorLists
from dashboard.system.private import alone, private_folder, remove_unused

log = logging.getLogger(__name__)
LOCK = "budget.lock"
OPEN_SECONDS = 600.0  # a run or a model used this recently counts as open
CONVERTED = "gguf"  # folder of the converted GGUF files, in the models folder


@dataclass(frozen=True)
class Holding:
    """An item that can be deleted: its last use (seconds since 1970), its size, and how to remove it.

    Attributes:
        key: name of a run or of a result derived from one; "" for a model. pinned: somebody has pinned it.
        derived: it is such a result. remove: returns whether it was removed.
    """

    name: str
    used: float
    bytes: int
    remove: Callable[[], bool]
    key: str = ""
    pinned: bool = False
    derived: bool = False


@dataclass(frozen=True)
class Room:
    """The outcome of making room.

    Attributes:
        gone: bytes deleted. over: bytes that the budget still lacks. short: bytes that the disk still lacks, including
            the reserve.
    """

    gone: int
    over: int
    short: int


@dataclass(frozen=True)
class Budget:
    """What the cache folder holds and may hold; thread-safe and process-safe.

    Attributes:
        folder: the cache folder. most_bytes: what it may hold. runs: the folder of saved runs.
        models: folders whose subfolders are models that can be made or fetched again, each with the prefix of their
            names.
        pinned: returns the runs that are deleted last.
    """

    folder: Path
    most_bytes: int
    runs: Path
    models: tuple[tuple[Path, str], ...]
    pinned: Callable[[], Collection[str]] = frozenset

    @classmethod
    def from_settings(cls, settings: Settings) -> Budget:
        """Make the budget of this server."""
        models = ((settings.models_folder / CONVERTED, ""), (hub_cache(), HUB_PREFIX))
        return cls(
            settings.cache_dir,
            settings.cache_bytes,
            settings.runs_folder,
            tuple((folder, start) for folder, start in models if is_within(folder, settings.cache_dir)),
            VisitorLists.from_settings(settings).pinned,
        )

    def make_room(self, needed: int = 0, keep: str | None = None, full: bool = False) -> Room:
        """Delete the least recently used items until the folder is within its budget and the disk's reserve is free,
        counting what is announced.

        Models in use are never deleted; nor are items used within ten minutes, unless the room is for a run.

        Args:
            needed: bytes about to be written. keep: name of the run they belong to, or of the result, whose run is also
                kept.
            full: the disk refused these bytes, so as many must be freed, whatever the numbers say.
        """
        private_folder(self.folder)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # the disk may have no room even for the lock
                stack.enter_context(alone(self.folder, LOCK))
            to_come, disk = coming(self.folder), disk_of(self.folder)
            over = (
                self.held()
                + needed
                + _sum(one for one in to_come if is_within(one.into, self.folder))
                - self.most_bytes
            )
            short = missing_bytes(self.folder, needed + _sum(one for one in to_come if one.disk == disk))
            missing, gone = max(over, short, needed if full else 0), 0
            for holding in self._leaving(keep) if missing > 0 else ():
                if gone >= missing:
                    break
                if holding.remove():
                    gone += holding.bytes
                    log.info("%s left the cache folder: %.0f MB", holding.name, holding.bytes / 1e6)
        return Room(gone, max(0, over - gone), max(0, short - gone))

    def held(self) -> int:
        """Return the bytes of everything in the cache folder."""
        return sum(_bytes_at(Path(place) / name) for place, _folders, names in os.walk(self.folder) for name in names)

    def _leaving(self, keep: str | None) -> list[Holding]:
        """Return what can be deleted, in the order of deletion."""
        lately = time.time() - OPEN_SECONDS
        stays = () if keep is None else (keep, keep[:KEY_LENGTH])
        found = [holding for holding in (*self._runs(), *self._models()) if holding.key not in stays]
        old = [holding for holding in found if holding.used < lately]
        late = [holding for holding in found if holding.used >= lately and holding.key and keep is not None]
        order = [sorted(some, key=lambda holding: (holding.pinned, holding.used)) for some in (old, late)]
        return sorted([*order[0], *order[1]], key=lambda holding: not holding.derived)

    def _runs(self) -> Iterator[Holding]:
        pinned = self.pinned()
        for one in kept_in(self.runs):
            name = f"{'run' if one.is_run else 'a result of run'} {one.key[:12]}"
            pin = one.key in pinned
            yield Holding(name, one.used / 1e9, one.bytes, self._removal(one.name), one.name, pin, not one.is_run)

    def _removal(self, name: str) -> Callable[[], bool]:
        def removal() -> bool:
            remove(self.runs, name)
            return True

        return removal

    def _models(self) -> Iterator[Holding]:
        for parent, start in self.models:
            for folder in parent.glob(f"{start}*"):
                if folder.name.startswith(".") or folder.is_symlink() or not folder.is_dir():
                    continue
                yield Holding(f"model {folder.name}", last_written(folder), bytes_in(folder), _folder_removal(folder))


def _sum(some: Iterable[Coming]) -> int:
    return sum(one.bytes for one in some)


def is_within(folder: Path, outer: Path) -> bool:
    """Whether a folder is inside another one, following links."""
    return folder.resolve().is_relative_to(outer.resolve())


def _folder_removal(folder: Path) -> Callable[[], bool]:
    return lambda: remove_unused(folder)


def _bytes_at(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:  # it was removed meanwhile
        return 0
