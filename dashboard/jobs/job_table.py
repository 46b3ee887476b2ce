"""The job table: how the cache stores the queue's records.

    board, board:prepare     a `Board` for each lane: the jobs that wait, whose turn it is, and the jobs that run
    job:KEY                  a `JobRecord`            payload:KEY    its function's arguments, which may be long
    lapsed                   keys and sizes of payloads whose page went silent and may come back
    subscription:ID          a `Subscription`         watch:ID       a `WatchRecord`

A payload is deleted when its job ends. Ended jobs and outcomes are forgotten after half an hour, sooner if the
records take more than `MOST_RECORD_BYTES`.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

from dashboard.contracts.job import Lane
from dashboard.jobs.board import Board
from dashboard.jobs.cache import HealingCache
from dashboard.jobs.records import JobRecord, Subscription, WatchRecord

KEPT_SECONDS = 3600.0  # for an open subscription: renewed as long as its page asks
TOLD_SECONDS = 1800.0  # for ended jobs, and outcomes not yet delivered
DELIVERED_SECONDS = 600.0  # for delivered outcomes: only a reply that was lost on the way is requested again
MOST_RECORD_BYTES = 32_000_000  # of the database, besides the payloads of waiting jobs
MOST_LAPSED_BYTES = 4_000_000
BOARDS: dict[Lane, str] = {"compute": "board", "prepare": "board:prepare"}


class JobTable:
    """Reads and writes records; callers that do several of these as one step do so inside `change`."""

    def __init__(self, cache: HealingCache) -> None:
        self._cache = cache

    def change(self) -> AbstractContextManager[None]:
        """Open one transaction: nobody else writes meanwhile, and all of it happens or nothing."""
        return self._cache.transact(retry=True)

    def job(self, key: str) -> JobRecord | None:
        return JobRecord.from_json(self._cache.get(f"job:{key}"))

    def put_job(self, record: JobRecord) -> None:
        expire = None if record.active else TOLD_SECONDS
        self._cache.set(f"job:{record.key}", record.to_json(), expire=expire, retry=True)

    def payload(self, key: str) -> dict[str, Any] | None:
        raw = self._cache.get(f"payload:{key}")
        return raw if isinstance(raw, dict) else None

    def put_payload(self, key: str, payload: dict[str, Any]) -> None:
        self._cache.set(f"payload:{key}", payload, retry=True)

    def keep_payload(self, key: str) -> None:
        """Keep the payload of a job that begins again until it ends."""
        self._cache.touch(f"payload:{key}", expire=None, retry=True)
        self._put_lapsed([entry for entry in self._lapsed() if entry[0] != key])

    def drop_payload(self, key: str) -> None:
        self._cache.delete(f"payload:{key}", retry=True)

    def lapse_payload(self, key: str, size: int) -> None:
        """Keep the payload of a job whose pages went silent, as long as there is room, in case one comes back."""
        entries = [*(entry for entry in self._lapsed() if entry[0] != key), (key, size)]
        while sum(size for _key, size in entries) > MOST_LAPSED_BYTES:
            self.drop_payload(entries.pop(0)[0])
        if any(kept == key for kept, _size in entries):
            self._cache.touch(f"payload:{key}", expire=KEPT_SECONDS, retry=True)
        self._put_lapsed(entries)

    def subscription(self, subscriber: str) -> Subscription | None:
        return Subscription.from_json(self._cache.get(f"subscription:{subscriber}"))

    def put_subscription(self, subscriber: str, value: Subscription) -> None:
        expire = DELIVERED_SECONDS if value.delivered else KEPT_SECONDS if value.outcome is None else TOLD_SECONDS
        self._cache.set(f"subscription:{subscriber}", value.to_json(), expire=expire, retry=True)

    def watch(self, watcher: str) -> WatchRecord | None:
        return WatchRecord.from_json(self._cache.get(f"watch:{watcher}"))

    def put_watch(self, watcher: str, value: WatchRecord) -> None:
        self._cache.set(f"watch:{watcher}", value.to_json(), expire=KEPT_SECONDS, retry=True)

    def board(self, lane: Lane = "compute") -> Board:
        return Board.from_json(self._cache.get(BOARDS[lane]))

    def put_board(self, board: Board, lane: Lane = "compute") -> None:
        self._cache.set(BOARDS[lane], board.to_json(), retry=True)

    def shed(self) -> None:
        """Forget delivered outcomes early, the oldest first, if the records take too much room."""
        payloads = sum(job.size for job in self.board().waiting) + MOST_LAPSED_BYTES
        for share in (0.25, 0.5, 0.75, 1.0):
            if self._cache.volume() <= MOST_RECORD_BYTES + payloads:
                return
            self._cache.expire(now=time.time() + share * TOLD_SECONDS + 1, retry=True)

    def _lapsed(self) -> list[tuple[str, int]]:
        raw = self._cache.get("lapsed")
        return [(str(key), int(size)) for key, size in raw] if isinstance(raw, list) else []

    def _put_lapsed(self, entries: list[tuple[str, int]]) -> None:
        if entries != self._lapsed():
            self._cache.set("lapsed", [list(entry) for entry in entries], retry=True)
