"""Why a job has no result: the sentences that a page is told, and what the server's log has more."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from dashboard.errors import DashboardError, JobError, without_paths

log = logging.getLogger(__name__)
LONGEST_MESSAGE = 1_000  # characters of what a page shows
LONGEST_DETAILS = 200
CANCELLED = "The run was cancelled. The text is still in the box."
RESULT_CANCELLED = "The computation was cancelled."
FORGOTTEN = "The server no longer knows this run. Run it again."
RESULT_FORGOTTEN = "The server no longer knows this result. Try again."
NO_WORKER = (
    "No worker is running, so nothing can be computed. Start one with `python -m dashboard worker` "
    "(or ask whoever keeps this server), then run again."
)
NO_WORKER_FOR_RESULT = (
    "No worker is running, so nothing can be computed. Start one with `python -m dashboard worker` "
    "(or ask whoever keeps this server), then try again."
)
NEVER_READY = (
    "The model could not be made ready: what does that ends again and again before it begins. Nothing is lost. "
    "Try again in a moment; if it stays so, whoever keeps this server finds the reason in its log."
)


def is_result(name: str) -> bool:
    """Whether a job's function computes a result of a run that is shown already: then nothing was typed."""
    return name == "derive"


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


def _cut(text: str, most: int) -> str:
    """`text` whole where it is short, else its beginning."""
    return text if len(text) <= most else f"{text[:most]} …"
