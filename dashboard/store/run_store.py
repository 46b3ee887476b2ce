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
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.request import KEY_LENGTH, is_run_key
from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_header import UNSTAMPED
from dashboard.errors import (
    BadRequestError,
    DashboardError,
    NewerRunError,
    ReplacedRunError,
    RunNotFoundError,
    RunShapeError,
    SettingsError,
    is_full_disk,
)
from dashboard.settings import Settings
from dashboard.store.array_file import storable, write_arrays
from dashboard.store.budget import Budget
from dashboard.store.files import (
    SUFFIX,
    derived_from,
    file_of,
    files_in,
    in_leaving_order,
    is_name,
    keep_results_within,
    kept_in,
    remove,
    remove_run,
    touch,
    whole_file,
)
from dashboard.store.leftovers import remove_left
from dashboard.store.mapped import DamagedFileError, MappedArrays, map_arrays
from dashboard.store.refusals import MISSING, full_disk, missing, too_large
from dashboard.store.remembered import Identity, Remembered
from dashboard.store.reserve import missing_bytes
from dashboard.store.summary import RunSummary
from dashboard.store.upgrades import NEWER, names_before, request_of, upgraded
from dashboard.system.private import private_folder

log = logging.getLogger(__name__)
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
        self.folder, self.max_bytes, self.pinned, self.budget = Path(folder), max_bytes, pinned, budget
        self.results_bytes = results_bytes
        self._runs: Remembered[ModelRun] = Remembered(OPEN_RUNS)
        self._summaries: Remembered[RunSummary] = Remembered(KNOWN_RUNS)
        try:
            private_folder(self.folder).chmod(0o700)
            self._sweep()
        except OSError as error:
            raise SettingsError(
                f"The folder of saved runs, {self.folder}, cannot be used ({error.strerror}). "
                "Set DASHBOARD_CACHE_DIR to a folder that this user may write."
            ) from error

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
            return self._run(str(name)) if is_run_key(name) else self._derived(str(name))
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
        self._write(key, arrays, {"name": key, "header": json.dumps(header)})
        self._drop_stale(key)

    def adopt(self, run: ModelRun) -> None:
        """Store a run that was read from a file and checked, without a second copy of it in memory; if the same run is
        already stored, it is kept.

        Raises:
            DashboardError: the disk is full.
        """
        if self.has(run.key):
            return
        self._write(run.key, run.arrays, {"name": run.key, "header": json.dumps(run.header)}, mapped=True)
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
        touch(self._path(key))
        return run

    def stamp(self, key: str) -> str | None:
        """Return which capture of a run is stored (`ModelRun.stamp`); None if there is none."""
        return self._stamp(key) if is_run_key(key) else None

    def save_derived(self, result: Derived, stamp: str | None = None) -> None:
        """Store a derived result beside its run, or under the key of its model.

        Args:
            stamp: of the run it was computed from; by default, the stored one. A model's result has none.

        Raises:
            ReplacedRunError: the run has been computed again since. RunNotFoundError: the run has since been deleted.
            TooLargeError: the result alone exceeds the limit for all results of a run.
            DashboardError: the disk is full.
        """
        name, size = result.request.name, sum(array.nbytes for array in result.arrays.values())
        if size > self.results_bytes:
            raise too_large(size, self.results_bytes)
        of = result.request.model or self._same_capture(name, stamp)
        told = {"request": json.dumps(result.request.to_json()), "facts": json.dumps(dict(result.facts))}
        self._write(name, result.arrays, {"name": name, "of": of, **told})
        try:
            if not result.request.model:
                self._same_capture(name, of)
        except (RunNotFoundError, ReplacedRunError):  # deleted, or computed again, while this was written
            self._path(name).unlink(missing_ok=True)
            raise
        keep_results_within(self.folder, result.request.owner, self.results_bytes, name)

    def _same_capture(self, name: str, stamp: str | None) -> str:
        """Return the stamp of a name's run, checked against `stamp` if given; raises like `save_derived`."""
        now = self._stamp(name)
        if now is None:
            raise RunNotFoundError(MISSING)
        if stamp is not None and stamp != now:
            raise ReplacedRunError("This run has been computed again in the meantime. Ask for it again.")
        return now

    def derived(self, request: DerivedRequest, stamp: str | None = None) -> Derived | None:
        """Return a derived result stored by `save_derived`; None if it is not here, was damaged (and has now been
        deleted), or belongs to another capture of the run.

        Args:
            stamp: of the run that it must be computed from; by default, the stored one. A model's result has none.
        """
        stamp = request.model or stamp
        for name in (request.name, *names_before(request)):
            found = self._result(request.run, name, stamp)
            if found is not None and found.request.asks_like(
                request
            ):  # not just one whose parameters have the same hash
                touch(self._path(name))
                return Derived(request, found.arrays, found.facts)
        return None

    def all_derived(self, run: ModelRun) -> list[Derived]:
        """Return every derived result of exactly this capture of a run, and those of its model."""
        owners = {run.key: run.stamp} | ({run.model_key: run.model_key} if run.model_key else {})
        found = (
            self._result(run.key, path.name.removesuffix(SUFFIX), stamp)
            for owner, stamp in owners.items()
            for path in derived_from(self.folder, owner)
        )
        return [Derived(replace(one.request, run=run.key), one.arrays, one.facts) for one in found if one is not None]

    def _result(self, key: str, name: str, stamp: str | None) -> Derived | None:
        """Return the result that a file holds; None if it holds none, or one that does not match its name."""
        try:
            arrays = self._derived(name, stamp)
            request, facts = request_of(key, name, arrays.metadata), json.loads(arrays.metadata.get("facts", "{}"))
        except (RunNotFoundError, BadRequestError, ValueError, RecursionError):
            return None
        its_own = name in (request.name, *names_before(request)) and isinstance(facts, dict)
        return Derived(request, arrays, facts) if its_own else None

    def delete(self, key: str) -> None:
        """Delete a run, with everything derived from it."""
        if is_run_key(key):
            remove_run(self.folder, key)
            self._close_gone()

    def summary(self, key: str) -> RunSummary | None:
        """Return the description of one run, without counting as a use; None if it is not here."""
        try:
            return self._summary(key, self._path(key).stat()) if is_run_key(key) else None
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

    def _path(self, name: str) -> Path:
        return file_of(self.folder, name)

    def _map(self, name: str) -> MappedArrays:
        try:
            arrays = map_arrays(self._path(name))
        except DamagedFileError as error:
            self._path(name).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING) from error
        except OSError as error:
            raise missing(error) from error
        if arrays.metadata.get("name") != name:
            self._path(name).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING)
        return arrays

    def _derived(self, name: str, stamp: str | None = None) -> MappedArrays:
        """Map derived arrays that belong to the capture with this stamp; by default, to the stored run, if any."""
        arrays, stamp = self._map(name), stamp or self._stamp(name)
        of = arrays.metadata.get("of")
        if stamp is not None and of != stamp and not (of is None and stamp.startswith(UNSTAMPED)):
            raise RunNotFoundError(MISSING)
        return arrays

    def _stamp(self, name: str) -> str | None:
        """Return the stamp of a name's run; None if the run is not here."""
        try:
            return self._run(name[:KEY_LENGTH]).stamp
        except RunNotFoundError:
            return None

    def _run(self, key: str) -> ModelRun:
        self._close_gone()
        try:
            identity = Identity.of(self._path(key).stat())
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
        arrays = self._map(key)
        try:
            header, found = upgraded(json.loads(arrays.metadata["header"]), arrays)
            if header["key"] != key:
                raise ValueError("the header of another run")
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            self._path(key).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING) from error
        return header, found

    def _close_gone(self) -> None:
        """Close the runs whose file was deleted or replaced: a mapped file keeps its space on the disk."""
        self._runs.forget_gone(self._path)

    def _write(
        self, name: str, arrays: Mapping[str, np.ndarray], metadata: dict[str, str], mapped: bool = False
    ) -> None:
        while True:
            try:
                self._write_once(name, arrays, metadata, mapped)
                break
            except Exception as error:
                if not is_full_disk(error):
                    raise
                size = sum(array.nbytes for array in arrays.values())
                if not self._freed(size, name):
                    raise full_disk(name) from error
        self._make_room(name)

    def _write_once(self, name: str, arrays: Mapping[str, np.ndarray], metadata: dict[str, str], mapped: bool) -> None:
        private_folder(self.folder)
        with whole_file(self._path(name), name, private=True, durable=True) as part:
            if mapped:
                with part.open("wb") as file:
                    write_arrays(file, arrays, metadata)
                return
            save_file({label: storable(label, array) for label, array in arrays.items()}, part, metadata=metadata)

    def _make_room(self, keep: str) -> None:
        """Delete derived results, then the least recently used runs, until everything fits, pinned ones last; the item
        called `keep` was just saved and stays, with its run.

        Files being written count, too, and so do those that killed writers left, until they are swept. If the disk is
        smaller than the store may be, runs are deleted until the reserve is free again.
        """
        self._close_gone()
        total = sum(status.st_size for _name, status in files_in(self.folder)) + self._sweep()
        self._let_go(total - self.max_bytes, keep)
        self._freed(0, keep)

    def _freed(self, needed: int, keep: str) -> bool:
        """Make room for `needed` bytes and the reserve, in disk and budget; return whether anything was deleted."""
        if self.budget is None:
            return self._let_go(needed + missing_bytes(self.folder), keep)
        gone = self.budget.make_room(needed, keep, full=needed > 0).gone
        self._close_gone()
        return gone > 0

    def _let_go(self, needed: int, keep: str) -> bool:
        """Delete items in order until `needed` bytes are free; return whether any were deleted."""
        stays = (keep, keep[:KEY_LENGTH])
        found = [one for one in (kept_in(self.folder) if needed > 0 else ()) if one.name not in stays]
        gone = 0
        for one in in_leaving_order(found, self.pinned() if found else ()):
            if gone >= needed:
                break
            remove(self.folder, one.name)
            gone += one.bytes
        self._close_gone()
        return gone > 0

    def _sweep(self) -> int:
        """Remove what killed writers left; return how many bytes unfinished files still take."""
        return remove_left(self.folder, "*.part")
