"""Models that are made ready beside the worker: downloads, conversions and checksums hold nobody but who waits for
them.

Everything is real: web processes, a supervisor, a worker with tiny models, and a small hub that sends as slowly as a
test says.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from transformers import LlamaConfig, LlamaForCausalLM

from dashboard.catalog.catalog import Catalog
from dashboard.catalog.gguf_files import converted_folder
from dashboard.contracts.job import Lane
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.jobs.queue import JobQueue
from dashboard.settings import Settings
from dashboard.web.serving import web_command
from tests.integration.test_gguf import with_size, write_gguf
from tests.support.dash_person import Person, health_of
from tests.support.fake_jobs import freeze
from tests.support.small_hub import NAME, Hub
from tests.support.tiny_models import randomised, tokenizer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
QUICK, SLOW, GGUF = "folder:weights/quick", "folder:weights/slow", "folder:weights/mine.gguf"
PATIENCE = 90.0
SLOW_DISK = """
import os, time
if os.environ.get("SLOW_DISK_WHILE"):
    import dashboard.catalog.digests as digests

    def slowly(stream, report, read=digests._read_whole):
        slow = "/slow/" in os.readlink(f"/proc/self/fd/{stream.fileno()}")
        while slow and os.path.exists(os.environ["SLOW_DISK_WHILE"]):
            if report is not None:
                report(0)
            time.sleep(0.02)
        return read(stream, report)

    digests._read_whole = slowly
"""


def llama(folder: Path, **sizes: int) -> Path:
    """A model of 4 MB, or of other sizes."""
    small = {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 512, "num_attention_heads": 4}
    model = randomised(
        LlamaForCausalLM(LlamaConfig(**{**small, "vocab_size": 64, "max_position_embeddings": 64, **sizes}))
    )
    model.save_pretrained(folder)
    tokenizer(False).save_pretrained(folder)
    return folder


@dataclass
class Server:
    """A server in a folder of its own; `slow` is a file: while it is there, the weights in `weights/slow` cannot be
    read on."""

    settings: Settings
    hub: Hub
    slow: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> Server:
        with (self.settings.cache_dir.parent / "server.log").open("ab") as log:
            for command in (web_command(self.settings), [sys.executable, "-m", "dashboard", "worker"]):
                self.processes.append(subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log))
        self.until(lambda: self.health().get("worker") == "ready")
        return self

    def health(self) -> dict[str, Any]:
        return health_of(self.settings.port)

    def person(self) -> Person:
        return Person(self.settings.port).arrive()

    def key(self, model: str, text: str) -> str:
        return RunRequest(model, text).key(Catalog(self.settings).fingerprint(ModelRequest(model)))

    def at_work(self, lane: Lane = "compute") -> list[int]:
        """Process ids of the workers, or of what prepares models now."""
        queue = JobQueue.from_settings(self.settings)
        try:
            return [record.pid for record in queue.worker_table.live(lane)]
        finally:
            queue.close()

    def log(self) -> str:
        return (self.settings.cache_dir.parent / "server.log").read_text()

    def until(self, question: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (answer := question()):
            assert time.monotonic() < deadline, self.log()[-3000:]
            time.sleep(0.05)
        return answer

    def end(self) -> None:
        for process in self.processes:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            for child in [process, *family]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            process.wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("preparation")
    hub = Hub(llama(folder / "published"))
    llama(folder / "weights" / "quick", hidden_size=32)
    llama(folder / "weights" / "slow", hidden_size=256, intermediate_size=2048)  # 30 MB: more than a click reads
    write_gguf(folder / "weights" / "mine.gguf", "llama")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SLOW_DISK)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = Settings(
        port=port,
        cache_dir=folder / "cache",
        model_folders=(folder / "weights",),
        default_model=QUICK,
        worker_threads=1,
        lease_seconds=30.0,
        stall_seconds=8.0,
    )
    environment = {**os.environ, **settings.to_env(), "HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(folder / "hub")}
    environment |= {"HF_HUB_OFFLINE": "0", "SLOW_DISK_WHILE": str(folder / "held")}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), str(ROOT)])
    server = Server(settings, hub, folder / "held", environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        try:
            yield server.start()
        finally:
            hub.end()
            server.end()


@pytest.fixture
def server(whole: Server) -> Iterator[Server]:
    """The server, with a hub of whose model nothing was downloaded."""
    whole.until(lambda: not whole.at_work("prepare"))
    shutil.rmtree(whole.settings.cache_dir.parent / "hub", ignore_errors=True)
    whole.hub.starts.clear()
    whole.hub.sent.clear()
    yield whole
    whole.hub.pace = None
    whole.hub.going.set()
    whole.slow.unlink(missing_ok=True)


def says(person: Person, handle: dict[str, str], beginning: str) -> dict[str, Any]:
    """Poll until the progress says something that begins so; gives it."""
    deadline = time.monotonic() + PATIENCE
    while not person.seen or not person.seen[-1]["message"].startswith(beginning):
        assert person.poll(handle) is None
        assert time.monotonic() < deadline, person.seen[-3:]
        time.sleep(0.05)
    return person.seen[-1]


def test_while_a_model_trickles_in_others_run_and_then_it_runs(server: Server) -> None:
    server.hub.going.clear()
    server.hub.pace = (4096, 0.2)  # 20 kB a second: slow, and no stall
    one, other = server.person(), server.person()
    waiting = one.submit("w1 w2 w3", NAME)
    progress = says(one, waiting, f"Downloading {NAME}: ")
    assert progress["total"] > 4_000_000
    outcome = other.wait(other.submit("w4 w5 w6", QUICK), PATIENCE)
    assert outcome["run"] == server.key(QUICK, "w4 w5 w6")
    assert one.poll(waiting) is None, "the download goes on"
    assert one.seen[-1]["phase"] == "fetch"
    server.hub.going.set()
    assert one.wait(waiting, PATIENCE)["run"] == server.key(NAME, "w1 w2 w3")
    again = one.submit("w7", NAME)
    assert one.wait(again, PATIENCE)["run"] == server.key(NAME, "w7")


def test_a_download_that_stalls_is_told_on_the_page_and_goes_on_with_the_next_run(server: Server) -> None:
    server.hub.going.clear()
    server.hub.pace = (20, 0.1)
    person = server.person()
    outcome = person.wait(person.submit("w1 w2", NAME), PATIENCE)
    assert outcome["error"].startswith(
        f"The download of {NAME} stopped at 2 of 4 MB: less than 0.08 MB arrived in 8 seconds."
    )
    assert "What has arrived is kept. Try again to continue from there" in outcome["error"]
    assert (outcome["retry"], outcome["cancelled"], outcome["kind"]) == (True, False, "HubUnreachableError")
    server.hub.pace = None
    server.hub.going.set()
    assert person.wait(person.submit("w1 w2", NAME), PATIENCE)["run"] == server.key(NAME, "w1 w2")
    assert max(server.hub.starts) > 1_000_000, "what had come was not asked for again"


def test_a_cancel_during_a_download_ends_it_and_leaves_the_worker_alone(server: Server) -> None:
    server.hub.going.clear()
    person, worker = server.person(), server.at_work()
    handle = person.submit("w1 w2", NAME)
    says(person, handle, f"Downloading {NAME}: ")
    assert server.at_work("prepare")
    person.cancel(handle)
    assert person.wait(handle, PATIENCE)["cancelled"]
    server.until(lambda: not server.at_work("prepare"))
    assert person.wait(person.submit("w3", QUICK), PATIENCE)["run"]
    assert server.at_work() == worker


def test_two_who_wait_for_one_model_wait_for_one_download(server: Server) -> None:
    """The first leaves; the second's goes on."""
    server.hub.going.clear()
    one, other = server.person(), server.person()
    first, second = one.submit("w1", NAME), other.submit("w2", NAME)
    says(one, first, f"Downloading {NAME}: ")
    says(other, second, f"Downloading {NAME}: ")
    one.cancel(first)
    assert one.wait(first, PATIENCE)["cancelled"]
    server.hub.going.set()
    assert other.wait(second, PATIENCE)["run"] == server.key(NAME, "w2")
    assert len([path for path in server.hub.sent if path.endswith("model.safetensors")]) == 1
    assert max(server.hub.starts) == 0, "nothing was begun a second time"


def test_a_conversion_is_beside_a_run(server: Server) -> None:
    """Another program converts the same file just now, so that this server's conversion waits for it."""
    folder = converted_folder(server.settings.model_folders[0] / "mine.gguf", server.settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    one, other = server.person(), server.person()
    with FileLock(folder.parent / f".{folder.name}.lock"):
        waiting = one.submit("a b", GGUF)
        server.until(lambda: server.at_work("prepare"))
        assert other.wait(other.submit("w8", QUICK), PATIENCE)["run"] == server.key(QUICK, "w8")
        assert one.poll(waiting) is None
        assert not (folder / "model.safetensors").exists()
    outcome = one.wait(waiting, PATIENCE)
    assert outcome.get("run") == server.key(GGUF, "a b"), (outcome, server.log()[-2000:])


def test_nobody_waits_for_a_checksum_but_who_runs_that_model(server: Server) -> None:
    """A disk that gives nothing: clicks, counts and pages of anyone go on, with that model too; no process reads it for
    them."""
    server.slow.touch()
    one, other = server.person(), server.person()
    waiting = one.submit("w1 w2 w3", SLOW)
    says(one, waiting, "Reading the model's checksum: 0 of 30 MB")
    for model in (QUICK, SLOW):
        code, counted = other.ask("POST", "/count", {"model": model, "text": "w1 w2"})
        assert (code, json.loads(counted)["tokens"]) == (200, 2)
    assert server.person().ask("GET", "/")[0] == 200
    assert other.wait(other.submit("w9", QUICK), PATIENCE)["run"] == server.key(QUICK, "w9")
    assert one.poll(waiting) is None
    server.slow.unlink()
    assert one.wait(waiting, PATIENCE)["run"] == server.key(SLOW, "w1 w2 w3")
    assert one.wait(one.submit("w5", SLOW), PATIENCE)["run"] == server.key(SLOW, "w5")


@pytest.mark.parametrize("stopped_by", [signal.SIGKILL, signal.SIGSTOP])
def test_a_preparation_that_dies_or_freezes_is_told_and_the_workers_stay(
    server: Server, stopped_by: signal.Signals
) -> None:
    """In the middle of a checksum; then the model is run all the same."""
    os.utime(server.settings.model_folders[0] / "slow" / "model.safetensors")  # so that it must be read
    server.slow.touch()
    one, other, workers = server.person(), server.person(), server.at_work()
    text = f"w1 w2 w{3 + (stopped_by == signal.SIGKILL)}"
    waiting = one.submit(text, SLOW)
    says(one, waiting, "Reading the model's checksum: 0 of 30 MB")
    [pid] = server.at_work("prepare")
    if stopped_by == signal.SIGKILL:
        os.kill(pid, stopped_by)
    else:
        freeze(pid, server.settings)
    assert other.wait(other.submit(f"{text} w9", QUICK), PATIENCE)["run"]
    outcome = one.wait(waiting, PATIENCE)
    assert outcome["error"].startswith("The worker stopped while fetching the model, so this run has no result.")
    assert outcome["retry"]
    server.until(lambda: not psutil.pid_exists(pid))
    server.slow.unlink()
    assert one.wait(one.submit(text, SLOW), PATIENCE)["run"] == server.key(SLOW, text)
    assert server.at_work() == workers


ABSURD = {
    "num_hidden_layers": 10**6,
    "hidden_size": 10**9,
    "vocab_size": 10**12,
    "num_experts": 10**8,
    "num_attention_heads": 10**5,
    "intermediate_size": 10**10,
    "max_position_embeddings": 10**15,
}


@pytest.mark.parametrize("size", ABSURD)
def test_absurd_sizes_are_refused_before_the_worker_makes_anything_of_them(server: Server, size: str) -> None:
    """In a folder at the click, and in a model that a hub has just sent when the worker looks at its files."""
    folder = server.settings.model_folders[0] / f"absurd-{size}"
    shutil.copytree(server.settings.model_folders[0] / "quick", folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, size: ABSURD[size]}))
    person, before = server.person(), server.log().count("started, process")
    sent = server.hub.files
    server.hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    try:
        outcomes = [
            person.wait(person.submit("w1", name), PATIENCE) for name in (f"folder:weights/{folder.name}", NAME)
        ]
    finally:
        server.hub.files = sent
        shutil.rmtree(folder)
    for outcome in outcomes:
        assert outcome["kind"] == "UnsupportedModelError"
        assert f"its configuration says {ABSURD[size]:,} for {size}; at most" in outcome["error"]
    assert person.wait(person.submit("w1", QUICK), PATIENCE)["run"]
    assert server.log().count("started, process") <= before + 1, "one for the download; the worker is the same"


HARMFUL = {  # below what a configuration may say; the checkpoint holds nothing of it
    "num_hidden_layers": (1000, "The checkpoint of {title} lacks model.layers."),
    "hidden_size": (8192, "but its configuration asks for"),
    "vocab_size": (20_000_000, "but its configuration asks for"),
    "intermediate_size": (10_000_000, "but its configuration asks for"),
}


@pytest.mark.parametrize("size", HARMFUL)
def test_sizes_that_the_files_do_not_hold_take_no_memory(server: Server, size: str) -> None:
    """The same two ways; the worker that refuses is the same afterwards."""
    value, sentence = HARMFUL[size]
    folder = server.settings.model_folders[0] / f"harmful-{size}"
    shutil.copytree(server.settings.model_folders[0] / "quick", folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, size: value}))
    person, workers = server.person(), server.at_work()
    sent = server.hub.files
    server.hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = {f"folder:weights/{folder.name}": folder.name, NAME: NAME.split("/")[-1]}
    try:
        outcomes = {title: person.wait(person.submit("w1", name), PATIENCE) for name, title in names.items()}
    finally:
        server.hub.files = sent
        shutil.rmtree(folder)
    for title, outcome in outcomes.items():
        assert outcome["kind"] == "ModelError", outcome
        assert sentence.format(title=title) in outcome["error"]
    assert person.wait(person.submit("w1", QUICK), PATIENCE)["run"]
    assert server.at_work() == workers


def test_a_gguf_file_that_says_more_than_it_holds_takes_no_memory(server: Server) -> None:
    path = server.settings.model_folders[0] / "harmful.gguf"
    write_gguf(path, "llama")
    with_size(path, "feed_forward_length", 48, 10_000_000)
    person, workers = server.person(), server.at_work()
    try:
        outcome = person.wait(person.submit("a b", "folder:weights/harmful.gguf"), PATIENCE)
    finally:
        path.unlink()
    assert "LlamaForCausalLM: the checkpoint's model.layers.0.mlp." in outcome["error"]
    assert server.at_work() == workers
