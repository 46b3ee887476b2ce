"""Who may ask: hosts that this server answers for, and pages that may change something. Plain values, no web
framework."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost", "*.localhost")


def host_name(raw: str) -> str:
    """The name of a Host header or an origin's `host:port`: without port and brackets, in small letters."""
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
    """What is read of a request."""

    @property
    def is_secure(self) -> bool: ...

    @property
    def headers(self) -> Any: ...


def is_encrypted(asked: _Asked) -> bool:
    """Whether the browser's connection is encrypted, as far as this server or the proxy in front of it says."""
    return asked.is_secure or asked.headers.get("X-Forwarded-Proto") == "https"


def answers_for(raw: str, bound: str, host: str, allowed: str | None) -> bool:
    """Whether this server answers a request for a host.

    A page elsewhere can give its own name this machine's address after it was loaded (DNS rebinding), and then read
    what the server says; the name in the request gives it away. A server of this machine alone answers for this
    machine's names; one that others reach cannot know its names, and answers for all unless it is told.

    Args:
        raw: the request's Host header. bound: the address that the server listens on. host: the HOST setting.
        allowed: the DASHBOARD_HOSTS setting: names with commas between, `*.team.example` for every name below, `*` for
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
        headers: the request's. host: the host that it was sent to, with its port.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("Origin")
    if origin is None:
        return True  # a program, not a page: it has no one else's cookie
    hosts = {host.lower(), headers.get("X-Forwarded-Host", "").split(",")[0].strip().lower()}
    return urlsplit(origin).netloc.lower() in hosts - {""}
