"""The records of the queue: jobs, those who wait for them, and workers; and the sentences a person reads of them.

Frozen values, kept as JSON. Times are seconds since 1970, which several processes and hosts share; a clock that jumps
makes a lease lapse early or late, and both mend themselves.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from dashboard.contracts.job import JobSpec, Lane, Progress
from dashboard.errors import DashboardError, JobCancelledError, JobError, without_paths

log = logging.getLogger(__name__)
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
WorkerState = Literal["starting", "loading", "idle", "busy", "saving"]
Outcome = dict[str, Any]

SETTLE_SECONDS = 0.1  # a cancel takes effect after this, so that whoever asks again in the same moment changes nothing
CANCELLED = "The run was cancelled. The text is still in the box."
FORGOTTEN = "The server no longer knows this run. Run it again."
NO_WORKER = (
    "No worker is running, so nothing can be computed. Start one with `python -m dashboard worker` "
    "(or ask whoever keeps this server), then run again."
)
NEVER_READY = (
    "The model could not be made ready: what does that ends again and again before it begins. Your text is still in the box. "
    "Run again in a moment; if it stays so, whoever keeps this server finds the reason in its log."
)
LONGEST_MESSAGE = 1_000  # characters of what a page shows
LONGEST_DETAILS = 200
R = TypeVar("R", bound="_Record")


@dataclass(frozen=True)
class _Record:
    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls: type[R], raw: object) -> R | None:
        """The record, or None where nothing, or something else, is stored."""
        names = {item.name for item in fields(cls)}
        if not isinstance(raw, dict) or not set(raw) <= names:
            return None
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
        if isinstance(raw.get("progress"), dict):
            values["progress"] = Progress(**raw["progress"])
        try:
            return cls(**values)
        except TypeError:  # a field is missing
            return None


@dataclass(frozen=True)
class JobFailure:
    """Why a job has no result: the sentence for the page, where the server's log has more, the error's class name.

    `retry`: whether running it again may help.
    """

    message: str
    details: str = ""
    kind: str = JobError.__name__
    retry: bool = JobError.retry

    def __post_init__(self) -> None:
        """Keep what a person at a page should read: the beginning of a message, and no path of the server."""
        object.__setattr__(self, "message", _cut(without_paths(self.message), LONGEST_MESSAGE))
        object.__setattr__(self, "details", _cut(without_paths(self.details), LONGEST_DETAILS))

    @classmethod
    def of(cls, error: DashboardError) -> JobFailure:
        """Of an error with a sentence; where that leaves out a path, or there are details, the log has all of it."""
        whole, details = str(error), str(getattr(error, "details", ""))
        more = noted(f"{type(error).__name__}: {whole}", details) if details or without_paths(whole) != whole else ""
        return cls(whole, more, type(error).__name__, error.retry)


def noted(what: str, details: str) -> str:
    """Write details into the log; gives the sentence that says where they are."""
    number = new_number()
    log.error("details %s: %s\n%s", number, what, details.encode("utf-8", "backslashreplace").decode())
    return where_noted(number)


def new_number() -> str:
    """Names an entry of the log, so that a page can say which one it means."""
    return uuid.uuid4().hex[:8]


def where_noted(number: str) -> str:
    """The sentence for a page."""
    return f"The server's log has the details under {number}."


@dataclass(frozen=True)
class JobRecord(_Record):
    """One attempt at a job.

    Attributes:
        key, name: of its `JobSpec`, whose payload is stored apart. attempt: 1, 2 …; a worker's word counts for its own.
        created, started, ended: times. worker: id of the worker that took it.
        subscribers: those who wait for it; it goes on as long as one of them keeps asking.
        cancel_at: when the last of them left.
        result: key of the artifact.
        lane: whose workers do it. needs: the preparation that it waits for (fields of its `JobSpec`), while it does.
        dependents: keys of the jobs that wait for this preparation; it goes on as long as one of them is waited for.
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

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    def stopping(self, now: float) -> bool:
        """Whether a cancel has taken effect."""
        return self.cancel_at is not None and abs(now - self.cancel_at) >= SETTLE_SECONDS


@dataclass(frozen=True)
class Subscription(_Record):
    """One page that waits for one job.

    Attributes:
        job: key of the job. name: its function. renewed: when the page asked last.
        outcome: what it is told, once that is known. delivered: whether it was told.
        owner: the visitor whose page it is; "" where it has no name.
    """

    job: str
    name: str
    renewed: float
    outcome: Outcome | None = None
    delivered: bool = False
    owner: str = ""


@dataclass(frozen=True)
class SupervisorRecord(_Record):
    """One worker service; `beat` is its last sign of life, `idle` whether it ends or has no worker just now."""

    pid: int
    host: str
    beat: float
    idle: bool = False


@dataclass(frozen=True)
class WorkerRecord(_Record):
    """One worker process; `beat` is its last sign of life, `job` and `attempt` what it is doing, `host` where it runs,
    `parent` the process id of its supervisor (0: none), `lane` which jobs it takes."""

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


@dataclass(frozen=True)
class Claim:
    """A job that a worker has taken, and which attempt at it this is."""

    spec: JobSpec
    attempt: int


def done_outcome(name: str, artifact: str, serial: str) -> Outcome:
    """What a page is told of a job that is done: the key of its artifact in the run store."""
    return {"run": artifact, "job": name, "serial": serial}


def error_outcome(failure: JobFailure, serial: str, name: str = "", key: str = "") -> Outcome:
    """What a page is told of a job that has no result; name and key are empty where it failed before it was a job."""
    return {
        "error": failure.message,
        "details": failure.details,
        "kind": failure.kind,
        "cancelled": failure.kind == JobCancelledError.__name__,
        "retry": failure.retry,
        "job": name,
        "key": key,
        "serial": serial,
    }


def cancelled_outcome(name: str, serial: str, key: str) -> Outcome:
    return error_outcome(JobFailure.of(JobCancelledError(CANCELLED)), serial, name, key)


def worker_lost(record: JobRecord) -> JobFailure:
    """The worker that computed this has gone."""
    return JobFailure(
        f"The worker stopped while {_doing(record.progress)}, so this run has no result. Your text is still in the box and "
        "a new worker is starting. Run again; if it stops again, try a shorter text or a smaller model."
    )


def overtime(record: JobRecord, seconds: float) -> JobFailure:
    """It took longer than this server allows."""
    limit = f"{seconds:.0f} seconds" if seconds >= 10 else f"{seconds:g} seconds"
    return JobFailure(
        f"This run was stopped while {_doing(record.progress)}: it took longer than the {limit} that this server allows. "
        "Your text is still in the box. Try a shorter text or a smaller model."
    )


def over_memory(record: JobRecord, gigabytes: float) -> JobFailure:
    """Its worker held more memory than this server allows."""
    return JobFailure(
        f"This run was stopped while {_doing(record.progress)}: its worker needed more than the {gigabytes:g} GB of memory that "
        "this server allows. Your text is still in the box. Try a shorter text or a smaller model."
    )


def _cut(text: str, most: int) -> str:
    """`text` whole where it is short, else its beginning."""
    return text if len(text) <= most else f"{text[:most]} …"


def _doing(progress: Progress | None) -> str:
    if progress is None or progress.phase == "queued":
        return "starting this run"
    doing = {
        "fetch": "fetching the model",
        "load": "loading the model",
        "layers": "computing the layers",
        "predictions": "computing the predictions",
        "save": "saving the run",
    }.get(progress.phase, "computing this run")
    if progress.phase == "layers" and progress.total:
        return f"computing layer {progress.done} of {progress.total}"
    return doing
