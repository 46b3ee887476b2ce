"""Error answers of every address: one plain sentence that says what went wrong, without any path on the server."""

from __future__ import annotations

import logging

from dash.exceptions import DependencyException
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from dashboard.errors import AddressNotFoundError, DashboardError, is_full_disk, said

log = logging.getLogger(__name__)


def status_of(error: BaseException) -> int:
    """The HTTP status for an error; for an unexpected one, 507 if the disk is full, else 500."""
    if isinstance(error, DashboardError):
        return error.status
    return 507 if is_full_disk(error) else 500


def plain_line(error: BaseException, before: str = "") -> Response:
    """The answer for an error; `before` precedes its sentence."""
    response = Response(f"{before}{said(error)}", status_of(error), mimetype="text/plain")
    response.headers["Cache-Control"] = "no-store"
    return response


def answer_errors(server: Flask) -> None:
    """Answer every error with its plain line, and log unexpected errors."""

    @server.errorhandler(Exception)
    def _answer(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException):
            return error
        if isinstance(error, DependencyException):  # raised by Dash for a file that it does not serve
            return plain_line(AddressNotFoundError("There is no such file. Reload the page."))
        if not isinstance(error, DashboardError):
            log.exception("%s %s failed", request.method, request.path)
        return plain_line(error)
