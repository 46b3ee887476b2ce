"""A plain route for run files that a visitor opens on the page.

POST /runs?name=FILE    the file as it is (application/octet-stream) → {"run": KEY, "tokens": n, "left_out": [words]}

The file is written to the disk of the cache folder while it arrives, within `Settings.upload_megabytes`, checked
(dashboard/exports/foreign_run.py) and stored under a key of its own, within what the store keeps of one visitor's files
(dashboard/store/uploads.py).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from flask import Blueprint, Response, jsonify, request

from dashboard.errors import BadRequestError, QueueFullError
from dashboard.exports.foreign_run import read_foreign
from dashboard.settings import Settings
from dashboard.store.exports import ExportFile, ExportRoom
from dashboard.store.uploads import UploadedRuns
from dashboard.store.visits import VisitorLists
from dashboard.web.security import asker, from_own_page
from dashboard.web.services import Services

PIECE = 1 << 18  # bytes that are read at a time
AT_ONCE = 2  # files that one web process takes at a time: each holds a thread
BUSY = (
    "This server is busy with other files, or gives too little room to files (DASHBOARD_EXPORT_GIGABYTES). Try again "
    "in a minute."
)


class ForbiddenError(BadRequestError):
    """This server does not take run files."""

    status = 403


class TooMuchError(BadRequestError):
    """The file is larger than this server takes."""

    status = 413


def make_uploads(services: Services, visitors: VisitorLists) -> Blueprint:
    """Create the route /runs."""
    routes = Blueprint("uploads", __name__)
    uploaded = UploadedRuns.from_settings(services.settings, services.store, visitors)
    turns = threading.BoundedSemaphore(AT_ONCE)

    @routes.post("/runs")
    def _upload() -> Response:
        _check(services.settings)
        visitor = visitors.visitor_in(request.cookies) or ""
        uploaded.check(visitor, request.content_length or 0)
        with _turn(turns), _received(services) as (path, digest):
            name, most = request.args.get("name", ""), services.settings.upload_bytes
            room = functools.partial(_opened, services, "unpacked")
            found = read_foreign(path, digest, name, services.settings.max_tokens, most, room)
            uploaded.adopt(visitor, found.run)
        return jsonify({"run": digest, "tokens": len(found.run), "left_out": list(found.left_out)})

    return routes


def _check(settings: Settings) -> None:
    """Raise for a request that is not from this server's own page, or for a file that is not taken."""
    if not settings.upload_megabytes:
        raise ForbiddenError(
            "This server takes no run files. Open it in a notebook (open_run), or ask whoever runs this server."
        )
    if not from_own_page(dict(request.headers), request.host):
        raise ForbiddenError("This did not come from this server's own page. Reload the page.")
    if not request.content_length:
        raise BadRequestError("The file is empty, or its length is missing (Content-Length). Choose another file.")
    if request.content_length > settings.upload_bytes:
        raise TooMuchError(
            f"The file has {request.content_length / 1e6:,.0f} MB; this server takes at most "
            f"{settings.upload_megabytes:,.0f} MB. Save the run without all attention weights, or run a shorter text."
        )


@contextlib.contextmanager
def _turn(turns: threading.BoundedSemaphore) -> Iterator[None]:
    if not turns.acquire(blocking=False):
        raise QueueFullError(BUSY)
    try:
        yield
    finally:
        turns.release()


@contextlib.contextmanager
def _received(services: Services) -> Iterator[tuple[Path, str]]:
    """The file on the disk while the block runs, and its sha256."""
    size = request.content_length or 0
    made = _opened(services, "received", size)
    try:
        digest = _copied(made.file, size, services.settings)
        made.file.flush()
        yield made.path, digest
    finally:
        made.close()


def _opened(services: Services, what: str, size: int) -> ExportFile:
    """A file for so many bytes; closing it removes it. A visitor's exports and files to open do not count together."""
    try:
        return ExportRoom.from_settings(services.settings).open(f"{asker(services.visitors)} {what}", size)
    except QueueFullError as error:
        raise QueueFullError(BUSY) from error


def _copied(file: IO[bytes], size: int, settings: Settings) -> str:
    """Copy the request's body piece by piece; each piece may take as long as a whole request otherwise may."""
    request.max_content_length = settings.upload_bytes
    found, left, socket = hashlib.sha256(), size, _socket()
    while left:
        if socket is not None:
            socket.read_until = time.monotonic() + settings.request_seconds
        piece = request.stream.read(min(PIECE, left))
        if not piece:
            raise BadRequestError("The file was cut short on its way. Try again.")
        file.write(piece)
        found.update(piece)
        left -= len(piece)
    return found.hexdigest()


def _socket() -> Any:
    """The client's connection, if it has a time limit (dashboard/web/gunicorn_worker.py)."""
    found = request.environ.get("gunicorn.socket")
    return found if hasattr(found, "read_until") else None
