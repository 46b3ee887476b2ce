"""What one capture takes of memory, in a process of its own: `python -m benchmarks.memory MODEL TOKENS` prints one
line."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.capture import text_of
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import load_model


def main() -> None:
    """N, kept MiB, KiB a token, peak above the loaded model, and what all attention weights in float32 would take."""
    name, size = sys.argv[1], int(sys.argv[2])
    loaded = load_model(name)
    capture_run(loaded, "One short text first, so that what is made once does not count.")
    text = text_of(loaded, size)
    before = forget_peak()
    run = capture_run(loaded, text)
    kept = sum(values.nbytes for values in run.arrays.values()) / 2**20
    count = len(run)
    stored = run.model.layers * run.model.heads * count**2 * 4 / 2**20
    print(f"{count:>6} {kept:>9.1f} {1024 * kept / count:>12.1f} {peak() - before:>25.0f} {stored:>30,.0f}", flush=True)


def forget_peak() -> float:
    """Begin to look for the peak anew (Linux, proc_pid_clear_refs(5)): what the process holds now, MiB.

    `getrusage` cannot be asked: its peak is handed on by the process that started this one.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def peak() -> float:
    """The most memory that this process has held, MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


if __name__ == "__main__":
    main()
