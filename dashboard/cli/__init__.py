"""The command line: `python -m dashboard COMMAND`. Each command is one module of this package, found by discovery
(modules whose names begin with _ are not commands).

A command's module has a function `add(commands)` that adds a parser to argparse's subparsers. The parser's default
`command` is called with (settings, parsed arguments) and returns the exit code. It imports torch, dash and the like
only when it is called, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboard.cli._steps import EXIT_CODES, STOPPED
from dashboard.errors import DashboardError, UsageError
from dashboard.settings import Settings

COMMAND = "transformer-dashboard"  # the same as in pyproject.toml
EPILOG = f"{EXIT_CODES} Settings are environment variables; docs/settings.md lists them."
PIPE_CLOSED = 141  # a shell's exit code for a program ended by SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. A `DashboardError` prints one line on standard error and gives exit code 1, a `UsageError` 2."""
    parsed = make_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    try:
        code = int(parsed.command(Settings.from_env(), parsed))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of the output has had enough: `… models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except DashboardError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED


def _called_as() -> str:
    """The program's name as it was typed: an installed package has its own."""
    typed = Path(sys.argv[0]).stem
    return typed if typed == COMMAND else "python -m dashboard"


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands, in the order of their names."""
    parser = argparse.ArgumentParser(prog=_called_as(), description="See what a transformer is doing.", epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        if not found.name.startswith("_"):
            importlib.import_module(f"{__name__}.{found.name}").add(commands)
    return parser
