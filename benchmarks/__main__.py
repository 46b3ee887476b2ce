"""Every table in turn: `python -m benchmarks [--quick] [--only capture|gpu|lens|views|interaction|tabs|serving]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

QUICK = {
    "capture": ["--rounds", "1", "--sizes", "32", "--own", "32", "--long", "256"],
    "gpu": ["--rounds", "1", "--sizes", "32", "--no-tests"],
    "lens": ["--rounds", "1", "--sizes", "18"],
    "views": ["--rounds", "1", "--sizes", "16"],
    "interaction": ["--quick"],
    "tabs": ["--quick"],
    "serving": ["--quick"],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, each measured in a process of its own. A goal that is missed is no error; a broken benchmark
    is."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What the dashboard costs, beside the goals."
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smoke test: smallest size, few repetitions; figures mean little"
    )
    parser.add_argument("--only", choices=tuple(QUICK), help="one table")
    chosen = parser.parse_args(arguments)
    subprocess.run([sys.executable, "-m", "benchmarks.machine"], check=True)
    worst = 0
    for name, quick in QUICK.items():
        if chosen.only in (None, name):
            print(f"\n== {name} ==", flush=True)
            command = [sys.executable, "-m", f"benchmarks.{name}", *(quick if chosen.quick else [])]
            worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
