"""The ledger: how the queue's records lie in the cache.

    board                    keys of the jobs that wait, first come first, and of those that run
    job:KEY                  a `JobRecord`            payload:KEY    its function's arguments, which may be long
    subscription:ID          a `Subscription`

Ended jobs, and what pages were told, are forgotten after an hour.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from dashboard.jobs.cache import HealingCache
from dashboard.jobs.records import JobRecord, Subscription

KEPT_SECONDS = 3600.0


@dataclass(frozen=True)
class Board:
    """Keys of the jobs that wait, first come first, and of those that run."""

    queued: tuple[str, ...] = ()
    running: tuple[str, ...] = ()


class Ledger:
    """Reads and writes records; whoever does several of these at once does them inside `change`."""

    def __init__(self, cache: HealingCache) -> None:
        self._cache = cache

    def change(self) -> AbstractContextManager[None]:
        """One transaction: nobody else writes meanwhile, and all of it happens or nothing."""
        return self._cache.transact(retry=True)

    def job(self, key: str) -> JobRecord | None:
        return JobRecord.from_json(self._cache.get(f"job:{key}"))

    def put_job(self, record: JobRecord) -> None:
        expire = None if record.active else KEPT_SECONDS
        self._cache.set(f"job:{record.key}", record.to_json(), expire=expire, retry=True)
        if expire is not None:
            self._cache.touch(f"payload:{record.key}", expire=expire, retry=True)

    def payload(self, key: str) -> dict[str, Any] | None:
        raw = self._cache.get(f"payload:{key}")
        return raw if isinstance(raw, dict) else None

    def put_payload(self, key: str, payload: dict[str, Any]) -> None:
        self._cache.set(f"payload:{key}", payload, retry=True)

    def subscription(self, subscriber: str) -> Subscription | None:
        return Subscription.from_json(self._cache.get(f"subscription:{subscriber}"))

    def put_subscription(self, subscriber: str, value: Subscription) -> None:
        self._cache.set(f"subscription:{subscriber}", value.to_json(), expire=KEPT_SECONDS, retry=True)

    def board(self) -> Board:
        raw = self._cache.get("board")
        return Board(tuple(raw["queued"]), tuple(raw["running"])) if isinstance(raw, dict) else Board()

    def move(self, key: str, to: Literal["first", "last", "running"] | None) -> None:
        """Put a job at the queue's front or back, among the running, or take it off the board."""
        board = self.board()
        queued = [other for other in board.queued if other != key]
        running = [other for other in board.running if other != key]
        queued = [key, *queued] if to == "first" else [*queued, key] if to == "last" else queued
        running = [*running, key] if to == "running" else running
        self._cache.set("board", {"queued": queued, "running": running}, retry=True)
