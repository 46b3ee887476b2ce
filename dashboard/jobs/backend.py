"""`JobBackend`: all that the rest of the program knows of how jobs are done; and the values that it gives.

    submit ─► Underway … Underway ─► Done | Failed        asked for one job: poll, progress, cancel
    watch  ─► {key: Underway | Done | Failed, …}          asked for a set of jobs, which may change: watched

Whoever waits has a name, the *subscriber*, new for each question. A job has one too, its spec's key, and that is what
is shared: who asks for a key that is under way waits for the job that is there (single flight), and everyone who waits
is told the same. A job goes on as long as somebody wants it. To want it is a *lease* of `Settings.lease_seconds`, which
`poll` and `watched` renew: whoever no longer asks (a closed tab) wants nothing a few seconds later, and a job that
nobody wants stops. Who comes back after that and polls wants it again, and it begins again. What a job came to is kept
for whoever waited: half an hour until they ask, ten minutes after they were told. Asking does not use it up.

An outcome is no artifact. That lies in the run store under the job's key; who wants a job looks there first, and
submits what is not there. A failure is kept for those who waited and for nobody else: who submits the key later begins
the job again.

The web processes call this, from any thread and any process: who submits and who polls need not be the same one.
Nothing here waits for a job; `InProcessBackend` alone computes it in `submit` and `watch`. The workers' side (take,
report, finish) is each backend's own. Every method but `health` and `close` raises `StorageError` where the backend
cannot be read or written (a full disk, say): then nothing was changed, and the sentence is for the page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol

from dashboard.contracts.job import JobSpec, Progress
from dashboard.errors import BadRequestError, DashboardError, JobCancelledError
from dashboard.jobs.failure import JobFailure

MOST_WATCHED = 64  # jobs of one set
NOTHING: Mapping[str, Any] = MappingProxyType({})
# of a subscriber: its outcome is open, known, known and polled
Standing = Literal["unknown", "waiting", "known", "told"]


@dataclass(frozen=True)
class Underway:
    """A job that is not at its end.

    Attributes:
        at: where it is, or where the preparation is that it waits for; of phase "queued" while it has not begun.
        seconds: since it began, or since it was asked for.
        ahead: how many jobs come before it, while it is queued; else None.
    """

    at: Progress
    seconds: float = 0.0
    ahead: int | None = None

    def to_json(self) -> dict[str, Any]:
        """{"phase", "done", "total", "message", "seconds"} and, while it is queued, "ahead"."""
        return {**asdict(self.at), "seconds": self.seconds, **({} if self.ahead is None else {"ahead": self.ahead})}


@dataclass(frozen=True)
class Done:
    """A job that has a result: its function's name, and the key of its artifact in the run store."""

    job: str
    artifact: str

    def to_json(self, serial: str) -> dict[str, Any]:
        """{"run", "job", "serial"}; the serial makes the same outcome for two subscribers two values."""
        return {"run": self.artifact, "job": self.job, "serial": serial}


@dataclass(frozen=True)
class Failed:
    """A job that has no result, or a question that was refused before it was a job: then `job` and `key` may be
    empty."""

    failure: JobFailure
    job: str = ""
    key: str = ""

    @classmethod
    def of(cls, error: DashboardError, job: str = "", key: str = "") -> Failed:
        """For an error with a sentence."""
        return cls(JobFailure.of(error), job, key)

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled by whoever is told so, which is no error."""
        return self.failure.kind == JobCancelledError.__name__

    def to_json(self, serial: str) -> dict[str, Any]:
        """{"error", "details", "kind", "cancelled", "retry", "job", "key", "serial"}."""
        why = self.failure
        return {
            "error": why.message,
            "details": why.details,
            "kind": why.kind,
            "cancelled": self.cancelled,
            "retry": why.retry,
            "job": self.job,
            "key": self.key,
            "serial": serial,
        }


@dataclass(frozen=True)
class Unasked:
    """Nothing was asked for, so there is nothing to tell."""

    def to_json(self, serial: str) -> dict[str, Any]:
        return {"unasked": True, "serial": serial}


Outcome = Done | Failed | Unasked
State = Underway | Outcome
Watched = Mapping[str, State]  # by key of the spec that was asked for


def outcome_from_json(raw: Mapping[str, Any]) -> Outcome:
    """What an outcome's `to_json` wrote."""
    if "run" in raw:
        return Done(str(raw["job"]), str(raw["run"]))
    if "error" in raw:
        failure = JobFailure(raw["error"], raw["details"], raw["kind"], raw["retry"])
        return Failed(failure, raw["job"], raw["key"])
    return Unasked()


@dataclass(frozen=True)
class Health:
    """The workers in one word, for /health and for the page.

    Attributes:
        worker: "ready", "busy", "starting" or "none". models: which are loaded. queue: how many jobs wait.
        message: what a worker says of itself, or why there is none.
    """

    worker: str
    models: tuple[str, ...] = ()
    queue: int = 0
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"worker": self.worker, "models": list(self.models), "queue": self.queue, "message": self.message}


def watched_as(watcher: str, key: str) -> str:
    """The subscriber in whose name a watcher waits for one job of its set: `cancel` takes it, and so does `poll`."""
    return f"{watcher}/{key}"


def wanted(specs: Iterable[JobSpec]) -> dict[str, JobSpec]:
    """A set of jobs by their keys; raises `BadRequestError` where it is too large for a watch."""
    found = {spec.key: spec for spec in specs}
    if len(found) > MOST_WATCHED:
        raise BadRequestError(
            f"One page may want {MOST_WATCHED} results at a time, and not {len(found)}. Close some of them."
        )
    return found


class JobBackend(Protocol):
    """See the module's text for what holds of all methods."""

    # ---- one job
    # ---------------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, subscriber: str, owner: str = "") -> None:
        """Wait for a job, which begins unless it is under way, after the preparation that it needs.

        Args:
            subscriber: a new name for this question. owner: the visitor who asks; visitors take turns and have limits
                of their own, "" has no name and only the limits of all.

        Raises:
            QueueFullError: this visitor, or all of them, have as much waiting as the settings allow. The subscriber is
                not known then: whoever is to be told by `poll` is told through `deliver`.
        """

    def deliver(self, subscriber: str, outcome: Outcome) -> None:
        """Tell a subscriber at once, without any job: `poll` gives this outcome, in every web process."""

    def poll(self, subscriber: str) -> Outcome | None:
        """What the subscriber's job came to; None while that is open. Renews the lease.

        An unknown subscriber gets a failure that says so. Where the backend cannot be written, the answer is None as
        long as the lease lasts, and then a failure for now: the job may still end well.
        """

    def progress(self, subscriber: str) -> Underway | None:
        """Where the job is; None where the outcome is known, or the subscriber is not. Renews nothing."""

    def standing(self, subscriber: str) -> Standing:
        """Whether the outcome is open, known, or known and polled. Renews nothing, and is cheap."""

    def cancel(self, subscriber: str) -> None:
        """The subscriber does not want its job any more, and is told that it was cancelled; the job goes on for others.

        A job that nobody wants takes notice a tenth of a second later: who submits it again within that time keeps it,
        with all that it has done. After an outcome, or for an unknown subscriber, nothing happens.
        """

    # ---- a set of jobs
    # ---------------------------------------------------------------------------------------------------

    def watch(
        self,
        watcher: str,
        specs: Iterable[JobSpec],
        owner: str = "",
        again: Collection[str] = (),
        turn: int = 0,
        refused: Mapping[str, Failed] = NOTHING,
    ) -> Watched:
        """Want exactly these jobs, in place of those that this watcher wanted before; gives the state of each by its
        key.

        What stays in the set goes on untouched, with its progress or its outcome. What is new to it is submitted. What
        has left it is wanted by this watcher no longer: it stops unless others want it, and what it came to is
        forgotten. All of that happens or, with `StorageError`, nothing.

        A job that cannot be queued, has failed or was cancelled (`cancel(watched_as(watcher, key))`) says so in its
        state and holds up no other. It is tried again where `again` names it, or when it comes back into the set.

        Args:
            watcher: names the page, the same whenever its set changes; two pages have two names.
            again: keys of the set that are submitted again, unless they are under way.
            turn: which of its sets this is, for a watcher that counts them: requests overtake one another on their way
                through threads and processes. One that is older than the set that is known changes nothing, and gives
                that one's states.
            refused: what belongs to the set and was refused before it was a job, by key: that is its state.

        Raises:
            BadRequestError: more than `MOST_WATCHED` jobs.
        """

    def watched(self, watcher: str) -> Watched | None:
        """The states of the jobs that a watcher wants, and a sign that it still does: all leases are renewed.

        None for a watcher that is not known, or that was forgotten with the backend's records: it watches again.
        """

    # ---- the server
    # ------------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        """How the workers are."""

    def close(self) -> None:
        """Let go of what this thread holds open."""
