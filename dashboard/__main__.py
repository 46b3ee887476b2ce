"""The shell: `python -m dashboard serve | worker | models`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

from dashboard.errors import DashboardError
from dashboard.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a `DashboardError` is one line on standard error and exit code 1."""
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    try:
        return int(parsed.command(Settings.from_env(), parsed))
    except DashboardError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dashboard", description="See what a transformer is doing.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="the page and its worker together", description="Serve the page with one worker.")
    serve.add_argument("--host", help="address to serve on (HOST)")
    serve.add_argument("--port", type=int, help="port to serve on (PORT)")
    serve.set_defaults(command=_serve)
    worker = commands.add_parser("worker", help="the worker alone, beside web processes started elsewhere")
    worker.add_argument("--parent", type=int, help="end when this process does")
    worker.set_defaults(command=_worker)
    models = commands.add_parser("models", help="list the models, or fetch the bundled ones")
    models.add_argument("action", nargs="?", choices=("list", "fetch"), default="list")
    models.set_defaults(command=_models)
    return parser


def _serve(settings: Settings, parsed: argparse.Namespace) -> int:
    from dashboard.serving import serve

    chosen = {name: getattr(parsed, name) for name in ("host", "port") if getattr(parsed, name) is not None}
    return serve(replace(settings, **chosen), lambda line: print(line, flush=True))


def _worker(settings: Settings, parsed: argparse.Namespace) -> int:
    from dashboard.jobs.supervisor import run_worker
    from dashboard.settings import make_folders

    make_folders(settings)
    run_worker(settings, parent=parsed.parent)
    return 0


def _models(settings: Settings, parsed: argparse.Namespace) -> int:
    if parsed.action == "fetch":
        from dashboard.models.bundled import fetch_bundled

        fetch_bundled(settings, lambda line: print(line, flush=True))
        return 0
    from dashboard.models.catalog import Catalog

    for entry in Catalog(settings).entries():
        shape = f"{entry.layers} layers × {entry.heads} heads"
        print(f"{entry.name:34} {entry.kind:8} {shape:24} {entry.parameters / 1e6:8.1f} M  {entry.note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
