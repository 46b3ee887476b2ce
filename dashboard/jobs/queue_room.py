"""Limits on what may wait in the queue, for one visitor and for all.

Two other settings limit a job: `Settings.job_seconds`, its computing time (dashboard/jobs/verdicts.py ends it), and
`Settings.worker_gigabytes`, its memory (dashboard/jobs/supervisor.py).
"""

from __future__ import annotations

from dashboard.contracts.job import JobSpec
from dashboard.errors import QueueFullError
from dashboard.jobs.board import Board, counted
from dashboard.jobs.failure import is_result
from dashboard.settings import Settings

VISITORS_SHARE = 0.25  # of the bytes that may wait, for a single visitor


def check_room(board: Board, settings: Settings, spec: JobSpec, owner: str, size: int) -> None:
    """Raise `QueueFullError` if one more job would exceed what may wait for one visitor, or for all.

    Args:
        spec, size: of the new job. owner: the visitor who asks; "" has no limit of its own.
    """
    most = settings.queue_megabytes * 1e6
    mine, others = board.of(owner), [job for job in board.waiting if job.key != spec.key and not job.left]
    then = "try again." if is_result(spec.name) else "run again. Your text is still in the box."
    if owner and len(mine) >= settings.visitor_runs:
        waiting, verb = _of_yours(counted([job.rank for job in mine])), "is" if len(mine) == 1 else "are"
        raise QueueFullError(
            f"{waiting} {verb} waiting already, and this server accepts no more from one person. "
            f"Wait until one is done, or cancel one in another tab; then {then}"
        )
    if owner and mine and sum(job.size for job in mine) + size > most * VISITORS_SHARE:
        raise QueueFullError(
            "Your waiting runs already hold as much text as this server accepts from one person. "
            f"Wait until one is done, or cancel one in another tab; then {then}"
        )
    if len(others) >= settings.queue_runs or (others and sum(job.size for job in others) + size > most):
        waiting, verb = counted([job.rank for job in others]), "is" if len(others) == 1 else "are"
        raise QueueFullError(
            f"{waiting} {verb} waiting on this server, and it accepts no more. Wait a few minutes, then {then}"
        )


def _of_yours(counted_jobs: str) -> str:
    """Say "3 runs" as "3 of your runs", "1 run" as "1 of your runs"."""
    number, _, what = counted_jobs.partition(" ")
    return f"{number} of your {what if what.endswith('s') else what + 's'}"
