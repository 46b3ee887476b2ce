"""`serve`: the page and its worker together."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from dashboard.cli._device import check_device
from dashboard.cli._steps import EXIT_CODES_OF_SERVICES
from dashboard.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    serve = commands.add_parser(
        "serve",
        help="the page and its worker together",
        description="Serve the page with one worker, for one person. Both end with this command (Ctrl+C).",
        epilog=EXIT_CODES_OF_SERVICES,
    )
    serve.add_argument("--host", help="address to serve on (HOST)")
    serve.add_argument("--port", type=int, help="port to serve on (PORT)")
    serve.add_argument(
        "--path",
        dest="public_path",
        help="path of the page's address, where a proxy serves it below one (DASHBOARD_PUBLIC_PATH)",
    )
    serve.set_defaults(command=_serve)


def _serve(settings: Settings, parsed: argparse.Namespace) -> int:
    from dashboard.web.serving import serve

    names = ("host", "port", "public_path")
    chosen = {name: getattr(parsed, name) for name in names if getattr(parsed, name) is not None}
    check_device(settings)
    return serve(replace(settings, **chosen), lambda line: print(line, flush=True))
