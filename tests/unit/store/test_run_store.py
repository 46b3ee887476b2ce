"""The run store: whole or nothing, lazily read, bounded, private. Numpy only."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.derived import Derived, DerivedRequest, model_key
from dashboard.contracts.model_info import ModelInfo
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.token import Token
from dashboard.errors import (
    BadRequestError,
    DashboardError,
    NewerRunError,
    ReplacedRunError,
    RunNotFoundError,
    RunShapeError,
    SettingsError,
    TooLargeError,
)
from dashboard.settings import Settings
from dashboard.store import run_store, upgrades
from dashboard.store.files import in_leaving_order, kept_in
from dashboard.store.run_store import RunStore
from dashboard.store.upgrades import SCHEMA, made_now

CREATED = "2026-01-02T03:04:05+00:00"
HIDDEN = np.arange(2 * 4, dtype=np.float32).reshape(2, 4)


def header(text: str = "a b") -> dict[str, object]:
    request = RunRequest("tiny", text)
    info = ModelInfo("tiny", "Tiny", "llama", "causal", 1, 1, 1, 4, 10, 100, 64)
    tokens = [Token(1, "a", 0, 1), Token(2, " b", 1, 3)]
    recipes = [ScoreRecipe(0.5, "causal")]
    return ModelRun.make_header(request.key("weights"), request, info, tokens, recipes, created=CREATED, **made_now())


def result_of(key: str, value: float = 0.0) -> Derived:
    """A derived result of a run: one number."""
    return Derived(DerivedRequest.of(key, "masked-prediction", position=1), {"a": np.array([value])}, {"of": value})


def arrays(fill: float = 0.0, width: int = 4) -> dict[str, np.ndarray]:
    return {
        "decoder/hidden_states/0": HIDDEN,
        "decoder/hidden_states/1": np.full((2, width), fill, dtype=np.float32),
        "decoder/thumbnails": np.zeros((1, 1, 2, 2), dtype=np.uint8),
        "given/top_ids": np.array([[3], [4]], dtype=np.int32),
    }


def saved(store: RunStore, text: str = "a b", fill: float = 0.0, width: int = 4) -> str:
    top = header(text)
    key = str(top["key"])
    store.save(key, top, arrays(fill, width))
    return key


def file_of(store: RunStore, name: str) -> Path:
    return store.folder / f"{name}.safetensors"


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


def test_derived_arrays_live_and_leave_with_their_run(store: RunStore) -> None:
    key, other = saved(store), saved(store, "b c")
    one, two = result_of(key, 1.5), result_of(other, 2.5)
    store.save_derived(one)
    store.save_derived(two)
    found = store.derived(one.request)
    assert found is not None
    assert (found.request, found.facts, found.arrays["a"].tolist()) == (one.request, {"of": 1.5}, [1.5])
    assert store.has(one.request.name)
    store.delete(key)
    assert store.derived(one.request) is None
    assert not store.has(one.request.name)
    assert store.derived(two.request) is not None


def test_a_models_result_belongs_to_no_run_and_still_leaves_before_runs(store: RunStore) -> None:
    key, other = saved(store), saved(store, "b c")
    model = model_key("weights", "float32")
    one, second = (DerivedRequest(run, "head-probe", model=model) for run in (key, other))
    store.save_derived(Derived(one, {"a": np.array([1.5])}, {"of": 1}), store.open(key).stamp)
    found = store.derived(second, store.open(other).stamp)
    assert found is not None
    assert (found.request, found.arrays["a"].tolist()) == (second, [1.5])
    store.delete(key)
    assert store.derived(second) is not None
    assert store.derived(DerivedRequest(other, "head-probe")) is None, "of a run that names no weights"
    assert store.has(second.name)
    left = in_leaving_order(kept_in(store.folder), ())
    assert [kept.name for kept in left] == [second.name, other]
    assert RunStore(store.folder, 10**9).derived(second) is not None, "a restart keeps it"


def test_a_result_of_other_parameters_is_no_answer(store: RunStore) -> None:
    """The file's name holds a hash; what was asked stands in the file in full, and is compared."""
    key = saved(store)
    one, other = (
        result_of(key),
        Derived(DerivedRequest.of(key, "masked-prediction", position=2), {"a": np.zeros(1)}, {}),
    )
    store.save_derived(one)
    file_of(store, one.request.name).rename(file_of(store, other.request.name))
    assert store.derived(other.request) is None


@pytest.mark.parametrize(
    "told",
    [
        *({"facts": wrong} for wrong in ("[" * 100_000, "[1]", "null", "NaN", "{")),
        *({"request": wrong} for wrong in ("[" * 100_000, "5", "null", "{")),
        {"request": json.dumps(DerivedRequest.of("e" * 64, "masked-prediction", position=1).to_json())},
    ],
)
def test_a_result_whose_file_does_not_say_what_it_is_is_a_miss_everywhere(
    store: RunStore, told: dict[str, str]
) -> None:
    key = saved(store)
    result = result_of(key)
    whole = {"request": json.dumps(result.request.to_json()), "facts": "{}"}
    name = result.request.name
    store._write(name, result.arrays, {"name": name, "of": store.open(key).stamp, **(whole | told)})
    assert store.derived(result.request) is None
    assert store.all_derived(store.open(key)) == []
    store.save_derived(result)
    assert [one.request for one in store.all_derived(store.open(key))] == [result.request]


@pytest.mark.parametrize("kind", ["complex64", "U3", "O"])
def test_values_that_no_file_gives_back_are_refused_when_they_are_kept(store: RunStore, kind: str) -> None:
    """Else a card would ask for the result again and again."""
    request = result_of(saved(store)).request
    with pytest.raises(RunShapeError, match="Use another dtype"):
        store.save_derived(Derived(request, {"a": np.zeros(2, kind)}, {}))
    assert store.derived(request) is None


@pytest.mark.parametrize("kind", ["?", "u1", "i2", "<i4", ">i4", "i8", "f2", "<f4", ">f4", "f8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1)])
def test_an_array_of_a_result_comes_back_as_it_was(store: RunStore, kind: str, shape: tuple[int, ...]) -> None:
    values = np.ones(shape, kind)
    store.save_derived(Derived(result_of(saved(store)).request, {"a": values}, {}))
    found = store.derived(result_of(saved(store)).request)
    assert found is not None
    assert found.arrays["a"].shape == shape
    assert np.array_equal(found.arrays["a"], values)


def test_the_least_recently_used_leave_and_the_newest_stays(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", 10**9)
    first, second = saved(store, "one", width=1000), saved(store, "two", width=1000)
    store.save_derived(result_of(second))
    for age, name in enumerate([first, result_of(second).request.name, second]):
        path = file_of(store, name)
        os.utime(path, (0, time.time() - 100 - age))
    store.open(second)
    store.max_bytes = 2 * file_of(store, first).stat().st_size + 1000
    third = saved(store, "three", width=1000)
    assert [store.has(name) for name in (first, second, third)] == [False, True, True]
    store.max_bytes = 1
    fourth = saved(store, "four", width=1000)
    assert [path.name for path in store.folder.iterdir()] == [f"{fourth}.safetensors"]


def derived_at(store: RunStore, key: str, position: int, floats: int, used: float) -> str:
    """A kept result of so many numbers, which was used then; gives its name."""
    request = DerivedRequest.of(key, "masked-prediction", position=position)
    store.save_derived(Derived(request, {"a": np.zeros(floats)}, {}))
    os.utime(file_of(store, request.name), (0, used))
    return request.name


def test_what_is_derived_leaves_before_any_run(tmp_path: Path) -> None:
    """Even what was used later than every run, and is of a pinned run or of the one that is saved; that comes last."""
    store = RunStore(tmp_path / "runs", 10**9)
    one, two = saved(store, "one", width=2000), saved(store, "two", width=2000)
    store.pinned = lambda: {one}
    results = [
        derived_at(store, key, place, 2000, 10_000 + place) for place, key in ((3, one), (1, two), (2, two), (0, one))
    ]
    for age, key in enumerate((one, two)):
        os.utime(file_of(store, key), (0, 1_000 + age))
    size, small = file_of(store, one).stat().st_size, file_of(store, results[0]).stat().st_size

    def there() -> list[bool]:
        return [store.has(name) for name in (one, two, *results)]

    store.max_bytes = 3 * size + 2 * small + 100
    saved(store, "three", width=2000)
    assert there() == [True, True, True, False, False, True], "of the pinned run the last"
    store.max_bytes = 3 * size + 1000
    last = derived_at(store, one, 9, 10, 20_000)
    assert there() == [True, True, False, False, False, False], "of the same run, too; what was written stays"
    assert store.has(last)
    store.max_bytes = 2 * size + 1000
    store.save_derived(result_of(one))
    assert [*there()[:2], store.has(last)] == [True, False, False], "then a run"


def test_the_results_of_one_run_have_a_cap_of_their_own(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", 10**9)
    key, other = saved(store, "one"), saved(store, "two")
    beside = derived_at(store, other, 1, 1000, 1)
    store.results_bytes = 30_000
    # 8 kB each; the last was used longest ago
    names = [derived_at(store, key, place, 1000, 1_000 - place) for place in range(3)]
    assert [store.has(name) for name in names] == [True] * 3
    fourth = derived_at(store, key, 3, 1000, 2_000)
    assert [store.has(name) for name in (*names, fourth)] == [True, True, False, True]
    store.derived(DerivedRequest.of(key, "masked-prediction", position=1))  # uses it
    fifth = derived_at(store, key, 4, 2000, 3_000)
    assert [store.has(name) for name in (*names, fourth, fifth)] == [False, True, False, False, True]
    assert store.has(beside), "another run's"
    assert store.has(key)


def test_a_result_that_alone_is_over_the_cap_is_refused_and_takes_no_other_away(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", 10**9, results_bytes=300_000)
    key = saved(store)
    kept = derived_at(store, key, 0, 1000, 1)
    with pytest.raises(TooLargeError, match=r"takes 0\.4 MB, and this server keeps 0\.3 MB of results for one run"):
        derived_at(store, key, 1, 50_000, 1)
    assert store.has(kept)
    assert len(list(store.folder.iterdir())) == 2


def test_the_cap_is_a_setting(tmp_path: Path) -> None:
    assert RunStore.from_settings(Settings(cache_dir=tmp_path, results_megabytes=1.5)).results_bytes == 1_500_000


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
    store.max_bytes = 3 * file_of(store, keys[0]).stat().st_size + 1000
    fourth = saved(store, "four", width=1000)
    assert [store.has(key) for key in (*keys, fourth)] == [True, True, False, True]
    fifth = saved(store, "five", width=1000)
    assert [store.has(key) for key in (*keys[:2], fourth, fifth)] == [True, True, False, True]
    store.max_bytes = 2 * file_of(store, keys[0]).stat().st_size + 1000
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
    store.max_bytes = 3 * size
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

    monkeypatch.setattr("dashboard.store.run_store.save_file", full)
    with pytest.raises(DashboardError, match="is full, so this run could not be kept"):
        saved(store)
    assert list(store.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SettingsError, match="DASHBOARD_CACHE_DIR"):
        RunStore.from_settings(Settings(cache_dir=tmp_path))


# captures of one run, one after the other


def captured(store: RunStore, stamp: str, fill: float = 0.0, **more: object) -> str:
    top = {**header(), **made_now(), "stamp": stamp, **more}
    store.save(str(top["key"]), top, arrays(fill))
    return str(top["key"])


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


def test_what_was_derived_from_a_run_leaves_with_that_capture(store: RunStore) -> None:
    key = captured(store, "one")
    result = result_of(key)
    name = result.request.name
    store.save_derived(result, "one")
    assert store.is_current(name)
    captured(store, "two")
    assert not store.has(name)
    assert not file_of(store, name).exists()
    with pytest.raises(ReplacedRunError, match="computed again"):
        store.save_derived(result, "one")  # a job that began before
    assert not file_of(store, name).exists()
    store.save_derived(result_of(key, 1.0), "two")
    found = store.derived(result.request)
    assert found is not None
    assert found.arrays["a"].tolist() == [1.0]


@pytest.mark.parametrize("stamp", ["one", None])
def test_a_result_of_a_run_that_left_is_not_kept(store: RunStore, stamp: str | None) -> None:
    key = captured(store, "one")
    store.delete(key)
    with pytest.raises(RunNotFoundError, match="no longer has that run"):
        store.save_derived(result_of(key), stamp)
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize(("becomes", "error"), [("deleted", RunNotFoundError), ("replaced", ReplacedRunError)])
def test_a_run_that_goes_while_its_result_is_written_leaves_nothing_behind(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, becomes: str, error: type[Exception]
) -> None:
    key, whole = captured(store, "one"), run_store.save_file

    def late(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(run_store, "save_file", whole)
        if becomes == "deleted":
            RunStore(store.folder, 10**9).delete(key)
        else:
            captured(RunStore(store.folder, 10**9), "two")
        whole(*args, **kwargs)

    monkeypatch.setattr(run_store, "save_file", late)
    with pytest.raises(error):
        store.save_derived(result_of(key), "one")
    assert [path.name for path in store.folder.glob("*.*-*")] == []


def test_what_another_process_wrote_too_late_is_a_miss(store: RunStore) -> None:
    """Between the replacing of a run and the sweep of what was derived from it, and after both."""
    key = captured(store, "two")
    request = result_of(key).request
    told = {"name": request.name, "of": "one", "request": json.dumps(request.to_json())}
    save_file({"a": np.zeros(1)}, file_of(store, request.name), metadata=told)
    assert not store.has(request.name)
    assert store.derived(request) is None
    assert store.derived(request, "two") is None


def test_a_fill_of_the_first_version_belongs_to_a_run_of_the_first_version(store: RunStore) -> None:
    key = saved(store)  # without a stamp
    name = f"{key}.fill-1"
    save_file({"a": np.zeros(1)}, file_of(store, name), metadata={"name": name})
    assert store.has(name)
    found = store.derived(result_of(key).request, store.stamp(key))
    assert found is not None
    assert found.arrays["a"].tolist() == [0.0]
    captured(store, "two")
    assert not store.has(name)
    assert store.derived(result_of(key).request) is None
    save_file({"a": np.zeros(1)}, file_of(store, name), metadata={"name": name})
    assert not store.has(name), "it says not of which capture it is, so it is none of a capture with a stamp"


@pytest.mark.parametrize("stamp", [None, 5, "", "x" * 65, "../a", "A b", ["a"]])
def test_a_stamp_that_is_none_is_made_of_the_header(store: RunStore, stamp: object) -> None:
    key = saved(store)
    rewritten(store, key, stamp=stamp)
    found = store.open(key).stamp
    assert found.startswith("old-")
    assert len(found) == 20
    rewritten(store, key, stamp=stamp, created="2026-01-02T03:04:06+00:00")
    assert store.open(key).stamp != found
