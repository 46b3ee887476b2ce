"""Health checks: /health is cheap, /ready renders the page. Also the answer for an address without a page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from dashboard.errors import BROKEN, DashboardError, said, unforeseen
from dashboard.version import __version__

log = logging.getLogger(__name__)
ANY_PATH = "/<path:path>"


def make_health(health: Callable[[], dict[str, Any]], page: Callable[[], object], path: str) -> Blueprint:
    """Create the routes /health and /ready.

    Args:
        health: what /health says about worker and queue. page: renders the whole page, models and all, as a visitor
            would get it.
        path: where a browser finds the page on this host, "/…/".
    """
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    def _health() -> Response:
        return jsonify({"status": "ok", "version": __version__, **health()})

    @routes.get("/ready")
    def _ready() -> Response:
        reason = why_not_ready(health, page)
        reply = jsonify({"status": "not ready" if reason else "ready", "reason": reason, "version": __version__})
        reply.status_code = 503 if reason else 200
        reply.headers["Cache-Control"] = "no-store"
        return reply

    routes.before_app_request(lambda: _unknown_page(path))
    return routes


def why_not_ready(health: Callable[[], object], page: Callable[[], object]) -> str:
    """Why a visitor would not get the page now, in a plain sentence; "" if they would."""
    try:
        page()
        health()
    except DashboardError as error:
        return said(error)
    except Exception as error:
        log.exception("the page could not be built")
        if unforeseen(error) != BROKEN:
            return f"The page could not be built. {unforeseen(error)}"
        return f"The page could not be built ({type(error).__name__}). The server's log has the details."
    return ""


def no_page(path: str) -> str:
    """The sentence for an unknown address; the page is at `path`."""
    return f"There is no page at this address. Open {path}, where the dashboard is."


def _unknown_page(path: str) -> Response | None:
    """Return 404 for unknown addresses, which Dash would answer with the page."""
    if request.url_rule is None or not request.url_rule.rule.endswith(ANY_PATH):
        return None
    return Response(no_page(path), 404, mimetype="text/plain")
