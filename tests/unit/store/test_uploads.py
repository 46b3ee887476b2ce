"""How many run files the store keeps of one visitor, and of what size."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, NoSpaceError
from dashboard.settings import Settings
from dashboard.store import uploads
from dashboard.store.run_store import RunStore
from dashboard.store.uploads import UploadedRuns
from dashboard.store.visits import VisitorLists, new_visitor
from tests.support.synthetic import make_run

ANN, BOB = new_visitor(), new_visitor()


def file_of(number: int) -> ModelRun:
    run = make_run()
    return ModelRun({**run.header, "key": f"{number:064x}"}, run.arrays)


SIZE = sum(array.nbytes for array in file_of(0).arrays.values())


def uploaded(folder: Path, most_bytes: int) -> UploadedRuns:
    return UploadedRuns(RunStore(folder / "runs", 10**9), VisitorLists(folder / "visitors"), most_bytes)


def test_a_visitor_has_so_many_bytes_and_others_are_not_refused(tmp_path: Path) -> None:
    runs = uploaded(tmp_path, 10**9)
    runs.adopt(ANN, file_of(0))
    found = runs.store.summary(f"{0:064x}")
    assert found is not None
    runs = uploaded(tmp_path, 2 * found.bytes + SIZE)
    for number in (1, 2):
        runs.adopt(ANN, file_of(number))
    with pytest.raises(NoSpaceError, match=r"Your run files take .* MB more; .* Delete some of them in Recent, then"):
        runs.adopt(ANN, file_of(3))
    assert {key for key, visit in runs.visitors.of(ANN).items() if visit.uploaded} == {f"{n:064x}" for n in range(3)}
    assert not runs.store.has(f"{3:064x}"), "what was refused is neither listed nor stored"
    runs.adopt(BOB, file_of(9))
    runs.adopt(ANN, file_of(2))  # once more
    runs.store.delete(f"{0:064x}")  # it left: it was the least recently used
    runs.adopt(ANN, file_of(3))


def test_a_visitor_has_so_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_FILES", 2)
    runs = uploaded(tmp_path, 10**9)
    for number in range(2):
        runs.adopt(ANN, file_of(number))
    with pytest.raises(NoSpaceError, match=r"up to 2 run files per visitor, and you have reached that number\. Delete"):
        runs.check(ANN, 1)
    runs.visitors.opened(BOB, f"{0:064x}")
    runs.adopt(BOB, file_of(1))
    assert [visit.uploaded for visit in runs.visitors.of(BOB).values()] == [True, False], "to open a link costs nothing"
    runs.visitors.remove(ANN, f"{0:064x}")
    runs.adopt(ANN, file_of(3))


def test_one_file_is_never_too_large_and_a_browser_without_a_cookie_has_none(tmp_path: Path) -> None:
    runs = uploaded(tmp_path, 1)
    with pytest.raises(BadRequestError, match="Reload the page; it needs the page's cookie"):
        runs.check("", 1)
    runs.adopt(ANN, file_of(0))
    with pytest.raises(NoSpaceError):
        runs.check(ANN, 1)


def test_the_share_is_that_of_the_store(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path, store_gigabytes=8.0)
    store, visitors = RunStore.from_settings(settings), VisitorLists.from_settings(settings)
    assert UploadedRuns.from_settings(settings, store, visitors).most_bytes == 2 * 10**9


def test_opening_a_run_again_keeps_where_it_is_from(tmp_path: Path) -> None:
    runs = uploaded(tmp_path, 10**9)
    runs.adopt(ANN, file_of(0))
    assert runs.visitors.opened(ANN, f"{0:064x}").uploaded
    assert runs.visitors.change(ANN, f"{0:064x}", name="Mine", pinned=True).uploaded
