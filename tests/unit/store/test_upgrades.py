"""Older and newer runs: read as they were captured, and said to be what they are. Numpy only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, NewerRunError
from dashboard.exports.provenance import of_run
from dashboard.exports.run_files import open_run, save_run
from dashboard.store import upgrades
from dashboard.store.run_store import RunStore
from dashboard.store.upgrades import CORRECTIONS, NUMBERS, SCHEMA, SCHEMAS, UPGRADES, Schema, made_now, upgraded
from tests.support.synthetic import make_parts


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs", 10**9)


@pytest.fixture
def corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program as it is after two more corrections."""
    monkeypatch.setattr(upgrades, "CORRECTIONS", (*CORRECTIONS, "sevens are counted", "nines are not"))
    monkeypatch.setattr(upgrades, "NUMBERS", NUMBERS + 2)


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program as it is after a schema that calls `received` otherwise and names the stream of the tokens."""

    def read(header: dict[str, Any], arrays: Any) -> Any:
        return header | {"stream": "decoder"}, {name.replace("received", "taken"): arrays[name] for name in arrays}

    monkeypatch.setattr(upgrades, "SCHEMAS", (*SCHEMAS, Schema("`received` is called `taken`", adds=True)))
    monkeypatch.setattr(upgrades, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(upgrades, "UPGRADES", {**UPGRADES, SCHEMA: read})


def write(store: RunStore, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    path = store.folder / f"{header['key']}.safetensors"
    save_file(arrays, path, metadata={"name": header["key"], "header": json.dumps(header)})
    return path


def test_each_correction_and_each_schema_has_its_line() -> None:
    assert (len(CORRECTIONS), len(SCHEMAS)) == (NUMBERS, SCHEMA)
    assert made_now() == {"schema": SCHEMA, "numbers": NUMBERS}
    lines = (*CORRECTIONS, *(schema.change for schema in SCHEMAS))
    assert all(line and line == line.strip() and not line.endswith(".") for line in lines)
    assert len(set(CORRECTIONS)) == NUMBERS
    renamed = {version for version in range(1, SCHEMA) if not SCHEMAS[version].adds}
    assert renamed <= set(UPGRADES) <= set(range(1, SCHEMA)), (
        "a function for each schema whose names are others in the next"
    )


def test_a_run_of_this_version_is_not_outdated(store: RunStore) -> None:
    header, arrays = make_parts()
    store.save(header["key"], header, arrays)
    run = store.open(header["key"])
    assert run.outdated == ()
    assert run.header["numbers"] == NUMBERS
    assert "earlier" not in repr(run) + of_run(run).to_json() + " ".join(of_run(run).foot(80))


@pytest.mark.usefixtures("corrected")
def test_a_run_with_older_numbers_opens_and_says_so(store: RunStore) -> None:
    header, arrays = make_parts()
    write(store, header | {"numbers": NUMBERS}, arrays)
    run = store.open(header["key"])
    assert run.outdated == ("sevens are counted", "nines are not")
    assert run.header["numbers"] == NUMBERS
    assert run.header["outdated"] == ["sevens are counted", "nines are not"]
    assert "computed by an earlier version" in repr(run)
    assert (
        dict(of_run(run).entries)["Computed by an earlier version"]
        == "changed since: sevens are counted; nines are not"
    )
    assert "computed by an earlier version" in " ".join(of_run(run).foot(80))


def test_a_header_without_numbers_has_the_first_ones() -> None:
    header, arrays = make_parts()
    del header["numbers"], header["schema"]
    header |= {name: header[name]["decoder"] for name in ("tokens", "recipes")}  # as the first schema has them
    found, _same = upgraded(header, arrays)
    assert (found["schema"], found["numbers"]) == (SCHEMA, 1)
    assert sorted(found.get("outdated", ())) == sorted(
        [*CORRECTIONS[1:], *(one.change for one in SCHEMAS[1:] if one.outdates(found))]
    )


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_an_exported_file_is_as_old_as_its_run(tmp_path: Path, suffix: str, request: pytest.FixtureRequest) -> None:
    path = save_run(ModelRun(*make_parts()), tmp_path / f"run.{suffix}")
    assert open_run(path).outdated == ()
    request.getfixturevalue("corrected")
    old = open_run(path)
    assert old.outdated == ("sevens are counted", "nines are not")
    again = open_run(save_run(old, tmp_path / f"again.{suffix}"))
    assert again.outdated == old.outdated, "an export makes nothing newer"
    assert again.header == old.header


@pytest.mark.usefixtures("corrected")
def test_what_a_file_says_of_being_outdated_is_not_believed(store: RunStore) -> None:
    header, arrays = make_parts()
    write(store, header | {"numbers": NUMBERS + 2, "outdated": ["everything"]}, arrays)
    assert store.open(header["key"]).outdated == ()


def test_numbers_of_a_newer_version_are_read(store: RunStore) -> None:
    header, arrays = make_parts()
    write(store, header | {"numbers": NUMBERS + 7}, arrays)
    run = store.open(header["key"])
    assert run.outdated == ()
    assert run.header["numbers"] == NUMBERS + 7


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_an_older_schema_is_read_by_its_function_once(store: RunStore, tmp_path: Path, suffix: str) -> None:
    header, arrays = make_parts()
    write(store, header | {"schema": SCHEMA}, arrays)
    run = store.open(header["key"])
    assert run.arrays["decoder/taken"].tolist() == arrays["decoder/received"].tolist()
    assert "decoder/received" not in run.arrays
    assert (run.header["schema"], run.header["stream"]) == (SCHEMA + 1, "decoder")
    assert run.outdated == ("`received` is called `taken`",)
    again = open_run(save_run(run, tmp_path / f"run.{suffix}"))
    assert again.arrays["decoder/taken"].tolist() == arrays["decoder/received"].tolist()
    assert again.outdated == run.outdated, "it still lacks what this version captures"


@pytest.mark.parametrize("schema", [SCHEMA + 1, 99, 0, -1, "2", None, True, 1.0])
def test_a_schema_that_is_not_known_is_refused_by_name(store: RunStore, tmp_path: Path, schema: object) -> None:
    header, arrays = make_parts()
    path = write(store, header | {"schema": schema}, arrays)
    before = path.read_bytes()
    with pytest.raises(NewerRunError, match="newer version"):
        store.open(header["key"])
    with pytest.raises(NewerRunError, match=r"\.safetensors was made by a newer version"):
        open_run(path)
    assert not store.has(header["key"])
    assert store.summary(header["key"]) is None
    assert path.read_bytes() == before


@pytest.mark.parametrize("numbers", [0, -1, "2", None, True, 1.5, [1]])
def test_numbers_that_are_none_are_damage(store: RunStore, numbers: object) -> None:
    header, arrays = make_parts()
    path = write(store, header | {"numbers": numbers}, arrays)
    with pytest.raises(BadRequestError, match="not a run"):
        open_run(path)
    assert not store.has(header["key"])
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "outdated"),
    [
        ({"source": "adapter of base", "without": "classifier"}, True),
        ({"source": "commit 1, adapter of base, commit 2", "without": "classifier"}, True),
        ({"source": "adapter of base", "without": "classifier", "classes": {"of": "text"}}, False),
        ({"source": "adapter of base", "without": "embeddings"}, False),
        ({"source": "commit 1", "without": "classifier"}, False),
    ],
)
def test_only_runs_of_adapters_without_their_classes_are_computed_again(
    changes: dict[str, Any], outdated: bool
) -> None:
    header, arrays = make_parts("encoder")
    found, _arrays = upgraded({**header, "schema": 3, **changes}, arrays)
    assert ("the classes of a classifier's adapter are stored" in found.get("outdated", ())) == outdated
