"""`worker`: the process that holds the models, beside web processes that are started elsewhere."""

from __future__ import annotations

import argparse
from typing import Any

from dashboard.cli._device import check_device
from dashboard.cli._steps import EXIT_CODES_OF_SERVICES
from dashboard.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    worker = commands.add_parser(
        "worker",
        help="the worker alone, beside web processes started elsewhere",
        description="Start the processes that hold models and replace them when they end (the Procfile's "
        "worker: line). It must see the same DASHBOARD_CACHE_DIR as the web processes.",
        epilog=EXIT_CODES_OF_SERVICES,
    )
    worker.add_argument("--parent", type=int, help="process id; end when that process does")
    worker.set_defaults(command=_worker)


def _worker(settings: Settings, parsed: argparse.Namespace) -> int:
    from dashboard.jobs.supervisor import run_worker
    from dashboard.settings import make_folders

    check_device(settings)
    make_folders(settings)
    run_worker(settings, parent=parsed.parent)
    return 0
