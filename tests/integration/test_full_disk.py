"""A disk that is really full: a small file system in a name space of its own, on which the store and the queue
write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 24
PREFIX = f"""
import json, os, shutil, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from tests.support.synthetic import make_parts
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists
from dashboard.jobs.queue import JobQueue
from dashboard.contracts.job import JobSpec
from dashboard.errors import DashboardError
settings = Settings(cache_dir=Path(sys.argv[1]) / "cache", models_dir=Path(sys.argv[1]) / "models")
store, visitors = RunStore.from_settings(settings), VisitorLists.from_settings(settings)
queue = JobQueue.from_settings(settings)
header, arrays = make_parts(texts=["A", " bank"])
def save(number, megabytes=2):
    key = f"{{number:064x}}"
    store.save(key, {{**header, "key": key}}, {{**arrays, "more": np.zeros(megabytes * 125_000)}})
    os.utime(store.folder / f"{{key}}.safetensors", (number, number))
    return key
"""


def on_disk(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that sees a disk of `MEGABYTES` in a folder."""
    mount = f'mount -t tmpfs -o size={MEGABYTES}m tmpfs "$0" && exec "$@"'
    whole = ["unshare", "-rm", "sh", "-c", mount, str(folder), *command]
    return subprocess.run(whole, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module", autouse=True)
def _allowed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whether this system lets us make a small file system; where CI runs the tests, it must."""
    try:
        tried = on_disk(tmp_path_factory.mktemp("probe"), "true")
        refused = tried.stderr if tried.returncode else ""
    except FileNotFoundError as error:
        refused = str(error)
    if refused:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"this system lets nobody make a small file system: {refused}"
        )


def small_disk(tmp_path: Path, script: str) -> str:
    """What a script prints whose first argument is a folder on a disk of `MEGABYTES`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = on_disk(folder, sys.executable, "-c", PREFIX + script, str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_store_limit_larger_than_the_disk_lets_the_oldest_runs_go(tmp_path: Path) -> None:
    """Forty runs of 2 MB, one of them pinned, on a disk of 24 MB with a store of 10 GB; the queue still takes a run."""
    said = small_disk(
        tmp_path,
        """
visitors.opened("a" * 32, f"{1:064x}")
visitors.change("a" * 32, f"{1:064x}", pinned=True)
for number in range(1, 41):
    save(number)
there = [number for number in range(1, 41) if store.has(f"{number:064x}")]
print(there[0], there[-1], len(there) > 5, there[1:] == list(range(42 - len(there), 41)))
queue.submit(JobSpec("capture", "k1", {"text": "x" * 100_000}))
print(shutil.disk_usage(settings.cache_dir).free > 100_000)
""",
    )
    assert said.split("\n")[:2] == ["1 40 True True", "True"]


def test_on_a_full_disk_what_is_derived_leaves_before_any_run(tmp_path: Path) -> None:
    """Two runs of 5 MB with 9 MB of results, on a disk of 24 MB: a run of 8 MB has room without any run's leaving."""
    said = small_disk(
        tmp_path,
        """
from dashboard.contracts.derived import Derived, DerivedRequest
keys = [save(number, 5) for number in (1, 2)]
requests = [DerivedRequest.of(key, "masked-prediction", position=place) for key in keys for place in (0, 1)]
for request in requests:
    store.save_derived(Derived(request, {"a": np.zeros(281_250)}, {}))
save(3, 8)
print([store.has(key) for key in keys], store.has(f"{3:064x}"), sum(store.has(one.name) for one in requests) < 4)
try:
    store.save_derived(Derived(requests[0], {"a": np.zeros(10_000_000)}, {}))
except DashboardError as error:
    print(error)
print([path.name for path in store.folder.glob("*.part")])
""",
    )
    lines = said.splitlines()
    assert lines[0] == "[True, True] True True"
    assert lines[1].startswith("The disk that holds the saved runs is full, so this result could not be kept.")
    assert lines[2] == "[]"


def test_a_run_larger_than_what_is_left_makes_room_or_says_so(tmp_path: Path) -> None:
    said = small_disk(
        tmp_path,
        """
for number in range(1, 9):
    save(number)
print(store.has(save(20, 12)), store.has(f"{1:064x}"))
try:
    save(21, 40)
except DashboardError as error:
    print(error)
print([path.name for path in store.folder.glob("*.part")])
print(store.has(save(22, 1)))
""",
    )
    lines = said.splitlines()
    assert lines[0] == "True False"
    assert lines[1].startswith("The disk that holds the saved runs is full, so this run could not be kept.")
    assert lines[2:] == ["[]", "True"]


def test_an_export_on_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    said = small_disk(
        tmp_path,
        """
import logging
from dashboard.web.app import create_app
import dashboard.store.reserve as reserve
reserve.reserved_bytes = lambda folder: -10**12  # what the check of free room says is not what this is about
key = save(1, 9)
(settings.cache_dir / "other").write_bytes(b"x" * 12_000_000)
app = create_app(settings)
client = app.server.test_client()
for suffix in ("npz", "safetensors"):
    reply = client.get(f"/export/run.{suffix}?run={key}&token=0&layer=0&head=0")
    print(reply.status_code, reply.get_data(as_text=True)[:90])
print([path.name for path in settings.exports_folder.glob("*.part")])
app._background_manager.backend.close()
""",
    )
    line = "507 The file could not be written (No space left on device). Free"
    assert [item[: len(line)] for item in said.splitlines()] == [line, line, "[]"]


def test_on_a_full_disk_an_old_conversion_leaves_for_a_run(tmp_path: Path) -> None:
    said = small_disk(
        tmp_path,
        """
settings = Settings(cache_dir=settings.cache_dir)
store = RunStore.from_settings(settings)
old = settings.models_folder / "gguf" / "mine-1"
old.mkdir(parents=True)
(old / "model.safetensors").write_bytes(b"x" * 12_000_000)
for path in (*old.iterdir(), old):
    os.utime(path, (1, 1))
kept = [save(number, 5) for number in range(2, 5)]
print(old.exists(), [store.has(key) for key in kept])
""",
    )
    assert said.strip() == "False [True, True, True]"


def test_every_address_on_a_full_disk_says_what_it_is(tmp_path: Path) -> None:
    """Reading goes on; what must be written is refused with the disk's own sentence, and the list is what it was."""
    said = small_disk(
        tmp_path,
        """
from dashboard.web.app import create_app
from dashboard.errors import NO_DISK
key = save(1, 1)
app = create_app(settings)
client = app.server.test_client()
client.get("/_dash-layout")
visitor = visitors.visitor_in({"dashboard-visitor": client.get_cookie("dashboard-visitor").value})
visitors.opened(visitor, key)
with open(settings.cache_dir / "other", "wb", buffering=0) as file:
    try:
        while file.write(b"x" * 4096):
            pass
    except OSError:
        pass
query = f"run={key}&token=0&layer=0&head=0"
shown = (f"show/words/hidden?{query}", f"show/figure/hidden?{query}")
for path in (f"run/{key}/attention/0/0?from=0&to=2", *shown, "recent"):
    print(client.get("/" + path).status_code)
reply = client.post(f"/recent/{key}", json={"name": "x"})
print(reply.status_code, reply.get_data(as_text=True).endswith(NO_DISK), "fault" in reply.get_data(as_text=True))
print([run["name"] for run in client.get("/recent").get_json()["runs"]])
app._background_manager.backend.close()
""",
    )
    assert said.splitlines() == ["200"] * 4 + ["507 True False", "['']"]
