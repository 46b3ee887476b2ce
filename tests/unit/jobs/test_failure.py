"""The sentences of jobs that were stopped from outside: of a run that was typed, and of a result of a run that is
shown."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard.contracts.job import JobSpec, Progress, Rank
from dashboard.errors import QueueFullError
from dashboard.jobs import failure
from dashboard.jobs.board import Board, Waiting
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.queue_room import check_room
from dashboard.jobs.records import JobRecord, over_memory, overtime, worker_lost
from dashboard.jobs.worker import explain
from dashboard.settings import Settings

FAILURES = [worker_lost, lambda record: overtime(record, 60), lambda record: over_memory(record, 2)]
PLACES = [None, Progress("queued"), Progress("load"), Progress("predictions"), Progress("save"), Progress("other")]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("at", PLACES)
def test_what_was_not_typed_is_not_said_to_be_in_the_box(
    failure: Callable[[JobRecord], JobFailure], at: Progress | None
) -> None:
    told = {
        name: failure(JobRecord("key", name, "running", 1, 0.0, progress=at)).message for name in ("capture", "derive")
    }
    assert "Your text is still in the box" in told["capture"]
    for words in ("in the box", "this run", "This run", "Run again"):
        assert words not in told["derive"]


ERRORS = [
    *(MemoryError(), OSError(errno.EACCES, "Permission denied"), OSError(errno.ENOSPC, "No space left on device")),
    *(ZeroDivisionError("a defect"), RuntimeError("out of memory"), OSError("Unable to load weights")),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("phase", ["fetch", "load", "layers", "predictions", ""])
def test_an_error_that_nobody_foresaw_is_told_of_what_it_is(error: BaseException, phase: str) -> None:
    told = {name: explain(error, phase, "", name).message for name in ("capture", "derive")}
    assert "text is still in the box" in told["capture"]
    assert not re.search(r"in the box|[Tt]his run|[Rr]un again", told["derive"])
    assert re.search(r"[Tt]ry again|[Cc]hoose|free some space|give the server access", told["derive"])


@pytest.mark.parametrize(
    "limits", [{"visitor_runs": 1}, {"queue_runs": 1}, {"queue_megabytes": 0.00004}, {"queue_megabytes": 0.00001}]
)
@pytest.mark.parametrize(
    ("name", "end"), [("derive", "then try again."), ("capture", "then run again. Your text is still in the box.")]
)
def test_a_full_queue_is_told_of_what_is_asked_for(limits: dict[str, Any], name: str, end: str) -> None:
    board = Board((Waiting("k1", ("ann",), 9, rank=Rank.QUICK),))
    with pytest.raises(QueueFullError, match=f"{re.escape(end)}$"):
        check_room(board, Settings(**limits), JobSpec(name, "new"), "ann", 9)


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([Rank.QUICK], "1 of your results is waiting already"),
        ([Rank.QUICK, Rank.LONG], "2 of your results are waiting already"),
        ([Rank.USUAL], "1 of your runs is waiting already"),
        ([Rank.USUAL, Rank.USUAL], "2 of your runs are waiting already"),
        ([Rank.USUAL, Rank.LONG, Rank.QUICK], "3 of your runs and results are waiting already"),
    ],
)
def test_what_waits_of_one_person_is_called_what_it_is(ranks: list[Rank], words: str) -> None:
    board = Board(tuple(Waiting(f"k{number}", ("ann",), rank=rank) for number, rank in enumerate(ranks)))
    with pytest.raises(QueueFullError, match=f"^{words}"):
        check_room(board, Settings(visitor_runs=len(ranks)), JobSpec("derive", "new"), "ann", 9)


def test_a_worker_that_was_lost_is_said_in_whole_sentences() -> None:
    at = Progress("layers", 17, 30)
    run, result = (
        worker_lost(JobRecord("key", name, "running", 1, 0.0, progress=at)).message for name in ("capture", "derive")
    )
    tail = "if it stops again, try a shorter text or a smaller model."
    assert run == (
        "The worker stopped while computing layer 17 of 30, so this run has no result. Your text is still in the box "
        "and a new "
        f"worker is starting. Run again; {tail}"
    )
    assert result == (
        f"The worker stopped while computing layer 17 of 30, so there is no result. A new worker is starting. Try "
        f"again; {tail}"
    )


@pytest.mark.parametrize(
    "module", ["jobs/preparation", "catalog/fetch", "catalog/transfer", "catalog/memory", "capture/loader"]
)
def test_making_a_model_ready_speaks_of_no_run(module: str) -> None:
    """A result may be what it is made ready for: then nothing was typed, and nothing is to be run again."""
    source = (Path(failure.__file__).parents[1] / f"{module}.py").read_text(encoding="utf-8")
    assert not re.search(r"[Rr]un (it )?again", source)
