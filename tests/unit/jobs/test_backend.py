"""The contract of `JobBackend` for one job: what holds of the real queue and of tests' double, so that neither
drifts."""

from __future__ import annotations

import pytest

from dashboard.contracts.job import Progress
from dashboard.errors import QueueFullError, StorageError, TextTooLongError
from dashboard.jobs.backend import Done, Failed, JobBackend, Outcome, Unasked, Underway, outcome_from_json
from dashboard.jobs.failure import JobFailure
from tests.support import backend_hands
from tests.support.backend_hands import LAYER, Hands, goes_on, phase, spec

served, backend, hands = backend_hands.served, backend_hands.backend, backend_hands.hands  # fixtures
WHY = JobFailure("812 tokens; this server allows 256.", "See the log.", "TextTooLongError", retry=False)


def test_a_job_from_submit_to_done(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    assert backend.standing("s1") == "waiting"
    assert backend.poll("s1") is None
    queued = backend.progress("s1")
    assert queued is not None
    assert (queued.at.phase, queued.ahead) == ("queued", 0)
    assert hands.take() == "a"
    assert hands.take() is None
    assert backend.progress("s1") == Underway(Progress("load", message="Starting"))
    assert goes_on(hands, "a")
    hands.pass_time(1.5, lambda: backend.poll("s1"))
    assert backend.progress("s1") == Underway(LAYER, 1.5)
    hands.finish("a", "artifact")
    assert backend.standing("s1") == "known"
    assert backend.progress("s1") is None
    assert backend.poll("s1") == backend.poll("s1") == Done("fill", "artifact"), "read, not consumed"
    assert backend.standing("s1") == "told"


def test_who_comes_later_waits_behind_the_others(backend: JobBackend, hands: Hands) -> None:
    for key in ("a", "b", "c"):
        backend.submit(spec(key), key)
    assert hands.take() == "a"
    places = [backend.progress(key) for key in ("a", "b", "c")]
    assert [place.ahead for place in places if place] == [None, 1, 2]
    health = backend.health()
    assert (health.worker, health.queue) == ("busy", 2)


def test_one_key_is_one_job_and_all_are_told(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    backend.submit(spec("a"), "s2")
    assert hands.take() == "a"
    backend.submit(spec("a"), "s3")
    assert hands.take() is None
    hands.finish("a", "artifact")
    assert [backend.poll(name) for name in ("s1", "s2", "s3")] == [Done("fill", "artifact")] * 3


def test_a_failure_is_told_and_the_next_one_begins_again(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    assert hands.take() == "a"
    hands.fail("a", WHY)
    assert backend.poll("s1") == Failed(WHY, "fill", "a")
    backend.submit(spec("a"), "s2")
    assert backend.poll("s2") is None
    assert hands.take() == "a"
    assert backend.poll("s1") == Failed(WHY, "fill", "a")


def test_a_cancel_of_one_leaves_the_job_to_the_other(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    backend.submit(spec("a"), "s2")
    assert hands.take() == "a"
    backend.cancel("s1")
    assert phase(backend.poll("s1")) == "cancelled"
    hands.pass_time(1, lambda: backend.poll("s2"))
    assert goes_on(hands, "a")
    backend.cancel("s2")
    hands.pass_time(1)
    assert not goes_on(hands, "a")
    assert hands.take() is None
    backend.cancel("s2")
    backend.cancel("nobody")


def test_who_asks_again_at_once_keeps_the_job(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    assert hands.take() == "a"
    backend.cancel("s1")
    backend.submit(spec("a"), "s2")
    hands.pass_time(1, lambda: backend.poll("s2"))
    assert goes_on(hands, "a")
    hands.finish("a", "artifact")
    assert backend.poll("s2") == Done("fill", "artifact")


def test_the_word_of_a_cancelled_attempt_does_not_count(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    assert hands.take() == "a"
    backend.cancel("s1")
    hands.pass_time(1)
    backend.submit(spec("a"), "s2")
    assert not goes_on(hands, "a")
    hands.finish("a", "of the old attempt")
    assert backend.poll("s2") is None
    assert hands.take() == "a"
    hands.finish("a", "of the new one")
    assert backend.poll("s2") == Done("fill", "of the new one")


def test_who_does_not_ask_wants_nothing_and_may_come_back(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    assert hands.take() == "a"
    hands.pass_time(4)
    assert goes_on(hands, "a")
    hands.pass_time(2)
    assert not goes_on(hands, "a")
    assert hands.take() is None
    assert backend.standing("s1") == "waiting"
    assert hands.take() is None, "a look is no wish"
    assert backend.poll("s1") is None
    assert hands.take() == "a"
    hands.finish("a", "artifact")
    assert backend.poll("s1") == Done("fill", "artifact")


@pytest.mark.parametrize(
    "outcome",
    [
        Done("capture", "k"),
        Failed(WHY, "fill", "a"),
        Failed.of(TextTooLongError("812 tokens.")),
        Failed(JobFailure("Cancelled.", kind="JobCancelledError")),
        Unasked(),
    ],
    ids=str,
)
def test_what_is_known_at_once_is_told_without_a_job(backend: JobBackend, hands: Hands, outcome: Outcome) -> None:
    backend.deliver("s1", outcome)
    assert backend.standing("s1") == "known"
    assert backend.poll("s1") == outcome
    assert backend.standing("s1") == "told"
    assert hands.take() is None
    assert outcome_from_json(outcome.to_json("s1")) == outcome
    assert outcome.to_json("s1") != outcome.to_json("s2"), "the same outcome twice is a change twice"


def test_a_stranger_is_told_that_nobody_knows_them(backend: JobBackend) -> None:
    assert backend.standing("never seen") == "unknown"
    assert backend.progress("never seen") is None
    outcome = backend.poll("never seen")
    assert isinstance(outcome, Failed)
    assert (outcome.failure.retry, outcome.cancelled) == (True, False)
    assert "no longer knows" in outcome.failure.message


def test_a_full_queue_refuses_what_would_wait_and_nothing_else(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    assert hands.take() == "a"
    backend.submit(spec("b"), "s2")
    hands.full = True
    with pytest.raises(QueueFullError):
        backend.submit(spec("c"), "s3")
    assert backend.standing("s3") == "unknown"
    backend.submit(spec("a"), "s4")
    backend.submit(spec("b"), "s5")
    hands.full = False
    backend.submit(spec("c"), "s3")
    assert [hands.take(), hands.take()] == ["b", "c"]


def test_a_full_disk_changes_nothing_and_passes(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    assert hands.take() == "a"
    hands.broken = True
    for attempt in (
        lambda: backend.submit(spec("b"), "s2"),
        lambda: backend.deliver("s2", Unasked()),
        lambda: backend.cancel("s1"),
        lambda: backend.watch("w", [spec("b")]),
    ):
        with pytest.raises(StorageError):
            attempt()
    assert backend.standing("s2") == "unknown"
    assert backend.poll("s1") is None
    hands.pass_time(6)
    told = backend.poll("s1")
    assert isinstance(told, Failed)
    assert (told.failure.kind, told.failure.retry, told.key) == ("StorageError", True, "a")
    hands.broken = False
    assert backend.poll("s1") is None, "the failure was for then"
    assert backend.watched("w") is None
    assert hands.take() is None
    assert goes_on(hands, "a")
