"""A job: work that needs the model, named by what it yields, so that asking twice for the same work gives one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

from dashboard.contracts.request import ModelRequest
from dashboard.errors import DashboardError

# work that needs the model, and work that makes a model ready for it; each lane has its own workers
Lane = Literal["compute", "prepare"]


class Rank(IntEnum):
    """Order of the jobs in a lane: all jobs of one rank run before any of the next.

    QUICK: a small result that a person waits for, about what is on show. USUAL: a run. LONG: any other result, and a
    preparation; a visitor has one of these at a time.
    """

    QUICK = 0
    USUAL = 1
    LONG = 2


@dataclass(frozen=True)
class JobSpec:
    """What the web process hands to a worker: everything the job needs, as JSON.

    Attributes:
        name: the worker's function that does the job ("capture", "derive", "prepare").
        key: names the job; the part before an "@" names its artifact in the run store, once it is done. The part
            after it is the stamp of the capture that a result is derived from, so that two captures of a run have two
            jobs.
        payload: the function's JSON arguments.
        needs: the preparation that must finish first, or None.
        rank: the job's place in the order of its lane.
    """

    name: str
    key: str
    payload: dict[str, Any] = field(default_factory=dict)
    needs: JobSpec | None = None
    rank: Rank = Rank.USUAL

    @property
    def artifact(self) -> str:
        """The artifact's name."""
        return artifact_of(self.key)


def artifact_of(key: str) -> str:
    """Return the name of the artifact that a job with this key produces."""
    return key.partition("@")[0]


@dataclass(frozen=True)
class JobSet:
    """Jobs wanted together, each with a state of its own; this set replaces the one wanted before.

    Attributes:
        refused: why some could not become jobs, by the keys they would have had.
    """

    specs: tuple[JobSpec, ...]
    refused: Mapping[str, DashboardError] = field(default_factory=dict)


def preparation(asked: ModelRequest) -> JobSpec:
    """Return the job that makes a model ready for runs: it fetches, converts and reads the model, as far as needed, in
    whatever dtype it is loaded afterwards.
    """
    lent = asked.tokenizer
    payload = {"model": asked.name, "revision": asked.revision, **({"tokenizer": lent} if lent else {})}
    key = f"prepare:{asked.name}@{asked.revision or 'main'}{f'+{lent}' if lent else ''}"
    return JobSpec("prepare", key, payload, rank=Rank.LONG)


@dataclass(frozen=True)
class Progress:
    """How far a running job has got.

    Attributes:
        phase: "queued", "fetch" (download, conversion or checksum), "load", "layers", "predictions" or "save".
        done, total: how many of how many in this phase (0 of 0 if it cannot be counted).
        message: one short sentence for a person ("Layer 17 of 30").
    """

    phase: str
    done: int = 0
    total: int = 0
    message: str = ""


OnProgress = Callable[[Progress], None]  # called with each step; an exception from it stops the work
