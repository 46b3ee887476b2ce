"""What every address answers where it fails: one plain sentence that says what it is, without a path of the server."""

from __future__ import annotations

import logging

from dash.exceptions import DependencyException
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from dashboard.errors import AddressNotFoundError, DashboardError, is_full_disk, said

log = logging.getLogger(__name__)


def status_of(error: BaseException) -> int:
    """The HTTP status that fits an error; of what nobody foresaw, 507 for a full disk, else 500."""
    if isinstance(error, DashboardError):
        return error.status
    return 507 if is_full_disk(error) else 500


def plain_line(error: BaseException, before: str = "") -> Response:
    """The answer for an error; `before` stands in front of its sentence."""
    response = Response(f"{before}{said(error)}", status_of(error), mimetype="text/plain")
    response.headers["Cache-Control"] = "no-store"
    return response


def answer_errors(server: Flask) -> None:
    """Answer every error with its plain line; what nobody foresaw is logged."""

    @server.errorhandler(Exception)
    def _answer(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException):
            return error
        if isinstance(error, DependencyException):  # Dash's own, of a file that it does not serve
            return plain_line(AddressNotFoundError("There is no such file. Reload the page."))
        if not isinstance(error, DashboardError):
            log.exception("%s %s failed", request.method, request.path)
        return plain_line(error)
