"""WSGI middleware that serves the application below a path of its host, behind a proxy that may or may not strip the
path.

The browser knows the path (`requests_pathname_prefix`) and sends requests below it; the application answers as if it
were at "/".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def below(application: Wsgi, path: str) -> Wsgi:
    """Serve `application` with or without `path` ("/tools/dash/") in front; "/tools/dash" redirects to "/tools/dash/".

    WSGI's SCRIPT_NAME holds the path either way, so the application's own addresses include it.
    """
    script = path.rstrip("/")
    if not script:
        return application

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = environ.get("PATH_INFO", "")
        if asked == script:
            query = environ.get("QUERY_STRING", "")
            location = f"{path}?{query}" if query else path
            start_response("308 Permanent Redirect", [("Location", location), ("Content-Length", "0")])
            return []
        rest = asked.removeprefix(script) if asked.startswith(path) else asked
        return application({**environ, "SCRIPT_NAME": script, "PATH_INFO": rest}, start_response)

    return answer
