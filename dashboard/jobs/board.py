"""The board: which jobs wait, in whose name, whose turn it is, and which jobs run. A plain value.

Visitors take turns, so that a visitor with fifty jobs does not hold off another's one: `turns` names each visitor with a
waiting job once, the one whose turn is next first. Whoever was served goes to the end, and so does whoever comes new. A
job that several visitors wait for is taken at the first of their turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Waiting:
    """A job that waits: the visitors who wait for it ("" is whoever has no name), its payload's size in bytes, and whether a
    worker may take it: a job whose model is being prepared has no turn yet."""

    key: str
    owners: tuple[str, ...] = ("",)
    size: int = 0
    ready: bool = True


@dataclass(frozen=True)
class Board:
    """The jobs that wait, first come first, the owners in the order of their turns, and the keys of the jobs that run."""

    waiting: tuple[Waiting, ...] = ()
    turns: tuple[str, ...] = ()
    running: tuple[str, ...] = ()

    @property
    def queued(self) -> tuple[str, ...]:
        """Keys of the jobs that may be taken, in the order in which they will be."""
        return tuple(key for key, _owner in self.in_turn())

    def job(self, key: str) -> Waiting | None:
        """The entry of a job that waits."""
        return next((job for job in self.waiting if job.key == key), None)

    def in_turn(self) -> Iterator[tuple[str, str]]:
        """The jobs that may be taken, with the owner whose turn takes each, in the order in which they will be."""
        rows: dict[str, deque[str]] = {owner: deque() for owner in self.turns}
        for job in self.waiting:
            for owner in job.owners if job.ready else ():
                rows.setdefault(owner, deque()).append(job.key)
        taken: set[str] = set()
        while rows:
            for owner in list(rows):
                row = rows[owner]
                while row and row[0] in taken:
                    row.popleft()
                if not row:
                    del rows[owner]
                    continue
                taken.add(row[0])
                yield row.popleft(), owner

    def put(self, job: Waiting, first: bool = False) -> Board:
        """The board with a job that waits: in its old place, at the end, or `first` of all."""
        others, turns = tuple(other for other in self.waiting if other.key != job.key), self.turns
        if first:
            placed, front = (job, *others), job.owners[:1]
            turns = (*front, *(owner for owner in turns if owner not in front))
        elif len(others) < len(self.waiting):
            placed = tuple(job if other.key == job.key else other for other in self.waiting)
        else:
            placed = (*others, job)
        return Board(placed, turns, self._running_without(job.key))._tidied()

    def of(self, owner: str) -> tuple[Waiting, ...]:
        """The jobs that a visitor waits for."""
        return tuple(job for job in self.waiting if owner in job.owners)

    def take(self, key: str, owner: str) -> Board:
        """The board after a worker took a job at an owner's turn."""
        turns = (*(other for other in self.turns if other != owner), owner)
        waiting = tuple(job for job in self.waiting if job.key != key)
        return replace(self, waiting=waiting, turns=turns, running=(*self._running_without(key), key))._tidied()

    def without(self, key: str) -> Board:
        """The board without a job."""
        waiting = tuple(job for job in self.waiting if job.key != key)
        return replace(self, waiting=waiting, running=self._running_without(key))._tidied()

    def _running_without(self, key: str) -> tuple[str, ...]:
        return tuple(other for other in self.running if other != key)

    def _tidied(self) -> Board:
        """`turns` names each owner of a waiting job once; new ones come last."""
        owners = dict.fromkeys(owner for job in self.waiting for owner in job.owners)
        kept = [owner for owner in self.turns if owner in owners]
        return replace(self, turns=tuple(dict.fromkeys((*kept, *owners))))

    def to_json(self) -> dict[str, Any]:
        waiting = [[job.key, list(job.owners), job.size, job.ready] for job in self.waiting]
        return {"waiting": waiting, "turns": list(self.turns), "running": list(self.running)}

    @classmethod
    def from_json(cls, raw: object) -> Board:
        """The board as it was written; an empty one for anything else."""
        try:
            rows = raw["waiting"]  # type: ignore[index]
            waiting = tuple(Waiting(key, tuple(owners), int(size), *more) for key, owners, size, *more in rows)
            return cls(waiting, tuple(raw["turns"]), tuple(raw["running"]))  # type: ignore[index]
        except (TypeError, KeyError, ValueError):
            return cls()
