"""A memory limit for a web process: one that holds too much ends to make room for a fresh one, as a worker does. Needs
only gunicorn."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

from dashboard.settings import Settings
from dashboard.system.container import held_bytes

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
ENDING_SECONDS = 30.0  # for current requests to finish; gunicorn's own `graceful_timeout`
FAR_TOO_MUCH = 2.0  # multiples of the limit; above, the process waits for nothing


def watch_memory(settings: Settings) -> None:
    """Start a thread that watches this process. Above `settings.web_gigabytes` the process accepts no more requests,
    answers those it has, and ends. gunicorn, which keeps the port open, starts another, and requests in between wait
    for it.
    """
    limit = settings.web_gigabytes * 1e9
    threading.Thread(target=_watch, args=(limit,), name="memory-watch", daemon=True).start()


def _watch(limit: float) -> None:
    leaving: float | None = None
    while True:
        held = held_bytes(os.getpid())
        if held > limit and leaving is None:
            leaving = time.monotonic()
            log.warning(
                "this web process holds %.2f GB, over DASHBOARD_WEB_GIGABYTES; another takes its place", held / 1e9
            )
            os.kill(os.getpid(), signal.SIGTERM)
        late = leaving is not None and time.monotonic() - leaving > ENDING_SECONDS
        if late or held > FAR_TOO_MUCH * limit:
            log.error("this web process holds %.2f GB and is ended with what it was doing", held / 1e9)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
