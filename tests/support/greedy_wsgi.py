"""The whole application, and two addresses beside it: /grow takes 60 MB for good, /slow takes two seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from dashboard.web.wsgi import server

KEPT: list[bytes] = []


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path not in ("/grow", "/slow"):
        return server(environ, start_response)
    if path == "/grow":
        KEPT.append(os.urandom(1000) * 60_000)
    else:
        time.sleep(2)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
