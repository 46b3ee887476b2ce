"""The contract of `JobBackend` for a set of jobs, of the real queue and of tests' double."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.contracts.job import JobSpec
from dashboard.errors import BadRequestError, StorageError
from dashboard.jobs.backend import Failed, JobBackend, Underway, watched_as
from dashboard.jobs.failure import JobFailure
from tests.support import backend_hands
from tests.support.backend_hands import LAYER, Hands, goes_on, phase, queue_with_hands, spec

served, backend, hands = backend_hands.served, backend_hands.backend, backend_hands.hands  # fixtures
WHY = JobFailure("812 tokens; this server allows 256.", "See the log.", "TextTooLongError", retry=False)


def specs(*keys: str) -> list[JobSpec]:
    return [spec(key) for key in keys]


def phases(backend: JobBackend, watcher: str) -> dict[str, str] | None:
    found = backend.watched(watcher)
    return None if found is None else {key: phase(state) for key, state in found.items()}


def test_a_watch_reports_each_job_by_its_key(backend: JobBackend, hands: Hands) -> None:
    assert backend.watched("w") is None
    states = backend.watch("w", specs("a", "b", "c"))
    assert [phase(state) for state in states.values()] == ["queued"] * 3
    assert list(states) == ["a", "b", "c"]
    assert (hands.take(), hands.take()) == ("a", "b")
    assert goes_on(hands, "a")
    hands.fail("b", WHY)
    found = backend.watched("w")
    assert found is not None
    assert found["a"] == Underway(LAYER)
    assert found["b"] == Failed(WHY, "fill", "b")
    assert isinstance(found["c"], Underway)
    assert found["c"].ahead == 1
    hands.finish("a", "a")
    assert phases(backend, "w") == {"a": "done", "b": "failed", "c": "queued"}


def test_a_job_asked_for_twice_in_a_set_is_one(backend: JobBackend, hands: Hands) -> None:
    assert list(backend.watch("w", specs("a", "a"))) == ["a"]
    assert (hands.take(), hands.take()) == ("a", None)


def test_a_watch_that_is_renewed_disturbs_nothing(backend: JobBackend, hands: Hands) -> None:
    """As when a page's set changes: the watch is asked for again, long after the worker began."""
    backend.watch("w", specs("a"))
    assert hands.take() == "a"
    assert goes_on(hands, "a")
    hands.pass_time(3, lambda: backend.watched("w"))
    assert backend.watch("w", specs("b", "a"))["a"] == Underway(LAYER, 3.0)
    assert goes_on(hands, "a")
    hands.finish("a", "a")
    assert phases(backend, "w") == {"b": "queued", "a": "done"}
    assert phase(backend.watch("w", specs("a"))["a"]) == "done", "what was told stays told"
    hands.pass_time(1, lambda: backend.watched("w"))
    assert hands.take() is None


def test_a_set_that_was_overtaken_on_its_way_changes_nothing(backend: JobBackend, hands: Hands) -> None:
    """Two requests of one page, in two threads or processes: the later one may be served first."""
    backend.watch("w", specs("a"), turn=1)
    backend.watch("w", specs("b", "c"), turn=3)
    assert hands.take() == "b"
    assert goes_on(hands, "b")
    late = backend.watch("w", specs("a", "b"), again=["b"], turn=2)
    assert {key: phase(state) for key, state in late.items()} == phases(backend, "w") == {"b": "layers", "c": "queued"}
    backend.watch("w", [], turn=4)
    assert backend.watch("w", specs("a"), turn=3) == backend.watched("w") == {}
    hands.pass_time(1)
    assert not goes_on(hands, "b")
    assert hands.take() is None
    backend.watch("w", specs("a"), turn=4)
    assert hands.take() == "a"


def test_a_set_has_bounds(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a"))
    with pytest.raises(BadRequestError, match="64 results at a time, not 65"):
        backend.watch("w", specs(*(f"k{number}" for number in range(65))))
    assert phases(backend, "w") == {"a": "queued"}
    assert len(backend.watch("w", specs(*(f"k{number}" for number in range(64)), "k0"))) == 64


def test_what_leaves_the_set_stops_and_the_rest_goes_on(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a", "b", "c"))
    assert (hands.take(), hands.take()) == ("a", "b")
    backend.watch("w", specs("b"))
    hands.pass_time(1, lambda: backend.watched("w"))
    assert not goes_on(hands, "a")
    assert goes_on(hands, "b")
    assert hands.take() is None, "the one that waited has gone too"
    assert phases(backend, "w") == {"b": "layers"}


def test_what_comes_back_into_the_set_at_once_was_never_away(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a"))
    assert hands.take() == "a"
    backend.watch("w", specs("b"))
    backend.watch("w", specs("a"))
    hands.pass_time(1, lambda: backend.watched("w"))
    assert goes_on(hands, "a")
    hands.finish("a", "a")
    assert phases(backend, "w") == {"a": "done"}


def test_what_comes_back_into_the_set_later_begins_again(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a"))
    assert hands.take() == "a"
    hands.fail("a", WHY)
    assert phases(backend, "w") == {"a": "failed"}
    backend.watch("w", specs("b"))
    assert phase(backend.watch("w", specs("a"))["a"]) == "queued"
    assert hands.take() == "a"


def test_two_watchers_of_one_job_and_one_leaves(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w1", specs("a"))
    backend.watch("w2", specs("a", "b"))
    assert hands.take() == "a"
    assert backend.watch("w1", []) == backend.watched("w1") == {}
    hands.pass_time(6, lambda: backend.watched("w2"))
    assert goes_on(hands, "a")
    hands.finish("a", "a")
    assert phases(backend, "w2") == {"a": "done", "b": "queued"}
    assert hands.take() == "b"


def test_a_watcher_that_no_longer_asks_leaves_by_itself(backend: JobBackend, hands: Hands) -> None:
    """A closed tab; and a tab that slept, which finds its set again."""
    backend.watch("gone", specs("a"))
    backend.watch("there", specs("b"))
    assert (hands.take(), hands.take()) == ("a", "b")
    hands.pass_time(4, lambda: backend.watched("there"))
    assert goes_on(hands, "a")
    hands.pass_time(2, lambda: backend.watched("there"))
    assert not goes_on(hands, "a")
    assert goes_on(hands, "b")
    assert phases(backend, "gone") == {"a": "queued"}
    assert hands.take() == "a"


def test_a_watch_and_a_subscriber_share_a_job(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    backend.watch("w", specs("a"))
    assert (hands.take(), hands.take()) == ("a", None)
    backend.cancel("s1")
    hands.pass_time(1, lambda: backend.watched("w"))
    assert goes_on(hands, "a")
    hands.finish("a", "a")
    assert phases(backend, "w") == {"a": "done"}
    assert phase(backend.poll("s1")) == "cancelled"


def test_a_cancel_names_one_job_of_the_set(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a", "b"))
    assert (hands.take(), hands.take()) == ("a", "b")
    backend.cancel(watched_as("w", "a"))
    hands.pass_time(1, lambda: backend.watched("w"))
    assert not goes_on(hands, "a")
    assert goes_on(hands, "b")
    assert phases(backend, "w") == {"a": "cancelled", "b": "layers"}
    backend.watch("w", specs("a", "b", "c"))
    assert phases(backend, "w") == {"a": "cancelled", "b": "layers", "c": "queued"}, (
        "a set that changes takes nothing back"
    )
    backend.watch("w", specs("a", "b", "c"), again=["a"])
    assert phases(backend, "w") == {"a": "queued", "b": "layers", "c": "queued"}


def test_a_failure_holds_up_no_other_and_is_tried_again_by_name(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a", "b"))
    assert (hands.take(), hands.take()) == ("a", "b")
    hands.fail("a", WHY)
    hands.pass_time(30, lambda: backend.watched("w"))
    assert phases(backend, "w") == {"a": "failed", "b": "load"}
    assert hands.take() is None, "nobody asked for it again"
    backend.watch("w", specs("a", "b"), again=["a", "b", "not of the set"])
    assert phases(backend, "w") == {"a": "queued", "b": "load"}, "what is under way goes on"
    assert hands.take() == "a"
    hands.finish("a", "a")
    hands.finish("b", "b")
    assert phases(backend, "w") == {"a": "done", "b": "done"}


def test_a_full_queue_is_the_state_of_what_has_no_room(backend: JobBackend, hands: Hands) -> None:
    backend.submit(spec("a"), "s1")
    hands.full = True
    states = backend.watch("w", specs("a", "b"))
    assert phase(states["a"]) == "queued"
    refused = states["b"]
    assert isinstance(refused, Failed)
    assert (refused.failure.kind, refused.failure.retry, refused.job, refused.key) == (
        "QueueFullError",
        True,
        "fill",
        "b",
    )
    hands.full = False
    hands.pass_time(1, lambda: backend.watched("w"))
    assert phases(backend, "w") == {"a": "queued", "b": "failed"}
    assert (hands.take(), hands.take()) == ("a", None)
    backend.watch("w", specs("a", "b"), again=["b"])
    assert hands.take() == "b"


def test_a_full_disk_leaves_the_watch_as_it_was(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a", "b"))
    assert (hands.take(), hands.take()) == ("a", "b")
    hands.finish("b", "b")
    hands.broken = True
    with pytest.raises(StorageError):
        backend.watch("w", specs("c"), again=["b"])
    assert phases(backend, "w") == {"a": "load", "b": "done"}
    hands.broken = False
    assert goes_on(hands, "a")
    assert phases(backend, "w") == {"a": "layers", "b": "done"}
    assert hands.take() is None
    backend.watch("w", specs("c"))
    assert hands.take() == "c"


def test_a_disk_that_fills_up_meanwhile_leaves_the_watch_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object) -> None:
        raise StorageError("The server's disk is full.")

    with queue_with_hands(tmp_path, monkeypatch) as (backend, hands):
        backend.watch("w", specs("a"))
        with monkeypatch.context() as full:
            full.setattr(backend.queue.job_table, "put_watch", fails)
            with pytest.raises(StorageError):
                backend.watch("w", specs("b"))
        hands.pass_time(1, lambda: backend.watched("w"))
        assert phases(backend, "w") == {"a": "queued"}
        assert (hands.take(), hands.take()) == ("a", None)


def test_what_a_watch_was_told_is_kept_for_as_long_as_it_asks(backend: JobBackend, hands: Hands) -> None:
    backend.watch("w", specs("a", "b", "c"))
    assert (hands.take(), hands.take()) == ("a", "b")
    hands.finish("a", "a")
    hands.fail("b", WHY)
    for _ in range(20):
        hands.pass_time(100, lambda: backend.watched("w"))
        assert phases(backend, "w") == {"a": "done", "b": "failed", "c": "queued"}
