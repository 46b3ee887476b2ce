"""`models` on the shell, and downloads: from a small hub that is served here, with progress, cancel and a network that
is off."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants

from dashboard.capture.loader import load_model
from dashboard.catalog import fetch, memory, partial_downloads, transfer
from dashboard.catalog.catalog import Catalog
from dashboard.cli import main
from dashboard.contracts.job import Progress
from dashboard.contracts.request import ModelRequest
from dashboard.errors import HubUnreachableError, JobCancelledError, ModelError, ModelTooLargeError
from dashboard.settings import Settings
from tests.integration.test_gguf import write_gguf
from tests.support.small_hub import COMMIT, NAME, Hub
from tests.support.tiny_models import tiny

pytestmark = pytest.mark.integration


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    loaded = tiny("gpt2")
    loaded.model.save_pretrained(tmp_path / "published")
    loaded.tokenizer.save_pretrained(tmp_path / "published")
    server = Hub(tmp_path / "published")
    address = server.address
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    real = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint=address, token=False))
    monkeypatch.setattr(transfer, "CHUNK", 4096)
    yield server
    server.end()


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
    assert {step.total for step in fetched if step.message.startswith("Downloading")} == {total}
    assert all(0 <= step.done <= total for step in fetched)
    entry = Catalog(settings).admit(NAME)
    assert (entry.here, entry.note, entry.kind, entry.layers) == (True, "in the local cache", "causal", 2)
    asked = len(hub.asked)
    assert (
        load_model(NAME, settings).fingerprint
        == loaded.fingerprint
        == Catalog(settings).fingerprint(ModelRequest(NAME))
    )
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
    wait_for_thread()
    assert load_model(NAME, settings).info.layers == 2  # it goes on


def test_a_download_that_stalls_is_stopped_and_goes_on_the_next_time(hub: Hub, settings: Settings) -> None:
    """A few bytes at a time keep a connection alive, and are as good as none."""
    hub.pace = (50, 0.1)
    hub.going.clear()
    with pytest.raises(
        HubUnreachableError, match=r"The download of someone/tiny stopped at 0 of 0 MB: less than 0.01 MB arrived in"
    ) as caught:
        load_model(NAME, replace(settings, stall_seconds=1.0))
    assert "What has arrived is kept. Try again to continue from there" in str(caught.value)
    assert caught.value.retry
    hub.pace = None
    hub.going.set()
    wait_for_thread()
    assert load_model(NAME, settings).info.layers == 2
    assert max(hub.starts) > 0, "what had come was not asked for again"


def test_a_hub_that_says_nothing_and_one_that_breaks_off_are_told(hub: Hub, settings: Settings) -> None:
    hub.silent = True
    with pytest.raises(HubUnreachableError, match=r"The hub did not say within 0\.5 seconds what someone/tiny holds"):
        load_model(NAME, replace(settings, stall_seconds=0.5))
    hub.silent = False
    hub.breaks = True
    with pytest.raises(HubUnreachableError, match=r"The download of someone/tiny broke off. What has arrived is kept"):
        load_model(NAME, settings)
    hub.breaks = False
    assert load_model(NAME, settings).info.layers == 2


def wait_for_thread() -> None:
    """Until the thread of a transfer that was stopped has ended."""
    deadline = time.monotonic() + 20
    while any(thread.name == "download" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_too_large_for_memory_or_disk_is_said_before_the_download(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_gigabytes", lambda: 1e-6)
        with pytest.raises(ModelTooLargeError, match="GB are free on the server"):
            load_model(NAME, settings)
    usage = SimpleNamespace(free=512_000_010, total=10**12)  # ten bytes beside what stays free
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(
        ModelError, match=r"needs 0 MB on the disk, and the server's disk has 0 MB too little room for it"
    ):
        load_model(NAME, settings)
    assert [path for path in hub.asked if "/resolve/" in path] == []


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "the disk is full. Free some space."),
        (errno.EDQUOT, "the disk is full. Free some space."),
        (errno.EACCES, "(Permission denied). The server is not allowed to read or write one of its files."),
        (errno.EMFILE, "(Too many open files). The server has too many files open."),
        (errno.EIO, "(Input/output error). The server could not read or write one of its files."),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_what_the_disk_refuses_a_download_is_said_as_what_it_is(number: int, told: str, named: bool) -> None:
    error = OSError(number, os.strerror(number), *(["/srv/jane/blob"] if named else []))
    sentence = str(fetch.explained(NAME, None, error))
    if named or number in (errno.ENOSPC, errno.EDQUOT):  # writing to an open file names none
        assert told in sentence
    assert ("Free some space" in sentence) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert "jane" not in sentence


def test_fetching_needs_room_on_the_disk_and_none_in_memory(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free_gigabytes", lambda: 0.0)
    assert main(["models", "fetch", NAME]) == 0
    assert "is here" in capsys.readouterr().out
    assert Catalog(settings).get(NAME).here


def test_what_came_of_a_download_needs_no_room_again(hub: Hub, settings: Settings, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / f"abc{partial_downloads.PART}").write_bytes(bytes(600))
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "snapshots" / COMMIT / "config.json").write_bytes(bytes(300))
    assert transfer.bytes_to_come(NAME, COMMIT, {"config.json": 300, "model.safetensors": 700}) == 100
    assert transfer.bytes_to_come(NAME, COMMIT, {"config.json": 300, "model.safetensors": 500}) == 0


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


def test_the_shell_removes_no_model_that_a_process_has_in_memory(
    hub: Hub, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hub's cache lies outside the cache folder here; a conversion lies in it."""
    write_gguf(tmp_path / "weights" / "mine.gguf", "llama")
    assert main(["models", "fetch", NAME]) == 0
    for name in (NAME, "folder:weights/mine.gguf"):
        loaded = load_model(name, settings)
        assert main(["models", "remove", name, "--yes"]) == 1
        assert "was not deleted: a server or program has" in capsys.readouterr().err
        folder = Catalog(settings).get(name).folder
        assert folder is not None
        assert (folder / "model.safetensors").is_file()
        del loaded
        gc.collect()
        assert main(["models", "remove", name, "--yes"]) == 0
        assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["models", "remove", "gpt2", "--yes"], "has no files here"),
        (["models", "remove", "folder:weights/own", "--yes"], "delete it yourself"),
        (["models", "fetch", "folder:weights/none"], "no model “weights/none”"),
        (["models", "fetch", "no such model"], "nor a hub id"),
        (
            ["analyse", "--model", "no such model", "--text", "x", "--out", "x.csv"],
            "neither a model's name nor a folder",
        ),
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
    monkeypatch.setattr("dashboard.catalog.bundled.is_converted", lambda _folder: True)
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
