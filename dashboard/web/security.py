"""Security of requests and answers: hosts, requests from this server's own pages, the visitor's cookie, and headers."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request

from dashboard.errors import BadRequestError
from dashboard.settings import Settings
from dashboard.store.visits import COOKIE, FORGOTTEN_SECONDS, VisitorLists, new_visitor

log = logging.getLogger(__name__)
UNUSED = (
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "geolocation", "gyroscope"),
    *("hid", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment", "picture-in-picture"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
PERMISSIONS = ", ".join([*(f"{name}=()" for name in UNUSED), "clipboard-write=(self)"])
# the page's own first request: the navigation before it may come from a link on another site, and the browser then
# sends no SameSite=Strict cookie, even if it has one
FIRST_REQUEST = "_dash-layout"
LOOPBACK_NAMES = ("localhost", "*.localhost")


def secure(app: Flask, policy: str, embedded: bool) -> None:
    """Add security headers to every answer.

    Args:
        policy: Content-Security-Policy. embedded: whether pages of other origins may contain this one.
    """
    app.after_request(lambda response: _finish(response, policy, embedded))


def refuse_other_hosts(app: Flask, settings: Settings) -> None:
    """Answer only requests for this server's own hosts (`answers_for`)."""
    app.before_request(lambda: _gate(settings))


def name_visitors(app: Flask, visitors: VisitorLists, path: str) -> None:
    """Give each browser a signed cookie that names its visitor."""
    app.after_request(lambda response: _introduce(response, visitors, path))


# hosts


def host_name(raw: str) -> str:
    """The name in a Host header or in an origin's `host:port`: without port and brackets, in lower case."""
    try:
        return (urlsplit(f"//{raw}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Whether an address, as text, is this machine's own."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"


class _Asked(Protocol):
    """The parts of a request that are read here."""

    @property
    def is_secure(self) -> bool: ...

    @property
    def headers(self) -> Any: ...


def is_encrypted(asked: _Asked) -> bool:
    """Whether the browser's connection is encrypted, as far as this server or the proxy in front of it can tell."""
    return asked.is_secure or asked.headers.get("X-Forwarded-Proto") == "https"


def answers_for(raw: str, bound: str, host: str, allowed: str | None) -> bool:
    """Whether this server answers a request for a host.

    A page elsewhere can point its own name to this machine's address after it was loaded (DNS rebinding), and then read
    what the server says; the name in the request gives it away. A server that only this machine can reach answers for
    this machine's names. A server that others can reach cannot know its names, and answers for all unless configured.

    Args:
        raw: the request's Host header. bound: the address that the server listens on. host: the HOST setting.
        allowed: the DASHBOARD_HOSTS setting: names separated by commas, `*.team.example` for every name below, `*` for
            all.
    """
    named = [name.strip() for name in (allowed or "").split(",") if name.strip()]
    if "*" in named or (not named and not is_loopback(bound)):
        return True
    name = host_name(raw)
    known = [host_name(item) or item for item in named]
    return is_loopback(name) or any(_matches(name, item) for item in (*LOOPBACK_NAMES, host_name(host), *known))


def _matches(name: str, pattern: str) -> bool:
    return bool(name) and (name == pattern.lower() or (pattern.startswith("*.") and name.endswith(pattern[1:].lower())))


def from_own_page(headers: Mapping[str, str], host: str) -> bool:
    """Whether a request that changes something comes from a page of this server, as far as the browser says.

    Args:
        headers: the request's. host: the requested host, with its port.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("Origin")
    if origin is None:
        return True  # a program, not a page: it has nobody else's cookie
    hosts = {host.lower(), headers.get("X-Forwarded-Host", "").split(",")[0].strip().lower()}
    return urlsplit(origin).netloc.lower() in hosts - {""}


def _gate(settings: Settings) -> Response | None:
    bound = request.environ.get("SERVER_NAME", "")
    if request.path in ("/health", "/ready") or answers_for(request.host, bound, settings.host, settings.hosts):
        return None
    text = (
        f"This server does not answer for the host {request.host!r}. If that is its name, start it with "
        "DASHBOARD_HOSTS set to that name (several with commas between, * for any)."
    )
    return Response(text, 421, mimetype="text/plain")


# visitors


def asker(visitors: VisitorLists | None) -> str:
    """The identity of the requester, for turns and shares: the visitor, or else the request's address."""
    visitor = None if visitors is None else visitors.visitor_in(request.cookies)
    return visitor or f"at {request.remote_addr}"


def own_json(asked: Request, needs_json: bool) -> dict[str, Any]:
    """The JSON of a request from a page of this server; {} if no JSON is needed."""
    if not from_own_page(dict(asked.headers), asked.host):
        raise BadRequestError(
            "This did not come from this server's own page. Reload the page; behind a proxy, whoever runs it must "
            "pass on the "
            "browser's Host with its port."
        )
    try:
        raw = asked.get_json(silent=True) if needs_json and asked.is_json else {}
    except RecursionError:  # brackets nested too deeply
        raw = None
    if not isinstance(raw, dict) or (needs_json and not raw):
        raise BadRequestError("Send JSON (Content-Type: application/json) with name or pinned.")
    return raw


def _introduce(response: Response, visitors: VisitorLists, path: str) -> Response:
    """Give a new browser its visitor's name, and renew the name of a known one."""
    if request.path.endswith(FIRST_REQUEST) and response.status_code == 200:
        try:
            cookie = visitors.cookie_of(visitors.visitor_in(request.cookies) or new_visitor())
        except OSError:  # perhaps a full disk: a page without a list of runs is better than none
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


# headers


def security_policy(script_hashes: Sequence[str], ancestors: Sequence[str] = ()) -> str:
    """Content-Security-Policy: nothing from another host, and no other site's page around this one except `ancestors`.

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


def _finish(response: Response, policy: str, embedded: bool) -> Response:
    """Set the security headers. A run's address is all it takes to read the run, so other sites must neither learn nor
    load it."""
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Permissions-Policy", PERMISSIONS)
    response.headers.setdefault("Cross-Origin-Resource-Policy", "cross-origin" if embedded else "same-origin")
    # elsewhere, browsers ignore it with a warning
    if not embedded and (is_encrypted(request) or is_loopback(host_name(request.host))):
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    if request.path.endswith("favicon.ico"):  # otherwise a browser requests it again whenever the address changes
        response.headers["Cache-Control"] = "public, max-age=86400"
    return response
