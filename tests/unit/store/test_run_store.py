"""The run store: whole or nothing, lazily read, bounded, private. Numpy only."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from dashboard.contracts.derived import DerivedRequest
from dashboard.errors import (
    BadRequestError,
    DashboardError,
    NewerRunError,
    RunNotFoundError,
    RunShapeError,
    SettingsError,
)
from dashboard.settings import Settings
from dashboard.store import upgrades
from dashboard.store.run_store import RunStore
from dashboard.store.upgrades import SCHEMA
from tests.support.small_runs import HIDDEN, arrays, captured, derived_at, file_of, header, result_of, saved


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs", 10**9)


def test_a_run_comes_back_as_it_was(store: RunStore) -> None:
    key = saved(store, fill=2.5)
    run = store.open(key)
    assert run.key == key
    assert run.text == "a b"
    assert [token.text for token in run.tokens] == ["a", " b"]
    assert run.hidden_states[0].tolist() == HIDDEN.tolist()
    assert run.hidden_states[1].tolist() == [[2.5] * 4] * 2
    assert run.arrays["given/top_ids"].dtype == np.int32
    assert set(run.arrays) == set(arrays())


def test_another_process_would_find_it(store: RunStore) -> None:
    key = saved(store)
    assert RunStore(store.folder, 10**9).open(key).hidden_states[0].tolist() == HIDDEN.tolist()


def test_arrays_cannot_be_changed(store: RunStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        store.open(saved(store)).hidden_states[0][0, 0] = 1


def test_the_same_run_is_opened_once(store: RunStore) -> None:
    key = saved(store)
    assert store.open(key) is store.open(key)


def test_a_replaced_file_is_read_anew(store: RunStore) -> None:
    key = saved(store, fill=1)
    before = store.open(key)
    saved(store, fill=2)
    assert store.open(key).hidden_states[1][0, 0] == 2
    assert before.hidden_states[1][0, 0] == 1


def test_files_are_private_and_nothing_is_left_over(store: RunStore) -> None:
    key = saved(store)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert file_of(store, key).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in store.folder.iterdir()] == [f"{key}.safetensors"]


def test_a_missing_run_is_a_named_error(store: RunStore) -> None:
    assert not store.has("0" * 64)
    with pytest.raises(RunNotFoundError, match="Run its text again"):
        store.open("0" * 64)
    with pytest.raises(RunNotFoundError):
        store.open("0" * 64)
    assert store.derived(result_of("0" * 64).request) is None


@pytest.mark.parametrize(
    "name", ["", "../secret", "a" * 64 + "/../x", "A" * 64, "0" * 64 + "\n", "0" * 64 + "./x", None, 3]
)
def test_a_name_cannot_leave_the_folder(store: RunStore, name: object) -> None:
    (store.folder.parent / "secret.safetensors").write_bytes(b"")
    assert not store.has(name)
    with pytest.raises(RunNotFoundError):
        store.open(name)  # type: ignore[arg-type]
    store.delete(name)  # type: ignore[arg-type]
    with pytest.raises(BadRequestError):  # without which nothing that is derived has a name
        DerivedRequest.of(name, "masked-prediction", position=1)  # type: ignore[arg-type]
    assert (store.folder.parent / "secret.safetensors").exists()


def test_a_run_is_saved_under_its_own_key_only(store: RunStore) -> None:
    with pytest.raises(RunShapeError, match="header's key"):
        store.save("0" * 64, header(), arrays())


def rewrite(store: RunStore, key: str, change: Callable[[bytes], bytes]) -> None:
    path = file_of(store, key)
    path.write_bytes(change(path.read_bytes()))


def damages() -> dict[str, Callable[[bytes], bytes]]:
    cuts = {f"cut at {share:.0%}": lambda raw, share=share: raw[: int(len(raw) * share)] for share in (0.1, 0.5, 0.9)}
    ends = {f"cut to {size} bytes": lambda raw, size=size: raw[:size] for size in (0, 1, 7, 8, 9)}
    return {
        **cuts,
        **ends,
        "one byte short": lambda raw: raw[:-1],
        "one byte long": lambda raw: raw + b"x",
        "huge header": lambda raw: b"\xff" * 8 + raw[8:],
        "garbage header": lambda raw: raw[:8] + b"\x00" * 40 + raw[48:],
        "not JSON": lambda raw: raw.replace(b'"dtype"', b"'dtype'", 1),
        "other dtype": lambda raw: raw.replace(b'"F32"', b'"F99"', 1),
        "other shape": lambda raw: raw.replace(b"[2,4]", b"[2,5]", 1),
        "a list for a header": lambda raw: (2).to_bytes(8, "little") + b"[]",
        "run header not JSON": lambda raw: raw.replace(b'\\"recipes\\"', b'\\"recipes\\,', 1),
        "all zero": lambda raw: b"\x00" * len(raw),
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_file_is_a_miss_and_leaves(store: RunStore, damage: str) -> None:
    key = saved(store)
    rewrite(store, key, damages()[damage])
    with pytest.raises(RunNotFoundError):
        store.open(key)
    assert not store.has(key)
    assert not file_of(store, key).exists()
    saved(store)
    assert store.open(key).hidden_states[0].tolist() == HIDDEN.tolist()


def test_a_file_cut_short_does_not_count_as_here(store: RunStore) -> None:
    key = saved(store)
    rewrite(store, key, lambda raw: raw[:-1])
    assert not store.has(key)


def test_another_runs_file_is_a_miss(store: RunStore) -> None:
    one, other = saved(store, "a b"), saved(store, "b c")
    file_of(store, one).write_bytes(file_of(store, other).read_bytes())
    with pytest.raises(RunNotFoundError):
        store.open(one)
    assert store.open(other).text == "b c"


def test_a_header_of_another_run_is_a_miss(store: RunStore) -> None:
    key = saved(store)
    metadata = {"name": key, "header": json.dumps(header("b c"))}
    save_file(arrays(), file_of(store, key), metadata=metadata)
    with pytest.raises(RunNotFoundError):
        store.open(key)


def rewritten(store: RunStore, key: str, /, **changes: object) -> bytes:
    """The run's file, written anew with another header."""
    save_file(arrays(), file_of(store, key), metadata={"name": key, "header": json.dumps({**header(), **changes})})
    return file_of(store, key).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": SCHEMA + 1},
        {"schema": SCHEMA + 1, "key": "named in another way"},
        {"schema": "2027"},
        {"model": {**header()["model"], "experts": 8}},
        {"recipes": {"decoder": [{"scaling": 0.5, "mask": "causal", "alibi": 1.0}]}},
        {"tokens": {"decoder": [[1, "a", 0, 1, False, False, None, "new"]]}},
        {"tokens": {"decoder": [[1, "a", 0, 1, False, False, None, "", [], None, "new"]]}},
        {"recipes": None},
    ],
)
def test_a_file_of_a_newer_version_is_a_miss_and_stays(store: RunStore, changes: dict[str, object]) -> None:
    key = saved(store)
    raw = rewritten(store, key, **changes)
    with pytest.raises(NewerRunError, match="made by a newer version of this program"):
        store.open(key)
    assert not store.has(key), "the run is computed again"
    assert ("schema" in changes) == (store.summary(key) is None)
    assert file_of(store, key).read_bytes() == raw
    saved(store)
    assert store.open(key).hidden_states[0].tolist() == HIDDEN.tolist()


def test_a_file_of_this_schema_is_a_hit(store: RunStore) -> None:
    key = saved(store)
    rewritten(store, key, schema=SCHEMA)
    assert store.has(key)
    assert store.open(key).header["schema"] == SCHEMA


@pytest.mark.parametrize("next_use", ["the same run", "another run", "a question", "a new run"])
def test_a_run_that_left_is_closed_at_the_next_use(store: RunStore, next_use: str) -> None:
    """The file is deleted by another process; as long as it is mapped here, its room on the disk is not free."""
    key, other = saved(store), saved(store, "b c")
    mapped = weakref.ref(store.open(key))
    RunStore(store.folder, 10**9).delete(key)
    assert mapped() is not None
    if next_use == "the same run":
        with pytest.raises(RunNotFoundError):
            store.open(key)
    elif next_use == "another run":
        store.open(other)
    elif next_use == "a question":
        store.has(other)
    else:
        saved(store, "c d")
    assert mapped() is None


def test_an_open_run_stays_readable_after_it_left(store: RunStore) -> None:
    key = saved(store, fill=3)
    run = store.open(key)
    store.delete(key)
    assert run.hidden_states[1].tolist() == [[3.0] * 4] * 2
    with pytest.raises(RunNotFoundError):
        store.open(key)


def test_the_least_recently_used_leave_and_the_newest_stays(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", 10**9)
    first, second = saved(store, "one", width=1000), saved(store, "two", width=1000)
    store.save_derived(result_of(second))
    for age, name in enumerate([first, result_of(second).request.name, second]):
        path = file_of(store, name)
        os.utime(path, (0, time.time() - 100 - age))
    store.open(second)
    store.files.max_bytes = 2 * file_of(store, first).stat().st_size + 1000
    third = saved(store, "three", width=1000)
    assert [store.has(name) for name in (first, second, third)] == [False, True, True]
    store.files.max_bytes = 1
    fourth = saved(store, "four", width=1000)
    assert [path.name for path in store.folder.iterdir()] == [f"{fourth}.safetensors"]


def test_what_is_derived_leaves_before_any_run(tmp_path: Path) -> None:
    """Even what was used later than every run, and is of a pinned run or of the one that is saved; that comes last."""
    store = RunStore(tmp_path / "runs", 10**9)
    one, two = saved(store, "one", width=2000), saved(store, "two", width=2000)
    store.files.pinned = lambda: {one}
    results = [
        derived_at(store, key, place, 2000, 10_000 + place) for place, key in ((3, one), (1, two), (2, two), (0, one))
    ]
    for age, key in enumerate((one, two)):
        os.utime(file_of(store, key), (0, 1_000 + age))
    size, small = file_of(store, one).stat().st_size, file_of(store, results[0]).stat().st_size

    def there() -> list[bool]:
        return [store.has(name) for name in (one, two, *results)]

    store.files.max_bytes = 3 * size + 2 * small + 100
    saved(store, "three", width=2000)
    assert there() == [True, True, True, False, False, True], "of the pinned run the last"
    store.files.max_bytes = 3 * size + 1000
    last = derived_at(store, one, 9, 10, 20_000)
    assert there() == [True, True, False, False, False, False], "of the same run, too; what was written stays"
    assert store.has(last)
    store.files.max_bytes = 2 * size + 1000
    store.save_derived(result_of(one))
    assert [*there()[:2], store.has(last)] == [True, False, False], "then a run"


def test_pinned_runs_leave_last_and_only_where_nothing_else_is_left(tmp_path: Path) -> None:
    pins: set[str] = set()
    asked: list[int] = []

    def pinned() -> set[str]:
        asked.append(1)
        return pins

    store = RunStore(tmp_path / "runs", 10**9, pinned)
    keys = [saved(store, text, width=1000) for text in ("one", "two", "three")]
    for age, key in enumerate(keys):
        os.utime(file_of(store, key), (0, 1_000_000 + age))
    assert asked == []  # nobody's list is read as long as there is room
    pins |= set(keys[:2])
    store.files.max_bytes = 3 * file_of(store, keys[0]).stat().st_size + 1000
    fourth = saved(store, "four", width=1000)
    assert [store.has(key) for key in (*keys, fourth)] == [True, True, False, True]
    fifth = saved(store, "five", width=1000)
    assert [store.has(key) for key in (*keys[:2], fourth, fifth)] == [True, True, False, True]
    store.files.max_bytes = 2 * file_of(store, keys[0]).stat().st_size + 1000
    sixth = saved(store, "six", width=1000)  # the pinned runs alone leave no room for it
    assert [store.has(key) for key in (*keys[:2], fifth, sixth)] == [False, True, False, True]


def test_the_line_of_one_run_is_no_use_of_it(store: RunStore) -> None:
    key = saved(store, "a text\n of two lines")
    os.utime(file_of(store, key), (0, 1_000_000))
    line = store.summary(key)
    assert line is not None
    assert (line.text, line.used) == ("a text of two lines", 1_000_000)
    assert file_of(store, key).stat().st_mtime == 1_000_000
    assert store.summary("f" * 64) is None
    assert store.summary("../x") is None
    store.delete(key)
    assert store.summary(key) is None


def test_the_line_of_a_run_needs_no_index(store: RunStore) -> None:
    key = saved(store, "text 4\n and more")
    os.utime(file_of(store, key), (0, 1_000_004))
    file_of(store, "f" * 64).write_bytes(b"garbage")
    for reader in (store, RunStore(store.folder, 10**9)):
        line = reader.summary(key)
        assert line is not None
        assert line.preview == "text 4 and more"
        assert (line.model, line.title, line.tokens) == ("tiny", "Tiny", 2)
        assert line.bytes == file_of(store, key).stat().st_size
        assert (line.created, line.used) == (1_767_323_045, 1_000_004)
        assert reader.summary("f" * 64) is None


def test_a_reader_beside_a_writer_sees_all_or_nothing(store: RunStore) -> None:
    key, problems, done = str(header()["key"]), [], threading.Event()

    def read() -> None:
        reader = RunStore(store.folder, 10**9)
        while not done.is_set():
            try:
                values = np.unique(reader.open(key).hidden_states[1])
            except RunNotFoundError:
                continue
            if len(values) != 1:
                problems.append(values)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(30):
        saved(store, fill=number, width=20_000)
        if number % 5 == 4:
            store.delete(key)
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []


def test_what_a_killed_writer_left_is_swept(store: RunStore) -> None:
    old, fresh = store.folder / "a.part", store.folder / "b.part"
    for path in (old, fresh):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    RunStore(store.folder, 10**9)
    assert (old.exists(), fresh.exists()) == (False, True)


def test_what_killed_writers_left_counts_and_is_swept_at_every_save(store: RunStore) -> None:
    first = saved(store, "one", width=1000)
    os.utime(file_of(store, first), (0, time.time() - 100))
    size = file_of(store, first).stat().st_size
    store.files.max_bytes = 3 * size
    part = store.folder / "killed.part"
    part.write_bytes(b"x" * 2 * size)
    second = saved(store, "two", width=1000)
    assert [store.has(key) for key in (first, second)] == [False, True]
    os.utime(part, (0, time.time() - 3600))
    third = saved(store, "three", width=1000)
    assert not part.exists()
    assert [store.has(key) for key in (second, third)] == [True, True]


def test_a_full_disk_is_a_sentence(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dashboard.store.kept_files.save_file", full)
    with pytest.raises(DashboardError, match="is full, so this run could not be kept"):
        saved(store)
    assert list(store.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SettingsError, match="DASHBOARD_CACHE_DIR"):
        RunStore.from_settings(Settings(cache_dir=tmp_path))


# captures of one run, one after the other


def test_a_run_of_earlier_numbers_is_there_and_not_current(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key = captured(store, "one")
    assert store.has(key)
    assert store.is_current(key)
    monkeypatch.setattr(upgrades, "CORRECTIONS", (*upgrades.CORRECTIONS, "a mend"))
    monkeypatch.setattr(upgrades, "NUMBERS", upgrades.NUMBERS + 1)
    other = RunStore(store.folder, 10**9)
    assert other.has(key)
    assert not other.is_current(key), "it is computed again"
    captured(other, "two")
    assert other.is_current(key)
    assert not store.is_current("0" * 64)
    assert not store.is_current("nothing")


@pytest.mark.parametrize("same_size", [True, False])
def test_a_run_that_is_replaced_is_the_new_one_and_stays_readable_for_who_has_the_old_one(
    store: RunStore, same_size: bool
) -> None:
    key = captured(store, "one", fill=1.0)
    old, elsewhere = store.open(key), RunStore(store.folder, 10**9)
    captured(elsewhere, "two" if same_size else "number-two", fill=2.0)
    new = store.open(key)
    assert (old.stamp, new.stamp) == ("one", "two" if same_size else "number-two")
    assert old.hidden_states[1].tolist() == [[1.0] * 4] * 2
    assert new.hidden_states[1].tolist() == [[2.0] * 4] * 2
    assert store.stamp(key) == new.stamp


@pytest.mark.parametrize("stamp", [None, 5, "", "x" * 65, "../a", "A b", ["a"]])
def test_a_stamp_that_is_none_is_made_of_the_header(store: RunStore, stamp: object) -> None:
    key = saved(store)
    rewritten(store, key, stamp=stamp)
    found = store.open(key).stamp
    assert found.startswith("old-")
    assert len(found) == 20
    rewritten(store, key, stamp=stamp, created="2026-01-02T03:04:06+00:00")
    assert store.open(key).stamp != found
