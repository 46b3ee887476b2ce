"""The queue's database under what befalls files: garbage, cuts, deletion, a full disk; it heals, and says so once."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.contracts.job import JobSpec
from dashboard.errors import SettingsError, StorageError
from dashboard.jobs import cache as cache_module
from dashboard.jobs.cache import ASIDE, DAMAGED, DATABASE, FULL, HealingCache, open_cache
from dashboard.jobs.diskcache_backend import DiskcacheBackend
from dashboard.jobs.manager import ResidentWorkerManager
from dashboard.jobs.queue import JobQueue
from dashboard.jobs.records import WorkerRecord
from dashboard.jobs.workers import this_host
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.secret import SECRET_FILE, kept_secret

NAME = "0" * 64 + ".fill-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def cache(folder: Path) -> Iterator[HealingCache]:
    cache = open_cache(folder)
    yield cache
    cache.close()


def garbage(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"garbage!" * (path.stat().st_size // 8))


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def nothing(path: Path) -> None:
    os.truncate(path, 0)


def replaced(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"another program's file " * 500)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "garbage": garbage,
    "cut in half": half,
    "emptied": nothing,
    "deleted": Path.unlink,
    "replaced": replaced,
}


def filled(cache: HealingCache) -> None:
    for number in range(300):
        cache.set(f"k{number}", {"text": "x" * 500})
    cache._con.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def works(cache: HealingCache) -> None:
    with cache.transact():
        cache.set("new", [1, 2])
        assert cache.get("new") == [1, 2]
    assert cache.get("new") == [1, 2]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_database_damaged_before_the_start_is_begun_anew(folder: Path, damage: str) -> None:
    first = open_cache(folder)
    filled(first)
    first.close()
    DAMAGES[damage](folder / DATABASE)
    again = open_cache(folder)
    works(again)
    again.close()


def test_who_has_an_emptied_database_open_takes_nothing_from_the_new_one(cache: HealingCache, folder: Path) -> None:
    """SQLite deletes the log beside an empty database by its name, which is the new database's by then."""
    filled(cache)
    nothing(folder / DATABASE)
    late = sqlite3.connect(folder / DATABASE, check_same_thread=False)
    late.execute("PRAGMA page_size")  # has opened the file, and read nothing of it
    cache.close()
    cache.set("kept", 1)
    with contextlib.suppress(sqlite3.DatabaseError):
        late.execute("SELECT * FROM sqlite_master").fetchall()
    other = open_cache(folder)
    assert other.get("kept") == 1
    assert cache.get("kept") == 1
    late.close()
    other.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_database_damaged_while_it_is_used_heals_for_everyone(cache: HealingCache, folder: Path, damage: str) -> None:
    """Two processes' caches (two objects here) and three threads: all end at one whole database, the damaged one set
    aside."""
    filled(cache)
    other = open_cache(folder)
    assert other.get("k1")
    DAMAGES[damage](folder / DATABASE)
    cache.close()  # a thread that comes anew, which finds nothing in SQLite's own memory
    problems: list[str] = []

    def use(one: HealingCache, name: str) -> None:
        for _ in range(20):
            try:
                one.set(name, 1)
                return
            except StorageError as error:
                problems.append(str(error))

    threads = [threading.Thread(target=use, args=(one, f"t{i}")) for i, one in enumerate((cache, other, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    works(cache)
    assert other.get("new") == [1, 2], "both look at the same database"
    assert [cache.get(f"t{i}") for i in range(3)] == [1, 1, 1]
    assert set(problems) <= {DAMAGED}
    assert cache._con.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
    other.close()


def test_what_was_damaged_is_kept_aside_and_told_once_in_the_log(
    cache: HealingCache, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(cache)
    garbage(folder / DATABASE)
    cache.close()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            works(cache)
    assert (folder / ASIDE).read_bytes().startswith(b"garbage!")
    [record] = caplog.records
    assert "is damaged; it is set aside as broken.db" in record.getMessage()


def test_a_transaction_that_meets_damage_changes_nothing_and_the_next_one_works(
    cache: HealingCache, folder: Path
) -> None:
    filled(cache)

    def meet_damage() -> None:
        with cache.transact():
            cache.set("half", 1)
            raise sqlite3.DatabaseError("database disk image is malformed")

    with pytest.raises(StorageError, match="was damaged and has been reset"):
        meet_damage()
    assert cache.get("half") is None
    assert cache.get("k1") == {"text": "x" * 500}, "it was only this connection's trouble: what is whole stays"
    works(cache)


def test_no_file_is_left_over_by_large_values(cache: HealingCache, folder: Path) -> None:
    cache.set("long", "x" * 2_000_000)
    assert [path for path in folder.rglob("*") if path.suffix == ".val"] == []
    assert len(cache.get("long")) == 2_000_000


# a full disk, by SQLite's own limit on the file's size


def fill_disk(cache: HealingCache) -> None:
    """As many pages as there are, and no more: SQLite then answers what it answers on a full disk."""
    (pages,) = cache._con.execute("PRAGMA page_count").fetchone()
    cache._con.execute(f"PRAGMA max_page_count = {pages}")


def free_disk(cache: HealingCache) -> None:
    cache._con.execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_is_said_and_leaves_everything_as_it_was(cache: HealingCache) -> None:
    cache.set("before", 1)
    fill_disk(cache)

    def write() -> None:
        with cache.transact():
            cache.set("small", 2)
            cache.set("large", "x" * 100_000)

    with pytest.raises(StorageError, match="disk is full"):
        write()
    assert (cache.get("before"), cache.get("small"), cache.get("large")) == (1, None, None)
    with pytest.raises(StorageError) as caught:
        cache.set("large", "x" * 100_000)
    assert str(caught.value) == FULL
    free_disk(cache)
    works(cache)
    cache.set("large", "x" * 100_000)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ResidentWorkerManager]:
    settings = Settings(cache_dir=tmp_path)
    queue = JobQueue.from_settings(settings)
    queue.worker_table.publish(WorkerRecord("w1", os.getpid(), this_host(), "idle", 0.0))
    yield ResidentWorkerManager(DiskcacheBackend(queue), RunStore.from_settings(settings), settings)
    queue.close()


def ask(manager: ResidentWorkerManager, text: str) -> tuple[str, str]:
    key = manager.build_cache_key(None, [], [], None)
    return key, manager.call_job_fn(
        key, manager.make_job_fn(lambda: JobSpec("fill", NAME, {"text": text}), True), [], {}
    )


def test_a_run_that_cannot_be_queued_is_told_by_any_web_process(manager: ResidentWorkerManager, tmp_path: Path) -> None:
    fill_disk(manager.backend.queue.cache)
    key, job = ask(manager, "x" * 100_000)
    other = ResidentWorkerManager(DiskcacheBackend.from_settings(manager.settings), manager.store, manager.settings)
    outcome = other.get_result(key, job)
    assert (outcome["error"], outcome["kind"], outcome["retry"]) == (FULL, "StorageError", True)
    assert not other.job_running(job)
    other.terminate_job(job)
    assert manager.backend.queue.job_table.board().queued == ()
    free_disk(manager.backend.queue.cache)
    key, job = ask(manager, "x" * 100_000)
    assert manager.get_result(key, job) is manager.UNDEFINED
    assert len(manager.backend.queue.job_table.board().queued) == 1
    other.backend.close()


class Failing:
    """Makes every transaction of a cache fail as on a full disk, while `full`."""

    def __init__(self, cache: HealingCache, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        begin = HealingCache._begin

        def failing(cache: HealingCache) -> sqlite3.Connection:
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            return begin(cache)

        monkeypatch.setattr(cache_module.HealingCache, "_begin", failing)


def test_leases_outlast_a_disk_that_is_full_for_a_moment(
    manager: ResidentWorkerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, now = Failing(manager.backend.queue.cache, monkeypatch), [1e9]
    for module in ("queue", "workers", "transitions", "verdicts"):
        clock = type("Clock", (), {"time": staticmethod(lambda: now[0]), "monotonic": staticmethod(lambda: now[0])})
        monkeypatch.setattr(f"dashboard.jobs.{module}.time", clock)
    manager.backend.queue.worker_table.change("w1")
    key, job = ask(manager, "a")
    disk.full = True
    now[0] += 4
    assert manager.get_result(key, job) is manager.UNDEFINED, "within the lease it goes on waiting"
    now[0] += 2
    assert manager.get_result(key, job)["error"] == FULL
    disk.full = False
    manager.backend.queue.worker_table.change("w1")
    assert manager.get_result(key, job) is manager.UNDEFINED, "nothing is poisoned: who asks again waits again"
    assert len(manager.backend.queue.job_table.board().queued) == 1


def test_who_cannot_write_does_not_judge_who_is_silent(
    manager: ResidentWorkerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, worker_table = Failing(manager.backend.queue.cache, monkeypatch), manager.backend.queue.worker_table
    disk.full = True
    with pytest.raises(StorageError):
        worker_table.change("w1")
    monkeypatch.setattr(worker_table, "_silent", lambda record: True)
    worker_table._silent_since["w1"] = -1e9  # this one was looked at long ago already
    assert not worker_table.is_gone(worker_table.get("w1"))
    assert worker_table.serving()


def test_the_first_look_at_a_silent_worker_needs_a_disk_that_is_not_full(
    manager: ResidentWorkerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that wrote nothing for a while does not know that its disk is full."""
    disk, worker_table = Failing(manager.backend.queue.cache, monkeypatch), manager.backend.queue.worker_table
    monkeypatch.setattr(worker_table, "_silent", lambda record: True)
    disk.full = True
    assert not worker_table.is_gone(worker_table.get("w1"))
    assert worker_table._silent_since == {}, "this was no look"
    assert not worker_table.can_write()
    disk.full = False
    manager.backend.queue.cache.failed_at = -1e9
    assert not worker_table.is_gone(worker_table.get("w1"))
    worker_table._silent_since["w1"] -= 1
    assert worker_table.is_gone(worker_table.get("w1"))


# the secret that pages are known by


def test_the_secret_outlasts_the_database_and_is_private(manager: ResidentWorkerManager) -> None:
    first = manager.get_or_create_signing_secret(lambda: b"first")
    (manager.settings.queue_folder / DATABASE).unlink()
    later = ResidentWorkerManager(DiskcacheBackend.from_settings(manager.settings), manager.store, manager.settings)
    assert later.get_or_create_signing_secret(lambda: b"second") == first == b"first"
    path = manager.settings.cache_dir / SECRET_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"")
    assert later.get_or_create_signing_secret(lambda: b"second") == b"first", "whoever knows it still writes it again"
    path.write_bytes(b"")
    new = ResidentWorkerManager(DiskcacheBackend.from_settings(manager.settings), manager.store, manager.settings)
    assert new.get_or_create_signing_secret(lambda: b"third") == b"third"
    assert [name for name in os.listdir(path.parent) if name.endswith(".part")] == []
    later.backend.close()


def test_a_secret_is_made_once_by_many_at_once(tmp_path: Path) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(kept_secret(tmp_path / "secret", lambda: b"%d" % i)))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert found[0]


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="DASHBOARD_CACHE_DIR"):
        open_cache(tmp_path / "file")
