"""Derived results in the run store: beside their run, of its present capture, within a limit. Numpy only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dashboard.contracts.derived import Derived, DerivedRequest, model_key
from dashboard.errors import ReplacedRunError, RunNotFoundError, RunShapeError, TooLargeError
from dashboard.settings import Settings
from dashboard.store import kept_files
from dashboard.store.files import in_leaving_order, kept_in
from dashboard.store.run_store import RunStore
from tests.support.small_runs import captured, derived_at, file_of, result_of, saved


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs", 10**9)


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
    store.files.write(name, result.arrays, {"name": name, "of": store.open(key).stamp, **(whole | told)})
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


def test_the_results_of_one_run_have_a_cap_of_their_own(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", 10**9)
    key, other = saved(store, "one"), saved(store, "two")
    beside = derived_at(store, other, 1, 1000, 1)
    store.results.max_bytes = 30_000
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
    assert RunStore.from_settings(Settings(cache_dir=tmp_path, results_megabytes=1.5)).results.max_bytes == 1_500_000


# captures of one run, one after the other


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
    key, whole = captured(store, "one"), kept_files.save_file

    def late(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(kept_files, "save_file", whole)
        if becomes == "deleted":
            RunStore(store.folder, 10**9).delete(key)
        else:
            captured(RunStore(store.folder, 10**9), "two")
        whole(*args, **kwargs)

    monkeypatch.setattr(kept_files, "save_file", late)
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
