"""A small hub that is served here: one model, sent as fast, as slowly or as far as a test says."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny"


class Hub(ThreadingHTTPServer):
    """The two answers of the hub that a download needs: what a model holds, and each file.

    Attributes:
        going: while it is cleared, the second half of the weights is held back.
        pace: (bytes, seconds) of what is sent of them meanwhile, again and again; None for nothing.
        silent: what a model holds is not said. breaks: the connection ends in the middle of the weights.
        asked: the paths that were asked for. sent: those whose content was, too. starts: where in it each answer began.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.going, self.ended = threading.Event(), threading.Event()
        self.going.set()
        self.pace: tuple[int, float] | None = None
        self.silent = self.breaks = False
        self.asked: list[str] = []
        self.sent: list[str] = []
        self.starts: list[int] = []
        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def end(self) -> None:
        self.ended.set()
        self.going.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the other side has left."""


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if path.startswith(f"/api/models/{NAME}"):
            if self.server.silent:
                self.server.ended.wait(30)
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self.server.files.items()]
            self._send(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode(), {})
        elif path.startswith(f"/{NAME}/resolve/{COMMIT}/") and path.rpartition("/")[2] in self.server.files:
            content = self.server.files[path.rpartition("/")[2]]
            self._send(content, {"ETag": f'"{hash(content) & 0xFFFFFFFF:x}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_error(404)

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0] or 0)
        self.send_response(206 if start else 200)
        for name, value in {**headers, "Content-Length": str(len(content) - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.server.sent.append(self.path.partition("?")[0])
        self.server.starts.append(start)
        half = max(start, len(content) // 2)
        self.wfile.write(content[start:half])
        self.wfile.flush()
        if "model.safetensors" in self.path:
            if self.server.breaks:
                self.connection.shutdown(socket.SHUT_RDWR)
            half = self._hold(content, half)
        self.wfile.write(content[half:])

    def _hold(self, content: bytes, at: int) -> int:
        """Wait until the rest may go, or send it at a slow pace; gives where the rest begins."""
        while not self.server.going.is_set() and at < len(content):
            count, seconds = self.server.pace or (0, 20.0)
            self.server.going.wait(seconds)
            self.wfile.write(content[at : at + count])
            self.wfile.flush()
            at += count
        return at

    def log_message(self, *_args: Any) -> None:
        return None
