"""Jobs for tests of the workers: slow, failing, hanging; each leaves a line in `log.txt` of the cache folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dashboard.contracts.job import Progress
from dashboard.errors import TextTooLongError
from dashboard.jobs.work import Desk, Registry
from dashboard.settings import Settings

Job = Callable[[Mapping[str, Any], Desk], str]


def registry(settings: Settings) -> Registry:
    log = settings.cache_dir / "log.txt"
    jobs = {"slow": slow, "deaf": deaf, "raising": raising, "refusing": refusing, "hungry": hungry, "suicidal": suicidal}
    return Registry({name: _noted(log, name, job) for name, job in jobs.items()})


def crashing(_settings: Settings) -> Registry:
    """A registry that kills its worker before it is ready."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _noted(log: Path, name: str, job: Job) -> Job:
    def noted(payload: Mapping[str, Any], desk: Desk) -> str:
        with log.open("a") as file:
            file.write(f"{name} {desk.key} {os.getpid()}\n")
        return job(payload, desk)

    return noted


def slow(payload: Mapping[str, Any], desk: Desk) -> str:
    """Takes `seconds`, reporting every few milliseconds, and saves an artifact under its key."""
    end, layer = time.monotonic() + float(payload.get("seconds", 0)), 0
    while time.monotonic() < end:
        layer += 1
        desk.progress(Progress("layers", layer, 1000, f"Layer {layer} of 1000"))
        time.sleep(0.005)
    desk.store.save_arrays(f"{desk.key}.done-1", {"a": np.zeros(1)})
    return f"{desk.key}.done-1"


def deaf(_payload: Mapping[str, Any], desk: Desk) -> str:
    """Reports once and never looks again."""
    desk.progress(Progress("layers", 17, 30, "Layer 17 of 30"))
    time.sleep(60)
    return desk.key


def raising(_payload: Mapping[str, Any], _desk: Desk) -> str:
    raise ZeroDivisionError("a defect")


def refusing(_payload: Mapping[str, Any], _desk: Desk) -> str:
    raise TextTooLongError("812 tokens; this server allows 256. Shorten the text.")


def hungry(_payload: Mapping[str, Any], _desk: Desk) -> str:
    raise MemoryError


def suicidal(_payload: Mapping[str, Any], desk: Desk) -> str:
    desk.progress(Progress("layers", 17, 30, "Layer 17 of 30"))
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
    return desk.key
