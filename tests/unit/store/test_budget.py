"""All that the cache folder holds is bounded together: what was used longest ago leaves, and nothing that is in use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.catalog.disk_space import make_room
from dashboard.catalog.gguf_files import converted_folder
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.errors import ModelError, NoSpaceError
from dashboard.jobs import housekeeping
from dashboard.jobs.housekeeping import kept_tidy, sweep, tidy
from dashboard.settings import Settings
from dashboard.store.budget import Budget
from dashboard.store.exports import ExportRoom
from dashboard.store.leftovers import last_written
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists
from dashboard.system.private import alone, hold
from tests.support.synthetic import make_parts

MB = 1_000_000
ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from pathlib import Path
from dashboard.system.private import alone, hold
print("ready" if hold(Path(sys.argv[1])) else "", flush=True)
sys.stdin.read()
"""

ANNOUNCE = """
import sys
from pathlib import Path
from dashboard.store.announced import announced
with announced(Path(sys.argv[1]), Path(sys.argv[1]) / "hub" / "models--theirs", 6_000_000):
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, once it is ready."""
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child


def room_for(title: str, needed: int, folder: Path, settings: Settings) -> None:
    """Ask for room, and write nothing."""
    with make_room(title, needed, folder, settings):
        return


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A cache folder of 10 MB at most, with the hub's cache and the converted models in it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
    return Settings(cache_dir=tmp_path / "cache", cache_gigabytes=0.01)


def hours_ago(hours: float) -> float:
    return time.time() - hours * 3600


def age(path: Path, hours: float) -> None:
    for inner in (*path.rglob("*"), path):
        os.utime(inner, (hours_ago(hours),) * 2)


def kept_run(settings: Settings, number: int, megabytes: float, hours: float) -> str:
    """A saved run, as it lies in the folder; used some hours ago."""
    header, arrays = make_parts(texts=["A", " bank"])
    key = f"{number:064x}"
    store = RunStore(settings.runs_folder, 10**12)
    store.save(key, {**header, "key": key}, {**arrays, "more": np.zeros(int(megabytes * MB / 8))})
    age(settings.runs_folder / f"{key}.safetensors", hours)
    return key


def kept_model(parent: Path, name: str, megabytes: float, hours: float, source: str = "") -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * int(megabytes * MB))
    (folder / "dashboard.json").write_text(json.dumps({"title": name, **({"source": source} if source else {})}))
    age(folder, hours)
    return folder


def converted(settings: Settings, name: str, megabytes: float, hours: float, source: str = "") -> Path:
    return kept_model(settings.models_folder / "gguf", name, megabytes, hours, source)


def downloaded(settings: Settings, name: str, megabytes: float, hours: float) -> Path:
    return kept_model(settings.cache_dir / "hub", f"models--{name}", megabytes, hours)


def test_what_was_used_longest_ago_leaves_whatever_it_is(settings: Settings) -> None:
    oldest = downloaded(settings, "org--old", 3, 50)
    second = kept_run(settings, 1, 3, 40)
    third = converted(settings, "mine-1", 3, 30)
    fourth = kept_run(settings, 2, 3, 20)
    fifth = downloaded(settings, "org--new", 3, 10)
    budget, store = Budget.from_settings(settings), RunStore.from_settings(settings)
    assert budget.held() > 15 * MB
    room = budget.make_room()
    assert (room.over, room.short) == (0, 0)
    assert budget.held() <= 10 * MB
    assert [oldest.exists(), store.has(second), third.exists(), store.has(fourth), fifth.exists()] == [
        False,
        False,
        *[True] * 3,
    ]
    assert budget.make_room(3 * MB).over == 0
    assert [third.exists(), store.has(fourth), fifth.exists()] == [False, True, True]
    assert not [path.name for path in settings.models_folder.rglob(".leaving-*")]


def test_what_is_derived_from_a_run_counts_and_leaves_with_it(settings: Settings) -> None:
    key = kept_run(settings, 1, 1, 40)
    store = RunStore(settings.runs_folder, 10**12)
    store.save_derived(Derived(DerivedRequest.of(key, "masked-prediction", position=1), {"more": np.zeros(MB)}, {}))
    age(settings.runs_folder, 40)
    later = kept_run(settings, 2, 9.5, 20)
    assert Budget.from_settings(settings).make_room().over == 0
    assert [path.name for path in settings.runs_folder.glob("*.safetensors")] == [f"{later}.safetensors"]


def test_what_is_derived_leaves_before_runs_and_models(settings: Settings) -> None:
    """And before what was used longest ago."""
    oldest = converted(settings, "mine-1", 2.8, 50)
    first, second = kept_run(settings, 1, 2.8, 40), kept_run(settings, 2, 2.8, 30)
    store = RunStore(settings.runs_folder, 10**12)
    results = []
    for key in (first, second):
        request = DerivedRequest.of(key, "masked-prediction", position=1)
        store.save_derived(Derived(request, {"more": np.zeros(150_000)}, {}))
        results.append(request.name)
    for key, hours in ((first, 40), (second, 30), (results[0], 20), (results[1], 10)):
        age(settings.runs_folder / f"{key}.safetensors", hours)
    assert Budget.from_settings(settings).make_room().over == 0
    assert [oldest.exists(), *(store.has(name) for name in (first, second, *results))] == [
        True,
        True,
        True,
        False,
        True,
    ]
    Budget.from_settings(settings).make_room(MB, keep=results[1])
    assert [oldest.exists(), store.has(first), store.has(results[1])] == [False, True, True], (
        "it is what is being written"
    )
    Budget.from_settings(settings).make_room(4 * MB, keep="f" * 64)
    assert [store.has(name) for name in (first, second, results[1])] == [True, True, False]


def test_what_is_in_use_never_leaves(settings: Settings) -> None:
    """A model that another process holds, a run that somebody used just now; a process that is killed holds nothing."""
    held, bundled = converted(settings, "held", 6, 50), kept_model(settings.models_folder, "smollm2-135m", 1, 99)
    shown = kept_run(settings, 1, 6, 0)
    with another(HOLD, held) as child:
        room = Budget.from_settings(settings).make_room()
        assert room.gone == 0
        assert room.over > 2 * MB
        assert held.exists()
        child.kill()
    assert Budget.from_settings(settings).make_room().over == 0
    assert not held.exists()
    assert RunStore.from_settings(settings).has(shown)
    assert bundled.exists()


def test_a_folder_is_held_by_several_and_free_when_the_last_lets_go(settings: Settings) -> None:
    folder = converted(settings, "held", 11, 50)
    first, second = hold(folder), hold(folder)
    assert first is not None
    assert second is not None
    os.close(first)
    assert Budget.from_settings(settings).make_room().over > 0
    os.close(second)
    assert Budget.from_settings(settings).make_room().over == 0
    assert hold(folder) is None


def test_pinned_runs_leave_after_all_others_that_can(settings: Settings) -> None:
    pinned, model = kept_run(settings, 1, 4, 90), converted(settings, "mine-1", 4, 10)
    lists = VisitorLists.from_settings(settings)
    lists.opened("a" * 32, pinned)
    lists.change("a" * 32, pinned, pinned=True)
    budget = Budget.from_settings(settings)
    budget.make_room(4 * MB)
    assert (RunStore.from_settings(settings).has(pinned), model.exists()) == (True, False)
    budget.make_room(8 * MB)
    assert not RunStore.from_settings(settings).has(pinned)


def test_saving_a_run_lets_what_is_old_go_and_then_the_run_used_longest_ago(settings: Settings) -> None:
    header, arrays = make_parts(texts=["A", " bank"])
    model, store = converted(settings, "mine-1", 3, 10), RunStore.from_settings(settings)

    def save(number: int) -> str:
        key = f"{number:064x}"
        store.save(key, {**header, "key": key}, {**arrays, "more": np.zeros(3 * MB // 8)})
        return key

    first, second = save(1), save(2)
    assert model.exists()
    third = save(3)
    assert (model.exists(), [store.has(key) for key in (first, second, third)]) == (False, [True] * 3)
    age(store.folder / f"{first}.safetensors", 0.01)
    fourth = save(4)
    assert [store.has(key) for key in (first, second, third, fourth)] == [False, True, True, True]
    assert Budget.from_settings(settings).held() <= 10 * MB


def test_what_lies_elsewhere_neither_counts_nor_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "shared"))
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models", cache_gigabytes=0.001)
    shared, other = kept_model(tmp_path / "shared", "models--gpt2", 3, 900), converted(settings, "mine-1", 3, 900)
    key = kept_run(settings, 1, 0.5, 900)
    tidy(settings)
    assert Budget.from_settings(settings).held() < MB
    assert shared.exists()
    assert other.exists()
    assert RunStore.from_settings(settings).has(key)


def test_a_link_in_the_folder_of_models_leads_nowhere(settings: Settings, tmp_path: Path) -> None:
    mine = kept_model(tmp_path, "mine", 11, 900)
    (settings.models_folder / "gguf").mkdir(parents=True)
    (settings.models_folder / "gguf" / "link").symlink_to(mine)
    (settings.cache_dir / "more").write_bytes(b"x" * 11 * MB)
    assert Budget.from_settings(settings).make_room().over > 0
    assert (mine / "model.safetensors").exists()
    assert (settings.cache_dir / "more").exists()  # and what we do not know is nobody's to delete


def test_without_the_setting_models_have_room_beside_runs_and_exports(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path, store_gigabytes=50, export_gigabytes=3, model_gigabytes=10)
    assert settings.cache_bytes == 83_000_000_000  # three of the largest models
    assert replace(settings, model_gigabytes=1).cache_bytes == 73_000_000_000
    assert Settings(cache_dir=tmp_path, cache_gigabytes=7).cache_bytes == 7_000_000_000
    assert Settings.from_env({"DASHBOARD_CACHE_GIGABYTES": "7"}).cache_bytes == 7_000_000_000


def test_what_finds_no_room_is_refused_with_a_sentence(settings: Settings) -> None:
    """Files to save, conversions and downloads: before anything of them is written."""
    kept_run(settings, 1, 8, 0)
    with pytest.raises(NoSpaceError, match=r"would take 3 MB, and all that this server may keep is in use"):
        ExportRoom.from_settings(settings).open("ann", 3 * MB)
    assert not list(settings.exports_folder.glob("*.part"))
    for folder in (settings.models_folder / "gguf" / "x", settings.cache_dir / "hub" / "models--x"):
        with pytest.raises(
            ModelError,
            match=r"mine needs 3 MB on the disk, and too little of the 0\.01 GB that this server may keep can be",
        ):
            room_for("mine", 3 * MB, folder, settings)
    room_for("mine", MB, settings.models_folder / "gguf" / "x", settings)
    room_for("mine", 30 * MB, settings.cache_dir.parent / "elsewhere", settings)  # not ours to bound
    age(settings.runs_folder, 1)
    ExportRoom.from_settings(settings).open("ann", 3 * MB).close()
    assert not list(settings.runs_folder.glob("*.safetensors"))


def test_a_download_that_goes_on_makes_no_room_of_itself(settings: Settings) -> None:
    begun, other = downloaded(settings, "org--begun", 6, 50), downloaded(settings, "org--other", 3, 40)
    room_for("begun", 3 * MB, begun, settings)
    assert (begun.exists(), other.exists()) == (True, False)


def test_a_disk_without_room_is_said_before_a_model_is_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Settings(cache_dir=settings.cache_dir, cache_gigabytes=10**6)
    for folder in (whole.models_folder / "gguf" / "x", settings.cache_dir.parent / "elsewhere" / "x"):
        free_beside_the_reserve(monkeypatch, 3 * MB)
        room_for("mine", 3 * MB, folder, whole)
        free_beside_the_reserve(monkeypatch, 2 * MB)
        with pytest.raises(ModelError, match=r"mine needs 3 MB on the disk, and the server's disk has 1 MB too little"):
            room_for("mine", 3 * MB, folder, whole)


def test_files_to_save_that_come_at_once_are_not_given_the_same_room(settings: Settings) -> None:
    room = ExportRoom.from_settings(settings)
    first = room.open("ann", 6 * MB)
    with pytest.raises(NoSpaceError, match="all that this server may keep is in use"):
        room.open("bob", 5 * MB)
    first.file.write(b"x" * 6 * MB)
    first.file.flush()
    room.open("bob", 3 * MB).close()
    first.close()
    room.open("bob", 5 * MB).close()


def test_a_file_to_save_leaves_the_whole_reserve_free(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    room = ExportRoom.from_settings(Settings(cache_dir=settings.cache_dir, cache_gigabytes=10**6))
    free_beside_the_reserve(monkeypatch, 3 * MB)
    room.open("ann", 3 * MB).close()
    free_beside_the_reserve(monkeypatch, 3 * MB - 1)
    with pytest.raises(NoSpaceError, match="disk has no room for this file"):
        room.open("ann", 3 * MB)


def free_beside_the_reserve(patch: pytest.MonkeyPatch, count: int) -> None:
    """Let a disk of 100 GB have so many bytes free beside its reserve of 512 MB, whichever folder is asked for."""
    usage = SimpleNamespace(total=100_000 * MB, free=512 * MB + count)
    patch.setattr("dashboard.store.reserve.shutil.disk_usage", lambda _folder: usage)


def test_what_vanishes_while_room_is_made_disturbs_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download renames and removes files while a run is saved: they, and whole folders, are gone when they are looked
    at."""
    model, other = downloaded(settings, "org--busy", 3, 50), downloaded(settings, "org--old", 3, 60)
    (model / "blobs").mkdir()
    (model / "blobs" / "part").write_bytes(b"x" * MB)
    age(model, 50)
    kept_run(settings, 1, 5, 0)
    look, looks = Path.lstat, []

    def vanishes(path: Path) -> os.stat_result:
        looks.extend([path] if path == model / "model.safetensors" else [])
        if len(looks) == 2:  # the first look adds up what there is
            looks[0].unlink(missing_ok=True)
            shutil.rmtree(model / "blobs", ignore_errors=True)
        return look(path)

    monkeypatch.setattr(Path, "lstat", vanishes)
    assert Budget.from_settings(settings).make_room().over == 0
    assert not (model / "model.safetensors").exists()
    assert not other.exists()
    assert last_written(settings.cache_dir / "nothing") == 0.0


def hub_folder(settings: Settings, name: str) -> Path:
    return settings.cache_dir / "hub" / f"models--{name}"


def test_two_that_come_at_once_are_not_given_the_same_room(settings: Settings) -> None:
    """What one of them has written by now counts once; when it is through, or was killed, nothing more is to come."""
    first, second = hub_folder(settings, "first"), settings.models_folder / "gguf" / ".converting-1"
    with make_room("first", 6 * MB, first, settings):
        with pytest.raises(ModelError, match=r"second needs 5 MB on the disk, and too little of the 0\.01 GB"):
            room_for("second", 5 * MB, second, settings)
        first.mkdir(parents=True)
        (first / "part").write_bytes(b"x" * 4 * MB)
        with make_room("second", 3 * MB, second, settings):
            second.mkdir(parents=True)
            (second / "model.safetensors").write_bytes(b"x" * 3 * MB)
            with pytest.raises(NoSpaceError, match="all that this server may keep is in use"):
                ExportRoom.from_settings(settings).open("ann", 2 * MB)
        with pytest.raises(ModelError, match="third needs 2 MB"):
            room_for("third", 2 * MB, hub_folder(settings, "third"), settings)
    room_for("third", 2 * MB, hub_folder(settings, "third"), settings)
    assert [path.name for path in (settings.cache_dir / "announced").iterdir()] == []


def test_what_leaves_for_one_leaves_no_more_for_a_run_meanwhile(settings: Settings) -> None:
    """Room that was made for a download is not made again with each run that is saved while it comes."""
    runs = [kept_run(settings, number, 2, 40 - number) for number in range(4)]
    with make_room("first", 5 * MB, hub_folder(settings, "first"), settings):
        store = RunStore.from_settings(settings)
        assert [store.has(key) for key in runs] == [False, False, True, True]
        Budget.from_settings(settings).make_room(MB // 2)
        assert [store.has(key) for key in runs] == [False, False, True, True]


def test_what_a_killed_process_announced_counts_no_more(settings: Settings) -> None:
    with another(ANNOUNCE, settings.cache_dir) as child:
        with pytest.raises(ModelError, match="mine needs 5 MB"):
            room_for("mine", 5 * MB, hub_folder(settings, "mine"), settings)
        child.kill()
    room_for("mine", 5 * MB, hub_folder(settings, "mine"), settings)
    assert list((settings.cache_dir / "announced").iterdir()) == []


def test_a_cache_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    """Of a hub's cache elsewhere; a file stands in its place, which stops root as well."""
    (tmp_path / "cache").write_text("x")
    settings = Settings(cache_dir=tmp_path / "cache")
    room_for("mine", MB, tmp_path / "shared" / "models--mine", settings)
    with pytest.raises(ModelError, match="too little room"):
        room_for("mine", 10**15, tmp_path / "shared" / "models--mine", settings)


def test_two_that_come_at_once_leave_the_reserve_of_another_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "shared"))
    settings = Settings(cache_dir=tmp_path / "cache")
    free_beside_the_reserve(monkeypatch, 8 * MB)
    with make_room("first", 5 * MB, tmp_path / "shared" / "models--first", settings):
        with pytest.raises(
            ModelError, match="second needs 4 MB on the disk, and the server's disk has 1 MB too little"
        ):
            room_for("second", 4 * MB, tmp_path / "shared" / "models--second", settings)
        room_for("second", 3 * MB, tmp_path / "shared" / "models--second", settings)


def left_overs(settings: Settings) -> list[Path]:
    """One of each kind that a killed process can leave, in each folder where it can."""
    models, gguf = settings.models_folder, settings.models_folder / "gguf"
    files = [
        settings.cache_dir / "signing-secret.0123abcd.part",
        settings.cache_dir / ".write-test-77",
        settings.runs_folder / f"{1:064x}.0123abcd.part",
        settings.runs_folder / ".write-test-77",
        settings.queue_folder / ".write-test-77",
        settings.visitors_folder / f"{'a' * 32}.0123abcd.part",
        settings.visitors_folder / ".write-test-77",
        settings.exports_folder / "0123abcd.1000.0123abcd.part",
        settings.cache_dir / "announced" / "0123abcd.part",
        models / ".fingerprints-abc",
        settings.cache_dir / ".fingerprints-abc",
        settings.cache_dir / "hub" / ".leaving-abc" / "model.safetensors",
        settings.cache_dir / "hub" / "models--org--x" / "blobs" / f"{'b' * 40}.dashboard.incomplete",
        models / ".smollm2-135m-abc" / "x.whl",
        gguf / ".converting-abc" / "model.safetensors",
        gguf / ".leaving-abc" / "model.safetensors",
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return files


def test_what_killed_processes_left_is_swept_everywhere(settings: Settings) -> None:
    files = left_overs(settings)
    whole = converted(settings, "mine-1", 0.1, 0)
    sweep(settings)
    assert [path.exists() for path in files] == [True] * len(files)  # somebody may be writing them
    for path in files:
        age(path if path.parent.name[0] != "." else path.parent, 25 if path.suffix != ".incomplete" else 7 * 24 + 1)
    sweep(settings)
    assert [str(path) for path in files if path.exists()] == []
    assert whole.exists()


def test_parts_of_stopped_downloads_leave_a_shared_cache_after_a_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours alone: what the hub's own library left, and other programs may still use, is not ours to sweep."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "shared"))
    blobs = tmp_path / "shared" / "models--org--x" / "blobs"
    blobs.mkdir(parents=True)
    ages = {
        "old.dashboard.incomplete": 7 * 24 + 1,
        "young.dashboard.incomplete": 6 * 24,
        "theirs.incomplete": 999,
        "whole": 999,
    }
    for name, hours in ages.items():
        (blobs / name).write_bytes(b"x")
        age(blobs / name, hours)
    sweep(Settings(cache_dir=tmp_path / "cache"))
    assert sorted(path.name for path in blobs.iterdir()) == ["theirs.incomplete", "whole", "young.dashboard.incomplete"]


def test_a_conversion_whose_file_is_another_one_now_leaves_after_a_day(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "mine.gguf"
    source.write_bytes(b"x")
    current = converted_folder(source, settings)
    kept_model(current.parent, current.name, 0.1, 25, str(source))
    before, young = (
        converted(settings, "mine-before", 0.1, 25, str(source)),
        converted(settings, "mine-young", 0.1, 1, str(source)),
    )
    gone, held = (
        converted(settings, "gone", 0.1, 25, str(tmp_path / "gone.gguf")),
        converted(settings, "held", 0.1, 25, "/nowhere"),
    )
    odd = converted(settings, "odd", 0.1, 25)
    (odd / "dashboard.json").write_text("[]")
    using = hold(held)
    assert using is not None
    sweep(settings)
    os.close(using)
    assert [path.name for path in (current, before, young, gone, held, odd) if path.exists()] == [
        current.name,
        "mine-young",
        "held",
        "odd",
    ]


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait for something; gives whether it came."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_the_cache_folder_is_tidied_while_the_server_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once and again and again, whatever goes wrong in between; in a thread that ends with the server."""
    rounds: list[int] = []

    def flaky(settings: Settings) -> None:
        rounds.append(len(rounds))
        if rounds == [0]:
            raise OSError(5, "Input/output error")
        tidy(settings)

    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_SECONDS", 0.02)
    monkeypatch.setattr(housekeeping, "tidy", flaky)
    with kept_tidy(settings):
        assert until(lambda: len(rounds) > 2)
        model, part = converted(settings, "mine-1", 11, 30), settings.cache_dir / "signing-secret.0123abcd.part"
        part.write_bytes(b"x")
        age(part, 1)
        assert until(lambda: not model.exists() and not part.exists())
    assert until(lambda: not any(thread.name == "housekeeping" for thread in threading.enumerate()))


def test_it_does_not_wait_for_who_holds_another_lock_of_the_folder(settings: Settings) -> None:
    """A notebook's kernel holds its cache folder's lock for as long as it lives, and runs models in it."""
    settings.cache_dir.mkdir()
    with alone(settings.cache_dir):
        done = threading.Thread(target=Budget.from_settings(settings).make_room, daemon=True)
        done.start()
        done.join(20)
        assert not done.is_alive()
