"""The backend of a notebook's page: what is submitted is computed at once, in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dashboard.contracts.job import JobSpec
from dashboard.errors import MissingArrayError
from dashboard.jobs import in_process
from dashboard.jobs.backend import Done, Failed, JobBackend, watched_as
from dashboard.jobs.failure import RESULT_FORGOTTEN
from dashboard.jobs.in_process import InProcessBackend
from dashboard.jobs.open_backend import open_backend
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore

RUN = "0" * 64


def name(position: int) -> str:
    return f"{RUN}.fill-{position}"


def spec(position: int) -> JobSpec:
    return JobSpec("fill", name(position), {"position": position})


class Kernel:
    """Computes positions up to 9; `computed` are all that it was asked for."""

    def __init__(self) -> None:
        self.computed: list[int] = []

    def __call__(self, asked: JobSpec, store: RunStore) -> None:
        position = asked.payload["position"]
        self.computed.append(position)
        if position > 99:
            raise ZeroDivisionError("secret")
        if position > 9:
            raise MissingArrayError("This position is not in the run.")
        store.files.write(asked.key, {"a": np.zeros(1)}, {"name": asked.key})


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def backend(tmp_path: Path, kernel: Kernel) -> JobBackend:
    return opened(tmp_path, kernel)


def opened(folder: Path, kernel: Kernel) -> JobBackend:
    settings = Settings(cache_dir=folder)
    return open_backend(settings, RunStore.from_settings(settings), kernel)


def test_a_job_is_done_when_it_is_submitted_and_what_is_stored_is_not_computed(
    backend: JobBackend, kernel: Kernel
) -> None:
    backend.submit(spec(1), "s1")
    assert backend.standing("s1") == "known"
    assert backend.progress("s1") is None
    assert backend.poll("s1") == backend.poll("s1") == Done("fill", name(1))
    assert backend.standing("s1") == "told"
    backend.submit(spec(1), "s2")
    backend.cancel("s2")
    assert backend.poll("s2") == Done("fill", name(1))
    assert kernel.computed == [1]


def test_an_error_is_the_outcome_and_a_defect_is_logged(backend: JobBackend, caplog: pytest.LogCaptureFixture) -> None:
    backend.submit(spec(10), "s1")
    outcome = backend.poll("s1")
    assert isinstance(outcome, Failed)
    assert (outcome.failure.kind, outcome.failure.message) == ("MissingArrayError", "This position is not in the run.")
    assert (outcome.job, outcome.key) == ("fill", name(10))
    backend.submit(spec(100), "s2")
    outcome = backend.poll("s2")
    assert isinstance(outcome, Failed)
    assert "failed inside the dashboard" in outcome.failure.message
    assert not outcome.failure.retry
    assert "secret" not in outcome.failure.message
    assert "ZeroDivisionError: secret" in caplog.text


def test_a_set_is_computed_and_each_of_it_once(backend: JobBackend, kernel: Kernel) -> None:
    assert backend.watched("w") is None
    states = backend.watch("w", [spec(1), spec(10)])
    assert [type(state) for state in states.values()] == [Done, Failed]
    assert backend.watched("w") == states
    backend.watch("w", [spec(10), spec(2)])
    assert kernel.computed == [1, 10, 2], "what failed is not tried again by itself"
    backend.watch("w", [spec(10)], again=[name(10)])
    assert kernel.computed == [1, 10, 2, 10]
    backend.cancel(watched_as("w", name(10)))
    assert list(backend.watch("w", [spec(3)], turn=2)) == [name(3)]
    assert list(backend.watch("w", [spec(4)], turn=1)) == [name(3)], "it was overtaken"
    assert kernel.computed == [1, 10, 2, 10, 3]
    assert backend.watch("w", [], turn=3) == backend.watched("w") == {}


def test_only_so_much_is_remembered(tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "MOST_KEPT", 3)
    backend = opened(tmp_path, kernel)
    for position in range(5):
        backend.submit(spec(position), f"s{position}")
        backend.watch(f"w{position}", [])
        assert backend.poll(f"s{position}") == Done("fill", name(position))
    assert [backend.standing(f"s{position}") for position in range(5)] == ["unknown", "unknown", "told", "told", "told"]
    forgotten = backend.poll("s0")
    assert isinstance(forgotten, Failed)
    assert forgotten.failure.retry


def test_a_page_without_a_worker_says_so_and_leaves_no_queue(backend: JobBackend, tmp_path: Path) -> None:
    assert isinstance(backend, InProcessBackend)
    health = backend.health().to_json()
    assert (health["worker"], health["models"], health["queue"]) == ("none", [], 0)
    assert health["message"].startswith("No worker is running")
    backend.close()
    assert not list(tmp_path.rglob("*.db"))


def test_a_result_that_is_not_kept_any_more_is_not_called_a_run(
    tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_process, "MOST_KEPT", 1)
    backend = opened(tmp_path, kernel)
    first = backend.watch("page", [spec(1), spec(2)])[name(1)]
    assert isinstance(first, Failed)
    assert first.failure.message == RESULT_FORGOTTEN
