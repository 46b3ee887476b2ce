"""A set of jobs, called as Dash calls the manager: states of each as progress, and all of them as the outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dashboard.jobs.manager as manager_module
from dashboard.contracts.job import JobSet, JobSpec, Progress
from dashboard.errors import BadRequestError, MissingArrayError
from dashboard.jobs.backend import JobBackend
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.manager import ResidentWorkerManager
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support import backend_hands
from tests.support.backend_hands import Hands

RUN, PAGE, OTHER_PAGE = "0" * 64, "a" * 32, "b" * 32
ONE, TWO, THREE = (f"{RUN}.x-{i}" for i in range(3))
served, backend, hands = backend_hands.served, backend_hands.backend, backend_hands.hands  # fixtures


@pytest.fixture
def manager(backend: JobBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResidentWorkerManager:
    monkeypatch.setattr(manager_module, "HOLD_SECONDS", 0.0)
    settings = Settings(cache_dir=tmp_path)
    return ResidentWorkerManager(backend, RunStore.from_settings(settings), settings)


def specs(*keys: str) -> JobSet:
    return JobSet(tuple(JobSpec("derive", key) for key in keys))


def begin(
    manager: ResidentWorkerManager, *keys: str, old: str | None = None, page: str = PAGE, turn: int = 0
) -> tuple[str, str]:
    """Key and job of a set, as Dash begins it: the one before, if any, ends first."""
    if old is not None:
        manager.terminate_job(old)
    told = [{"page": page, "serial": turn, "wants": keys}]
    key = manager.build_cache_key(wanted, told, [], None)
    return key, manager.call_job_fn(key, manager.make_job_fn(wanted, True, "id"), told, {})


def wanted(told: dict[str, Any]) -> JobSet:
    return specs(*told["wants"])


def states(told: Any) -> dict[str, str]:
    """Each job's state in a word."""
    found = {}
    for name, state in told["watched"].items():
        found[name] = "failed" if "error" in state else "done" if "run" in state else state["phase"]
    return found


def poll(manager: ResidentWorkerManager, key: str, job: str) -> tuple[dict[str, str], Any, bool]:
    progress = manager.get_progress(key)
    result = manager.get_result(key, job)
    return ({} if progress is None else states(progress[0])), result, manager.job_running(job)


def test_each_job_has_its_state_and_the_outcome_comes_last(manager: ResidentWorkerManager, hands: Hands) -> None:
    key, job = begin(manager, ONE, TWO)
    assert poll(manager, key, job) == ({ONE: "queued", TWO: "queued"}, manager.UNDEFINED, True)
    assert hands.take() == ONE
    assert hands.report(ONE, Progress("predictions", 0, 1, "Half way"))
    assert poll(manager, key, job)[0] == {ONE: "predictions", TWO: "queued"}
    hands.finish(ONE, ONE)
    told, outcome, running = poll(manager, key, job)
    assert (told, outcome, running) == ({ONE: "done", TWO: "queued"}, manager.UNDEFINED, True)
    assert hands.take() == TWO
    hands.fail(TWO, JobFailure("It went wrong. Try again."))
    _told, outcome, running = poll(manager, key, job)
    assert states(outcome) == {ONE: "done", TWO: "failed"}
    assert outcome["watched"][TWO]["error"] == "It went wrong. Try again."
    assert running, "Dash must not take the end for a cancel"


def test_what_is_in_both_sets_goes_on(manager: ResidentWorkerManager, hands: Hands) -> None:
    _key, job = begin(manager, ONE, TWO)
    assert hands.take() == ONE
    key, job = begin(manager, ONE, THREE, old=job, turn=1)
    assert hands.report(ONE, Progress("predictions", 0, 1, "Going on")), "it is wanted still"
    assert poll(manager, key, job)[0] == {ONE: "predictions", THREE: "queued"}
    hands.finish(ONE, ONE)
    assert hands.take() == THREE, "the second one is wanted by nobody"


def test_the_page_knows_a_job_by_its_result_whatever_capture_it_is_of(
    manager: ResidentWorkerManager, hands: Hands
) -> None:
    first, second = f"{ONE}@one", f"{ONE}@two"
    key, job = begin(manager, first)
    assert hands.take() == first
    key, job = begin(manager, second, old=job, turn=1)
    assert poll(manager, key, job)[0] == {ONE: "queued"}
    hands.pass_time(1)
    assert not hands.report(first, Progress("predictions", 0, 1, "Of the capture before"))
    assert hands.take() == second
    hands.finish(second, ONE)
    assert manager.get_result(key, job)["watched"][ONE]["run"] == ONE


def test_a_set_that_is_left_ends_its_jobs(manager: ResidentWorkerManager, hands: Hands) -> None:
    _key, job = begin(manager, ONE)
    assert hands.take() == ONE
    begin(manager, old=job, turn=1)
    hands.pass_time(1)
    assert not hands.report(ONE, Progress("predictions", 0, 1, "For nobody"))


def test_an_empty_set_has_its_outcome_at_once(manager: ResidentWorkerManager) -> None:
    key, job = begin(manager)
    assert manager.get_result(key, job) == {"watched": {}, "serial": key}


def test_a_set_that_cannot_be_made_is_one_error(manager: ResidentWorkerManager) -> None:
    def refuses() -> JobSet:
        raise BadRequestError("The requested results cannot be read. Reload the page.")

    key = manager.build_cache_key(refuses, [], [], None)
    job = manager.call_job_fn(key, manager.make_job_fn(refuses, True, "id"), [], {})
    assert manager.get_result(key, job)["error"] == "The requested results cannot be read. Reload the page."


def test_one_that_failed_is_tried_again_where_the_page_asks_for_it_once_more(
    manager: ResidentWorkerManager, hands: Hands
) -> None:
    key, job = begin(manager, ONE)
    assert hands.take() == ONE
    hands.fail(ONE, JobFailure("It went wrong. Try again."))
    key, job = begin(manager, ONE, old=job, turn=1)
    assert states(manager.get_result(key, job)) == {ONE: "failed"}, "the page has not heard of it"
    key, job = begin(manager, ONE, old=job, turn=2)
    assert poll(manager, key, job)[0] == {ONE: "queued"}
    assert hands.take() == ONE


def test_one_that_is_refused_says_why_and_holds_up_no_other(manager: ResidentWorkerManager, hands: Hands) -> None:
    def some(told: dict[str, Any]) -> JobSet:
        return replace(specs(*told["wants"]), refused={THREE: MissingArrayError("This model gives no such result.")})

    _key, job = begin(manager, THREE)
    told = [{"page": PAGE, "serial": 1, "wants": (ONE,)}]
    key = manager.build_cache_key(some, told, [], None)
    job = manager.call_job_fn(key, manager.make_job_fn(some, True, "id"), told, {})
    assert poll(manager, key, job)[0] == {ONE: "queued", THREE: "failed"}
    assert [hands.take(), hands.take()] == [ONE, None], "the other one was wanted before, and no longer is"
    hands.finish(ONE, ONE)
    outcome = manager.get_result(key, job)
    assert states(outcome) == {ONE: "done", THREE: "failed"}
    assert outcome["watched"][THREE]["error"] == "This model gives no such result."
    _key, job = begin(manager, THREE, old=job, turn=2)
    assert hands.take() == THREE, "it is no longer refused"


def test_a_disk_that_is_full_is_told_in_the_outcome(manager: ResidentWorkerManager, hands: Hands) -> None:
    hands.broken = True
    key, job = begin(manager, ONE)
    assert "error" in manager.get_result(key, job)


def test_a_full_queue_is_the_state_of_one_job(manager: ResidentWorkerManager, hands: Hands) -> None:
    key, job = begin(manager, ONE)
    hands.full = True
    other, later = begin(manager, TWO, page=OTHER_PAGE)
    assert states(manager.get_result(other, later)) == {TWO: "failed"}
    assert poll(manager, key, job)[0] == {ONE: "queued"}


def test_a_request_that_is_overtaken_takes_nothing_back(manager: ResidentWorkerManager, hands: Hands) -> None:
    """The page changed its mind before it heard of the first set's job, so that Dash cannot end that one."""
    begin(manager, TWO, turn=2)
    begin(manager, ONE, turn=1)
    assert hands.take() == TWO
    assert hands.take() is None


def test_a_set_ends_the_one_before_though_dash_does_not_know_its_job(
    manager: ResidentWorkerManager, hands: Hands
) -> None:
    begin(manager, ONE, turn=1)
    assert hands.take() == ONE
    begin(manager, TWO, turn=2)
    hands.pass_time(1)
    assert not hands.report(ONE, Progress("predictions", 0, 1, "For nobody"))
    assert hands.take() == TWO


def test_two_pages_want_each_their_own(manager: ResidentWorkerManager, hands: Hands) -> None:
    begin(manager, ONE)
    begin(manager, TWO, page=OTHER_PAGE)
    assert {hands.take(), hands.take()} == {ONE, TWO}


NAMELESS = (
    *(None, [], {}, {"page": PAGE}, {"page": "../x", "serial": 1}, {"page": 3, "serial": 1}),
    *({"page": PAGE, "serial": wrong} for wrong in (True, -1, 10**30, 1.5, "1", None)),
)


@pytest.mark.parametrize("told", NAMELESS)
def test_a_page_that_does_not_name_itself_gets_a_name(manager: ResidentWorkerManager, told: object) -> None:
    one, two = (manager.build_cache_key(wanted, [told], [], None) for _ in range(2))
    assert one != two
    assert PAGE not in one


def test_a_lost_set_ends(manager: ResidentWorkerManager) -> None:
    assert manager.get_result("gone", "set-gone") == {"watched": {}, "serial": "gone"}
    assert not manager.job_running("set-gone")
    assert manager.get_progress("gone") is None
