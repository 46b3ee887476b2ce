"""The queue's transitions, without any worker process. Time passes where a test says so."""

from __future__ import annotations

import math
import os
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.contracts.job import JobSpec, Progress
from dashboard.errors import (
    BadSelectionError,
    DashboardError,
    HubUnreachableError,
    JobCancelledError,
    JobError,
    ModelNotFoundError,
    SettingsError,
    TextTooLongError,
    UnsupportedModelError,
)
from dashboard.jobs.backend import Underway
from dashboard.jobs.cache import open_cache
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import WorkerRecord
from dashboard.jobs.workers import this_host
from dashboard.settings import Settings
from tests.support.backend_hands import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock().set_in(monkeypatch)


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[JobQueue]:
    queue = JobQueue.from_settings(Settings(cache_dir=tmp_path))
    yield queue
    queue.close()


@pytest.fixture
def worker(queue: JobQueue) -> str:
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", 0.0))
    return "w1"


def spec(key: str = "k1", **payload: Any) -> JobSpec:
    return JobSpec("capture", key, payload)


def state(queue: JobQueue, key: str = "k1") -> str | None:
    record = queue.job_table.job(key)
    return None if record is None else record.state


def step_of(seconds: float) -> float:
    """Steps in which time passes: as often as workers and pages give a sign, and for long times as seldom as they
    may."""
    return 0.5 if seconds < 60 else 2.0


def pass_time(queue: JobQueue, clock: Clock, seconds: float, *asking: str, worker: str | None = "w1") -> None:
    """Time passes in steps, in which these subscribers ask, the worker beats and the supervisor watches."""
    step = step_of(seconds)
    for _ in range(math.ceil(seconds / step)):
        tick(queue, clock, step, *asking, worker=worker)


def tick(queue: JobQueue, clock: Clock, step: float, *asking: str, worker: str | None = "w1") -> None:
    """One step of it."""
    clock.now += step
    if worker:
        queue.worker_table.change(worker)
    for subscriber in asking:
        queue.poll(subscriber)
    queue.watch()


def test_a_job_goes_from_queued_to_done(queue: JobQueue, worker: str) -> None:
    subscriber = queue.submit(spec(text="a"))
    assert queue.poll(subscriber) is None
    claim = queue.claim(worker)
    assert claim is not None
    assert (claim.spec, claim.attempt) == (spec(text="a"), 1)
    assert queue.report(claim, Progress("layers", 1, 2, "Layer 1 of 2"))
    assert queue.progress(subscriber) == Underway(Progress("layers", 1, 2, "Layer 1 of 2"))
    queue.finish(claim, "artifact")
    expected = {"run": "artifact", "job": "capture", "serial": subscriber}
    assert queue.poll(subscriber) == expected
    assert queue.poll(subscriber) == expected, "read, not consumed"
    assert queue.progress(subscriber) is None
    assert queue.claim(worker) is None


def test_the_same_key_is_one_job_for_two(queue: JobQueue, worker: str) -> None:
    one, other = queue.submit(spec()), queue.submit(spec())
    claim = queue.claim(worker)
    assert claim is not None
    third = queue.submit(spec())
    assert queue.claim(worker) is None
    queue.finish(claim, "a")
    outcomes = [queue.poll(subscriber) for subscriber in (one, other, third)]
    assert [outcome and outcome["run"] for outcome in outcomes] == ["a"] * 3
    assert len({outcome["serial"] for outcome in outcomes if outcome}) == 3


def test_jobs_come_in_order(queue: JobQueue, worker: str) -> None:
    for number in range(100):
        queue.submit(spec(f"k{number}"))
    taken = []
    while (claim := queue.claim(worker)) is not None:
        taken.append(claim.spec.key)
        queue.finish(claim, "a")
    assert taken == [f"k{number}" for number in range(100)]


def test_how_many_come_before(queue: JobQueue, worker: str) -> None:
    queue.submit(spec("k1"))
    queue.claim(worker)
    queue.submit(spec("k2"))
    progress = queue.progress(queue.submit(spec("k3")))
    assert progress is not None
    assert (progress.at.phase, progress.ahead) == ("queued", 2)
    assert progress.at.message == "Waiting for 2 runs before this one"


def test_a_cancel_of_the_only_one_stops_the_job(queue: JobQueue, worker: str, clock: Clock) -> None:
    subscriber = queue.submit(spec())
    claim = queue.claim(worker)
    assert claim is not None
    queue.drop(subscriber)
    outcome = queue.poll(subscriber)
    assert outcome is not None
    assert (outcome["cancelled"], outcome["kind"]) == (True, "JobCancelledError")
    clock.now += 0.2
    assert not queue.report(claim, Progress("layers"))
    queue.stopped(claim)
    assert state(queue) == "cancelled"


def test_a_cancel_while_queued_removes_the_job(queue: JobQueue, worker: str, clock: Clock) -> None:
    queue.drop(queue.submit(spec()))
    clock.now += 0.2
    assert queue.claim(worker) is None
    assert state(queue) == "cancelled"
    assert queue.job_table.board().queued == ()


def test_a_cancel_leaves_the_others_their_result(queue: JobQueue, worker: str, clock: Clock) -> None:
    one, other = queue.submit(spec()), queue.submit(spec())
    claim = queue.claim(worker)
    assert claim is not None
    queue.drop(one)
    clock.now += 1
    assert queue.report(claim, Progress("layers"))
    queue.finish(claim, "a")
    assert queue.poll(other) == {"run": "a", "job": "capture", "serial": other}
    outcome = queue.poll(one)
    assert outcome is not None
    assert outcome["cancelled"]


def test_whoever_asks_again_at_once_changes_nothing(queue: JobQueue, worker: str, clock: Clock) -> None:
    """What Dash does on a second click: the old subscription is dropped and a new one made, in one request."""
    first, waiting = queue.submit(spec("k1")), queue.submit(spec("k2"))
    claim = queue.claim(worker)
    assert claim is not None
    for old, key in ((first, "k1"), (waiting, "k2")):
        queue.drop(old)
        queue.submit(spec(key))
    clock.now += 1
    assert queue.report(claim, Progress("layers"))
    record = queue.job_table.job("k1")
    assert record is not None
    assert (record.attempt, record.cancel_at) == (1, None)
    queue.finish(claim, "a")
    later = queue.claim(worker)
    assert later is not None
    assert (later.spec.key, later.attempt) == ("k2", 1)


def test_asking_again_after_a_cancel_is_a_new_attempt(queue: JobQueue, worker: str, clock: Clock) -> None:
    queue.drop(queue.submit(spec()))
    old = queue.claim(worker)
    assert old is None
    running = queue.submit(spec("k2"))
    claim = queue.claim(worker)
    assert claim is not None
    queue.drop(running)
    clock.now += 1
    again = queue.submit(spec("k2"))
    assert not queue.report(claim, Progress("layers"))
    queue.finish(claim, "of the old attempt")
    assert queue.poll(again) is None
    queue.stopped(claim)
    new = queue.claim(worker)
    assert new is not None
    assert new.attempt == 2
    queue.finish(new, "b")
    assert queue.poll(again) == {"run": "b", "job": "capture", "serial": again}


def test_a_job_taken_back_while_it_stopped_begins_anew(queue: JobQueue, worker: str) -> None:
    queue.submit(spec("k1"))
    queue.submit(spec("k2"))
    claim = queue.claim(worker)
    assert claim is not None
    queue.stopped(claim)  # the worker gave up, but by now someone waits
    again = queue.claim(worker)
    assert again is not None
    assert (again.spec.key, again.attempt) == ("k1", 2)


def test_a_closed_tab_leaves_by_itself(queue: JobQueue, worker: str, clock: Clock) -> None:
    gone, there = queue.submit(spec("k1")), queue.submit(spec("k2"))
    claim = queue.claim(worker)
    assert claim is not None
    pass_time(queue, clock, 4, there)
    assert queue.report(claim, Progress("layers"))
    pass_time(queue, clock, 2, there)
    assert not queue.report(claim, Progress("layers"))
    queue.stopped(claim)
    assert (state(queue, "k1"), state(queue, "k2")) == ("cancelled", "queued")
    assert queue.poll(there) is None
    assert queue.poll(gone) is None, "a tab that slept and comes back waits again"
    assert (state(queue, "k1"), queue.job_table.board().queued) == ("queued", ("k2", "k1"))


def test_a_failure_is_told_and_not_kept(queue: JobQueue, worker: str) -> None:
    subscriber = queue.submit(spec())
    claim = queue.claim(worker)
    assert claim is not None
    queue.fail(claim, JobFailure("It failed.", "See the log.", "TextTooLongError"))
    assert queue.poll(subscriber) == {
        "error": "It failed.",
        "details": "See the log.",
        "kind": "TextTooLongError",
        "cancelled": False,
        "retry": True,
        "job": "capture",
        "key": "k1",
        "serial": subscriber,
    }
    again = queue.submit(spec())
    assert queue.poll(again) is None
    new = queue.claim(worker)
    assert new is not None
    assert new.attempt == 2


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (JobError("The worker stopped."), True),
        (HubUnreachableError("No network."), True),
        (JobCancelledError("Cancelled."), False),
        (TextTooLongError("812 tokens."), False),
        (BadSelectionError("No such token."), False),
        (UnsupportedModelError("GPT-J."), False),
        (ModelNotFoundError("No such model."), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_outcome_says_whether_running_again_may_help(
    queue: JobQueue, worker: str, error: DashboardError, again: bool
) -> None:
    subscriber = queue.submit(spec("k1.fill-45"))
    claim = queue.claim(worker)
    assert claim is not None
    queue.fail(claim, JobFailure.of(error))
    outcome = queue.poll(subscriber)
    assert outcome is not None
    assert (outcome["retry"], outcome["key"], outcome["kind"]) == (again, "k1.fill-45", type(error).__name__)


def test_whatever_ends_a_job_from_outside_names_it(queue: JobQueue, worker: str, clock: Clock) -> None:
    late, dropped = queue.submit(spec("k1")), queue.submit(spec("k2"))
    assert queue.claim(worker) is not None
    pass_time(queue, clock, 601, late)
    queue.drop(dropped)
    lost = queue.submit(spec("k3"))
    assert queue.claim(worker) is not None
    queue.lose_worker(worker)
    unserved = queue.submit(spec("k4"))
    pass_time(queue, clock, 3, unserved, worker=None)
    outcomes = [queue.poll(subscriber) or {} for subscriber in (late, dropped, lost, unserved)]
    assert [outcome["key"] for outcome in outcomes] == ["k1", "k2", "k3", "k4"]
    assert [outcome["retry"] for outcome in outcomes] == [True, False, True, True]
    assert [outcome["cancelled"] for outcome in outcomes] == [False, True, False, False]


def test_no_worker_is_an_error_after_a_moment(queue: JobQueue, clock: Clock) -> None:
    subscriber = queue.submit(spec())
    pass_time(queue, clock, 1.5, subscriber, worker=None)
    assert queue.poll(subscriber) is None
    pass_time(queue, clock, 1, subscriber, worker=None)
    outcome = queue.poll(subscriber)
    assert outcome is not None
    assert outcome["error"].startswith("No worker is running, so nothing can be computed.")
    assert state(queue) == "failed"


def test_a_queued_job_waits_while_a_worker_lives(queue: JobQueue, worker: str, clock: Clock) -> None:
    subscriber = queue.submit(spec())
    pass_time(queue, clock, 60, subscriber)
    assert queue.poll(subscriber) is None


def test_a_silent_worker_loses_its_job(queue: JobQueue, worker: str, clock: Clock) -> None:
    subscriber = queue.submit(spec())
    claim = queue.claim(worker)
    assert claim is not None
    queue.report(claim, Progress("layers", 17, 30))
    pass_time(queue, clock, 2, subscriber, worker=None)
    assert queue.poll(subscriber) is None
    pass_time(queue, clock, 1.5, subscriber, worker=None)
    outcome = queue.poll(subscriber)
    assert outcome is not None
    assert "stopped while computing layer 17 of 30, so this run has no result" in outcome["error"]


def test_a_sleep_of_the_computer_loses_nothing(queue: JobQueue, worker: str, clock: Clock) -> None:
    subscriber = queue.submit(spec())
    assert queue.claim(worker) is not None
    clock.now += 300
    queue.check("k1")
    assert queue.poll(subscriber) is None
    pass_time(queue, clock, 3, subscriber)
    assert queue.poll(subscriber) is None
    assert state(queue) == "running"


def test_a_worker_whose_process_is_gone_loses_its_job_at_once(queue: JobQueue) -> None:
    queue.worker_table.publish(WorkerRecord("w2", 2**22 + 12345, this_host(), "idle", 0.0))
    subscriber = queue.submit(spec())
    queue.claim("w2")
    outcome = queue.poll(subscriber)
    assert outcome is not None
    assert outcome["kind"] == "JobError"


def test_a_job_over_its_time_fails(queue: JobQueue, worker: str, clock: Clock) -> None:
    subscriber = queue.submit(spec())
    claim = queue.claim(worker)
    assert claim is not None
    pass_time(queue, clock, 601, subscriber)
    outcome = queue.poll(subscriber)
    assert outcome is not None
    assert "longer than the 600 seconds" in outcome["error"]
    assert not queue.report(claim, Progress("layers"))


def test_a_lost_worker_fails_its_own_job_only(queue: JobQueue, worker: str) -> None:
    queue.worker_table.publish(WorkerRecord("w2", os.getpid(), this_host(), "idle", 0.0))
    one, other = queue.submit(spec("k1")), queue.submit(spec("k2"))
    queue.claim(worker)
    queue.claim("w2")
    queue.lose_worker(worker)
    outcome = queue.poll(one)
    assert outcome is not None
    assert outcome["error"]
    assert queue.poll(other) is None
    assert [record.id for record in queue.worker_table.live()] == ["w2"]


def test_an_unknown_subscription_is_an_error(queue: JobQueue) -> None:
    outcome = queue.poll("never made")
    assert outcome is not None
    assert "no longer knows" in outcome["error"]


def test_ended_records_are_forgotten(queue: JobQueue, worker: str) -> None:
    queue.submit(spec())
    claim = queue.claim(worker)
    assert claim is not None
    queue.finish(claim, "a")
    _value, expires = queue.cache.get("job:k1", expire_time=True)
    assert expires is not None
    assert queue.job_table.payload("k1") is None


def test_the_state_in_one_word(queue: JobQueue, clock: Clock) -> None:
    assert queue.health().to_json()["worker"] == "none"
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "starting", 0.0, message="Loading tiny"))
    assert queue.health().to_json() == {"worker": "starting", "models": [], "queue": 0, "message": "Loading tiny"}
    queue.worker_table.change("w1", state="idle", message="", models=("tiny",))
    assert queue.health().to_json() == {"worker": "ready", "models": ["tiny"], "queue": 0, "message": ""}
    queue.submit(spec())
    queue.claim("w1")
    assert queue.health().to_json()["worker"] == "busy"
    clock.now += 100
    queue.worker_table.live()
    clock.now += 1
    assert queue.health().to_json()["worker"] == "none"


def test_values_come_back(queue: JobQueue) -> None:
    values = [
        b"bytes",
        "text",
        3,
        2.5,
        True,
        None,
        [1, {"a": [None]}],
        2**70,
        "x" * 100_000,
        ["x" * 100_000],
        b"y" * 100_000,
    ]
    for number, value in enumerate(values):
        queue.cache.set(f"v{number}", value)
        assert queue.cache.get(f"v{number}") == value
    with pytest.raises(TypeError):
        queue.cache.set(("a", 1), "x")
    with pytest.raises(TypeError):
        queue.cache.set("object", object())


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_planted_pickle_is_a_miss_and_is_not_run(queue: JobQueue, tmp_path: Path) -> None:
    marker, raw = tmp_path / "ran", pickle.dumps(Planted(tmp_path / "ran"))
    entries = ("job:k1", "board", "workers", "subscription:s1")
    for entry in entries:
        queue.cache.set(entry, "x")
    (queue.settings.queue_folder / "planted.val").write_bytes(raw)
    with sqlite3.connect(queue.settings.queue_folder / "cache.db") as connection:
        connection.execute("UPDATE Cache SET mode = 4, value = ?", (raw,))
        connection.execute("UPDATE Cache SET value = NULL, filename = 'planted.val' WHERE key = 'board'")
        connection.execute("INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 4, ?)", (raw, raw))
    connection.close()
    assert [queue.cache.get(entry) for entry in entries] == [None] * 4
    assert queue.poll(queue.submit(spec())) is None
    with pytest.raises(OSError, match="refused"):
        list(queue.cache)
    assert not marker.exists()


def test_the_folder_is_private_and_a_damaged_cache_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    folder.mkdir(mode=0o755)
    (folder / "cache.db").write_bytes(b"garbage" * 1000)
    with open_cache(folder) as cache:
        cache.set("a", 1)
        assert cache.get("a") == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="DASHBOARD_CACHE_DIR"):
        open_cache(tmp_path / "file")
