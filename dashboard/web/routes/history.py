"""Plain routes of a visitor's list of runs, the cookie that names the visitor, and the gate in front of every route.

GET    /recent?search=words   the visitor's runs, as JSON
POST   /recent/KEY            {"name": "…"} or {"pinned": true}
DELETE /recent/KEY            from the list; the run's file too, where nobody else's list has it
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, Request, Response, jsonify, request

from dashboard.contracts.request import is_run_key
from dashboard.errors import BadRequestError, DashboardError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.summary import RunSummary
from dashboard.store.visits import COOKIE, FORGOTTEN_SECONDS, LONGEST_NAME, Visit, VisitorLists, new_visitor
from dashboard.web.plain_line import plain_line
from dashboard.web.security import answers_for, from_own_page, is_encrypted

log = logging.getLogger(__name__)
MOST_ROWS = 100  # of one answer; the search finds the others
# the page's own first one: the navigation before it may come from a link on another site,
FIRST_REQUEST = "_dash-layout"
# and then a browser sends no SameSite=Strict cookie, though it has one


def make_recent(settings: Settings, store: RunStore, visitors: VisitorLists) -> Blueprint:
    """The routes; a request for another host, or a change from another site's page, is refused in one plain line."""
    routes = Blueprint("recent", __name__)
    routes.before_app_request(lambda: _gate(settings))
    routes.after_app_request(lambda response: _introduce(response, visitors, settings.path))

    @routes.get("/recent")
    def _list() -> Response:
        visitor = visitors.visitor_in(request.cookies)
        runs = visitors.of(visitor) if visitor else {}
        found = rows(store, runs, request.args.get("search", ""))
        reply = jsonify({"known": visitor is not None, "count": len(found), "runs": found[:MOST_ROWS]})
        reply.headers["Cache-Control"] = "no-store"
        return reply

    @routes.post("/recent/<key>")
    def _change(key: str) -> Response:
        raw = _own(request, True)
        name, pinned = raw.get("name"), raw.get("pinned")
        if (name is not None and not isinstance(name, str)) or (pinned is not None and not isinstance(pinned, bool)):
            raise BadRequestError(
                f"Send JSON with name (text, {LONGEST_NAME} characters of it are kept) or pinned (true or false)."
            )
        visit = visitors.change(visitors.visitor_in(request.cookies) or "", key, name, pinned)
        return jsonify({"key": key, "name": visit.name, "pinned": visit.pinned})

    @routes.delete("/recent/<key>")
    def _delete(key: str) -> Response:
        _own(request, False)
        if visitors.remove(visitors.visitor_in(request.cookies) or "", key) and is_run_key(key):
            store.delete(key)
        return jsonify({"key": key})

    routes.register_error_handler(DashboardError, plain_line)

    @routes.errorhandler(OSError)
    def _refused(error: OSError) -> Response:
        log.error("a visitor's list of runs cannot be read or written", exc_info=error)
        return plain_line(error, "Your list of runs cannot be read or written now; what it held is still there. ")

    return routes


def rows(store: RunStore, runs: dict[str, Visit], search: str) -> list[dict[str, Any]]:
    """The runs of a list that the store still has and that match every word of `search`, as JSON."""
    words = search.casefold().split()
    found = []
    for key, visit in runs.items():
        summary = store.summary(key)
        if summary is not None and matches(summary, visit, words):
            found.append(_row(summary, visit))
    return found


def matches(summary: RunSummary, visit: Visit, words: list[str]) -> bool:
    """Whether each word stands in the run's name, text or model."""
    where = f"{visit.name}\n{summary.text}\n{summary.title}\n{summary.model}".casefold()
    return all(word in where for word in words)


def _row(summary: RunSummary, visit: Visit) -> dict[str, Any]:
    fields = ("key", "model", "title", "preview", "tokens", "bytes", "created")
    told = {name: getattr(summary, name) for name in fields}
    return {**told, "name": visit.name, "pinned": visit.pinned, "opened": visit.opened}


def asker(visitors: VisitorLists | None) -> str:
    """Whose request this is, for turns and shares: the visitor, else the address that it comes from."""
    visitor = None if visitors is None else visitors.visitor_in(request.cookies)
    return visitor or f"at {request.remote_addr}"


def _own(asked: Request, needs_json: bool) -> dict[str, Any]:
    """The JSON of a request from a page of this server; {} where none is needed."""
    if not from_own_page(dict(asked.headers), asked.host):
        raise BadRequestError(
            "This did not come from this server's own page. Reload the page; behind a proxy, whoever keeps it must "
            "pass on the "
            "browser's Host with its port."
        )
    try:
        raw = asked.get_json(silent=True) if needs_json and asked.is_json else {}
    except RecursionError:  # brackets in brackets in brackets
        raw = None
    if not isinstance(raw, dict) or (needs_json and not raw):
        raise BadRequestError("Send JSON (Content-Type: application/json) with name or pinned.")
    return raw


def _gate(settings: Settings) -> Response | None:
    bound = request.environ.get("SERVER_NAME", "")
    if request.path in ("/health", "/ready") or answers_for(request.host, bound, settings.host, settings.hosts):
        return None
    text = (
        f"This server does not answer for the host {request.host!r}. If that is its name, start it with "
        "DASHBOARD_HOSTS set to that name (several with commas between, * for any)."
    )
    return Response(text, 421, mimetype="text/plain")


def _introduce(response: Response, visitors: VisitorLists, path: str) -> Response:
    """Give a browser that has none its visitor's name, and let the one it has last as long again."""
    if request.path.endswith(FIRST_REQUEST) and response.status_code == 200:
        try:
            cookie = visitors.cookie_of(visitors.visitor_in(request.cookies) or new_visitor())
        except OSError:  # the disk is full, perhaps: a page without a list of runs is better than none
            log.exception("visitors cannot be named: the server's secret is missing")
            return response
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(FORGOTTEN_SECONDS),
            path=path,
            httponly=True,
            samesite="Strict",
            secure=is_encrypted(request),
        )
    return response
