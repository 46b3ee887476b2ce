"""Exports are bounded, what killed processes left is swept, folders that someone deletes are made again, paths stay
here."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from dashboard.contracts.job import JobSpec
from dashboard.errors import BROKEN, NO_ACCESS, NO_DISK, NoSpaceError, QueueFullError, unforeseen, without_paths
from dashboard.jobs.failure import JobFailure
from dashboard.jobs.queue import JobQueue
from dashboard.settings import Settings
from dashboard.store.exports import MOST_AT_ONCE, ExportRoom
from dashboard.store.leftovers import remove_left
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists
from tests.support.synthetic import make_parts

ANN = "a" * 32


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models", export_gigabytes=0.001)


def test_exports_are_bounded_for_one_and_for_all(settings: Settings) -> None:
    room = ExportRoom.from_settings(settings)
    mine = [room.open("ann", 10) for _ in range(2)]
    with pytest.raises(QueueFullError, match="2 of your files are still being made or sent"):
        ExportRoom.from_settings(settings).open("ann", 10)
    others = [room.open(f"other {number}", 10) for number in range(MOST_AT_ONCE - 2)]
    with pytest.raises(QueueFullError, match="busy making files for others"):
        room.open("bob", 10)
    for made in (*mine, *others):
        made.close()
    large = room.open("ann", 900_000)
    with pytest.raises(QueueFullError, match="all the available room"):
        room.open("bob", 200_000)
    large.close()
    with pytest.raises(NoSpaceError, match="more than this server gives to exports"):
        room.open("bob", 1_100_000)
    assert [path.name for path in settings.exports_folder.iterdir()] == ["lock"]


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    """Old files and folders leave; young ones, those of other names, and what a link leads to stay."""
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    (kept / "file").write_text("x")
    for name in ("old.part", "young.part", "other"):
        (tmp_path / name).write_text("x")
    folder = tmp_path / ".converting-1"
    folder.mkdir()
    (folder / "model").write_text("x" * 10_000)
    (tmp_path / "link.part").symlink_to(kept)
    long_ago = time.time() - 3600
    for path in (tmp_path / "old.part", tmp_path / "other", folder / "model", folder):
        os.utime(path, (long_ago, long_ago))
    os.utime(tmp_path / "link.part", (long_ago, long_ago), follow_symlinks=False)
    assert remove_left(tmp_path, "*.part", ".converting-*") == (tmp_path / "young.part").stat().st_blocks * 512
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "other", "young.part"]
    assert (kept / "file").read_text() == "x"
    assert remove_left(tmp_path / "nowhere", "*.part") == 0


@pytest.mark.parametrize("what", ["runs", ""])
def test_folders_that_someone_deletes_are_made_again_for_their_owner_alone(settings: Settings, what: str) -> None:
    store, visitors, queue = (
        RunStore.from_settings(settings),
        VisitorLists.from_settings(settings),
        JobQueue.from_settings(settings),
    )
    cookie = visitors.cookie_of(ANN)
    header, arrays = make_parts(texts=["A", " bank"])
    store.save(header["key"], header, arrays)
    before, old = os.umask(0), settings.cache_dir / what
    shutil.rmtree(old)
    try:
        assert store.summary(header["key"]) is None
        assert not store.has(header["key"])
        store.save(header["key"], header, arrays)
        visitors.opened(ANN, header["key"])
        queue.submit(JobSpec("capture", "k1"))
        ExportRoom.from_settings(settings).open("ann", 10).close()
    finally:
        os.umask(before)
    assert store.open(header["key"]).key == header["key"]
    assert list(visitors.of(ANN)) == [header["key"]]
    assert visitors.visitor_in({"dashboard-visitor": cookie}) == ANN
    assert queue.job_table.board().queued == ("k1",)
    queue.close()
    folders = [settings.cache_dir, *(path for path in settings.cache_dir.iterdir() if path.is_dir())]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folders} == {path.name: "0o700" for path in folders}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/home/jane/models/config.json cannot be read.", "…/config.json cannot be read."),
        ("[Errno 2] No such file: '/home/jane doe/my models/x.bin'", "[Errno 2] No such file: '…/x.bin'"),
        ("“/srv/a b/c” and (/srv/d/e), /srv/f/g.", "“…/c” and (…/e), …/g."),
        (
            "Ask organisation/name or folder:models/mine; km/h, 3 / 4 and 1/2.",
            "Ask organisation/name or folder:models/mine; km/h, 3 / 4 and 1/2.",
        ),
        ("See https://example.org/a/b/c.", "See https://example.org/a/b/c."),
        ("CC(C)S/C=C/c1 // x", "CC(C)S/C=C/c1 // x"),
        ("file:///var/lib/x/y.gguf", "…/y.gguf"),
    ],
)
def test_no_sentence_names_a_folder_of_the_server(said: str, shown: str) -> None:
    assert without_paths(said) == shown
    assert JobFailure(said, said).message == shown


def test_what_the_machine_refused_is_not_called_our_fault() -> None:
    assert unforeseen(OSError(28, "No space left on device")) == NO_DISK
    assert unforeseen(PermissionError(13, "Permission denied")) == NO_ACCESS
    assert "memory" in unforeseen(MemoryError())
    assert unforeseen(KeyError("x")) == BROKEN
