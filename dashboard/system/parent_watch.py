"""Ending a child process with its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

DIE_WITH_PARENT = 1  # Linux: prctl(PR_SET_PDEATHSIG, …)


def end_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """End this process by a signal when `parent` ends, in whatever way; at once if it has already ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(DIE_WITH_PARENT, by, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
