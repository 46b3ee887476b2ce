"""Plain routes beside Dash's: pictures and exact numbers that a browser may keep for ever, and the server's health."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request

from dashboard import __version__
from dashboard.catalog.catalog import Catalog, CatalogEntry
from dashboard.contracts.request import is_run_key, longest_text
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import REPLACED
from dashboard.errors import (
    BROKEN,
    BadRequestError,
    DashboardError,
    ReplacedRunError,
    RunNotFoundError,
    said,
    unforeseen,
)
from dashboard.figures.heads import head_sprite
from dashboard.figures.theme import theme_named
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.build import FOR_EVER
from dashboard.web.plain_line import plain_line
from dashboard.web.security import host_name, is_encrypted, is_loopback

log = logging.getLogger(__name__)
ANY_PATH = "/<path:path>"
UNUSED = (
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "geolocation", "gyroscope"),
    *("hid", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment", "picture-in-picture"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
PERMISSIONS = ", ".join([*(f"{name}=()" for name in UNUSED), "clipboard-write=(self)"])
MOST_WEIGHTS = 65_536  # attention weights in one answer


@dataclass(frozen=True)
class Sources:
    """What the routes read.

    Attributes:
        settings, store, catalog: the server's. health: what /health says of worker and queue.
        page: makes the whole page, models and all, as a visitor would get it.
        path: where a browser finds the page on this host, "/…/".
        script_hashes: of the page's inline scripts, which alone may run beside the served files.
        ancestors: pages of other origins that may stand around this one, as Content-Security-Policy names them.
    """

    settings: Settings
    store: RunStore
    catalog: Catalog
    health: Callable[[], dict[str, Any]]
    page: Callable[[], object]
    path: str
    script_hashes: Sequence[str] = ()
    ancestors: Sequence[str] = ()


def security_policy(script_hashes: Sequence[str], ancestors: Sequence[str] = ()) -> str:
    """Content-Security-Policy: nothing from another host, and no page of another site around this one but `ancestors`.

    Plotly's charts need no 'unsafe-eval' (its 3-D ones neither, as of plotly.js 4.1.1; see docs/decisions/015).
    """
    rules = {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", *script_hashes],
        "frame-ancestors": ["'self'", *ancestors],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(" ".join([name, *values]) for name, values in rules.items())


def make_routes(sources: Sources) -> Blueprint:
    """/health, /ready, /count and /run/KEY/…; a name that is not a run's gives 404 and one plain line."""
    routes = Blueprint("dashboard", __name__)
    settings, store, catalog = sources.settings, sources.store, sources.catalog
    policy = security_policy(sources.script_hashes, sources.ancestors)

    @routes.get("/health")
    def _health() -> Response:
        return jsonify({"status": "ok", "version": __version__, **sources.health()})

    @routes.get("/ready")
    def _ready() -> Response:
        reason = why_not_ready(sources)
        reply = jsonify({"status": "not ready" if reason else "ready", "reason": reason, "version": __version__})
        reply.status_code = 503 if reason else 200
        reply.headers["Cache-Control"] = "no-store"
        return reply

    @routes.post("/count")
    def _count() -> Response:
        raw = request.get_json(silent=True)
        if not isinstance(raw, dict) or not isinstance(raw.get("text"), str) or not isinstance(raw.get("model"), str):
            raise BadRequestError("Send JSON with model and text.")
        entry = catalog.admit(raw["model"])  # what a run would refuse is not counted, either
        if len(raw["text"]) > longest_text(min(entry.limit, settings.max_tokens)):
            return jsonify({"tokens": None, "too_long": True})
        text = raw["text"].encode("utf-8", "replace").decode()  # half a surrogate pair is refused when it is run
        return jsonify(_counted(catalog, entry, text))

    @routes.get("/run/<key>/heads-<any(light,dark):theme>.png")
    def _heads(key: str, theme: str) -> Response:
        run = _open(store, key)
        attention = run.attention_of(request.args.get("kind"))
        return _kept(head_sprite(np.asarray(attention.thumbnails), theme_named(theme)), "image/png", run, theme)

    @routes.get("/run/<key>/attention/<int:layer>/<int:head>")
    def _weights(key: str, layer: int, head: int) -> Response:
        run = _open(store, key)
        first, last = request.args.get("from", -1, type=int), request.args.get("to", -1, type=int)
        attention = run.attention_of(request.args.get("kind"))
        if (last - first) * len(attention.answers) > MOST_WEIGHTS:
            raise BadRequestError(f"Ask for some rows at a time, with from and to: at most {MOST_WEIGHTS:,} weights.")
        weights = attention.rows(layer, head, first, last)
        return _kept(weights.astype("<f4").tobytes(), "application/octet-stream", run, f"{layer}-{head}-{first}-{last}")

    routes.register_error_handler(DashboardError, plain_line)
    routes.before_app_request(lambda: _unknown_page(sources.path))
    routes.after_app_request(lambda response: _finish(response, policy, bool(sources.ancestors)))
    return routes


def why_not_ready(sources: Sources) -> str:
    """Why a visitor would get no page now, in a plain sentence; "" where one would."""
    try:
        sources.page()
        sources.health()
    except DashboardError as error:
        return said(error)
    except Exception as error:
        log.exception("the page cannot be made")
        if unforeseen(error) != BROKEN:
            return f"The page cannot be made. {unforeseen(error)}"
        return f"The page cannot be made ({type(error).__name__}). The server's log has the details."
    return ""


def _counted(catalog: Catalog, entry: CatalogEntry, text: str) -> dict[str, Any]:
    """How many tokens a text has; of one that the model has no embedding for, its position and what a run will say."""
    if not text:
        return {"tokens": 0}
    found = catalog.count(entry.name, text)
    if found.beyond is None:
        return {"tokens": found.tokens}
    why = found.beyond.sentence(entry.title, entry.vocabulary)
    return {"tokens": found.tokens, "unknown": {"token": found.beyond.position, "why": why}}


def no_page(path: str) -> str:
    """The sentence for an address that leads to nothing; the page is at `path`."""
    return f"There is no page at this address. Open {path}, where the dashboard is."


def _unknown_page(path: str) -> Response | None:
    """Dash answers every address that it does not know with the page; here that is a 404."""
    if request.url_rule is None or not request.url_rule.rule.endswith(ANY_PATH):
        return None
    return Response(no_page(path), 404, mimetype="text/plain")


def _finish(response: Response, policy: str, embedded: bool) -> Response:
    """A run's address is all that it takes to read it, so it is not told to other sites, and no other site may hold
    it."""
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Permissions-Policy", PERMISSIONS)
    response.headers.setdefault("Cross-Origin-Resource-Policy", "cross-origin" if embedded else "same-origin")
    # elsewhere browsers only warn of it
    if not embedded and (is_encrypted(request) or is_loopback(host_name(request.host))):
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    if request.path.endswith("favicon.ico"):  # else a browser asks again whenever the address changes
        response.headers["Cache-Control"] = "public, max-age=86400"
    return response


def _open(store: RunStore, key: str) -> ModelRun:
    if not is_run_key(key):
        raise RunNotFoundError("That is not the name of a run. Check that the address was copied whole, or run a text.")
    run = store.open(key)
    if request.args.get("stamp", run.stamp) != run.stamp:
        raise ReplacedRunError(REPLACED)
    return run


def _kept(content: bytes, kind: str, run: ModelRun, tag: str) -> Response:
    """An answer that a browser may keep: for ever where its address says of which capture of the run it is."""
    response = Response(content, mimetype=kind)
    response.headers["Cache-Control"] = FOR_EVER if "stamp" in request.args else "private, no-cache"
    response.set_etag(f"{__version__}-{run.key}-{run.stamp}-{tag}")
    response.make_conditional(request)
    return response
