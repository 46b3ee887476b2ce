"""A long result lets runs and small results go first, between two of its steps, and keeps what it has. Real worker
processes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from dashboard.capture.capture import capture_run
from dashboard.capture.model_probe import at_each_layer, model_probe
from dashboard.compute import kind_named
from dashboard.compute.declaration import Computed
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import Progress, Rank
from dashboard.contracts.request import ModelRequest
from dashboard.errors import NoRoomError
from dashboard.jobs.work import CrowdedError, JobContext, ResidentModels, derive
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.integration import test_jobs
from tests.integration.test_jobs import Server
from tests.support.tiny_models import tiny, words

pytestmark = pytest.mark.integration
_own_keys, keeper, server = test_jobs._own_keys, test_jobs.keeper, test_jobs.server  # fixtures


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "enough"


def begin_long(server: Server, flag: Path, **payload: Any) -> str:
    """A long job that has begun, and goes on until the file is there."""
    handle = server.ask("long", 1, rank=Rank.LONG, until=str(flag), **payload)
    server.until(lambda: told(server, handle).get("phase") == "predictions", 10)
    return handle


def told(server: Server, handle: str) -> dict[str, Any]:
    server.poll(handle)
    return (server.manager.get_progress(handle) or [{}])[0]


def test_a_long_result_lets_others_go_first_and_keeps_what_it_has(server: Server, flag: Path) -> None:
    handle = begin_long(server, flag)
    others = [server.ask("slow", 2), server.ask("slow", 3, rank=Rank.QUICK)]
    assert all(server.outcome(other)["run"] for other in others)
    assert server.poll(handle) is None
    flag.touch()
    name = server.outcome(handle)["run"]
    steps = load_file(server.settings.runs_folder / f"{name}.safetensors")["steps"]
    assert steps.tolist() == list(range(len(steps)))
    assert [line.split()[0] for line in server.done()].count("long") == 1, "it did not begin again"


def test_what_comes_before_a_long_result_that_rests_is_told(server: Server, flag: Path) -> None:
    handle = begin_long(server, flag)
    run = server.ask("slow", 2, seconds=60)
    server.until(lambda: told(server, handle).get("ahead") == 1, 10)
    assert told(server, handle)["message"] == "Waiting for 1 run before this one goes on"
    server.running(run)
    server.manager.terminate_job(run)
    server.until(lambda: told(server, handle).get("phase") == "predictions", 10)
    flag.touch()
    assert server.outcome(handle)["run"]


def test_a_long_result_that_is_cancelled_while_it_rests_does_not_go_on(server: Server, flag: Path) -> None:
    """Not even for a step, after which its worker would be taken for one that does not stop."""
    handle, run = begin_long(server, flag, after_rest=60), server.ask("slow", 2, seconds=60)
    server.running(run)
    pid = server.worker_pid()
    server.manager.terminate_job(handle)
    assert server.outcome(handle)["cancelled"]
    time.sleep(0.6)  # as long as a cancel takes to have an effect, and a rest counts as one in the job
    assert server.poll(run) is None, "the run that went first is not concerned"
    server.manager.terminate_job(run)
    server.until(lambda: server.queue.health().to_json()["worker"] == "ready", 10)
    assert server.worker_pid() == pid
    assert server.outcome(server.ask("slow", 3))["run"]


@pytest.mark.alone
def test_a_worker_that_dies_while_a_long_result_rests_is_told_to_both(server: Server, flag: Path) -> None:
    handle, run = begin_long(server, flag), server.ask("slow", 2, seconds=60)
    server.running(run)
    os.kill(server.worker_pid(), signal.SIGKILL)
    for one in (handle, run):
        assert server.outcome(one)["error"].startswith("The worker stopped while")
    assert server.outcome(server.ask("slow", 3), within=30)["run"]


def test_a_model_without_room_beside_a_resting_one_takes_its_place(server: Server, flag: Path) -> None:
    """The long result begins again after it, and nobody is told of an error."""
    handle, pid = begin_long(server, flag), server.worker_pid()
    assert server.outcome(server.ask("large", 2))["run"]
    server.until(lambda: [line.split()[0] for line in server.done()].count("long") == 2, 10)
    flag.touch()
    assert server.outcome(handle)["run"]
    assert server.worker_pid() == pid


class Loader:
    """In place of `load_model`: models of one size each; `room` have room at once."""

    def __init__(self, models: ResidentModels, room: int) -> None:
        self.models, self.room = models, room

    def __call__(self, name: str, **_how: Any) -> Any:
        if len(self.models.names) >= self.room:
            raise NoRoomError("No room.")
        info = SimpleNamespace(parameters=10**9)
        return SimpleNamespace(fingerprint=name, info=info, dtype="float32", asked_dtype=None, device="cpu")


@pytest.fixture
def job_context(tmp_path: Path) -> JobContext:
    return JobContext("k", RunStore(tmp_path / "runs", 10**9), lambda _progress: None, lambda **_changes: None)


def resident(monkeypatch: pytest.MonkeyPatch, room: int, **settings: Any) -> ResidentModels:
    models = ResidentModels(Settings(**settings))
    monkeypatch.setattr("dashboard.capture.loader.load_model", Loader(models, room))
    return models


def test_a_model_in_use_stays_and_others_leave(monkeypatch: pytest.MonkeyPatch, job_context: JobContext) -> None:
    models = resident(monkeypatch, 2)
    first = models.get(ModelRequest("a"), None, job_context)
    with models.held(ModelRequest("a")):
        for name in ("b", "c"):
            models.get(ModelRequest(name), None, job_context)
        assert models.names == ("a", "c")
        assert models.get(ModelRequest("a"), None, job_context) is first
    models.get(ModelRequest("d"), None, job_context)
    models.get(ModelRequest("e"), None, job_context)
    assert models.names == ("d", "e")


@pytest.mark.parametrize("settings", [{}, {"worker_gigabytes": 5.0}])
def test_where_only_models_in_use_could_leave_they_must_end_first(
    monkeypatch: pytest.MonkeyPatch, job_context: JobContext, settings: dict[str, Any]
) -> None:
    models = resident(monkeypatch, 2 if settings else 1, **settings)
    models.get(ModelRequest("a"), None, job_context)
    with models.held(ModelRequest("a")), pytest.raises(CrowdedError):
        models.get(ModelRequest("b"), None, job_context)
    assert models.names == ("a",)
    models.get(ModelRequest("b"), None, job_context)
    assert models.names == ("b",)


def test_a_few_models_more_than_the_setting_are_kept_rather_than_beginning_again(
    monkeypatch: pytest.MonkeyPatch, job_context: JobContext
) -> None:
    models = resident(monkeypatch, 9, resident_models=1)
    models.get(ModelRequest("a"), None, job_context)
    with models.held(ModelRequest("a")):
        models.get(ModelRequest("b"), None, job_context)
        assert models.names == ("a", "b")
    models.get(ModelRequest("c"), None, job_context)
    assert models.names == ("c",)


def test_a_model_in_use_stays_while_another_reads_with_another_tokenizer(
    monkeypatch: pytest.MonkeyPatch, job_context: JobContext
) -> None:
    models, asked = resident(monkeypatch, 9, resident_models=1), ModelRequest("a", tokenizer="x")
    first = models.get(asked, None, job_context)
    with models.held(asked):
        assert models.get(ModelRequest("a", tokenizer="y"), None, job_context) is not first
        assert models.get(asked, None, job_context) is first


class Tiny:
    """The models of a worker: one."""

    def __init__(self, name: str) -> None:
        self.get, self.held = lambda *_asked: tiny(name), ResidentModels(Settings()).held


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_a_run_of_the_same_model_in_the_middle_of_a_lens_changes_neither(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is computed as outside: not in torch's inference mode, in which what is loaded could never be
    differentiated."""
    loaded, store = tiny(name), RunStore(tmp_path / "runs", 10**9)
    run, alone = capture_run(loaded, words(9)), capture_run(loaded, words(7))
    store.save(run.key, run.header, run.arrays)
    monkeypatch.setattr("dashboard.compute.logit_lens.CHUNK_BYTES", 4 * run.model.vocabulary * 4)
    amid: list[Any] = []

    def give_way() -> None:
        if not amid:
            amid.append(capture_run(loaded, words(7)))
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        given.append(1)

    given: list[int] = []
    asked = DerivedRequest.of(run.key, "logit-lens")
    job_context = JobContext(asked.name, store, lambda _progress: None, lambda **_changes: None, give_way)
    assert derive(asked.to_json(), job_context, Tiny(name)) == asked.name  # type: ignore[arg-type]
    assert len(given) > 2, "between its steps"
    found, whole = store.derived(asked), kind_named("logit-lens").compute(loaded, run, {}, lambda _progress: None)
    assert found is not None
    for label, array in whole.arrays.items():
        np.testing.assert_array_equal(np.asarray(found.arrays[label]), array)
    for label, array in alone.arrays.items():
        np.testing.assert_array_equal(np.asarray(amid[0].arrays[label]), np.asarray(array))


def test_a_report_from_within_a_forward_is_told_and_lets_nobody_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another forward of the same model would report to this job, from its own layers."""
    loaded, store, said, given = tiny("llama"), RunStore(tmp_path / "runs", 10**9), [], []
    run, alone = capture_run(loaded, words(9)), capture_run(loaded, words(7))
    store.save(run.key, run.header, run.arrays)

    def compute(loaded: Any, run: Any, _parameters: Any, progress: Any) -> Computed:
        ids = torch.tensor([[token.id for token in run.tokens]])
        for text in range(3):
            progress(Progress("predictions", text, 3, "between"))
            with (
                model_probe(loaded.model, loaded.info).lock,
                torch.inference_mode(),
                at_each_layer(loaded.model, lambda: progress(Progress("predictions", 0, 3, "within"))),
            ):
                loaded.model(input_ids=ids)
        return Computed({"x": np.zeros(1, dtype=np.float32)})

    kind = replace(kind_named("logit-lens"), compute=compute)
    monkeypatch.setattr("dashboard.compute.all_kinds", lambda: {"logit-lens": kind})
    asked = DerivedRequest.of(run.key, "logit-lens")
    give_way = lambda: given.append(capture_run(loaded, words(7)))  # noqa: E731
    job_context = JobContext(
        asked.name, store, lambda progress: said.append(progress.message), lambda **_changes: None, give_way
    )
    derive(asked.to_json(), job_context, Tiny("llama"))  # type: ignore[arg-type]
    assert said == 3 * ["between", *("within" for _layer in range(run.model.layers))]
    assert len(given) == 3
    np.testing.assert_array_equal(given[2].hidden_states[-1], alone.hidden_states[-1])
