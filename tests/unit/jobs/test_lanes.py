"""Jobs that wait for their model's preparation, in a lane of its own. Without any worker process."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

from dashboard.contracts.job import JobSpec, Progress, preparation
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.jobs.board import Board, Waiting
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import SupervisorRecord, WorkerRecord
from dashboard.jobs.workers import SUPERVISORS, this_host
from tests.unit.jobs import test_queue
from tests.unit.jobs.test_queue import Clock, spec, state

clock, queue, worker = test_queue.clock, test_queue.queue, test_queue.worker  # fixtures
PREPARE = preparation(ModelRequest("someone/big"))
FINGERPRINT = "f" * 64


@pytest.fixture
def helper(queue: JobQueue) -> str:
    queue.worker_table.publish(WorkerRecord("p1", os.getpid(), this_host(), "starting", 0.0, lane="prepare"))
    return "p1"


def run_of(text: str, model: str = "someone/big") -> tuple[JobSpec, str]:
    """What a click makes of a text for a model that is not ready; and the run's true name."""
    request = RunRequest(model, text)
    payload, needs = {"request": request.to_json(), "fingerprint": "unresolved:x"}, preparation(request.model_request)
    return JobSpec("capture", request.key("unresolved:x"), payload, needs), request.key(FINGERPRINT)


def test_a_preparation_is_named_as_in_queues_of_earlier_versions() -> None:
    """One that waits when the program is updated is the same job afterwards, and its worker can read it."""
    assert (PREPARE.key, PREPARE.payload) == ("prepare:someone/big@main", {"model": "someone/big", "revision": None})
    other = preparation(ModelRequest("someone/mute", "v2", "gpt2", "bfloat16"))
    assert other.key == "prepare:someone/mute@v2+gpt2"
    assert other.payload == {"model": "someone/mute", "revision": "v2", "tokenizer": "gpt2"}


def pass_time(queue: JobQueue, clock: Clock, seconds: float, *asking: str) -> None:
    """Time passes in steps, in which these subscribers ask, both workers beat and the supervisor watches."""
    step = test_queue.step_of(seconds)
    for _ in range(math.ceil(seconds / step)):
        queue.worker_table.change("p1")
        test_queue.tick(queue, clock, step, *asking)


def told(queue: JobQueue, subscriber: str) -> dict[str, Any]:
    outcome = queue.poll(subscriber)
    assert outcome is not None
    return outcome


def test_a_run_waits_for_its_model_and_others_go_on(queue: JobQueue, worker: str, helper: str) -> None:
    wanted, true_key = run_of("a")
    waiting, other = queue.submit(wanted), queue.submit(spec("other"))
    claim = queue.claim(worker)
    assert claim is not None
    assert claim.spec.key == "other"
    assert queue.claim(worker) is None
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    assert preparing.spec == PREPARE
    queue.report(preparing, Progress("fetch", 12, 270, "Downloading big: 12 of 270 MB"))
    progress = queue.progress(waiting)
    assert progress is not None
    assert progress.at == Progress("fetch", 12, 270, "Downloading big: 12 of 270 MB")
    queue.finish(claim, "a")
    assert told(queue, other)["run"] == "a"
    queue.finish(preparing, FINGERPRINT)
    run = queue.claim(worker)
    assert run is not None
    assert (run.spec.key, run.spec.payload["fingerprint"]) == (true_key, FINGERPRINT)
    queue.finish(run, true_key)
    assert told(queue, waiting)["run"] == true_key
    assert queue.job_table.board() == queue.job_table.board("prepare") == Board()
    assert queue.job_table.payload(wanted.key) is queue.job_table.payload(PREPARE.key) is None


def test_one_preparation_for_everyone_who_waits_for_the_model(queue: JobQueue, worker: str, helper: str) -> None:
    """Whoever came first may leave; a run that several wait for is one run, also with who came when the model was
    ready."""
    first, shared = run_of("first")[0], run_of("shared")
    gone, one, other = queue.submit(first), queue.submit(shared[0]), queue.submit(shared[0])
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    assert queue.claim(helper, "prepare") is None
    queue.drop(gone)
    assert told(queue, gone)["cancelled"]
    late = queue.submit(JobSpec("capture", shared[1], {"request": shared[0].payload["request"]}))
    queue.finish(preparing, FINGERPRINT)
    run = queue.claim(worker)
    assert run is not None
    assert run.spec.key == shared[1]
    assert queue.claim(worker) is None
    queue.finish(run, shared[1])
    assert [told(queue, subscriber)["run"] for subscriber in (one, other, late)] == [shared[1]] * 3


def test_a_preparation_that_fails_is_told_to_all_and_tried_again(queue: JobQueue, worker: str, helper: str) -> None:
    subscribers = [queue.submit(run_of(text)[0]) for text in ("a", "b")]
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    queue.fail(preparing, JobFailure("The download stopped.", kind="HubUnreachableError", retry=True))
    for subscriber in subscribers:
        outcome = told(queue, subscriber)
        assert (outcome["error"], outcome["kind"], outcome["retry"]) == (
            "The download stopped.",
            "HubUnreachableError",
            True,
        )
    again = queue.submit(run_of("a")[0])
    assert queue.poll(again) is None
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    assert preparing.attempt == 2


def test_a_preparation_that_nobody_waits_for_stops(queue: JobQueue, worker: str, helper: str, clock: Clock) -> None:
    waiting = queue.submit(run_of("a")[0])
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    queue.drop(waiting)
    pass_time(queue, clock, 1)
    assert not queue.report(preparing, Progress("fetch", 1, 2))
    queue.stopped(preparing)
    assert state(queue, PREPARE.key) == "cancelled"
    assert queue.job_table.board("prepare") == Board()


def test_a_tab_that_comes_back_waits_for_the_model_again(
    queue: JobQueue, worker: str, helper: str, clock: Clock
) -> None:
    wanted, true_key = run_of("a")
    waiting = queue.submit(wanted)
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    pass_time(queue, clock, 7)
    assert not queue.report(preparing, Progress("fetch", 1, 2))
    queue.stopped(preparing)
    assert queue.poll(waiting) is None
    again = queue.claim(helper, "prepare")
    assert again is not None
    queue.finish(again, FINGERPRINT)
    run = queue.claim(worker)
    assert run is not None
    assert run.spec.key == true_key


def test_who_asks_again_while_a_cancelled_preparation_stops_gets_a_new_one(
    queue: JobQueue, worker: str, helper: str, clock: Clock
) -> None:
    old = queue.submit(run_of("a")[0])
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    queue.drop(old)
    pass_time(queue, clock, 1)
    queue.submit(run_of("a")[0])
    assert not queue.report(preparing, Progress("fetch", 1, 2))
    queue.finish(preparing, FINGERPRINT)
    assert queue.claim(worker) is None, "the word of the old attempt does not count"
    again = queue.claim(helper, "prepare")
    assert again is not None
    assert again.attempt == 2


def test_a_preparation_may_take_longer_than_a_run_while_it_goes_on(
    queue: JobQueue, worker: str, helper: str, clock: Clock
) -> None:
    waiting = queue.submit(run_of("a")[0])
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    for step in range(4):
        pass_time(queue, clock, 400, waiting)
        assert queue.report(preparing, Progress("fetch", step, 4))
    assert queue.poll(waiting) is None
    pass_time(queue, clock, 610, waiting)
    assert "stopped while fetching the model: it took longer than the 600 seconds" in told(queue, waiting)["error"]


def test_a_preparation_whose_process_dies_is_told(queue: JobQueue, worker: str, helper: str) -> None:
    waiting = queue.submit(run_of("a")[0])
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    queue.report(preparing, Progress("fetch", 1, 2))
    queue.lose_worker(helper)
    assert told(queue, waiting)["error"].startswith("The worker stopped while fetching the model")
    assert queue.health().to_json()["worker"] == "ready", "the worker is not concerned"


def test_another_server_goes_on_with_a_preparation_whose_server_ended(
    queue: JobQueue, worker: str, helper: str, clock: Clock
) -> None:
    wanted, true_key = run_of("a")
    waiting = queue.submit(wanted)
    assert queue.claim(helper, "prepare") is not None
    queue.cache.set(SUPERVISORS, [SupervisorRecord(os.getppid(), this_host(), clock.now).to_json()])
    queue.lose_worker(helper, by_order=True)
    assert queue.poll(waiting) is None
    queue.worker_table.publish(WorkerRecord("p2", os.getpid(), this_host(), "starting", 0.0, lane="prepare"))
    again = queue.claim("p2", "prepare")
    assert again is not None
    assert (again.spec.key, again.attempt) == (PREPARE.key, 2)
    queue.finish(again, FINGERPRINT)
    run = queue.claim(worker)
    assert run is not None
    assert run.spec.key == true_key


def test_a_queue_of_the_version_before_is_read() -> None:
    raw = {"waiting": [["k1", ["ann"], 5]], "turns": ["ann"], "running": ["k2"]}
    assert Board.from_json(raw) == Board((Waiting("k1", ("ann",), 5),), ("ann",), ("k2",))


def test_a_visitor_has_one_preparation_at_a_time_and_another_is_not_held_off(
    queue: JobQueue, worker: str, helper: str
) -> None:
    for model in ("ann/one", "ann/two", "ann/three"):
        queue.submit(run_of("a", model)[0], owner="ann")
    taken = [queue.claim(helper, "prepare")]
    held = queue.submit(run_of("a", "bob/one")[0], owner="bob")
    taken += [queue.claim(helper, "prepare"), queue.claim(helper, "prepare")]
    assert [claim and claim.spec.key for claim in taken] == ["prepare:ann/one@main", "prepare:bob/one@main", None]
    assert queue.poll(held) is None
    assert queue.preparations_due() == 0
    assert taken[0] is not None
    queue.finish(taken[0], FINGERPRINT)
    assert queue.preparations_due() == 2


def test_a_masked_position_keeps_its_name(queue: JobQueue, worker: str, helper: str) -> None:
    """Its run has its true name already; only the model must be brought back."""
    queue.submit(JobSpec("fill", "k.fill-3", {"run": "k", "position": 3}, PREPARE))
    preparing = queue.claim(helper, "prepare")
    assert preparing is not None
    queue.finish(preparing, FINGERPRINT)
    run = queue.claim(worker)
    assert run is not None
    assert run.spec == JobSpec("fill", "k.fill-3", {"run": "k", "position": 3})
