"""The store's errors for what it cannot provide or keep."""

from __future__ import annotations

import logging

from dashboard.contracts.request import is_run_key
from dashboard.errors import DashboardError, RunNotFoundError, TooLargeError, UnreadableRunError

log = logging.getLogger(__name__)
ASK_KEEPER = "Check the server's log to see which file (or ask whoever runs this server)."
FULL_FOR_RUN = (
    "The disk that holds the saved runs is full, so this run could not be kept. "
    "Free some space, or lower DASHBOARD_STORE_GIGABYTES, and run again."
)
FULL_FOR_RESULT = (
    "The disk that holds the saved runs is full, so this result could not be kept. "
    "Free some space, or lower DASHBOARD_STORE_GIGABYTES, and try again."
)
MISSING = "This server no longer has that run. Run its text again."


def full_disk(name: str) -> DashboardError:
    """Return the error for a run, or a derived result, that does not fit on the disk."""
    return DashboardError(FULL_FOR_RUN if is_run_key(name) else FULL_FOR_RESULT)


def too_large(size: int, most: int) -> TooLargeError:
    """Return the error for a result of `size` bytes, if all results of a run may take `most`."""
    return TooLargeError(
        f"This result takes {size / 1e6:,.1f} MB, and this server keeps {most / 1e6:,.1f} MB of results for one run. "
        f"Run a "
        "shorter text, or ask whoever runs this server to raise DASHBOARD_RESULTS_MEGABYTES."
    )


def missing(error: OSError) -> RunNotFoundError:
    """Explain an error about a run's file: it does not exist, or the machine does not let it be read."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return RunNotFoundError(MISSING)
    log.error("a saved run cannot be read", exc_info=error)
    return UnreadableRunError(f"This run's file exists but cannot be read ({error.strerror}). {ASK_KEEPER}")
