"""`python -m dashboard serve`: web process and worker together, for one person; both end with this process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dashboard.catalog.bundled import FETCH
from dashboard.catalog.catalog import Catalog
from dashboard.errors import SettingsError
from dashboard.settings import Settings, make_folders
from dashboard.system.parent_watch import end_with

log = logging.getLogger(__name__)
PATIENCE = 60.0  # seconds for the page to come up
ENDING = 8.0  # seconds that web process and worker have to end
FIRST_WAIT = 1.0  # seconds before a worker that ended is restarted
LONGEST_WAIT = 10.0  # the longest such wait for a worker that keeps ending
LONG_LIFE = 60.0  # seconds after which a worker that ends does not count as one that keeps ending


def location(settings: Settings) -> str:
    """`host:port` as in addresses and for gunicorn: with brackets around an IPv6 host."""
    host = bare_host(settings)
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


def bare_host(settings: Settings) -> str:
    """The host in the form that sockets take: without brackets."""
    return settings.host.removeprefix("[").removesuffix("]")


def check_port(settings: Settings) -> None:
    """Raise `SettingsError` if the port cannot be used."""
    host = bare_host(settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, settings.port))
        except OSError as error:
            reason = "is in use by another program" if error.errno == 98 else f"cannot be used ({error.strerror})"
            advice = f"Choose another one: PORT={settings.port + 1} make run"
            raise SettingsError(f"Port {settings.port} on {host} {reason}. {advice}") from error


def check_model(settings: Settings) -> None:
    """Raise `SettingsError` if the model to load at the start is a bundled one that has not been fetched."""
    entry = Catalog(settings).get(settings.default_model)
    if entry.source == "bundled" and not entry.here:
        raise SettingsError(
            f"The model {entry.title} is not in {settings.models_folder}. Fetch it ({FETCH}), or name another one: "
            "DASHBOARD_DEFAULT_MODEL=gpt2"
        )


def web_command(settings: Settings) -> list[str]:
    """The command for gunicorn with threads; the Procfile's `web:` line has the same options."""
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "dashboard.web.wsgi:server",
        f"--bind={location(settings)}",
        "--worker-class=dashboard.web.gunicorn_worker.PatientWorker",
        f"--workers={settings.web_processes}",
        f"--threads={settings.web_threads}",
        "--log-level=warning",
        "--keep-alive=30",
        "--no-control-socket",
    ]


@dataclass
class ProcessGroup:
    """The two children of `serve`.

    Attributes:
        started: when the worker was last started. due: when to restart it, while it is not running (both monotonic).
        wait: seconds between its last end and its next start.
    """

    settings: Settings
    say: Callable[[str], None]
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: float = 0.0
    due: float | None = None
    wait: float = 0.0

    def start(self, name: str) -> None:
        command = (  # the children end with this process, so that no server keeps the port
            web_command(self.settings)
            if name == "web"
            else [sys.executable, "-m", "dashboard", "worker", f"--parent={os.getpid()}"]
        )
        environ = {**os.environ, **self.settings.to_env()}
        self.children[name] = subprocess.Popen(
            command, env=environ, start_new_session=True, preexec_fn=partial(end_with, os.getpid(), signal.SIGTERM)
        )

        if name == "worker":
            self.started, self.due = time.monotonic(), None

    def tend_worker(self) -> None:
        """Restart the worker's supervisor if it has ended; one that keeps ending waits longer each time, 1 … 10 s."""
        if self.children["worker"].poll() is None:
            return
        now = time.monotonic()
        if self.due is None:
            kept_ending = now - self.started < LONG_LIFE
            self.wait = min(LONGEST_WAIT, max(FIRST_WAIT, 2 * self.wait)) if kept_ending else FIRST_WAIT
            self.due = now + self.wait
            log.warning("the worker's supervisor ended; another is started in %.0f s", self.wait)
        elif now >= self.due:
            self.start("worker")

    def end(self) -> None:
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + ENDING
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):  # it is stuck in a system call
                    child.wait(ENDING)


def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Serve until interrupted.

    Args:
        settings: where and how. say: prints a line for the person who started it.

    Returns:
        The exit code: 0 after an interrupt, 1 if the web process did not start or ended by itself.

    Raises:
        SettingsError: the port or the cache folder cannot be used, or the model is missing.
    """
    check_port(settings)
    make_folders(settings)
    check_model(settings)
    process_group = ProcessGroup(settings, say)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        process_group.start("worker")
        process_group.start("web")
        return _watch(process_group)
    except KeyboardInterrupt:
        say("Stopping …")
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process_group.end()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _watch(process_group: ProcessGroup) -> int:
    address = f"http://{location(process_group.settings)}/"
    started, up, ready = time.monotonic(), False, False
    while True:
        if process_group.children["web"].poll() is not None:
            process_group.say("The web process ended. Its messages are above.")
            return 1
        process_group.tend_worker()
        if not ready:
            health = _health(address)
            if health and not up:
                up = True
                process_group.say(
                    f"The dashboard is at {address}{process_group.settings.public_path[1:]}  (Ctrl+C stops it)"
                )
            if health and health.get("worker") == "ready":
                ready = True
                on = "".join(f", on {device}" for device in health.get("devices") or [])
                process_group.say(f"Model ready: {', '.join(health.get('models') or [])}{on}")
            if not up and time.monotonic() - started > PATIENCE:
                process_group.say(f"The page did not start within {PATIENCE:.0f} s. The messages above say why.")
                return 1
        time.sleep(1.0 if ready else 0.1)


def _health(address: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(address + "health", timeout=2) as reply:
            return dict(json.load(reply))
    except (OSError, ValueError, urllib.error.URLError):
        return None
