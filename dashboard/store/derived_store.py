"""Derived results in the run store: each beside the run that it was computed from, or under the key of its model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_header import UNSTAMPED
from dashboard.errors import BadRequestError, ReplacedRunError, RunNotFoundError
from dashboard.store.files import SUFFIX, derived_from, keep_results_within, touch
from dashboard.store.kept_files import KeptFiles
from dashboard.store.mapped import MappedArrays
from dashboard.store.refusals import MISSING, too_large
from dashboard.store.upgrades import names_before, request_of


class DerivedStore:
    """Derived results by request.

    Args:
        files: of the store, which has the runs, too.
        stamp_of: returns which capture of a name's run is stored; None if the run is not here.
        max_bytes: the most that all results of one run may take; the least recently used are deleted.
    """

    def __init__(self, files: KeptFiles, stamp_of: Callable[[str], str | None], max_bytes: int) -> None:
        self.max_bytes, self._files, self._stamp_of = max_bytes, files, stamp_of

    def save(self, result: Derived, stamp: str | None = None) -> None:
        """Store a derived result beside its run, or under the key of its model.

        Args:
            stamp: of the run it was computed from; by default, the stored one. A model's result has none.

        Raises:
            ReplacedRunError: the run has been computed again since. RunNotFoundError: the run has since been deleted.
            TooLargeError: the result alone exceeds the limit for all results of a run.
            DashboardError: the disk is full.
        """
        name, size = result.request.name, sum(array.nbytes for array in result.arrays.values())
        if size > self.max_bytes:
            raise too_large(size, self.max_bytes)
        of = result.request.model or self._same_capture(name, stamp)
        told = {"request": json.dumps(result.request.to_json()), "facts": json.dumps(dict(result.facts))}
        self._files.write(name, result.arrays, {"name": name, "of": of, **told})
        try:
            if not result.request.model:
                self._same_capture(name, of)
        except (RunNotFoundError, ReplacedRunError):  # deleted, or computed again, while this was written
            self._files.path(name).unlink(missing_ok=True)
            raise
        keep_results_within(self._files.folder, result.request.owner, self.max_bytes, name)

    def _same_capture(self, name: str, stamp: str | None) -> str:
        """Return the stamp of a name's run, checked against `stamp` if given; raises like `save`."""
        now = self._stamp_of(name)
        if now is None:
            raise RunNotFoundError(MISSING)
        if stamp is not None and stamp != now:
            raise ReplacedRunError("This run has been computed again in the meantime. Ask for it again.")
        return now

    def find(self, request: DerivedRequest, stamp: str | None = None) -> Derived | None:
        """Return a result stored by `save`; None if it is not here, was damaged (and has now been deleted), or belongs
        to another capture of the run.

        Args:
            stamp: of the run that it must be computed from; by default, the stored one. A model's result has none.
        """
        stamp = request.model or stamp
        for name in (request.name, *names_before(request)):
            found = self._result(request.run, name, stamp)
            if found is not None and found.request.asks_like(
                request
            ):  # not just one whose parameters have the same hash
                touch(self._files.path(name))
                return Derived(request, found.arrays, found.facts)
        return None

    def all_of(self, run: ModelRun) -> list[Derived]:
        """Return every derived result of exactly this capture of a run, and those of its model."""
        owners = {run.key: run.stamp} | ({run.model_key: run.model_key} if run.model_key else {})
        found = (
            self._result(run.key, path.name.removesuffix(SUFFIX), stamp)
            for owner, stamp in owners.items()
            for path in derived_from(self._files.folder, owner)
        )
        return [Derived(replace(one.request, run=run.key), one.arrays, one.facts) for one in found if one is not None]

    def arrays(self, name: str, stamp: str | None = None) -> MappedArrays:
        """Map derived arrays that belong to the capture with this stamp; by default, to the stored run, if any.

        Raises:
            RunNotFoundError: they are not here, were damaged (and have now been deleted), or belong to another capture.
        """
        arrays, stamp = self._files.map(name), stamp or self._stamp_of(name)
        of = arrays.metadata.get("of")
        if stamp is not None and of != stamp and not (of is None and stamp.startswith(UNSTAMPED)):
            raise RunNotFoundError(MISSING)
        return arrays

    def _result(self, key: str, name: str, stamp: str | None) -> Derived | None:
        """Return the result that a file holds; None if it holds none, or one that does not match its name."""
        try:
            arrays = self.arrays(name, stamp)
            request, facts = request_of(key, name, arrays.metadata), json.loads(arrays.metadata.get("facts", "{}"))
        except (RunNotFoundError, BadRequestError, ValueError, RecursionError):
            return None
        its_own = name in (request.name, *names_before(request)) and isinstance(facts, dict)
        return Derived(request, arrays, facts) if its_own else None
