"""What comes from others, models and tokenizers above all, takes no page, no start and no other model with it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import dashboard.web.app
from dashboard.catalog.description import NOT_YET
from dashboard.errors import BadTextError, ForeignFileError, ModelError, TextTooLongError, UnsupportedModelError
from dashboard.settings import Settings
from dashboard.web.app import create_app
from dashboard.web.serving import web_command
from tests.support.hostile import DEVICES, FOLDERS, GGUF_FILES, STRANGE_NAMES, good_model, word_tokenizer

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

    def patient(self, path: str) -> tuple[int, str]:
        """`ask`, once more where the connection breaks, as a browser does."""
        try:
            return self.ask(path)
        except OSError:
            return self.ask(path)

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

    def start(
        environment: dict[str, str] | None = None, application: str = "dashboard.web.wsgi:server", **values: Any
    ) -> Web:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        settings = Settings(port=port, cache_dir=tmp_path / "cache", **values)
        command = [application if part == "dashboard.web.wsgi:server" else part for part in web_command(settings)]
        paths = {
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "PYTHONPATH": str(ROOT),
        }
        with (tmp_path / "server.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **settings.to_env(), **paths, **(environment or {})},
                stdout=log,
                stderr=log,
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
        while NOT_YET in page:  # "reload the page in a moment"
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


def test_a_web_process_that_holds_too_much_is_replaced_and_nobody_loses_an_answer(serve: Callable[..., Web]) -> None:
    web = serve(application="tests.support.greedy_wsgi:application", web_gigabytes=0.4, web_processes=1)
    slow: list[tuple[int, str]] = []
    tries: list[int] = []
    done = threading.Event()

    def ask_all_the_while() -> None:
        while not done.is_set():
            for attempt in range(1, 4):
                try:
                    assert web.ask("/health")[0] == 200
                    tries.append(attempt)
                    break
                except OSError:
                    continue
            else:
                tries.append(99)

    asking = threading.Thread(target=ask_all_the_while)
    waiting = threading.Thread(target=lambda: slow.append(web.ask("/slow")))
    asking.start()
    before = web.ask("/grow")[1]
    for _ in range(5):
        web.ask("/grow")
    waiting.start()
    deadline = time.monotonic() + PATIENCE
    while web.patient("/slow")[1] == before:
        assert time.monotonic() < deadline
    waiting.join()
    done.set()
    asking.join()
    assert [status for status, _pid in slow] == [200]
    assert max(tries) <= 2, "at most one more try"
    assert web.process.poll() is None
    assert web.ask("/ready")[0] == 200


def test_four_requests_full_of_brackets_freeze_nobody(serve: Callable[..., Web], tmp_path: Path) -> None:
    models = Path(os.environ.get("DASHBOARD_MODELS_DIR") or Path.home() / ".cache" / "transformer-dashboard" / "models")
    hostile = good_model(tmp_path / "weights" / "hostile")
    pattern = {"type": "Split", "pattern": {"Regex": r"\[[^\]]+]"}, "behavior": "Isolated", "invert": False}
    (hostile / "tokenizer.json").write_text(json.dumps(word_tokenizer(pre_tokenizer=pattern)))
    panicking = good_model(tmp_path / "weights" / "panicking")
    pattern = {**pattern, "pattern": {"Regex": "(a+)+$"}}
    (panicking / "tokenizer.json").write_text(json.dumps(word_tokenizer(pre_tokenizer=pattern)))
    web = serve(models_dir=models, model_folders=(tmp_path / "weights",), web_processes=1, web_threads=4)
    pid = {child.pid for child in psutil.Process(web.process.pid).children()}
    texts = {
        "rxnmapper": "[" * 262_144,
        "folder:weights/hostile": "[" * 3_000,
        "folder:weights/panicking": "a" * 40 + "b",
    }
    answers: list[tuple[int, str]] = []
    for model, text in texts.items():
        body = {"model": model, "text": text}
        threads = [threading.Thread(target=lambda body=body: answers.append(web.ask("/count", body))) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert web.ask("/health")[0] == 200
        for thread in threads:
            thread.join()
    assert {status for status, _text in answers} == {200}
    brackets = web.ask("/count", {"model": "rxnmapper", "text": "[" * 30_000})
    assert brackets == (200, '{"tokens":30002}\n')
    assert {child.pid for child in psutil.Process(web.process.pid).children()} == pid, "no web process ended"


@pytest.mark.parametrize(
    "name", ["folder:weights/" + "x/" * 50_000, "x/" * 50_000, "x" * 100_000, "folder:" + "a" * 900 + "/.." * 30]
)
def test_names_of_any_length_and_depth_cost_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "weights").mkdir()
    settings = Settings(cache_dir=tmp_path / "cache", model_folders=(tmp_path / "weights",))
    client = create_app(settings).server.test_client()
    reply = client.post("/count", json={"model": name, "text": "a"})
    assert reply.status_code == 404
    assert len(reply.get_data()) < 600
    tracemalloc.start()
    try:
        for _ in range(20):
            client.post("/count", json={"model": name, "text": "a"})
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_what_a_run_refuses_is_not_counted_either(tmp_path: Path) -> None:
    FOLDERS["layers"](good_model(tmp_path / "weights" / "bad"))
    settings = Settings(cache_dir=tmp_path / "cache", model_folders=(tmp_path / "weights",))
    reply = (
        create_app(settings).server.test_client().post("/count", json={"model": "folder:weights/bad", "text": "one"})
    )
    assert (reply.status_code, "1,000,000 for n_layer" in reply.get_data(as_text=True)) == (404, True)


def test_a_page_that_cannot_be_made_is_told_by_ready_and_not_by_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(Settings(cache_dir=tmp_path / "cache")).server.test_client()
    assert (client.get("/ready").status_code, client.get("/ready").get_json()["reason"]) == (200, "")
    assert client.get("/ready", headers={"Host": "10.1.2.3"}).status_code == 200, (
        "a monitor need not know the server's name"
    )

    def broken(*_arguments: object) -> None:
        raise TypeError("/secret/path")

    monkeypatch.setattr(dashboard.web.app, "layout", broken)
    reply = client.get("/ready")
    assert reply.status_code == 503
    assert reply.get_json()["reason"] == "The page could not be built (TypeError). The server's log has the details."
    assert client.get("/health").get_json()["status"] == "ok"


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("another-pipe", ForeignFileError, "generation_config.json is a named pipe, not a file"),
        (
            "layers",
            UnsupportedModelError,
            "bad cannot be loaded: its configuration says 1,000,000 for n_layer; at most 1,000 are",
        ),
        (
            "index-bomb",
            ModelError,
            "The weights of bad cannot be read (A file of this model cannot be used: the indexes of its",
        ),
        (
            "index-old-texts",
            ModelError,
            "The weights of bad cannot be read (A file of this model cannot be used: the indexes of",
        ),
    ],
)
def test_a_spoiled_model_holds_no_worker(tmp_path: Path, name: str, error: type[ModelError], sentence: str) -> None:
    from dashboard.capture.loader import load_model  # torch, in these tests alone

    FOLDERS[name](good_model(tmp_path / "bad"))
    with pytest.raises(ModelError, match=re.escape(sentence)) as caught:
        load_model(tmp_path / "bad", settings=Settings(cache_dir=tmp_path / "cache"))
    assert caught.type is error


@pytest.mark.parametrize("adapter", [os.mkfifo, lambda path: path.write_text("[" * 100_000)])
def test_an_adapters_settings_hold_no_worker(tmp_path: Path, adapter: Callable[[Path], object]) -> None:
    """Beside a whole model, and alone in a folder that is asked for by its path."""
    from dashboard.capture.loader import load_model

    adapter(good_model(tmp_path / "whole") / "adapter_config.json")
    (tmp_path / "alone").mkdir()
    adapter(tmp_path / "alone" / "adapter_config.json")
    (tmp_path / "alone" / "adapter_model.bin").touch()
    for name in ("whole", "alone"):
        with pytest.raises(
            ModelError,
            match=r"named pipe|is an adapter|an adapter \(unknown kind\) is in the same folder as its weights",
        ):
            load_model(tmp_path / name, settings=Settings(cache_dir=tmp_path / "cache"))


def tiny_gpt2(folder: Path, **tokenizer: Any) -> Path:
    """A model that can be run, with a tokenizer of whole words; `tokenizer` takes the place of parts of it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=5, n_embd=8, n_layer=1, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(word_tokenizer(**tokenizer)))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def test_a_tokenizer_that_gives_up_is_a_sentence_in_python_and_on_the_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.capture.capture import capture_run
    from dashboard.capture.loader import load_model
    from dashboard.cli import main

    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$| "}, "behavior": "Isolated", "invert": False}
    folder = tiny_gpt2(tmp_path / "model", pre_tokenizer=pattern)
    loaded = load_model(folder, settings=Settings(cache_dir=tmp_path / "cache"))
    with pytest.raises(BadTextError, match=r"gave up on this text .*Try another text"):
        capture_run(loaded, "a" * 40 + "b")
    assert len(capture_run(loaded, "one two")) == 3
    monkeypatch.setenv("DASHBOARD_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "texts.txt").write_text("one\n" + "a" * 40 + "b\ntwo\n")
    arguments = [
        "analyse",
        "--model",
        str(folder),
        "--file",
        str(tmp_path / "texts.txt"),
        "--out",
        str(tmp_path / "out.csv"),
    ]
    assert main(arguments) == 3, "the other texts are done"
    assert "gave up on this text" in capsys.readouterr().err


def test_a_tokenizer_that_adds_a_million_tokens_is_refused_before_they_are_aligned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.capture import tokens
    from dashboard.capture.capture import capture_run
    from dashboard.capture.loader import load_model

    added = {"id": "x", "ids": [0] * 1_000_000, "tokens": ["x"] * 1_000_000}
    single = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "x", "type_id": 0}}]
    template: dict[str, Any] = {"type": "TemplateProcessing", "single": single, "special_tokens": {"x": added}}
    folder = tiny_gpt2(
        tmp_path / "model", post_processor={**template, "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}]}
    )
    loaded = load_model(folder, settings=Settings(cache_dir=tmp_path / "cache"))
    monkeypatch.setattr(tokens, "_align", None)
    with pytest.raises(TextTooLongError, match=r"1,000,001 tokens; model takes at most 64"):
        capture_run(loaded, "one")
    with pytest.raises(TextTooLongError, match=r"5,000 characters; model takes at most 64 tokens"):
        capture_run(loaded, "x" * 5_000)


NO_TOKENIZER = "model has no tokenizer that can be loaded here ("


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        ("[" * 100_000 + "]" * 100_000, ModelError, "The files of model cannot be read (RecursionError: "),
        ('{"max_length": 1e400}', UnsupportedModelError, NO_TOKENIZER),
        ("5", UnsupportedModelError, NO_TOKENIZER),
        ("{", UnsupportedModelError, NO_TOKENIZER),
    ],
)
def test_what_transformers_makes_of_strange_files_is_said_to_be_theirs(
    tmp_path: Path, content: str, error: type[ModelError], sentence: str
) -> None:
    from dashboard.capture.loader import load_model

    folder = tiny_gpt2(tmp_path / "model")
    (folder / "special_tokens_map.json").write_text(content)
    (folder / "generation_config.json").write_text(content)
    with contextlib.suppress(ModelError):  # or it does not read that file
        load_model(folder, settings=Settings(cache_dir=tmp_path / "cache"))
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        load_model(folder, settings=Settings(cache_dir=tmp_path / "cache"))
    assert type(caught.value) is error
    assert str(caught.value).startswith(sentence)
