"""What comes from others, models and tokenizers above all, takes no page, no start and no other model with it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from hostile import DEVICES, FOLDERS, GGUF_FILES, STRANGE_NAMES, good_model

import dashboard.app
from dashboard.app import create_app
from dashboard.errors import UnsupportedModelError
from dashboard.models.loader import load_model
from dashboard.serving import web_command
from dashboard.settings import Settings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0


@dataclass
class Web:
    """gunicorn as the Procfile has it, over real HTTP."""

    settings: Settings
    process: subprocess.Popen[bytes]

    def ask(self, path: str, body: Any = None) -> tuple[int, str]:
        """(status, text) of a GET, or of a POST of JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.settings.port}{path}", data)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the web process ended by itself"
            try:
                if self.ask("/health")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("the page did not come up")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """`serve(environment, **settings)` starts gunicorn; it ends with the test."""
    started: list[Web] = []

    def start(environment: dict[str, str] | None = None, application: str = "dashboard.wsgi:server", **values: Any) -> Web:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        settings = Settings(port=port, cache_dir=tmp_path / "cache", **values)
        command = [application if part == "dashboard.wsgi:server" else part for part in web_command(settings)]
        paths = {"HF_HUB_CACHE": str(tmp_path / "hub"), "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
        with (tmp_path / "server.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **settings.to_env(), **paths, **(environment or {})}, stdout=log, stderr=log
            )
        web = Web(settings, process)
        started.append(web)
        web.wait_until_up()
        return web

    yield start
    for web in started:
        web.process.terminate()
        try:
            web.process.wait(40)
        except subprocess.TimeoutExpired:
            web.process.kill()
            web.process.wait()


def spoil_all(root: Path, hub: Path) -> None:
    """Every spoiled model, in a root and in the hub's local cache, beside a good one of each."""
    good_model(root / "good")
    for name, spoil in FOLDERS.items():
        spoil(good_model(root / "spoiled" / name))
    for name, content in GGUF_FILES.items():
        (root / f"{name}.gguf").write_bytes(content)
    os.mkfifo(root / "pipe.gguf")
    for name in STRANGE_NAMES:
        good_model(Path(os.fsdecode(os.fsencode(root) + b"/" + name)))
    for name, spoil in [("good", lambda folder: None), *FOLDERS.items(), *DEVICES.items()]:
        repository = hub / f"models--someone--{name}"
        folder = good_model(repository / "snapshots" / "abc")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
        spoil(folder)


def test_a_server_starts_and_answers_whatever_models_there_are(serve: Callable[..., Web], tmp_path: Path) -> None:
    root = tmp_path / "weights"
    spoil_all(root, tmp_path / "hub")
    for _ in range(2):  # it starts again, too
        web = serve(model_folders=(root,))
        status, page = web.ask("/_dash-layout")
        assert status == 200
        assert web.ask("/")[0] == 200
        assert web.ask("/ready") == (200, web.ask("/ready")[1])
        assert json.loads(web.ask("/ready")[1])["status"] == "ready"
        lines = {line["value"]: line["disabled"] for line in _lines(json.loads(page))}
        assert (lines["folder:weights/good"], lines["someone/good"]) == (False, False)
        assert all(lines[f"folder:weights/spoiled/{name}"] for name in FOLDERS)
        assert all(lines[f"folder:weights/{name}.gguf"] for name in (*GGUF_FILES, "pipe"))
        assert all(lines[f"someone/{name}"] for name in (*FOLDERS, *DEVICES))
        web.process.terminate()
        web.process.wait(40)


def _lines(component: Any) -> list[dict[str, Any]]:
    """The picker's lines, wherever in the page they stand."""
    waiting, found = [component], []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if {"value", "disabled", "search"} <= set(value):
                found.append(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def test_a_page_that_cannot_be_made_is_told_by_ready_and_not_by_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = create_app(Settings(cache_dir=tmp_path / "cache")).server.test_client()
    assert (client.get("/ready").status_code, client.get("/ready").get_json()["reason"]) == (200, "")
    assert client.get("/ready", headers={"Host": "10.1.2.3"}).status_code == 200, "a monitor need not know the server's name"

    def broken(*_arguments: object) -> None:
        raise TypeError("/secret/path")

    monkeypatch.setattr(dashboard.app, "layout", broken)
    reply = client.get("/ready")
    assert reply.status_code == 503
    assert reply.get_json()["reason"] == "The page cannot be made (TypeError). The server's log has the details."
    assert client.get("/health").get_json()["status"] == "ok"


@pytest.mark.parametrize(("name", "reason"), [("another-pipe", "is a named pipe"), ("layers", "1,000,000 for n_layer")])
def test_a_spoiled_model_holds_no_worker(tmp_path: Path, name: str, reason: str) -> None:
    FOLDERS[name](good_model(tmp_path / "bad"))
    with pytest.raises(Exception, match=reason) as caught:
        load_model(tmp_path / "bad", settings=Settings(cache_dir=tmp_path / "cache"))
    assert caught.type is UnsupportedModelError or "pipe" in reason
