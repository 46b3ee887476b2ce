"""A process of little memory and little time that handles foreign content, as its parent sees it.

It answers one JSON line with one JSON line; it is started on demand, and killed when an answer takes too long.
`counting_main` is what runs in it. No torch.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
END_SECONDS = 1.0  # for a killed process to end
LONGEST_ANSWER = 4_096  # bytes, where nothing else is said
PIECE = 65_536  # bytes that are written or read at a time
QUIET = {"TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0", "OMP_NUM_THREADS": "1"}
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class LimitedProcess:
    """One process, for one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def _exchange(self, asked: Mapping[str, Any], seconds: float, longest: int = LONGEST_ANSWER) -> dict[str, Any]:
        """Return the process's answer to a question.

        Args:
            seconds: for the answer, including the start of the process. longest: bytes that the answer may have.

        Raises:
            OSError: it ended, or did not answer in time (TimeoutError). ValueError: its answer has another form.
        """
        until = time.monotonic() + seconds
        process = self._started()
        waiting = memoryview(json.dumps(asked).encode() + b"\n")
        while waiting:
            _until_ready(process.stdin, False, until)
            waiting = waiting[os.write(process.stdin.fileno(), waiting[:PIECE]) :]  # type: ignore[union-attr]
        reply = bytearray()
        while not reply.endswith(b"\n"):
            _until_ready(process.stdout, True, until)
            piece = os.read(process.stdout.fileno(), min(longest, PIECE))  # type: ignore[union-attr]
            reply += piece
            if not piece or len(reply) > longest:
                raise BrokenPipeError("it ended" if not piece else "its answer has no end")
        found = json.loads(reply)
        if not isinstance(found, dict):
            raise ValueError(found)
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
            self._process = subprocess.Popen(  # none of this process's secrets go into its environment
                [sys.executable, "-B", "-m", "dashboard.catalog.counting_main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**kept, "PYTHONPATH": os.pathsep.join([str(PACKAGE_ROOT), *filter(None, sys.path)]), **QUIET},
                start_new_session=True,
            )
            for stream in (self._process.stdin, self._process.stdout):
                os.set_blocking(stream.fileno(), False)  # type: ignore[union-attr]
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # the signal did not end it: give up rather than wait
            log.error("process %s hangs in the system and cannot be ended. It is given up", process.pid)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _until_ready(stream: Any, to_read: bool, until: float) -> None:
    """Wait until a pipe can be read or written; raise `TimeoutError` if that takes past `until`."""
    poll = select.poll()
    poll.register(stream, select.POLLIN if to_read else select.POLLOUT)
    if not poll.poll(1000 * max(0.0, until - time.monotonic())):
        raise TimeoutError("no answer in time")
