"""The queue's records: jobs, their subscribers, and workers; and the sentences that describe them to people.

Frozen values, stored as JSON. Times are seconds since 1970, which several processes and hosts share; a clock that jumps
makes a lease lapse early or late, and both correct themselves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from dashboard.contracts.job import JobSpec, Lane, Progress, Rank
from dashboard.jobs.failure import JobFailure, is_result

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
WorkerState = Literal["starting", "loading", "idle", "busy", "saving"]
Told = dict[str, Any]  # an outcome as stored (`to_json` in dashboard/jobs/backend.py)

SETTLE_SECONDS = 0.1  # a cancellation takes effect after this, so that asking again at once undoes it
R = TypeVar("R", bound="_Record")


@dataclass(frozen=True)
class _Record:
    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls: type[R], raw: object) -> R | None:
        """Parse a stored record; None if nothing, or something else, is stored."""
        names = {item.name for item in fields(cls)}
        if not isinstance(raw, dict) or not set(raw) <= names:
            return None
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
        if isinstance(raw.get("progress"), dict):
            values["progress"] = Progress(**raw["progress"])
        try:
            return cls(**values | ({"rank": Rank(raw["rank"])} if "rank" in raw else {}))
        except (TypeError, ValueError):  # a field is missing or unknown
            return None


@dataclass(frozen=True)
class JobRecord(_Record):
    """One attempt at a job.

    Attributes:
        key, name: of its `JobSpec`, whose payload is stored apart. attempt: 1, 2 …; workers report on their own attempt
            only.
        created, started, ended: times. worker: id of the worker that took it.
        subscribers: those who wait for it; it goes on as long as one of them keeps asking.
        cancel_at: when the last of them left.
        result: key of the artifact.
        lane: whose workers do it. needs: the preparation that it waits for (fields of its `JobSpec`), while it does.
        dependents: keys of the jobs that wait for this preparation; it goes on as long as somebody waits for one of
            them.
        rank: of its `JobSpec`. resting: since when it has let others go first, between two of its steps.
    """

    key: str
    name: str
    state: JobState
    attempt: int
    created: float
    subscribers: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None
    worker: str | None = None
    progress: Progress | None = None
    cancel_at: float | None = None
    result: str | None = None
    error: str | None = None
    lane: Lane = "compute"
    needs: dict[str, Any] | None = None
    dependents: tuple[str, ...] = ()
    rank: Rank = Rank.USUAL
    resting: float | None = None

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    def stopping(self, now: float) -> bool:
        """Whether a cancellation has taken effect."""
        return self.cancel_at is not None and abs(now - self.cancel_at) >= SETTLE_SECONDS


@dataclass(frozen=True)
class Subscription(_Record):
    """One page that waits for one job.

    Attributes:
        job: key of the job. name: its function. renewed: when the page last asked. rank: of the job.
        outcome: the outcome, once known. delivered: whether the page has received it.
        owner: the visitor whose page it is; "" if it has no name.
    """

    job: str
    name: str
    renewed: float
    outcome: Told | None = None
    delivered: bool = False
    owner: str = ""
    rank: Rank = Rank.USUAL


@dataclass(frozen=True)
class WatchRecord(_Record):
    """The jobs that one page wants as a set.

    Attributes:
        keys: in the order requested. renewed: when this was last stored. turn: which of the page's sets it is.
    """

    keys: tuple[str, ...]
    renewed: float
    turn: int = 0


@dataclass(frozen=True)
class SupervisorRecord(_Record):
    """One worker service; `beat` is its last sign of life, `idle` whether it is ending or has no worker just now."""

    pid: int
    host: str
    beat: float
    idle: bool = False


@dataclass(frozen=True)
class WorkerRecord(_Record):
    """One worker process; `beat` is its last sign of life, `job` and `attempt` what it is doing, `host` where it runs,
    `parent` the process id of its supervisor (0: none), `lane` which jobs it takes, `device` what its models compute on
    ("" for the CPU)."""

    id: str
    pid: int
    host: str
    state: WorkerState
    beat: float
    models: tuple[str, ...] = ()
    job: str | None = None
    attempt: int | None = None
    message: str = ""
    parent: int = 0
    lane: Lane = "compute"
    device: str = ""


@dataclass(frozen=True)
class Claim:
    """A job that a worker has taken, and which attempt at it this is."""

    spec: JobSpec
    attempt: int


def worker_lost(record: JobRecord) -> JobFailure:
    """Return the failure for a job whose worker is gone."""
    lost = f"The worker stopped while {_doing(record)}, so "
    shorter = "if it stops again, try a shorter text or a smaller model."
    if is_result(record.name):
        return JobFailure(f"{lost}there is no result. A new worker is starting. Try again; {shorter}")
    kept = "Your text is still in the box and a new worker is starting. "
    return JobFailure(f"{lost}this run has no result. {kept}Run again; {shorter}")


def overtime(record: JobRecord, seconds: float) -> JobFailure:
    """Return the failure for a job that took longer than this server allows."""
    limit = f"{seconds:.0f} seconds" if seconds >= 10 else f"{seconds:g} seconds"
    return _stopped(record, f"it took longer than the {limit} that this server allows")


def over_memory(record: JobRecord, gigabytes: float) -> JobFailure:
    """Return the failure for a job whose worker held more memory than this server allows."""
    return _stopped(record, f"its worker needed more than the {gigabytes:g} GB of memory that this server allows")


def _stopped(record: JobRecord, why: str) -> JobFailure:
    begins = "This result was stopped while" if is_result(record.name) else "This run was stopped while"
    kept = "" if is_result(record.name) else "Your text is still in the box. "
    return JobFailure(f"{begins} {_doing(record)}: {why}. {kept}Try a shorter text or a smaller model.")


def _doing(record: JobRecord) -> str:
    progress, what = record.progress, "this result" if is_result(record.name) else "this run"
    if progress is None or progress.phase == "queued":
        return f"starting {what}"
    doing = {
        "fetch": "fetching the model",
        "load": "loading the model",
        "layers": "computing the layers",
        "predictions": "computing the predictions",
        "save": f"saving {what}",
    }.get(progress.phase, f"computing {what}")
    if progress.phase == "layers" and progress.total:
        return f"computing layer {progress.done} of {progress.total}"
    return doing
