"""The run store: one safetensors file per run, in one private folder; web and worker processes share it.

    KEY.safetensors             a run: its arrays, its header as JSON in the metadata
    KEY.KIND-….safetensors      a result computed from that run later; deleted with its run. Its `of` says which capture
                                of the run it comes from (its stamp), its `request` what was asked. A result of a model
                                has the model's key instead, belongs to no run, and is deleted only to make room
    *.part                      being written

A file is written under another name and then renamed, so a reader sees all of it or nothing. The folder is its own
index: sizes, dates and last use (the modification time, which `open` sets) are the files' own, so nothing can disagree
with what is there. A damaged file is a miss: it is deleted, and the run is computed again. A file from an older version
of this program can be read (`dashboard.store.upgrades`); one from a newer version is a miss but stays, since it is not
damaged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.request import KEY_LENGTH, is_run_key
from dashboard.contracts.run import ModelRun
from dashboard.errors import DashboardError, NewerRunError, RunNotFoundError, RunShapeError
from dashboard.settings import Settings
from dashboard.store.budget import Budget
from dashboard.store.derived_store import DerivedStore
from dashboard.store.files import SUFFIX, derived_from, is_name, remove_run, touch
from dashboard.store.kept_files import KeptFiles
from dashboard.store.refusals import MISSING, missing
from dashboard.store.remembered import Identity, Remembered
from dashboard.store.summary import RunSummary
from dashboard.store.upgrades import NEWER, upgraded

OPEN_RUNS = 16  # runs that a process keeps open
KNOWN_RUNS = 512  # descriptions that a process keeps for its list of recent runs


class RunStore:
    """Runs by key, and arrays derived from them by name; thread-safe and process-safe.

    Args:
        folder: where the files are; created with mode 0700.
        max_bytes: the most that all files may take; derived results are deleted first, then the least recently used
            runs.
        pinned: returns the runs to delete last, when no others are left; called when room is needed.
        budget: for everything in the cache folder; without one, only runs make room for runs.
        results_bytes: the most that all results derived from one run may take; the least recently used are deleted.

    Raises:
        SettingsError: the folder cannot be created or written.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        pinned: Callable[[], Collection[str]] = frozenset,
        budget: Budget | None = None,
        results_bytes: int = 2**62,
    ) -> None:
        self.folder = Path(folder)
        self._runs: Remembered[ModelRun] = Remembered(OPEN_RUNS)
        self._summaries: Remembered[RunSummary] = Remembered(KNOWN_RUNS)
        self.files = KeptFiles(self.folder, max_bytes, pinned, budget, self._close_gone)
        self.results = DerivedStore(self.files, self._stamp, results_bytes)

    @classmethod
    def from_settings(cls, settings: Settings) -> RunStore:
        """Open the store of this server."""
        budget = Budget.from_settings(settings)
        results = int(settings.results_megabytes * 1e6)
        return cls(settings.runs_folder, int(settings.store_gigabytes * 1e9), budget.pinned, budget, results)

    def has(self, name: object) -> bool:
        """Whether this run (or these derived arrays) can be opened."""
        return self._found(name) is not None

    def is_current(self, name: object) -> bool:
        """Whether this run (or these derived arrays) can be opened and matches what this version of the program
        computes, so that there is nothing to compute. Derived arrays are as current as their run.
        """
        found = self._found(name)
        return found is not None and not (isinstance(found, ModelRun) and found.outdated)

    def _found(self, name: object) -> ModelRun | Mapping[str, np.ndarray] | None:
        if not is_name(name):
            return None
        try:
            return self._run(str(name)) if is_run_key(name) else self.results.arrays(str(name))
        except RunNotFoundError:
            return None

    def save(self, key: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Store a run, replacing any run with its key, whose derived results are deleted.

        Raises:
            RunShapeError: `key` is not a run's key, or not the header's.
            DashboardError: the disk is full.
        """
        if not is_run_key(key) or header.get("key") != key:
            raise RunShapeError(
                f"A run cannot be saved under {key!r}: its header's key is {header.get('key')!r}. Give that one."
            )
        self.files.write(key, arrays, {"name": key, "header": json.dumps(header)})
        self._drop_stale(key)

    def adopt(self, run: ModelRun) -> None:
        """Store a run that was read from a file and checked, without a second copy of it in memory; if the same run is
        already stored, it is kept.

        Raises:
            DashboardError: the disk is full.
        """
        if self.has(run.key):
            return
        self.files.write(run.key, run.arrays, {"name": run.key, "header": json.dumps(run.header)}, mapped=True)
        self._drop_stale(run.key)

    def _drop_stale(self, key: str) -> None:
        """Delete the derived results of a previous capture of a run."""
        for path in derived_from(self.folder, key):
            if self._found(path.name.removesuffix(SUFFIX)) is None:  # of the previous capture: now a miss
                path.unlink(missing_ok=True)

    def open(self, key: str) -> ModelRun:
        """Open the run of this key; its arrays are read on access, and stay readable if the store deletes the run.

        Raises:
            RunNotFoundError: it is not here, or was damaged (and has now been deleted).
        """
        if not is_run_key(key):
            raise RunNotFoundError(MISSING)
        run = self._run(key)
        touch(self.files.path(key))
        return run

    def stamp(self, key: str) -> str | None:
        """Return which capture of a run is stored (`ModelRun.stamp`); None if there is none."""
        return self._stamp(key) if is_run_key(key) else None

    def save_derived(self, result: Derived, stamp: str | None = None) -> None:
        """Store a derived result: `DerivedStore.save`."""
        self.results.save(result, stamp)

    def derived(self, request: DerivedRequest, stamp: str | None = None) -> Derived | None:
        """Return a stored derived result, or None: `DerivedStore.find`."""
        return self.results.find(request, stamp)

    def all_derived(self, run: ModelRun) -> list[Derived]:
        """Return every derived result of this capture of a run, and those of its model."""
        return self.results.all_of(run)

    def delete(self, key: str) -> None:
        """Delete a run, with everything derived from it."""
        if is_run_key(key):
            remove_run(self.folder, key)
            self._close_gone()

    def summary(self, key: str) -> RunSummary | None:
        """Return the description of one run, without counting as a use; None if it is not here."""
        try:
            return self._summary(key, self.files.path(key).stat()) if is_run_key(key) else None
        except (OSError, RunNotFoundError):
            return None

    def _summary(self, key: str, status: os.stat_result) -> RunSummary:
        known = self._summaries.get(key, Identity.of(status))
        if known is None:
            header, _arrays = self._parts(key)
            try:
                known = RunSummary.of(key, header, status)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RunNotFoundError(MISSING) from error
            self._summaries.keep(key, Identity.of(status), known)
        return RunSummary(**{**vars(known), "used": status.st_mtime})

    def _stamp(self, name: str) -> str | None:
        """Return the stamp of a name's run; None if the run is not here."""
        try:
            return self._run(name[:KEY_LENGTH]).stamp
        except RunNotFoundError:
            return None

    def _run(self, key: str) -> ModelRun:
        self._close_gone()
        try:
            identity = Identity.of(self.files.path(key).stat())
        except OSError as error:
            raise missing(error) from error
        run = self._runs.get(key, identity)
        if run is None:
            header, arrays = self._parts(key)
            try:
                run = ModelRun(header, arrays)
            except (DashboardError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise NewerRunError(NEWER) from error  # complete, but its fields are not ours
            self._runs.keep(key, identity, run)
        return run

    def _parts(self, key: str) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
        """Read a run's header and arrays under this version's names; a header that is not JSON, or belongs to another
        run, is damage, and one from a newer version is only a miss.
        """
        arrays = self.files.map(key)
        try:
            header, found = upgraded(json.loads(arrays.metadata["header"]), arrays)
            if header["key"] != key:
                raise ValueError("the header of another run")
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            self.files.path(key).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING) from error
        return header, found

    def _close_gone(self) -> None:
        """Close the runs whose file was deleted or replaced: a mapped file keeps its space on the disk."""
        self._runs.forget_gone(self.files.path)
