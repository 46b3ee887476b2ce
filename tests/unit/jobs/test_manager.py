"""The manager, called as Dash calls it: key, job, then progress, result and "is it running" at every poll."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dash import no_update
from dash.exceptions import PreventUpdate

import dashboard.jobs.manager as manager_module
from dashboard.contracts.job import JobSpec, Progress
from dashboard.errors import EmptyTextError
from dashboard.jobs.backend import JobBackend
from dashboard.jobs.manager import ResidentWorkerManager
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support import backend_hands
from tests.support.backend_hands import Hands
from tests.support.fake_backend import FakeBackend

NAME, OTHER = "0" * 64 + ".fill-1", "0" * 64 + ".fill-2"
served, backend, hands = backend_hands.served, backend_hands.backend, backend_hands.hands  # fixtures


@pytest.fixture
def manager(backend: JobBackend, tmp_path: Path) -> ResidentWorkerManager:
    settings = Settings(cache_dir=tmp_path)
    return ResidentWorkerManager(backend, RunStore.from_settings(settings), settings)


def begin(manager: ResidentWorkerManager, builder: Callable[..., Any], *args: Any, progress: bool = True) -> str:
    """What Dash does at the first request; the key and the job that it then hands to the page are the same here."""
    key = manager.build_cache_key(builder, list(args), [], None)
    job = manager.call_job_fn(key, manager.make_job_fn(builder, progress, "id"), list(args), {})
    assert job == key
    return key


def poll(manager: ResidentWorkerManager, key: str) -> tuple[Any, Any, bool]:
    progress = manager.get_progress(key)
    result = manager.get_result(key, key)
    return progress, result, manager.job_running(key)


def fill(_clicks: int, name: str) -> JobSpec:
    return JobSpec("fill", name, {"a": 1})


def test_a_job_from_click_to_result(manager: ResidentWorkerManager, hands: Hands) -> None:
    key = begin(manager, fill, 1, NAME)
    progress, result, running = poll(manager, key)
    assert (progress[0]["phase"], progress[0]["ahead"]) == ("queued", 0)
    assert result is manager.UNDEFINED
    assert running
    assert hands.take() == NAME
    assert hands.report(NAME, Progress("layers", 1, 3, "Layer 1 of 3"))
    progress, result, running = poll(manager, key)
    assert [sorted(one) for one in progress] == [["done", "message", "phase", "seconds", "total"]]
    hands.finish(NAME, NAME)
    assert manager.job_running(key), "not before the page was told"
    assert manager.result_ready(key)
    assert poll(manager, key) == (None, {"run": NAME, "job": "fill", "serial": key}, False)
    manager.terminate_job(key)
    assert manager.get_result(key, key) == {"run": NAME, "job": "fill", "serial": key}


def test_what_is_in_the_store_needs_no_worker(manager: ResidentWorkerManager) -> None:
    manager.store.files.write(NAME, {"a": np.zeros(1)}, {"name": NAME})
    key, other = begin(manager, fill, 1, NAME), begin(manager, fill, 1, NAME)
    assert manager.backend.health().queue == 0
    assert poll(manager, key) == (None, {"run": NAME, "job": "fill", "serial": key}, False)
    assert poll(manager, other)[1] != manager.get_result(key, key), "an equal outcome still differs"


def test_a_named_error_of_the_form_is_the_outcome(manager: ResidentWorkerManager) -> None:
    def builder(_clicks: int) -> JobSpec:
        raise EmptyTextError("There is no text to run.")

    key = begin(manager, builder, 1)
    assert poll(manager, key) == (
        None,
        {
            "error": "There is no text to run.",
            "details": "",
            "kind": "EmptyTextError",
            "cancelled": False,
            "retry": False,
            "job": "",
            "key": "",
            "serial": key,
        },
        False,
    )


def test_a_defect_is_logged_and_told_without_a_traceback(
    manager: ResidentWorkerManager, caplog: pytest.LogCaptureFixture
) -> None:
    def builder(_clicks: int) -> JobSpec:
        raise ZeroDivisionError("secret")

    outcome = poll(manager, begin(manager, builder, 1))[1]
    assert "failed inside the dashboard" in outcome["error"]
    assert not outcome["retry"]
    assert "secret" not in str(outcome)
    assert "ZeroDivisionError: secret" in caplog.text


@pytest.mark.parametrize("answer", [None, no_update, PreventUpdate()])
def test_a_builder_may_ask_for_nothing(manager: ResidentWorkerManager, answer: Any) -> None:
    def builder(_clicks: int) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    _progress, result, running = poll(manager, begin(manager, builder, 1))
    assert type(no_update).is_no_update(result)
    assert not running


def test_keyword_arguments_reach_the_builder(manager: ResidentWorkerManager) -> None:
    build = manager.make_job_fn(lambda name: JobSpec("fill", name), True, "id")
    assert build({"name": NAME}) == JobSpec("fill", NAME)


def test_a_cancel_ends_the_waiting_and_not_the_others(manager: ResidentWorkerManager) -> None:
    one, other = begin(manager, fill, 1, NAME), begin(manager, fill, 1, NAME)
    manager.terminate_job(one)
    _progress, outcome, running = poll(manager, one)
    assert outcome["cancelled"]
    assert not running
    assert poll(manager, other)[1:] == (manager.UNDEFINED, True)


def test_a_second_submit_by_the_same_page_keeps_the_job(manager: ResidentWorkerManager, hands: Hands) -> None:
    old = begin(manager, fill, 1, NAME)
    assert hands.take() == NAME
    manager.terminate_job(old)  # Dash: oldJob
    new = begin(manager, fill, 2, NAME)
    hands.finish(NAME, NAME)
    assert poll(manager, new)[1]["run"] == NAME


def test_an_outcome_that_comes_while_the_answer_is_held_is_given_at_once(
    manager: ResidentWorkerManager, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = begin(manager, fill, 1, NAME)
    assert hands.take() == NAME
    looks: list[str] = []
    ready = manager.result_ready

    def look(key: str) -> bool:
        looks.append(key)
        if len(looks) == 3:
            hands.finish(NAME, NAME)
        return ready(key)

    monkeypatch.setattr(manager, "result_ready", look)
    monkeypatch.setattr(manager_module, "HOLD_SECONDS", 60.0)
    assert manager.get_result(handle, handle)["run"] == NAME
    assert looks == [handle] * 3


def test_only_few_answers_are_held(manager: ResidentWorkerManager, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = begin(manager, fill, 1, NAME)
    while manager._held.acquire(blocking=False):  # others' answers
        pass
    monkeypatch.setattr(manager, "result_ready", lambda key: pytest.fail("it was held"))
    assert manager.get_result(handle, handle) is manager.UNDEFINED


def test_a_forgotten_handle_is_an_error_and_never_silence(manager: ResidentWorkerManager) -> None:
    assert "no longer knows" in manager.get_result("gone", "gone")["error"]
    assert not manager.job_running("gone")
    manager.terminate_job("gone")
    manager.terminate_job(None)


def test_a_full_queue_is_the_outcome(manager: ResidentWorkerManager, hands: Hands) -> None:
    begin(manager, fill, 1, OTHER)
    hands.full = True
    key = begin(manager, fill, 1, NAME)
    progress, outcome, running = poll(manager, key)
    assert (progress, running) == (None, False)
    assert (outcome["kind"], outcome["retry"], outcome["job"], outcome["key"]) == ("QueueFullError", True, "fill", NAME)
    hands.full = False
    assert poll(manager, begin(manager, fill, 1, NAME))[1] is manager.UNDEFINED


def test_what_cannot_be_written_down_is_told_by_the_handle(manager: ResidentWorkerManager, hands: Hands) -> None:
    hands.broken = True
    key = manager.build_cache_key(fill, [], [], None)
    job = manager.call_job_fn(key, manager.make_job_fn(fill, True, "id"), [1, NAME], {})
    assert job != key
    outcome = manager.get_result(key, job)
    assert (outcome["kind"], outcome["retry"], outcome["serial"]) == ("StorageError", True, key)
    assert outcome["error"].startswith("The server's disk is full")
    assert not manager.job_running(job)
    manager.terminate_job(job)
    hands.broken = False
    assert hands.take() is None


def test_a_cancel_that_cannot_be_written_down_is_the_end_of_asking(
    manager: ResidentWorkerManager, hands: Hands
) -> None:
    key = begin(manager, fill, 1, NAME)
    assert hands.take() == NAME
    hands.broken = True
    manager.terminate_job(key)
    assert poll(manager, key)[1:] == (manager.UNDEFINED, True)
    hands.pass_time(6)
    assert poll(manager, key)[1]["kind"] == "StorageError"
    hands.broken = False
    hands.pass_time(1)
    assert not hands.report(NAME, Progress("layers", 1, 3))


def _secret(folder: str, answers: Any) -> None:
    settings = Settings(cache_dir=Path(folder))
    manager = ResidentWorkerManager(FakeBackend(), RunStore.from_settings(settings), settings)
    answers.put(manager.get_or_create_signing_secret(lambda: os.urandom(32)))


def test_the_signing_secret_is_shared_by_processes(manager: ResidentWorkerManager) -> None:
    own = manager.get_or_create_signing_secret(lambda: b"first")
    assert own == b"first"
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_secret, args=(str(manager.settings.cache_dir), answers))
    process.start()
    assert answers.get() == b"first"
    process.join()
    process.close()
