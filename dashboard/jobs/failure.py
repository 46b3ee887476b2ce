"""Why a job has no result: the messages for the page, and the longer details in the server's log."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from dashboard.errors import DashboardError, JobError, without_paths

log = logging.getLogger(__name__)
LONGEST_MESSAGE = 1_000  # characters that a page shows
LONGEST_DETAILS = 200
CANCELLED = "The run was cancelled. The text is still in the box."
RESULT_CANCELLED = "The computation was cancelled."
FORGOTTEN = "The server no longer knows this run. Run it again."
RESULT_FORGOTTEN = "The server no longer knows this result. Try again."
NO_WORKER = (
    "No worker is running, so nothing can be computed. Start one with `python -m dashboard worker` "
    "(or ask whoever runs this server), then run again."
)
NO_WORKER_FOR_RESULT = (
    "No worker is running, so nothing can be computed. Start one with `python -m dashboard worker` "
    "(or ask whoever runs this server), then try again."
)
NEVER_READY = (
    "The model could not be prepared: the process that prepares it keeps ending before it starts. Nothing is lost. "
    "Try again in a moment; if it fails again, the server's log has the reason."
)


def is_result(name: str) -> bool:
    """Whether a job's function computes a result of a run that is already shown, so that the person typed nothing."""
    return name == "derive"


@dataclass(frozen=True)
class JobFailure:
    """Why a job has no result: the message for the page, where the server's log has more, the error's class name.

    `retry`: whether running it again may help.
    """

    message: str
    details: str = ""
    kind: str = JobError.__name__
    retry: bool = JobError.retry

    def __post_init__(self) -> None:
        """Keep only what a person at a page should read: the beginning of a message, and no path on the server."""
        object.__setattr__(self, "message", _cut(without_paths(self.message), LONGEST_MESSAGE))
        object.__setattr__(self, "details", _cut(without_paths(self.details), LONGEST_DETAILS))

    @classmethod
    def of(cls, error: DashboardError) -> JobFailure:
        """Make the failure for an error with a message; if it omits a path, or has details, the log has it all."""
        whole, details = str(error), str(getattr(error, "details", ""))
        more = noted(f"{type(error).__name__}: {whole}", details) if details or without_paths(whole) != whole else ""
        return cls(whole, more, type(error).__name__, error.retry)


def noted(what: str, details: str) -> str:
    """Write details into the log; return the sentence that says where they are."""
    number = new_number()
    log.error("details %s: %s\n%s", number, what, details.encode("utf-8", "backslashreplace").decode())
    return where_noted(number)


def new_number() -> str:
    """Return a number for a log entry, so that a page can say which one it means."""
    return uuid.uuid4().hex[:8]


def where_noted(number: str) -> str:
    """Return the sentence that tells a page where the details are."""
    return f"The server's log has the details under {number}."


def _cut(text: str, most: int) -> str:
    """Return `text` whole if it is short, else its beginning."""
    return text if len(text) <= most else f"{text[:most]} …"
