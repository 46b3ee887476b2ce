"""The application below a path of its host, behind a proxy that takes the path away or leaves it: a WSGI layer in front
of it.

A browser is told the path (`requests_pathname_prefix`) and asks below it; the application answers as if it stood at
"/".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def below(application: Wsgi, path: str) -> Wsgi:
    """`application` for requests with and without `path` ("/tools/dash/") in front; "/tools/dash" leads to
    "/tools/dash/".

    WSGI's SCRIPT_NAME has the path either way, so addresses that the application makes have it, too.
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
