"""`models` on the shell, and downloads: from a small hub that is served here, with progress, cancel and a network that is off."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from test_gguf import write_gguf
from tiny_models import tiny

from dashboard.contracts.job import Progress
from dashboard.errors import JobCancelledError, ModelError, ModelTooLargeError
from dashboard.models import memory, transfer
from dashboard.models.catalog import Catalog
from dashboard.models.loader import load_model
from dashboard.settings import Settings
from dashboard.shell import main

pytestmark = pytest.mark.integration
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny"


class Hub(ThreadingHTTPServer):
    """The two answers of the hub that a download needs: what a model holds, and each file."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.going = threading.Event()  # cleared: the second half of the weights is held back
        self.going.set()
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self.server.files.items()]
            self._send(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode(), {})
        elif path.startswith(f"/{NAME}/resolve/{COMMIT}/") and path.rpartition("/")[2] in self.server.files:
            content = self.server.files[path.rpartition("/")[2]]
            self._send(content, {"ETag": f'"{hash(content) & 0xFFFFFFFF:x}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_error(404)

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0] or 0)
        self.send_response(206 if start else 200)
        for name, value in {**headers, "Content-Length": str(len(content) - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = max(start, len(content) // 2)
        self.wfile.write(content[start:half])
        self.wfile.flush()
        if "model.safetensors" in self.path:
            self.server.going.wait(20)
        try:
            self.wfile.write(content[half:])
        except OSError:
            self.close_connection = True  # the other side has left

    def log_message(self, *_args: Any) -> None:
        return None


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    loaded = tiny("gpt2")
    loaded.model.save_pretrained(tmp_path / "published")
    loaded.tokenizer.save_pretrained(tmp_path / "published")
    server = Hub(tmp_path / "published")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    real = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint=address, token=False))
    monkeypatch.setattr(transfer, "CHUNK", 4096)
    yield server
    server.going.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("DASHBOARD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DASHBOARD_MODEL_FOLDERS", str(tmp_path / "weights"))
    monkeypatch.delenv("DASHBOARD_MODELS_DIR", raising=False)
    (tmp_path / "weights").mkdir()
    return Settings.from_env()


def test_a_hub_model_is_downloaded_with_progress_in_bytes_and_is_then_here(hub: Hub, settings: Settings) -> None:
    steps: list[Progress] = []
    loaded = load_model(NAME, settings, progress=steps.append)
    assert (loaded.info.name, loaded.info.layers, loaded.info.heads) == (NAME, 2, 4)
    fetched = [step for step in steps if step.phase == "fetch"]
    assert fetched[0].message == f"Looking for {NAME} on the hub"
    wanted = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    total = sum(len(content) for name, content in hub.files.items() if name in wanted)
    assert {step.total for step in fetched[1:]} == {total}
    assert all(0 <= step.done <= total for step in fetched)
    entry = Catalog(settings).admit(NAME)
    assert (entry.here, entry.note, entry.kind, entry.layers) == (True, "in the local cache", "causal", 2)
    asked = len(hub.asked)
    assert load_model(NAME, settings).fingerprint == loaded.fingerprint == Catalog(settings).fingerprint(NAME)
    assert len(hub.asked) == asked  # no network the second time
    assert loaded.source == f"commit {COMMIT}"


def test_a_cancel_during_a_download_is_heeded_though_the_connection_stalls(hub: Hub, settings: Settings) -> None:
    hub.going.clear()

    def cancel(progress: Progress) -> None:
        if progress.done > 0:
            raise JobCancelledError("nobody waits")

    with pytest.raises(JobCancelledError):
        load_model(NAME, settings, progress=cancel)
    assert Catalog(settings).get(NAME).here is False
    hub.going.set()
    deadline = time.monotonic() + 20
    while any(thread.name == "download" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert load_model(NAME, settings).info.layers == 2  # it goes on


def test_too_large_for_memory_or_disk_is_said_before_the_download(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_gigabytes", lambda: 1e-6)
        with pytest.raises(ModelTooLargeError, match="GB are free on the server"):
            load_model(NAME, settings)
    usage = type("Usage", (), {"free": 10})()
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(Exception, match=r"needs 0 MB more, and the disk of the local cache has 0 MB free"):
        load_model(NAME, settings)
    assert [path for path in hub.asked if "/resolve/" in path] == []


def test_fetching_needs_room_on_the_disk_and_none_in_memory(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free_gigabytes", lambda: 0.0)
    assert main(["models", "fetch", NAME]) == 0
    assert "is here" in capsys.readouterr().out
    assert Catalog(settings).get(NAME).here


def test_what_came_of_a_download_needs_no_room_again(
    hub: Hub, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "abc.incomplete").write_bytes(bytes(600))
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "snapshots" / COMMIT / "config.json").write_bytes(bytes(300))
    usage = type("Usage", (), {"free": 100})()
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _path: usage)
    transfer.check_disk(NAME, COMMIT, {"config.json": 300, "model.safetensors": 700})
    with pytest.raises(ModelError, match="the disk of the local cache"):
        transfer.check_disk(NAME, COMMIT, {"config.json": 300, "model.safetensors": 701})


def test_the_shell_lists_fetches_and_removes(
    hub: Hub, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gguf(tmp_path / "weights" / "mine.gguf", "llama")
    capsys.readouterr()
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("folder:weights/mine.gguf"))
    assert "causal" in row
    assert "2 layers × 4 heads" in row
    assert row.endswith("in weights/mine.gguf, converted on first run")
    assert any(line.startswith("gpt2 ") and line.endswith("downloads about 548 MB on first use") for line in lines)

    assert main(["models", "fetch", NAME]) == 0
    out = capsys.readouterr().out
    assert f"Looking for {NAME} on the hub" in out
    assert "tiny is here: " in out
    assert main(["models", "fetch", NAME]) == 0
    assert capsys.readouterr().out.startswith("tiny is here already: ")
    assert main(["models", "fetch", "folder:weights/mine.gguf"]) == 0
    assert "Converting mine.gguf, once" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "in the local cache" in next(line for line in out.splitlines() if line.startswith(NAME))

    assert main(["models", "remove", NAME]) == 1  # no terminal to ask on
    assert "Give --yes" in capsys.readouterr().err
    assert Catalog(settings).get(NAME).here
    assert main(["models", "remove", NAME, "--yes"]) == 0
    assert not Catalog(settings).get(NAME).here
    assert not (tmp_path / "hub" / "models--someone--tiny").exists()
    assert main(["models", "remove", "folder:weights/mine.gguf", "--yes"]) == 0
    assert (tmp_path / "weights" / "mine.gguf").exists()
    assert Catalog(settings).get("folder:weights/mine.gguf").folder is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["models", "remove", "gpt2", "--yes"], "has no files here"),
        (["models", "remove", "folder:weights/own", "--yes"], "delete it yourself"),
        (["models", "fetch", "folder:weights/none"], "no model “weights/none”"),
        (["models", "fetch", "no such model"], "no hub id"),
        (["analyse", "--model", "no such model", "--text", "x", "--out", "x.csv"], "neither a model's name nor a folder"),
        (["models", "fetch", "weights/own"], "Did you mean folder:weights/own?"),
        (["models", "remove", "smolm2-135m"], "Did you mean smollm2-135m?"),
        (["analyse", "--model", "smolm2-135m", "--text", "x", "--out", "x.csv"], "Did you mean smollm2-135m?"),
    ],
)
def test_what_fails_is_one_sentence_and_exit_code_1(
    arguments: list[str], sentence: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = tiny("bert")
    loaded.model.save_pretrained(tmp_path / "weights" / "own")
    loaded.tokenizer.save_pretrained(tmp_path / "weights" / "own")
    capsys.readouterr()
    assert main(arguments) == 1
    said = capsys.readouterr().err.strip()
    assert sentence in said
    assert not any(word in said for word in ("Traceback", "in the list.", "page"))
    assert (tmp_path / "weights" / "own" / "model.safetensors").exists()


def test_bundled_models_that_are_here_are_said_to_be(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dashboard.models.bundled.is_converted", lambda _folder: True)
    assert main(["models", "fetch", "rxnmapper"]) == 0
    assert capsys.readouterr().out == f"RXNMapper is here already: {settings.models_folder / 'rxnmapper'}\n"
    assert main(["models", "fetch"]) == 0
    assert capsys.readouterr().out.count("is here already") == 3


def test_a_reader_that_has_enough_is_no_error(settings: Settings) -> None:
    """`python -m dashboard models | head -1`"""
    command = [sys.executable, "-m", "dashboard", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_wrong_usage_is_exit_code_2(settings: Settings) -> None:
    for arguments in (["models", "remove"], ["models", "delete", "x"], ["model"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
