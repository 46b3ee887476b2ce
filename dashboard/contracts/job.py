"""A job: work that needs the model, named by what it yields, so that the same work asked for twice is one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

from dashboard.errors import DashboardError

# what needs the model, and what makes a model ready for that; each has workers of its own
Lane = Literal["compute", "prepare"]


class Rank(IntEnum):
    """Which jobs of a lane come first: all of a rank before any of the next.

    QUICK: a small result that a person waits for at what they look at. USUAL: a run. LONG: any other result, and a
    preparation; a visitor has one of these at a time.
    """

    QUICK = 0
    USUAL = 1
    LONG = 2


@dataclass(frozen=True)
class JobSpec:
    """What the web process hands to a worker; everything the job needs is in here, as JSON.

    Attributes:
        name: which of the worker's functions does it ("capture", "derive", "prepare").
        key: names the job; what stands before an "@" names its artifact in the run store, once it is done. What stands
            behind is the stamp of the capture that a result is derived from, so that two captures of a run have two
            jobs.
        payload: the function's JSON arguments.
        needs: the preparation that must be done first, or None.
        rank: which jobs come before it and after it.
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
    """The name of the artifact that a job of this key leaves."""
    return key.partition("@")[0]


@dataclass(frozen=True)
class JobSet:
    """Jobs that are wanted together, each with a state of its own; what was wanted before and is not in here no longer
    is.

    Attributes:
        refused: why some are no jobs, by the keys that these would have.
    """

    specs: tuple[JobSpec, ...]
    refused: Mapping[str, DashboardError] = field(default_factory=dict)


def preparation(model: str, revision: str | None) -> JobSpec:
    """The job that makes a model ready for runs: brings it here, converts it and reads it through, as far as that is
    needed."""
    payload = {"model": model, "revision": revision}
    return JobSpec("prepare", f"prepare:{model}@{revision or 'main'}", payload, rank=Rank.LONG)


@dataclass(frozen=True)
class Progress:
    """Where a running job is.

    Attributes:
        phase: "queued", "fetch" (download, conversion or checksum), "load", "layers", "predictions" or "save".
        done, total: how many of how many in this phase (0 of 0 where it cannot be counted).
        message: one short sentence for a person ("Layer 17 of 30").
    """

    phase: str
    done: int = 0
    total: int = 0
    message: str = ""


OnProgress = Callable[[Progress], None]  # is called with each step; what it raises stops the work
