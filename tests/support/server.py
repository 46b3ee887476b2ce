"""A real server for the browser's tests: `python -m dashboard serve`, with a cache folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from dashboard.catalog.bundled import BUNDLED
from dashboard.catalog.catalog import Catalog
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.system.parent_watch import end_with

ROOT = Path(__file__).resolve().parents[2]
IN_THE_WORKER = Path(__file__).resolve().parent / "in_the_worker"
PATIENCE = 90.0
NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9"}


@dataclass(frozen=True)
class Server:
    """`python -m dashboard serve`, with a cache folder of its own."""

    settings: Settings
    process: subprocess.Popen[bytes]
    store: RunStore
    catalog: Catalog

    @property
    def held_runs(self) -> Path:
        """The folder that says which runs are held (in_the_worker/)."""
        return self.settings.cache_dir / "held"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}/"

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.address + "health", timeout=5) as reply:
            return dict(json.load(reply))

    def wait_until_ready(self) -> None:
        """Until the page answers and the worker holds its model."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the server ended by itself"
            try:
                if self.health()["worker"] == "ready":
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("no worker became ready")

    def worker_processes(self) -> list[psutil.Process]:
        """The children that hold models and compute."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in family if any("spawn_main" in part for part in child.cmdline())]

    def key_of(self, model: str, text: str) -> str:
        return RunRequest(model, text).key(self.catalog.fingerprint(ModelRequest(model)))

    def run_of(self, model: str, text: str) -> ModelRun:
        """The stored run of a text."""
        return self.store.open(self.key_of(model, text))

    @contextmanager
    def holding(self, text: str, model: str = "smollm2-135m") -> Iterator[Path]:
        """Meanwhile a run of this text is held in the middle, as if it took long; or until the file that is given is
        removed."""
        held = self.held_runs / self.key_of(model, text)
        held.touch()
        try:
            yield held
        finally:
            held.unlink(missing_ok=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_models_folder(folder: Path) -> Path:
    """A models folder with links to the bundled models, so that what a test converts is gone with the test."""
    models, found = folder / "models", Settings.from_env().models_folder
    models.mkdir()
    for bundled in BUNDLED:
        (models / bundled.name).symlink_to(found / bundled.name)
    if (found / ".fingerprints.json").is_file():
        shutil.copy(found / ".fingerprints.json", models)
    return models


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    (folder / "weights").mkdir()
    settings = Settings(
        port=free_port(),
        cache_dir=folder,
        models_dir=own_models_folder(folder),
        model_folders=(folder / "weights",),
        worker_threads=1,
    )
    (folder / "held").mkdir()
    environment = {**os.environ, **NO_HUB, "HF_HUB_CACHE": str(folder / "hub"), **settings.to_env()}
    environment |= {"PYTHONPATH": os.pathsep.join([str(IN_THE_WORKER), str(ROOT)]), "HELD_RUNS": str(folder / "held")}
    command = [sys.executable, "-m", "dashboard", "serve"]
    with (folder / "server.log").open("wb") as log:
        dies_too = partial(end_with, os.getpid(), signal.SIGTERM)
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, preexec_fn=dies_too)
        server = Server(settings, process, RunStore.from_settings(settings), Catalog(settings))
        try:
            server.wait_until_ready()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()
