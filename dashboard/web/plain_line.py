"""What every address answers where it fails: one plain sentence that says what it is, without a path of the server."""

from __future__ import annotations

from flask import Response

from dashboard.errors import (
    AddressNotFoundError,
    BadRequestError,
    DashboardError,
    MissingArrayError,
    NoSpaceError,
    QueueFullError,
    ReplacedRunError,
    UnreadableRunError,
    is_full_disk,
    said,
)

STATUS: dict[type[DashboardError], int] = {  # the first that fits
    AddressNotFoundError: 404,
    BadRequestError: 400,
    MissingArrayError: 409,
    ReplacedRunError: 412,
    QueueFullError: 429,
    UnreadableRunError: 500,
    NoSpaceError: 507,
    DashboardError: 404,
}


def status_of(error: BaseException) -> int:
    """The HTTP status that fits an error; of what nobody foresaw, 507 for a full disk, else 500."""
    if isinstance(error, DashboardError):
        return next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return 507 if is_full_disk(error) else 500


def plain_line(error: BaseException, before: str = "") -> Response:
    """The answer for an error; `before` stands in front of its sentence."""
    response = Response(f"{before}{said(error)}", status_of(error), mimetype="text/plain")
    response.headers["Cache-Control"] = "no-store"
    return response
