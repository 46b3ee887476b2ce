"""A server of the benchmarks' own: the real one, on a free port, with a temporary cache folder and the models that are
here."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.catalog.catalog import Catalog
from dashboard.settings import Settings

MODEL = "smollm2-135m"
READY_SECONDS = 120.0
PHRASE = (
    "the river carried a small boat past an old stone bridge while rain fell on quiet fields and two children watched "
    "from "
    "their window because nobody had told them why light changes before a storm or how far sound can travel over open "
    "water "
    "in winter when every road leads home"
)


@dataclass(frozen=True)
class Server:
    """A running server. Times are `time.monotonic` seconds; `log` is what it prints."""

    address: str
    process: subprocess.Popen[bytes]
    cache: Path
    log: Path
    started: float
    page_up: float
    ready: float


@contextmanager
def served(**environment: str) -> Iterator[Server]:
    """A server with its model in memory; `environment` adds settings."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory(prefix="dashboard-benchmark-") as folder:
        log, cache = Path(folder) / "server.log", Path(folder) / "cache"
        models = str(Settings.from_env().models_folder)
        own = {"DASHBOARD_CACHE_DIR": str(cache), "DASHBOARD_MODELS_DIR": models, "DASHBOARD_DEFAULT_MODEL": MODEL}
        environ = {**os.environ, **own, "HOST": "127.0.0.1", "PORT": str(port), **environment}
        with log.open("wb") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "dashboard", "serve"], env=environ, stdout=output, stderr=output
            )
            try:
                wait_until(lambda: process.poll() is not None or health(address) is not None, READY_SECONDS)
                page_up = time.monotonic()
                wait_until(lambda: process.poll() is not None or is_ready(address), READY_SECONDS)
                if process.poll() is not None or not is_ready(address):
                    raise SystemExit(
                        f"The server did not get ready. It says:\n{log.read_text(errors='replace')[-2000:]}"
                    )
                yield Server(address, process, cache, log, started, page_up, time.monotonic())
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def health(address: str) -> dict[str, Any] | None:
    """What /health says; None where it does not answer."""
    try:
        with urllib.request.urlopen(address + "health", timeout=2) as reply:
            return dict(json.load(reply))
    except (OSError, ValueError):
        return None


def is_ready(address: str) -> bool:
    """Whether the page is up and the model in memory."""
    found = health(address) or {}
    return found.get("worker") == "ready" and MODEL in (found.get("models") or [])


def wait_until(done: Callable[[], bool], seconds: float, step: float = 0.02) -> bool:
    """Whether `done` came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(step)
    return done()


class Texts:
    """Texts of a wanted number of tokens, no two the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self._made = catalog, 0

    def of(self, size: int) -> str:
        """A text of at most `size` tokens, and as near as whole words come."""
        self._made += 1
        chance, known = random.Random(f"{size}-{self._made}"), PHRASE.split()
        words = [f"Number {self._made}:", *(chance.choice(known) for _ in range(size))]
        low, high = 1, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            count = self._catalog.count_tokens(MODEL, " ".join(words[:middle]))
            if count is None:
                raise SystemExit(f"{MODEL} is not here. Run make setup, then try again.")
            low, high = (middle, high) if count <= size else (low, middle - 1)
        return " ".join(words[:low])
