"""gunicorn's threaded worker with time limits: a client that sends or reads slowly holds a thread only for a limited
time.

A thread reads a request and sends its answer. gunicorn limits neither, so 16 half-sent bodies or unread downloads would
hold every thread. Here a whole request must arrive within `Settings.request_seconds`, and the client must accept each
piece of an answer within `Settings.send_seconds`; otherwise the connection is closed. Downloads of any length succeed
as long as they keep moving. A connection that has sent nothing yet holds no thread at all.
"""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from gunicorn.workers import gthread

from dashboard.settings import Settings

PIECE = 1 << 18  # bytes of an answer to accept within the limit: 13 kB a second with the default setting
FIRST_BYTE_SECONDS = 0.05  # that a thread waits on a new connection before handing it to the poller
T = TypeVar("T")


class BoundedSocket(socket.socket):
    """A client's connection with limited waits; at the limit it raises the error of a broken connection, which gunicorn
    ignores silently.

    Attributes:
        read_until: monotonic time by which the request must have arrived. send_seconds: for each piece of an answer.
    """

    read_until = math.inf
    send_seconds = math.inf

    def recv(self, *args: Any) -> bytes:
        return self._within(self.read_until - time.monotonic(), lambda: socket.socket.recv(self, *args))

    def recv_into(self, *args: Any) -> int:
        return self._within(self.read_until - time.monotonic(), lambda: socket.socket.recv_into(self, *args))

    def sendall(self, data: Any, flags: int = 0) -> None:
        whole = memoryview(data).cast("B")
        for start in range(0, len(whole), PIECE):
            self._send_piece(whole[start : start + PIECE], flags)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file; each wait for the client is limited, not the whole transfer."""
        return self._within(self.send_seconds, lambda: socket.socket.sendfile(self, file, offset, count))

    def _send_piece(self, piece: memoryview, flags: int) -> None:
        self._within(self.send_seconds, lambda: socket.socket.sendall(self, piece, flags))

    def _within(self, seconds: float, work: Callable[[], T]) -> T:
        if self.gettimeout() == 0:  # gunicorn is only checking for input
            return work()
        try:
            if seconds <= 0:
                raise TimeoutError
            self.settimeout(None if seconds == math.inf else seconds)
            return work()
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client took too long") from error


class PatientWorker(gthread.ThreadWorker):
    """The worker class that the `Procfile` names."""

    def init_process(self) -> None:
        self.settings = Settings.from_env()
        super().init_process()

    def handle(self, conn: gthread.TConn) -> Any:
        """Answer one request of a connection with gunicorn's own code, on a bounded socket."""
        if not isinstance(conn.sock, BoundedSocket):
            conn.sock = BoundedSocket(fileno=conn.sock.detach())
            conn.sock.send_seconds = self.settings.send_seconds
            if not conn.wait_for_data(FIRST_BYTE_SECONDS):
                return gthread._DEFER
        conn.sock.read_until = time.monotonic() + self.settings.request_seconds
        return super().handle(conn)
