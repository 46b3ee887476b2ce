"""Plain routes for a visitor's list of runs.

GET    /recent?search=words   the visitor's runs, as JSON, and those that the shell lists for everyone ("shell": true)
POST   /recent/KEY            {"name": "…"} or {"pinned": true}
DELETE /recent/KEY            remove from the list; also delete the run's file if it is in nobody else's list
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, Response, jsonify, request

from dashboard.contracts.request import is_run_key
from dashboard.errors import BadRequestError
from dashboard.store.run_store import RunStore
from dashboard.store.summary import PREVIEW, RunSummary
from dashboard.store.visits import LONGEST_NAME, SHELL, Visit, VisitorLists
from dashboard.web.error_answers import plain_line
from dashboard.web.security import own_json

log = logging.getLogger(__name__)


def make_recent(store: RunStore, visitors: VisitorLists) -> Blueprint:
    """Create the routes; a change requested by another site's page is refused in one plain line."""
    routes = Blueprint("recent", __name__)

    @routes.get("/recent")
    def _list() -> Response:
        visitor = visitors.visitor_in(request.cookies)
        runs = visitors.of(visitor) if visitor else {}
        search = request.args.get("search", "")
        others = {key: visit for key, visit in visitors.of(SHELL).items() if key not in runs}
        found = rows(store, runs, search) + [{**row, "shell": True} for row in rows(store, others, search)]
        reply = jsonify({"known": visitor is not None, "runs": found})
        reply.headers["Cache-Control"] = "no-store"
        return reply

    @routes.post("/recent/<key>")
    def _change(key: str) -> Response:
        raw = own_json(request, True)
        name, pinned = raw.get("name"), raw.get("pinned")
        if (name is not None and not isinstance(name, str)) or (pinned is not None and not isinstance(pinned, bool)):
            raise BadRequestError(
                f"Send JSON with name (text, {LONGEST_NAME} characters of it are kept) or pinned (true or false)."
            )
        visit = visitors.change(visitors.visitor_in(request.cookies) or "", key, name, pinned)
        return jsonify({"key": key, "name": visit.name, "pinned": visit.pinned})

    @routes.delete("/recent/<key>")
    def _delete(key: str) -> Response:
        own_json(request, False)
        if visitors.remove(visitors.visitor_in(request.cookies) or "", key) and is_run_key(key):
            store.delete(key)
        return jsonify({"key": key})

    @routes.errorhandler(OSError)
    def _refused(error: OSError) -> Response:
        log.error("a visitor's list of runs cannot be read or written", exc_info=error)
        return plain_line(error, "Your list of runs cannot be read or written now; what it held is still there. ")

    return routes


def rows(store: RunStore, runs: dict[str, Visit], search: str) -> list[dict[str, Any]]:
    """The runs of a list that are still in the store and match every word of `search`, as JSON."""
    words = search.casefold().split()
    found = []
    for key, visit in runs.items():
        summary = store.summary(key)
        if summary is not None and matches(summary, visit, words):
            found.append(_row(summary, visit))
    return found


def matches(summary: RunSummary, visit: Visit, words: list[str]) -> bool:
    """Whether every word appears in the run's name, texts or model."""
    where = f"{visit.name}\n{summary.text}\n{summary.pair}\n{summary.title}\n{summary.model}".casefold()
    return all(word in where for word in words)


def _row(summary: RunSummary, visit: Visit) -> dict[str, Any]:
    fields = ("key", "model", "title", "preview", "tokens", "bytes", "created", "chat")
    told = {name: getattr(summary, name) for name in fields}
    told["pair"] = summary.pair[:PREVIEW]
    return {**told, **{name: getattr(visit, name) for name in ("name", "pinned", "opened", "uploaded")}}
