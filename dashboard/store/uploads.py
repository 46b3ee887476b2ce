"""Runs that visitors opened from files: how many runs, and how many bytes, the store keeps for one visitor.

A run file costs its sender nothing, and runs that are sent again and again would push out those of everybody else. A
visitor's list says which runs in it came from their files (`store/visits.py`); those that are still in the store count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dashboard.contracts.run import ModelRun
from dashboard.errors import NoSpaceError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists

MOST_FILES = 100
VISITORS_SHARE = 0.25  # share of the room for all saved runs that one visitor's run files may take
WHAT_TO_DO = "Delete some of them in Recent, then open this one again."


@dataclass(frozen=True)
class UploadedRuns:
    """The run files of all visitors. `most_bytes`: the limit for one visitor; it does not apply to the first file.

    Raises (from the methods):
        NoSpaceError: this visitor has reached the limit. BadRequestError: the browser has no visitor's cookie.
        OSError: the visitor's list cannot be read or written.
    """

    store: RunStore
    visitors: VisitorLists
    most_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings, store: RunStore, visitors: VisitorLists) -> UploadedRuns:
        """Make the limits of this server."""
        return cls(store, visitors, int(VISITORS_SHARE * settings.store_gigabytes * 1e9))

    def check(self, visitor: str, size: int) -> None:
        """Raise now what `adopt` would raise for a run of this many bytes."""
        self._check((key for key, visit in self.visitors.of(visitor).items() if visit.uploaded), size)

    def adopt(self, visitor: str, run: ModelRun) -> None:
        """Store a run that was read from a visitor's file and checked, and put it on the visitor's list.

        Raises:
            DashboardError: the disk is full.
        """
        size = sum(array.nbytes for array in run.arrays.values())
        self.visitors.uploaded(visitor, run.key, lambda others: self._check(others, size))
        self.store.adopt(run)

    def _check(self, keys: Iterable[str], size: int) -> None:
        kept = [found.bytes for found in map(self.store.summary, keys) if found is not None]
        if len(kept) >= MOST_FILES:
            raise NoSpaceError(
                f"This server stores up to {MOST_FILES} run files per visitor, and you have reached that number. "
                f"{WHAT_TO_DO}"
            )
        if kept and sum(kept) + size > self.most_bytes:
            raise NoSpaceError(
                f"Your run files take {sum(kept) / 1e6:,.1f} MB on this server, and this one needs {size / 1e6:,.1f} "
                f"MB more; the limit per visitor is {self.most_bytes / 1e6:,.1f} MB. {WHAT_TO_DO}"
            )
