"""The board: which jobs wait, in whose name, whose turn it is, and which jobs run. A plain value.

Visitors take turns, so that a visitor with fifty jobs does not hold up another visitor's one: `turns` names each
visitor with a waiting job once, the next one first. A visitor who was served goes to the end, and so does a new one. A
job that several visitors wait for is taken at the earliest of their turns. All jobs of a rank come before those of the
next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from dashboard.contracts.job import Rank


@dataclass(frozen=True)
class Waiting:
    """A waiting job.

    `owners`: the visitors who wait for it ("" for those without a name). `size`: its payload in bytes. `ready`: whether
    a worker may take it; a job whose model is being prepared has no turn yet. `rank`: as in its `JobSpec`. `left`:
    whether everybody has left it, so that it is about to be dropped unless somebody comes back, and counts for nobody
    until then.
    """

    key: str
    owners: tuple[str, ...] = ("",)
    size: int = 0
    ready: bool = True
    rank: Rank = Rank.USUAL
    left: bool = False


@dataclass(frozen=True)
class Board:
    """The waiting jobs in order of arrival, the owners in order of their turns, and the keys of the running jobs."""

    waiting: tuple[Waiting, ...] = ()
    turns: tuple[str, ...] = ()
    running: tuple[str, ...] = ()

    @property
    def queued(self) -> tuple[str, ...]:
        """Keys of the jobs that may be taken, in the order of their turns."""
        return tuple(key for key, _owner in self.in_turn())

    def job(self, key: str) -> Waiting | None:
        """Return the entry of a waiting job."""
        return next((job for job in self.waiting if job.key == key), None)

    def in_turn(self, served: Collection[str] = ()) -> Iterator[tuple[str, str]]:
        """Yield the jobs that may be taken, each with the owner at whose turn it is taken, in order.

        Args:
            served: owners whose long job is running; no other long job is taken at their turns.
        """
        turns = dict.fromkeys(self.turns)
        for rank in Rank:
            rows: dict[str, deque[str]] = {owner: deque() for owner in turns}
            for job in self.waiting:
                for owner in job.owners if job.ready and not job.left and job.rank == rank else ():
                    if rank < Rank.LONG or owner not in served:
                        rows.setdefault(owner, deque()).append(job.key)
            for key, owner in _around(rows):
                turns[owner] = turns.pop(owner, None)  # move to the end
                yield key, owner

    def put(self, job: Waiting, first: bool = False) -> Board:
        """Return the board with a waiting job: in its old place, at the end, or `first` of all."""
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
        """Return the jobs that a visitor waits for."""
        return tuple(job for job in self.waiting if owner in job.owners and not job.left)

    def take(self, key: str, owner: str) -> Board:
        """Return the board after a worker took a job at an owner's turn."""
        turns = (*(other for other in self.turns if other != owner), owner)
        waiting = tuple(job for job in self.waiting if job.key != key)
        return replace(self, waiting=waiting, turns=turns, running=(*self._running_without(key), key))._tidied()

    def without(self, key: str) -> Board:
        """Return the board without a job."""
        waiting = tuple(job for job in self.waiting if job.key != key)
        return replace(self, waiting=waiting, running=self._running_without(key))._tidied()

    def _running_without(self, key: str) -> tuple[str, ...]:
        return tuple(other for other in self.running if other != key)

    def _tidied(self) -> Board:
        """Return the board with each owner of a waiting job once in `turns`, new ones last."""
        owners = dict.fromkeys(owner for job in self.waiting for owner in job.owners)
        kept = [owner for owner in self.turns if owner in owners]
        return replace(self, turns=tuple(dict.fromkeys((*kept, *owners))))

    def to_json(self) -> dict[str, Any]:
        waiting = [[job.key, list(job.owners), job.size, job.ready, job.rank, job.left] for job in self.waiting]
        return {"waiting": waiting, "turns": list(self.turns), "running": list(self.running)}

    @classmethod
    def from_json(cls, raw: object) -> Board:
        """Parse a stored board; an empty one for anything else."""
        try:
            rows = raw["waiting"]  # type: ignore[index]
            waiting = tuple(_entry(*row) for row in rows)
            return cls(waiting, tuple(raw["turns"]), tuple(raw["running"]))  # type: ignore[index]
        except (TypeError, KeyError, ValueError):
            return cls()


def counted(ranks: Collection[Rank]) -> str:
    """Count jobs by what they produce: "1 run", "3 results", "4 runs and results"."""
    runs = sum(rank == Rank.USUAL for rank in ranks)
    what = "run" if runs else "result"
    if 0 < runs < len(ranks):
        return f"{len(ranks):,} runs and results"
    return f"1 {what}" if len(ranks) == 1 else f"{len(ranks):,} {what}s"


def _entry(
    key: str, owners: list[str], size: int, ready: bool = True, rank: int = Rank.USUAL, left: bool = False
) -> Waiting:
    return Waiting(key, tuple(owners), int(size), ready, Rank(rank), left)


def _around(rows: dict[str, deque[str]]) -> Iterator[tuple[str, str]]:
    """Yield a job of each owner in turn, each job once."""
    taken: set[str] = set()
    while rows:
        for owner, row in list(rows.items()):
            while row and row[0] in taken:
                row.popleft()
            if not row:
                del rows[owner]
                continue
            taken.add(row[0])
            yield row.popleft(), owner
