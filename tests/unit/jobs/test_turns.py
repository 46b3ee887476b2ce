"""Fair turns in the queue, its limits, and that what ended takes no room."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dashboard.contracts.job import JobSpec, Progress, Rank
from dashboard.errors import QueueFullError
from dashboard.jobs import job_table
from dashboard.jobs.backend import Underway
from dashboard.jobs.board import Board, Waiting
from dashboard.jobs.cache import DATABASE
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import SupervisorRecord, WorkerRecord
from dashboard.jobs.workers import SUPERVISORS, this_host
from dashboard.settings import Settings
from tests.unit.jobs import test_queue
from tests.unit.jobs.test_queue import Clock, pass_time, spec

clock, queue, worker = test_queue.clock, test_queue.queue, test_queue.worker  # fixtures


def take_all(queue: JobQueue, worker: str) -> list[str]:
    taken = []
    while (claim := queue.claim(worker)) is not None:
        taken.append(claim.spec.key)
        queue.finish(claim, "a")
    return taken


def ahead(queue: JobQueue, subscriber: str) -> int:
    progress = queue.progress(subscriber)
    assert progress is not None
    return int(progress.ahead or 0)


def test_a_visitor_with_fifty_jobs_does_not_hold_off_anothers_one(queue: JobQueue, worker: str) -> None:
    for number in range(50):
        queue.submit(spec(f"many-{number}"), owner="ann")
    one = queue.submit(spec("one"), owner="bob")
    assert ahead(queue, one) == 1
    assert take_all(queue, worker)[:3] == ["many-0", "one", "many-1"]


def test_visitors_take_turns_and_whoever_comes_new_goes_to_the_end(queue: JobQueue, worker: str) -> None:
    for owner, count in (("ann", 3), ("bob", 2)):
        for number in range(count):
            queue.submit(spec(f"{owner}-{number}"), owner=owner)
    claim = queue.claim(worker)
    assert claim is not None
    queue.submit(spec("cid-0"), owner="cid")
    assert queue.job_table.board().queued == ("bob-0", "ann-1", "cid-0", "bob-1", "ann-2")
    queue.finish(claim, "a")
    assert [claim.spec.key, *take_all(queue, worker)] == ["ann-0", "bob-0", "ann-1", "cid-0", "bob-1", "ann-2"]


def test_whoever_asks_again_and_again_does_not_hold_off_another(queue: JobQueue, worker: str) -> None:
    """One visitor always has one waiting; the other's second and third job are taken in turn all the same."""
    for number in range(3):
        queue.submit(spec(f"bob-{number}"), owner="bob")
    taken = []
    for number in range(6):
        queue.submit(spec(f"ann-{number}"), owner="ann")
        claim = queue.claim(worker)
        assert claim is not None
        taken.append(claim.spec.key)
        queue.finish(claim, "a")
    assert taken == ["bob-0", "ann-0", "bob-1", "ann-1", "bob-2", "ann-2"]


def test_the_place_that_is_shown_is_that_at_which_it_is_taken(queue: JobQueue, worker: str) -> None:
    waits = {}
    for number in range(4):
        for owner in ("ann", "bob", "")[: 3 - number % 2]:
            key = f"{owner}-{number}"
            waits[key] = queue.submit(spec(key), owner=owner)
    shown = {ahead(queue, subscriber): key for key, subscriber in waits.items()}
    assert [shown[place] for place in range(len(waits))] == take_all(queue, worker)


def test_a_job_that_two_wait_for_is_taken_at_the_first_of_their_turns(queue: JobQueue, worker: str) -> None:
    for number in range(9):
        queue.submit(spec(f"ann-{number}"), owner="ann")
    shared = queue.submit(spec("ann-8"), owner="bob")
    assert ahead(queue, shared) == 1
    queue.drop(shared)
    assert queue.job_table.board().queued[-1] == "ann-8", "at its old place once only the first waits for it"


def ranked(queue: JobQueue, key: str, owner: str, rank: Rank) -> str:
    """A run (USUAL), or a derived result."""
    return queue.submit(JobSpec("capture" if rank == Rank.USUAL else "derive", key, {}, rank=rank), owner=owner)


def test_small_results_come_first_then_runs_then_long_results_each_in_fair_turns(queue: JobQueue, worker: str) -> None:
    waits = {}
    for number in range(3):
        for owner in ("ann", "bob")[: 2 - number % 2]:
            for rank in reversed(Rank):
                waits[f"{rank.name} {owner} {number}"] = ranked(queue, f"{rank.name} {owner} {number}", owner, rank)
    shown = {ahead(queue, subscriber): key for key, subscriber in waits.items()}
    taken = take_all(queue, worker)
    assert [shown[place] for place in range(len(waits))] == taken
    assert [key.split()[0] for key in taken] == ["QUICK"] * 5 + ["USUAL"] * 5 + ["LONG"] * 5
    assert [key for key in taken if key.startswith("USUAL")] == [
        # ann had the last turn of the rank before
        *("USUAL bob 0", "USUAL ann 0", "USUAL bob 2", "USUAL ann 1", "USUAL ann 2")
    ]


def test_a_visitor_has_one_long_result_at_a_time_and_the_others_wait(queue: JobQueue, worker: str) -> None:
    for number in range(3):
        ranked(queue, f"ann-{number}", "ann", Rank.LONG)
    shared = ranked(queue, "ann-1", "bob", Rank.LONG)
    first = queue.claim(worker)
    assert first is not None
    assert first.spec.key == "ann-0"
    of_bob = queue.claim("w2")
    assert of_bob is not None
    assert of_bob.spec.key == "ann-1", "bob waits for it as well, and has none"
    assert queue.claim("w3") is None, "ann has two already"
    ranked(queue, "ann-3", "ann", Rank.QUICK)
    ranked(queue, "ann-4", "ann", Rank.USUAL)
    others = [queue.claim("w3"), queue.claim("w4")]
    assert [claim and claim.spec.key for claim in others] == ["ann-3", "ann-4"], "these are no long results"
    for claim in (first, of_bob):
        queue.finish(claim, "a")
    last = queue.claim("w1")
    assert last is not None
    assert last.spec.key == "ann-2"
    assert queue.poll(shared) == {"run": "a", "job": "derive", "serial": shared}


@pytest.mark.parametrize("owners", [("", ""), ("ann", "bob")])
def test_who_has_no_name_and_who_has_no_other_may_have_theirs_at_once(
    queue: JobQueue, worker: str, owners: tuple[str, str]
) -> None:
    for number, owner in enumerate(owners):
        ranked(queue, f"k{number}", owner, Rank.LONG)
    assert queue.claim(worker) is not None
    assert queue.claim("w2") is not None


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([Rank.USUAL], "1 run"),
        ([Rank.USUAL, Rank.USUAL], "2 runs"),
        ([Rank.QUICK], "1 result"),
        ([Rank.QUICK, Rank.QUICK], "2 results"),
        ([Rank.QUICK, Rank.USUAL, Rank.QUICK], "3 runs and results"),
    ],
)
def test_what_comes_before_is_called_what_it_is(queue: JobQueue, worker: str, ranks: list[Rank], words: str) -> None:
    for number, rank in enumerate(ranks):
        ranked(queue, f"k{number}", "ann", rank)
    last = queue.progress(ranked(queue, "last", "ann", Rank.LONG))
    assert last is not None
    assert last.at.message == f"Waiting for {words} before this one"


def test_a_long_result_that_rests_is_not_before_what_goes_first(queue: JobQueue, worker: str, clock: Clock) -> None:
    """It is before another long result; and its own time stands still."""
    long = ranked(queue, "long", "ann", Rank.LONG)
    own = queue.claim(worker)
    assert own is not None
    assert queue.claim(worker, before=own) is None
    queue.report(own, Progress("predictions", 1, 9, "Step 1"))
    other = ranked(queue, "other", "bob", Rank.LONG)
    assert queue.claim(worker, before=own) is None, "a long result is not before a long result"
    ranked(queue, "run", "bob", Rank.USUAL)
    run = queue.claim(worker, before=own)
    assert run is not None
    assert run.spec.key == "run"
    quick = ranked(queue, "quick", "bob", Rank.QUICK)
    assert [ahead(queue, one) for one in (long, other, quick)] == [2, 3, 1]
    told = queue.progress(long)
    assert told is not None
    assert (told.at.phase, told.at.message) == ("queued", "Waiting for 2 runs and results before this one goes on")
    pass_time(queue, clock, 590, long, other, quick)
    queue.finish(run, "a")
    first = queue.claim(worker, before=own)
    assert first is not None
    pass_time(queue, clock, 30, long, other, quick)
    queue.finish(first, "a")
    assert queue.claim(worker, before=own) is None
    queue.go_on(own)
    assert queue.report(own, Progress("predictions", 2, 9, "Step 2"))
    assert queue.progress(long) == Underway(Progress("predictions", 2, 9, "Step 2"))
    pass_time(queue, clock, 590, long, other)
    assert queue.poll(long) is None, "620 seconds of rest do not count"
    pass_time(queue, clock, 15, long, other)
    assert "longer than the 600 seconds" in (queue.poll(long) or {})["error"]


def test_what_is_put_back_begins_again_after_what_comes_before_it(queue: JobQueue, worker: str) -> None:
    long = ranked(queue, "long", "ann", Rank.LONG)
    own = queue.claim(worker)
    assert own is not None
    ranked(queue, "run", "bob", Rank.USUAL)
    run = queue.claim(worker, before=own)
    assert run is not None
    queue.put_back(run)
    queue.put_back(own)
    assert take_all(queue, worker) == ["run", "long"]
    assert (queue.poll(long) or {})["run"] == "a"


def test_the_word_of_an_attempt_that_is_over_rests_nothing(queue: JobQueue, worker: str) -> None:
    ranked(queue, "long", "ann", Rank.LONG)
    old = queue.claim(worker)
    assert old is not None
    queue.put_back(old)
    new = queue.claim(worker)
    assert new is not None
    queue.submit(spec("run"))
    assert queue.claim(worker, before=old) is not None
    record = queue.job_table.job("long")
    assert record is not None
    assert (record.attempt, record.resting) == (2, None)


def test_what_comes_back_or_begins_again_keeps_its_rank(queue: JobQueue, worker: str, clock: Clock) -> None:
    quick = ranked(queue, "quick", "ann", Rank.QUICK)
    pass_time(queue, clock, 6)  # its page went silent
    queue.submit(spec("run"), owner="bob")
    assert queue.poll(quick) is None
    claim = queue.claim(worker)
    assert claim is not None
    assert (claim.spec.key, claim.spec.rank) == ("quick", Rank.QUICK)
    queue.stopped(claim)
    assert queue.job_table.board().queued == ("quick", "run")


def test_a_board_comes_back_and_an_unknown_one_is_empty() -> None:
    board = Board((Waiting("k1", ("ann", "bob"), 5, True, Rank.LONG, True), Waiting("k2")), ("bob", "ann", ""), ("k3",))
    assert Board.from_json(json.loads(json.dumps(board.to_json()))) == board
    before = {"waiting": [["k1", ["ann"], 5, False]], "turns": ["ann"], "running": []}
    assert Board.from_json(before) == Board((Waiting("k1", ("ann",), 5, False),), ("ann",)), "of the version before"
    unranked = {"waiting": [["k1", ["ann"], 5, False, 7]], "turns": ["ann"], "running": []}
    for raw in (
        None,
        unranked,
        {"queued": ["k1"], "running": []},
        {"waiting": [["k1"]], "turns": [], "running": []},
        3,
    ):
        assert Board.from_json(raw) == Board()


def test_whoever_joins_a_run_that_computes_already_is_not_refused(tmp_path: Path) -> None:
    """Nothing is added to what waits; a run that stops is another matter, for it begins again."""
    queue = JobQueue.from_settings(Settings(cache_dir=tmp_path, visitor_runs=2, queue_runs=3))
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", 0.0))
    first = queue.submit(spec("shared"), owner="bob")
    claim = queue.claim("w1")
    assert claim is not None
    for number in range(2):
        queue.submit(spec(f"ann-{number}"), owner="ann")
    board = queue.job_table.board()
    joined = queue.submit(spec("shared"), owner="ann")
    assert queue.job_table.board() == board
    with pytest.raises(QueueFullError):
        queue.submit(spec("more"), owner="ann")
    queue.finish(claim, "a")
    assert [(queue.poll(one) or {})["run"] for one in (first, joined)] == ["a", "a"]
    queue.close()


def test_whoever_joins_a_run_that_stops_adds_one_that_waits(clock: Clock, tmp_path: Path) -> None:
    queue = JobQueue.from_settings(Settings(cache_dir=tmp_path, visitor_runs=1))
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", clock.now))
    left = queue.submit(spec("shared"), owner="bob")
    assert queue.claim("w1") is not None
    queue.submit(spec("ann-1"), owner="ann")
    queue.drop(left)
    clock.now += 1
    with pytest.raises(QueueFullError):
        queue.submit(spec("shared"), owner="ann")
    queue.close()


def test_one_visitor_has_so_many_runs_waiting_and_others_are_not_refused(tmp_path: Path) -> None:
    queue = JobQueue.from_settings(Settings(cache_dir=tmp_path, visitor_runs=3, queue_runs=5))
    for number in range(3):
        queue.submit(spec(f"k{number}"), owner="ann")
    with pytest.raises(QueueFullError, match=r"3 of your runs are waiting.*Wait until one is done"):
        queue.submit(spec("k3"), owner="ann")
    queue.submit(spec("k1"), owner="ann")
    queue.submit(spec("k4"), owner="bob")
    queue.submit(spec("k5"), owner="cid")
    with pytest.raises(QueueFullError, match=r"5 runs are waiting on this server.*Wait a few minutes"):
        queue.submit(spec("k6"), owner="dan")
    assert queue.job_table.payload("k6") is None
    queue.submit(spec("k5"), owner="dan")  # under way already: nothing is added
    queue.close()


def test_what_was_dropped_or_its_page_left_does_not_count(clock: Clock, tmp_path: Path) -> None:
    """At once: an arrow key that is held down drops result after result. Who comes back for one has its old place."""
    queue = JobQueue.from_settings(Settings(cache_dir=tmp_path, visitor_runs=2, queue_runs=3))
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", clock.now))
    queue.submit(spec("first"), owner="ann")
    for number in range(5):
        dropped = queue.submit(spec(f"k{number}"), owner="ann")
        queue.drop(dropped)
    last = queue.submit(spec("last"), owner="ann")
    assert ahead(queue, last) == 1
    with pytest.raises(QueueFullError):
        queue.submit(spec("k4"), owner="ann")
    queue.drop(last)
    queue.submit(spec("k3"), owner="ann")
    assert queue.job_table.board().queued == ("first", "k3")
    queue.submit(spec("of bob"), owner="bob")
    pass_time(queue, clock, 6)
    for number in range(2):
        queue.submit(spec(f"later-{number}"), owner="ann")
    assert take_all(queue, "w1") == ["later-0", "later-1"]
    queue.close()


def test_a_run_that_failed_before_counts_as_it_waits_again(tmp_path: Path) -> None:
    queue = JobQueue.from_settings(Settings(cache_dir=tmp_path, visitor_runs=1))
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", 0.0))
    queue.submit(spec("failed"), owner="ann")
    claim = queue.claim("w1")
    assert claim is not None
    queue.fail(claim, JobFailure("No."))
    queue.submit(spec("waits"), owner="ann")
    with pytest.raises(QueueFullError):
        queue.submit(spec("failed"), owner="ann")
    queue.close()


def test_the_bytes_that_wait_are_limited_for_one_and_for_all(tmp_path: Path) -> None:
    queue = JobQueue.from_settings(Settings(cache_dir=tmp_path, queue_megabytes=4.0))
    queue.submit(spec("k0", text="x" * 600_000), owner="ann")
    with pytest.raises(QueueFullError, match="as this server accepts from one person"):
        queue.submit(spec("k1", text="x" * 600_000), owner="ann")
    for number in range(5):
        queue.submit(spec(f"b{number}", text="x" * 600_000), owner=f"b{number}")
    with pytest.raises(QueueFullError, match="and it accepts no more"):
        queue.submit(spec("k2", text="x" * 600_000), owner="cid")
    queue.close()


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "queue").iterdir())


@pytest.mark.parametrize("how", ["done", "failed", "cancelled", "silent"])
def test_payloads_leave_when_their_jobs_end_and_the_database_shrinks(
    queue: JobQueue, worker: str, clock: Clock, how: str, tmp_path: Path
) -> None:
    """Fifteen long texts in a row, whatever becomes of them."""
    for number in range(15):
        subscriber = queue.submit(JobSpec("capture", f"k{number}", {"text": "x" * 3_000_000}), owner="ann")
        claim = queue.claim(worker)
        assert claim is not None
        if how == "done":
            queue.finish(claim, "a")
        elif how == "failed":
            queue.fail(claim, JobFailure("No."))
        elif how == "cancelled":
            queue.drop(subscriber)
            clock.now += 1
            queue.stopped(claim)
        else:
            pass_time(queue, clock, 6)
            queue.stopped(claim)
    kept = [number for number in range(15) if queue.job_table.payload(f"k{number}")]
    assert kept == ([14] if how == "silent" else [])
    queue.close()
    assert (tmp_path / "queue" / DATABASE).stat().st_size < (4_000_000 if how == "silent" else 500_000)
    assert size_of(tmp_path) < 9_000_000


def test_what_pages_were_told_is_forgotten_early_where_it_takes_too_much(
    queue: JobQueue, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_table, "MOST_RECORD_BYTES", 200_000)
    monkeypatch.setattr(job_table, "MOST_LAPSED_BYTES", 0)
    waiting = queue.submit(spec("waits"))
    for number in range(600):
        queue.deliver(f"s{number}", {"error": "x" * 900, "serial": str(number)})
    assert queue.cache.volume() < 300_000
    assert queue.poll("s599") == {"error": "x" * 900, "serial": "599"}
    assert queue.poll(waiting) is None


def test_a_frozen_worker_leaves_those_who_wait_waiting_while_its_supervisor_lives(
    queue: JobQueue, clock: Clock
) -> None:
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", 0.0, parent=os.getpid()))
    running, waiting = queue.submit(spec("k1")), queue.submit(spec("k2"))
    assert queue.claim("w1") is not None
    for _ in range(20):  # the supervisor beats, the worker does not
        clock.now += 0.5
        queue.worker_table.supervise()
        for subscriber in (running, waiting):
            queue.poll(subscriber)
    assert "stopped" in (queue.poll(running) or {})["error"]
    assert queue.poll(waiting) is None


def test_a_sleep_of_the_whole_computer_fails_nobody_who_waits(queue: JobQueue, worker: str, clock: Clock) -> None:
    waiting = queue.submit(spec())
    queue.poll(waiting)
    clock.now += 300
    assert queue.poll(waiting) is None
    pass_time(queue, clock, 3, waiting)
    assert queue.poll(waiting) is None


def lost_with(queue: JobQueue, *supervisors: SupervisorRecord) -> dict[str, object] | None:
    """What a page is told of a job whose worker and its supervisor, of process ids that are no more, are gone."""
    queue.cache.set(SUPERVISORS, [record.to_json() for record in supervisors])
    queue.worker_table.publish(WorkerRecord("w1", 2**22 + 5, this_host(), "busy", 0.0, parent=2**22 + 6))
    subscriber = queue.submit(spec())
    assert queue.claim("w1") is not None
    return queue.poll(subscriber)


def test_a_job_whose_server_ended_is_done_by_another_server_of_the_same_folder(queue: JobQueue, clock: Clock) -> None:
    gone = SupervisorRecord(2**22 + 6, this_host(), clock.now)
    assert lost_with(queue, gone, SupervisorRecord(os.getpid(), this_host(), clock.now)) is None
    queue.worker_table.publish(WorkerRecord("w2", os.getpid(), this_host(), "idle", 0.0, parent=os.getpid()))
    claim = queue.claim("w2")
    assert claim is not None
    assert (claim.spec.key, claim.attempt) == ("k1", 2)


def test_a_job_whose_server_ended_is_an_error_where_there_is_no_other(queue: JobQueue, clock: Clock) -> None:
    outcome = lost_with(queue, SupervisorRecord(2**22 + 6, this_host(), clock.now))
    assert outcome is not None
    assert "stopped" in str(outcome["error"])
