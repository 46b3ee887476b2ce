"""The counting process as its parent handles it: started on demand, given little time, killed and restarted.

No torch.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachetools import FIFOCache

from dashboard.catalog.ids_beyond import Beyond
from dashboard.catalog.limited_process import LimitedProcess

log = logging.getLogger(__name__)
COUNT_SECONDS = 5.0  # for one count, including starting the process and loading the tokenizer
WAITERS = 2  # threads that may wait for a count at once; any more get no count
FIRST_PAUSE = 60.0  # seconds before a tokenizer that took too long is tried again; doubles each time
LONGEST_PAUSE = 3_600.0
SHORT_PAUSE = 5.0  # for a tokenizer that fails on a text, or cannot be loaded
MOST_FAILURES = 256  # tokenizers whose failures are remembered
IDLE_SECONDS = 600.0  # without a question, after which the process ends


@dataclass(frozen=True)
class Count:
    """How many tokens a text has (None if counting took too long), the first of them that the model lacks, and in one
    text a typed separator (`typed_separator`). `typed`: a chat message could not be rendered here, so the count is that
    of the typed text alone."""

    tokens: int | None = None
    beyond: Beyond | None = None
    separator: str | None = None
    typed: bool = False


@dataclass
class _Question:
    """One count that a thread waits for, until `given_up`; `rows` as in `CountingProcess.counted`."""

    path: str
    stamp: int
    text: str
    pair: str | None
    done: threading.Event = field(default_factory=threading.Event)
    rows: int = 0
    chat: bool = False
    given_up: bool = False
    found: Count = field(default_factory=Count)


@dataclass(frozen=True)
class _Pause:
    """Until when (monotonic) a tokenizer is not tried again, and how long that pause is."""

    until: float
    seconds: float


class CountingProcess(LimitedProcess):
    """One process that counts, and one thread that talks to it. Thread-safe; no caller has to wait long."""

    def __init__(self) -> None:
        super().__init__()
        self._questions: queue.SimpleQueue[_Question] = queue.SimpleQueue()
        self._waiters = threading.BoundedSemaphore(WAITERS)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pauses: FIFOCache[tuple[str, int], _Pause] = FIFOCache(MOST_FAILURES)

    def count(self, path: Path, stamp: int, text: str, pair: str | None, patience: float) -> int | None:
        """Return the number of tokens; None if the answer takes more than `patience` seconds."""
        return self.counted(path, stamp, text, pair, patience).tokens

    def counted(
        self,
        path: Path,
        stamp: int,
        text: str,
        pair: str | None,
        patience: float,
        rows: int = 0,
        chat: bool = False,
    ) -> Count:
        """Like `count`, with the first token whose id is not below `rows`, the number of embeddings (0 if unknown).

        Args:
            chat: count the text rendered in the chat template beside the tokenizer.
        """
        with self._lock:
            pause = self._pauses.get((str(path), stamp))
        if (pause is not None and time.monotonic() < pause.until) or not self._waiters.acquire(blocking=False):
            return Count()
        try:
            question = _Question(str(path), stamp, text, pair, rows=rows, chat=chat)
            with self._lock:
                self._questions.put(question)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._answer, name="counting", daemon=True)
                    self._thread.start()
            question.done.wait(patience)
            question.given_up = True
            return question.found
        finally:
            self._waiters.release()

    def _answer(self) -> None:
        """Answer questions one after the other; stop, and end the process, after a while without any."""
        while True:
            try:
                question = self._questions.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if not self._questions.empty():
                        continue
                    self._thread = None
                self._end()
                return
            try:
                if not question.given_up:
                    self._take(question)
            except Exception:
                log.exception("tokens cannot be counted")
            question.done.set()

    def _take(self, question: _Question) -> None:
        try:
            reply = self._ask(question)
        except (OSError, ValueError) as error:  # it took too long, ended, or sent a bad answer
            log.warning("the tokenizer %s took too long or too much: %r", question.path, error)
            self._end()
            before = self._pauses.get((question.path, question.stamp))
            self._pause(question, min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * before.seconds)) if before else FIRST_PAUSE)
            return
        if isinstance(reply.get("tokens"), int):
            beyond = reply.get("beyond")
            found = Beyond(*beyond) if beyond else None
            question.found = Count(reply["tokens"], found, reply.get("separator"), bool(reply.get("typed")))
            with self._lock:
                self._pauses.pop((question.path, question.stamp), None)
        else:
            log.info("the tokenizer %s cannot count: %s", question.path, reply.get("error"))
            self._pause(question, SHORT_PAUSE)

    def _pause(self, question: _Question, seconds: float) -> None:
        with self._lock:
            self._pauses[question.path, question.stamp] = _Pause(time.monotonic() + seconds, seconds)

    def _ask(self, question: _Question) -> dict[str, Any]:
        """Return the process's answer; raises as `_exchange` does."""
        asked = {
            "path": question.path,
            "stamp": question.stamp,
            "text": question.text,
            "pair": question.pair,
            "rows": question.rows,
            "chat": question.chat,
        }
        return self._exchange(asked, COUNT_SECONDS)
