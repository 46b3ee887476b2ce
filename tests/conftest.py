"""What concerns every test: which run beside others, in which order, and that none leaves a process behind.

`make test` runs two tests at a time (pytest-xdist), file by file. The first process takes the browser's tests, with one
server, and the other the rest; whoever is through helps the other, with a server and a browser of its own. A test of
limits of few seconds is marked `alone`: while it runs nothing else does; it comes last in its file. One that waits
until something has come to its end, however long, is not.

A single file or folder runs as ever: `python -m pytest tests/unit`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

TURNS = "DASHBOARD_TESTS_TURNS"  # environment: the folder of the locks by which tests take turns
RUN = "DASHBOARD_TESTS_RUN"  # environment: of whatever one process of the tests starts
TESTS = Path(__file__).resolve().parent
ORDER = {
    "browser": 1,
    "integration": 2,
    "unit": 3,
}  # of the folders of tests; a notebook's come beside the other browser
ENDING = 10.0  # seconds that what a test started has to end after it


def pytest_configure(config: pytest.Config) -> None:
    os.environ[RUN] = uuid.uuid4().hex
    if not hasattr(config, "workerinput"):
        os.environ[TURNS] = tempfile.mkdtemp(prefix="dashboard-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[TURNS], ignore_errors=True)


# order


def group(nodeid: str) -> tuple[int, str]:
    """What runs in one process, one test after another: its place among the groups, and its name."""
    path = Path(nodeid.partition("::")[0])
    kind = next((part for part in path.parts if part in ORDER), "unit")
    if kind == "browser" and path.stem != "test_notebook":
        return 0, str(path)
    return ORDER[kind], str(path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, str, bool]:
        return (*group(item.nodeid), item.get_closest_marker("alone") is not None)

    items.sort(key=place)  # else within a file as it stands there


def next_group(groups: Sequence[str], first: bool) -> str:
    """The group that a process takes next: the first process a browser's, in order; another one any that is not, and
    browsers' from the last when there are no others left."""
    browsers = [name for name in groups if group(name)[0] == 0]
    others = [name for name in groups if group(name)[0] != 0]
    if first:
        return (browsers or others)[0]
    return others[0] if others else browsers[-1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process a group at a time (`--dist loadscope`)."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)[1]

        def _assign_work_unit(self, node: Any) -> None:
            scope = next_group(list(self.workqueue), node is self.nodes[0])
            self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    return ByGroup(config, log)


# turns


@contextlib.contextmanager
def locked(name: str, how: int) -> Iterator[None]:
    with (Path(os.environ[TURNS]) / name).open("a") as file:
        fcntl.flock(file, how)
        yield


@contextlib.contextmanager
def turn(alone: bool) -> Iterator[None]:
    """A test's turn: beside others, or alone. Who waits to be alone is not overtaken: later tests queue behind it."""
    with contextlib.ExitStack() as stack:
        with locked("queue", fcntl.LOCK_EX):
            stack.enter_context(locked("running", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    with turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


# what to do

NEW_ARRAY = (
    "Where a view reads an array that runs hold since it was added, the run that unit tests draw it on needs that "
    "array, too: "
    "ARRAYS in tests/support/synthetic.py gets a line (docs/adding-an-array.md)."
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[Any]:
    report = yield
    if "unit" in item.path.parts and call.excinfo is not None and call.excinfo.typename == "MissingArrayError":
        report.sections.append(("what to do", NEW_ARRAY))
    return report


# what is left


def left() -> list[psutil.Process]:
    """The processes that tests of this process have started, directly or not, and that still run."""
    mine, found = os.getpid(), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != mine and process.environ().get(RUN) == os.environ[RUN]:
                found.append(process)
    return [process for process in found if not is_pythons_own(process)]


def is_pythons_own(process: psutil.Process) -> bool:
    """Whether multiprocessing started it to tidy up after this very process, with which it ends."""
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return True


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Whatever the tests start ends with them, and is ended and named where it does not."""
    yield
    alive = psutil.wait_procs(left(), timeout=ENDING)[1]
    named = [f"{process.pid}: {' '.join(process.cmdline())[:200]}" for process in alive]
    for process in alive:
        process.kill()
    assert named == []
