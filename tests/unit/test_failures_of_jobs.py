"""The sentences of jobs that were stopped from outside: of a run that was typed, and of a result of a run that is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dashboard.contracts.job import Progress
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.records import JobRecord, over_memory, overtime, worker_lost

FAILURES = [worker_lost, lambda record: overtime(record, 60), lambda record: over_memory(record, 2)]
PLACES = [None, Progress("queued"), Progress("load"), Progress("predictions"), Progress("save"), Progress("other")]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("at", PLACES)
def test_what_was_not_typed_is_not_said_to_be_in_the_box(failure: Callable[[JobRecord], JobFailure], at: Progress | None) -> None:
    told = {name: failure(JobRecord("key", name, "running", 1, 0.0, progress=at)).message for name in ("capture", "derive")}
    assert "Your text is still in the box" in told["capture"]
    for words in ("in the box", "this run", "This run", "Run again"):
        assert words not in told["derive"]


def test_a_worker_that_was_lost_is_said_in_whole_sentences() -> None:
    at = Progress("layers", 17, 30)
    run, result = (worker_lost(JobRecord("key", name, "running", 1, 0.0, progress=at)).message for name in ("capture", "derive"))
    tail = "if it stops again, try a shorter text or a smaller model."
    assert run == (
        "The worker stopped while computing layer 17 of 30, so this run has no result. Your text is still in the box and a new "
        f"worker is starting. Run again; {tail}"
    )
    assert result == (
        f"The worker stopped while computing layer 17 of 30, so there is no result. A new worker is starting. Try again; {tail}"
    )
