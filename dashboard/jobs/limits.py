"""How much may wait in the queue, for one visitor and for all."""

from __future__ import annotations

from dashboard.errors import QueueFullError
from dashboard.jobs.board import Board
from dashboard.settings import Settings

VISITORS_SHARE = 0.25  # of the bytes that may wait, for one visitor


def check_room(board: Board, settings: Settings, key: str, owner: str, size: int) -> None:
    """Raise `QueueFullError` where one more job would be more than waits for one visitor, or for all.

    Args:
        key, size: of the job that comes. owner: the visitor who asks; "" has no limit of their own.
    """
    most = settings.queue_megabytes * 1e6
    mine, others = board.of(owner), [job for job in board.waiting if job.key != key and not job.left]
    if owner and len(mine) >= settings.visitor_runs:
        raise QueueFullError(
            f"{len(mine):,} of your runs are waiting already, and this server keeps no more for one person. Your text is still "
            "in the box. Wait until one is done, or cancel one in another tab; then run again."
        )
    if owner and mine and sum(job.size for job in mine) + size > most * VISITORS_SHARE:
        raise QueueFullError(
            "The texts of your waiting runs are as long as this server keeps for one person. Your text is still in the box. "
            "Wait until one is done, or cancel one in another tab; then run again."
        )
    if len(others) >= settings.queue_runs or (others and sum(job.size for job in others) + size > most):
        raise QueueFullError(
            f"{len(others):,} runs are waiting on this server, which is as much as it keeps. Your text is still in the box. "
            "Run again in a few minutes."
        )
