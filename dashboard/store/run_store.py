"""The run store: one safetensors file per run, in one private folder; web and worker processes share it.

    KEY.safetensors             a run: its arrays, its header as JSON in the metadata
    KEY.NAME.safetensors        what was computed from that run later (`KEY.fill-45`); it leaves with its run
    *.part                      being written

A file is written under another name and then renamed, so a reader sees all of it or nothing. The folder is its own
index: sizes, dates and last use (the time of change, which `open` sets) are the files' own, so nothing can disagree with
what is there. A damaged file is a miss: it is deleted, and the run is computed again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import save_file

from dashboard.contracts.request import is_run_key
from dashboard.contracts.run import ModelRun
from dashboard.errors import DashboardError, RunNotFoundError, RunShapeError, SettingsError
from dashboard.settings import Settings
from dashboard.store.mapped import DamagedFileError, MappedArrays, map_arrays
from dashboard.store.summary import RunSummary

SUFFIX = ".safetensors"
DERIVED_NAME = re.compile(r"([0-9a-f]{64})\.[a-z0-9][a-z0-9-]{0,60}")
OPEN_RUNS = 16  # runs that one process keeps open
KNOWN_RUNS = 512  # descriptions that one process keeps for its list of recent runs
FORGOTTEN_SECONDS = 3600.0  # a .part file this old belongs to a process that was killed
MISSING = "This server no longer has that run. Run its text again."
T = TypeVar("T")


@dataclass(frozen=True)
class _Identity:
    """What changes when a file is replaced (the time of change says when it was used last)."""

    device: int
    inode: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Identity:
        return cls(status.st_dev, status.st_ino, status.st_size)


class RunStore:
    """Runs by key, and arrays derived from them by name; safe for threads and for several processes.

    Args:
        folder: where the files are; made with mode 0700.
        max_bytes: the most that all files may take; the least recently used runs leave.

    Raises:
        SettingsError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = Path(folder), max_bytes
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, tuple[_Identity, ModelRun]] = OrderedDict()
        self._summaries: OrderedDict[str, tuple[_Identity, RunSummary]] = OrderedDict()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            self._sweep()
        except OSError as error:
            raise SettingsError(
                f"The folder of saved runs, {self.folder}, cannot be used ({error.strerror}). "
                "Set DASHBOARD_CACHE_DIR to a folder that this user may write."
            ) from error

    @classmethod
    def from_settings(cls, settings: Settings) -> RunStore:
        """The store of this server."""
        return cls(settings.runs_folder, int(settings.store_gigabytes * 1e9))

    def has(self, name: object) -> bool:
        """Whether the whole file of this run (or of these derived arrays) is here."""
        if not is_name(name):
            return False
        try:
            self._map(str(name))
        except RunNotFoundError:
            return False
        return True

    def save(self, key: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a run.

        Raises:
            RunShapeError: `key` is not a run's key, or not the header's.
            DashboardError: the disk is full.
        """
        if not is_run_key(key) or header.get("key") != key:
            raise RunShapeError(f"A run cannot be saved under {key!r}: its header's key is {header.get('key')!r}.")
        self._write(key, arrays, {"name": key, "header": json.dumps(header)})

    def open(self, key: str) -> ModelRun:
        """The run of this key; its arrays are read when they are asked for, and stay readable if it leaves the store.

        Raises:
            RunNotFoundError: it is not here, or was damaged (then it is no longer here).
        """
        path = self._path(key) if is_run_key(key) else None
        if path is None:
            raise RunNotFoundError(MISSING)
        try:
            status = path.stat()
        except OSError as error:
            raise RunNotFoundError(MISSING) from error
        self._touch(path)
        run = self._cached(self._runs, key, _Identity.of(status))
        if run is None:
            arrays = self._map(key)
            run = self._whole(key, lambda: ModelRun(json.loads(arrays.metadata["header"]), arrays))
            self._keep(self._runs, key, (_Identity.of(status), run), OPEN_RUNS)
        return run

    def save_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays derived from a run, under a name such as `KEY.fill-45`."""
        if not DERIVED_NAME.fullmatch(name):
            raise RunShapeError(f"{name!r} is not a name of arrays derived from a run.")
        self._write(name, arrays, {"name": name})

    def open_arrays(self, name: str) -> Mapping[str, np.ndarray]:
        """Arrays that `save_arrays` kept.

        Raises:
            RunNotFoundError: they are not here, or were damaged (then they are no longer here).
        """
        if not is_name(name):
            raise RunNotFoundError(MISSING)
        self._touch(self._path(name))
        return self._map(name)

    def delete(self, key: str) -> None:
        """Let a run go, with everything derived from it."""
        if is_run_key(key):
            for path in (self._path(key), *self.folder.glob(f"{key}.*{SUFFIX}")):
                path.unlink(missing_ok=True)

    def recent(self, limit: int = 20) -> list[RunSummary]:
        """The runs used last, the latest first."""
        files = sorted(self._files(), key=lambda pair: pair[1].st_mtime_ns, reverse=True)
        found: list[RunSummary] = []
        for name, status in files:
            if len(found) >= limit:
                break
            if is_run_key(name):
                try:
                    found.append(self._summary(name, status))
                except RunNotFoundError:
                    continue
        return found

    def _summary(self, key: str, status: os.stat_result) -> RunSummary:
        known = self._cached(self._summaries, key, _Identity.of(status))
        if known is None:
            arrays = self._map(key)
            known = self._whole(key, lambda: RunSummary.of(key, json.loads(arrays.metadata["header"]), status))
            self._keep(self._summaries, key, (_Identity.of(status), known), KNOWN_RUNS)
        return RunSummary(**{**vars(known), "used": status.st_mtime})

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def _map(self, name: str) -> MappedArrays:
        try:
            arrays = map_arrays(self._path(name))
        except DamagedFileError as error:
            self._path(name).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING) from error
        except OSError as error:
            raise RunNotFoundError(MISSING) from error
        if arrays.metadata.get("name") != name:
            self._path(name).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING)
        return arrays

    def _whole(self, key: str, make: Any) -> Any:
        """What `make` makes of a run's header; a header that nothing can be made of is damage."""
        try:
            made = make()
            if isinstance(made, ModelRun) and made.key != key:
                raise ValueError("another run's header")
        except (DashboardError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._path(key).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING) from error
        return made

    def _cached(self, cache: OrderedDict[str, tuple[_Identity, T]], key: str, identity: _Identity) -> T | None:
        with self._lock:
            found = cache.get(key)
            if found is None or found[0] != identity:
                cache.pop(key, None)
                return None
            cache.move_to_end(key)
            return found[1]

    def _keep(self, cache: OrderedDict[str, tuple[_Identity, T]], key: str, value: tuple[_Identity, T], limit: int) -> None:
        with self._lock:
            cache[key] = value
            cache.move_to_end(key)
            while len(cache) > limit:
                cache.popitem(last=False)

    def _touch(self, path: Path) -> None:
        """Note that the file was used; at most once a second."""
        now = time.time_ns()
        with contextlib.suppress(OSError):  # it left just now, or belongs to someone else: its last use is not kept
            if abs(now - path.stat().st_mtime_ns) > 1_000_000_000:
                os.utime(path, ns=(now, now))

    def _write(self, name: str, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
        part = self.folder / f"{name}.{uuid.uuid4().hex}.part"
        try:
            save_file({label: np.ascontiguousarray(array) for label, array in arrays.items()}, part, metadata=metadata)
            part.chmod(0o600)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(self._path(name))
        except Exception as error:
            part.unlink(missing_ok=True)
            if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
                raise DashboardError(
                    "The disk that holds the saved runs is full, so this run could not be kept. "
                    "Free some space, or lower DASHBOARD_STORE_GIGABYTES, and run again."
                ) from error
            raise
        self._make_room(name[:64])

    def _make_room(self, keep: str) -> None:
        """Let the least recently used runs go until everything fits; `keep` was saved just now and stays."""
        sizes: dict[str, int] = {}
        used: dict[str, int] = {}
        for name, status in self._files():
            key = name[:64]
            sizes[key] = sizes.get(key, 0) + status.st_size
            used[key] = max(used.get(key, 0), status.st_mtime_ns)
        total = sum(sizes.values())
        for key in sorted(used, key=used.__getitem__):
            if total <= self.max_bytes:
                return
            if key != keep:
                self.delete(key)
                total -= sizes[key]

    def _files(self) -> list[tuple[str, os.stat_result]]:
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                name = entry.name.removesuffix(SUFFIX)
                if name != entry.name and is_name(name):
                    try:
                        found.append((name, entry.stat(follow_symlinks=False)))
                    except OSError:
                        continue  # it left while we looked
        return found

    def _sweep(self) -> None:
        """Remove what killed writers left."""
        for part in self.folder.glob("*.part"):
            try:
                if time.time() - part.stat().st_mtime > FORGOTTEN_SECONDS:
                    part.unlink()
            except OSError:
                continue


def is_name(value: object) -> bool:
    """Whether `value` can name a file of the store: a run's key, or a key and a derived name."""
    return is_run_key(value) or (isinstance(value, str) and DERIVED_NAME.fullmatch(value) is not None)
