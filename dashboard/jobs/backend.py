"""`JobBackend`: all that the rest of the program knows of how jobs are done; and the values that it returns.

    submit ─► Underway … Underway ─► Done | Failed        one job: poll, progress, cancel
    watch  ─► {key: Underway | Done | Failed, …}          a set of jobs, which may change: watched

Each question comes from a *subscriber*, a name that is new for each question. A job has a name too, its spec's key, and
the job is what subscribers share: a request for a key that is under way waits for the existing job (single flight), and
every subscriber gets the same outcome. A job goes on as long as somebody wants it. Wanting it means holding a *lease*
of `Settings.lease_seconds`, which `poll` and `watched` renew: a subscriber that stops asking (a closed tab) wants
nothing a few seconds later, and a job that nobody wants stops. A subscriber that polls again after that wants the job
again, and it starts over. Outcomes are kept for their subscribers: half an hour until they ask, ten minutes after they
were told. Asking does not use an outcome up.

An outcome is not an artifact. Artifacts are in the run store under the job's key; callers look there first, and submit
only what is missing. A failure is kept for its subscribers and for nobody else: a later submit of the key starts the
job again.

The web processes call this from any thread and any process: submit and poll need not come from the same one. No method
here waits for a job; only `InProcessBackend` computes it within `submit` and `watch`. The workers' side (take, report,
finish) is each backend's own. Every method except `health` and `close` raises `StorageError` if the backend cannot be
read or written (a full disk, say): then nothing has changed, and the message is for the page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol

from dashboard.contracts.job import JobSpec, Progress
from dashboard.errors import BadRequestError, DashboardError, JobCancelledError
from dashboard.jobs.failure import JobFailure

MOST_WATCHED = 64  # jobs in one set
NOTHING: Mapping[str, Any] = MappingProxyType({})
# a subscriber is unknown, or its outcome is open, known, or known and polled
Standing = Literal["unknown", "waiting", "known", "told"]


@dataclass(frozen=True)
class Underway:
    """A job that has not ended.

    Attributes:
        at: its progress, or that of the preparation it waits for; phase "queued" until it begins.
        seconds: since it began, or since it was requested.
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
    """A job with a result: its function's name, and the key of its artifact in the run store."""

    job: str
    artifact: str

    def to_json(self, serial: str) -> dict[str, Any]:
        """{"run", "job", "serial"}; the serial makes the same outcome differ between two subscribers."""
        return {"run": self.artifact, "job": self.job, "serial": serial}


@dataclass(frozen=True)
class Failed:
    """A job without a result, or a request refused before it became a job: then `job` and `key` may be empty."""

    failure: JobFailure
    job: str = ""
    key: str = ""

    @classmethod
    def of(cls, error: DashboardError, job: str = "", key: str = "") -> Failed:
        """Make the outcome for an error with a message."""
        return cls(JobFailure.of(error), job, key)

    @property
    def cancelled(self) -> bool:
        """Whether the subscriber itself cancelled the job, which is not an error."""
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
    """Nothing was requested, so there is nothing to report."""

    def to_json(self, serial: str) -> dict[str, Any]:
        return {"unasked": True, "serial": serial}


Outcome = Done | Failed | Unasked
State = Underway | Outcome
Watched = Mapping[str, State]  # by key of the requested spec


def outcome_from_json(raw: Mapping[str, Any]) -> Outcome:
    """Parse an outcome that `to_json` wrote."""
    if "run" in raw:
        return Done(str(raw["job"]), str(raw["run"]))
    if "error" in raw:
        failure = JobFailure(raw["error"], raw["details"], raw["kind"], raw["retry"])
        return Failed(failure, raw["job"], raw["key"])
    return Unasked()


@dataclass(frozen=True)
class Health:
    """The state of the workers in one word, for /health and for the page.

    Attributes:
        worker: "ready", "busy", "starting" or "none". models: which are loaded. queue: how many jobs wait.
        message: what a worker reports about itself, or why there is none. devices: what models are computed on, if that
            is not the CPU.
    """

    worker: str
    models: tuple[str, ...] = ()
    queue: int = 0
    message: str = ""
    devices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        said = {"worker": self.worker, "models": list(self.models), "queue": self.queue, "message": self.message}
        return said | ({"devices": list(self.devices)} if self.devices else {})


def watched_as(watcher: str, key: str) -> str:
    """Return the subscriber in whose name a watcher waits for one job of its set: `cancel` and `poll` accept it."""
    return f"{watcher}/{key}"


def wanted(specs: Iterable[JobSpec]) -> dict[str, JobSpec]:
    """Return a set of jobs by their keys; raise `BadRequestError` if it is too large for a watch."""
    found = {spec.key: spec for spec in specs}
    if len(found) > MOST_WATCHED:
        raise BadRequestError(
            f"A page may request {MOST_WATCHED} results at a time, not {len(found)}. Close some tabs."
        )
    return found


class JobBackend(Protocol):
    """See the module docstring for what holds for all methods."""

    # ---- one job -----------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, subscriber: str, owner: str = "") -> None:
        """Wait for a job, starting it unless it is under way, after the preparation that it needs.

        Args:
            subscriber: a new name for this question. owner: the visitor who asks; visitors take turns and have limits
                of their own; "" has no name and only the limits of all.

        Raises:
            QueueFullError: this visitor, or all together, have as much waiting as the settings allow. The subscriber is
                then unknown: use `deliver` so that its `poll` gets the refusal.
        """

    def deliver(self, subscriber: str, outcome: Outcome) -> None:
        """Give a subscriber an outcome at once, without a job: `poll` returns it, in every web process."""

    def poll(self, subscriber: str) -> Outcome | None:
        """Return the outcome of the subscriber's job; None while that is open. Renews the lease.

        An unknown subscriber gets a failure that says so. If the backend cannot be written, the answer is None as long
        as the lease lasts, and then a provisional failure: the job may still succeed.
        """

    def progress(self, subscriber: str) -> Underway | None:
        """Return the job's progress; None if the outcome is known, or the subscriber unknown. Renews nothing."""

    def standing(self, subscriber: str) -> Standing:
        """Return whether the outcome is open, known, or known and polled. Renews nothing, and is cheap."""

    def cancel(self, subscriber: str) -> None:
        """End the subscriber's wait, with a cancellation as its outcome; the job goes on for others.

        A job that nobody wants stops a tenth of a second later: submitting it again within that time keeps it, with all
        its work so far. After an outcome, or for an unknown subscriber, nothing happens.
        """

    # ---- a set of jobs -----------------------------------------------------------------------------------------------

    def watch(
        self,
        watcher: str,
        specs: Iterable[JobSpec],
        owner: str = "",
        again: Collection[str] = (),
        turn: int = 0,
        refused: Mapping[str, Failed] = NOTHING,
    ) -> Watched:
        """Want exactly these jobs, instead of this watcher's previous ones; return the state of each by its key.

        Jobs that stay in the set go on untouched, with their progress or outcome. New ones are submitted. Those that
        have left the set are no longer wanted by this watcher: they stop unless others want them, and their outcomes
        are forgotten. All of that happens or, with `StorageError`, nothing.

        A job that cannot be queued, has failed or was cancelled (`cancel(watched_as(watcher, key))`) says so in its
        state and delays no other. It is tried again if `again` names it, or when it comes back into the set.

        Args:
            watcher: names the page, unchanged when its set changes; two pages have two names.
            again: keys in the set to submit again, unless they are under way.
            turn: number of this set, for a watcher that counts them, because requests overtake one another on their way
                through threads and processes. A set older than the known one changes nothing, and returns the known
                one's states.
            refused: members of the set that were refused before they became jobs, by key: that is their state.

        Raises:
            BadRequestError: more than `MOST_WATCHED` jobs.
        """

    def watched(self, watcher: str) -> Watched | None:
        """Return the states of the jobs that a watcher wants, and renew all their leases.

        None for a watcher that is unknown, or was forgotten with the backend's records: it must watch again.
        """

    # ---- the server --------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        """Return the state of the workers."""

    def close(self) -> None:
        """Release what this thread holds open."""
