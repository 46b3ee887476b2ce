"""A real nginx in front of a server, with a configuration of the tests' or of the documentation."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
LEFT = 499  # nginx's own status of a request whose sender has gone
PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Nginx:
    """An nginx that runs: its port, and the log of what it answered, as "STATUS ADDRESS" lines."""

    port: int
    log: Path

    def failed(self) -> list[str]:
        """What it answered with an error; not what a browser left before it was answered."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if int(line[:3]) >= 400 and int(line[:3]) != LEFT]


def program() -> str:
    own = ROOT / ".venv" / "nginx" / "usr" / "sbin" / "nginx"
    found = os.environ.get("NGINX") or shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    return found or str(own)


@contextmanager
def in_front(servers: str, port: int, folder: Path) -> Iterator[Nginx]:
    """Run nginx with these `server` blocks, which listen on `port`, until the block ends; `nginx -t` must accept them.

    Args:
        servers: as they stand in a conf.d file. folder: for its files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = "".join(f"{name}_temp_path {folder / name};\n" for name in TEMPORARY)
    log = folder / "access.log"
    whole = (
        f"daemon off;\npid {folder / 'pid'};\nevents {{}}\nhttp {{\n"
        f"log_format short '$status $request_uri';\naccess_log {log} short;\n{paths}{servers}\n}}\n"
    )
    (folder / "nginx.conf").write_text(whole, encoding="utf-8")
    command = [program(), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    if os.geteuid() == 0:
        command += ["-g", f"user {os.environ.get('USER') or 'root'};"]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert tried.returncode == 0, tried.stderr
    process = subprocess.Popen(command)
    try:
        _wait_for(port, process)
        yield Nginx(port, log)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "nginx ended by itself"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not answer")


def location(path: str, target: int, keeps: bool) -> str:
    """A `location` that passes on what is asked below `path`, with the path or without it."""
    return (
        f"location {path} {{\n"
        f"proxy_pass http://127.0.0.1:{target}{'' if keeps else '/'};\n"
        "proxy_http_version 1.1;\nproxy_set_header Host $http_host;\nproxy_set_header Connection '';\n"
        "proxy_set_header X-Forwarded-Proto $scheme;\n}\n"
    )
