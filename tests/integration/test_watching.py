"""A watch on a set of jobs, with real worker processes and through more than one web process."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from dashboard.contracts.job import JobSpec
from dashboard.jobs.backend import Done, Failed, State, Underway, watched_as
from dashboard.jobs.diskcache_backend import DiskcacheBackend
from tests.integration import test_jobs
from tests.integration.test_jobs import Server, key

pytestmark = pytest.mark.integration
_own_keys, keeper, server = test_jobs._own_keys, test_jobs.keeper, test_jobs.server  # fixtures


def spec(name: str, number: int, **payload: Any) -> JobSpec:
    return JobSpec(name, key(number), payload)


def state(server: Server, watcher: str, number: int) -> State:
    found = server.backend.watched(watcher)
    assert found is not None
    return found[key(number)]


def comes_to(server: Server, watcher: str, number: int, kind: type) -> Any:
    """Ask until the job is done, or has failed; gives its state."""

    def asked() -> State | None:
        found = state(server, watcher, number)
        return found if isinstance(found, kind) else None

    return server.until(asked, 20)


def runs(server: Server, watcher: str, number: int) -> None:
    """Ask until the job computes its layers."""

    def asked() -> bool:
        found = state(server, watcher, number)
        return isinstance(found, Underway) and found.at.phase == "layers"

    server.until(asked, 20)


def test_a_set_is_computed_and_a_failure_holds_up_no_other(server: Server) -> None:
    other = DiskcacheBackend.from_settings(server.settings)  # as another web process has
    specs = [spec("slow", 1, seconds=0.2), spec("refusing", 2), spec("raising", 3), spec("slow", 4)]
    other.watch("w", specs)
    assert comes_to(server, "w", 4, Done).artifact == f"{key(4)}.done-1"
    assert comes_to(server, "w", 1, Done).artifact == f"{key(1)}.done-1"
    refused, defect = comes_to(server, "w", 2, Failed), comes_to(server, "w", 3, Failed)
    assert (refused.failure.kind, refused.failure.retry) == ("TextTooLongError", False)
    assert "which is our fault" in defect.failure.message
    assert other.watched("w") == server.backend.watched("w")
    assert len(server.done()) == 4
    other.close()


def test_what_stays_in_the_set_is_computed_once_while_the_set_changes(server: Server) -> None:
    long = spec("slow", 1, seconds=60)
    server.backend.watch("w", [long])
    runs(server, "w", 1)
    for number in range(2, 8):
        server.backend.watch("w", [spec("slow", number), long])
        runs(server, "w", 1)
    server.backend.cancel(watched_as("w", key(1)))
    assert comes_to(server, "w", 7, Done)
    begun = [line.split()[1] for line in server.done()]
    assert begun == [key(1), key(7)], "nobody computes what has left the set before its turn"


def test_a_cancel_of_one_gives_the_worker_to_the_next(server: Server) -> None:
    server.backend.watch("w", [spec("slow", 1, seconds=60), spec("slow", 2)])
    runs(server, "w", 1)
    server.backend.cancel(watched_as("w", key(1)))
    assert comes_to(server, "w", 2, Done)
    cancelled = state(server, "w", 1)
    assert isinstance(cancelled, Failed)
    assert cancelled.cancelled


def test_a_watcher_that_goes_away_leaves_the_worker_to_others(server: Server) -> None:
    server.backend.watch("gone", [spec("slow", 1, seconds=60)])
    runs(server, "gone", 1)
    server.backend.watch("there", [spec("slow", 2)])
    assert comes_to(server, "there", 2, Done)


@pytest.mark.alone
def test_a_killed_worker_fails_what_it_did_and_again_computes_it(server: Server) -> None:
    server.backend.watch("w", [spec("slow", 1, seconds=60), spec("slow", 2)])
    runs(server, "w", 1)
    os.kill(server.worker_pid(), signal.SIGKILL)
    failed = comes_to(server, "w", 1, Failed)
    assert failed.failure.message.startswith("The worker stopped while computing layer")
    assert (failed.failure.retry, failed.key) == (True, key(1))
    assert comes_to(server, "w", 2, Done)
    server.backend.watch("w", [spec("slow", 1), spec("slow", 2)], again=[key(1)])
    assert comes_to(server, "w", 1, Done)
