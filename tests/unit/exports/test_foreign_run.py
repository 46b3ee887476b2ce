"""Run files from elsewhere: what is taken, under which key, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.classes import ClassesOf, ClassHead
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_check import check_run, unknown_arrays
from dashboard.contracts.selection import Selection
from dashboard.errors import BadRequestError, RunShapeError, TextTooLongError
from dashboard.exports import foreign_run
from dashboard.exports.foreign_run import read_foreign
from dashboard.exports.run_files import save_run
from dashboard.store.run_store import RunStore
from dashboard.views import all_views
from tests.support.synthetic import make_classifier, make_run

KEY = "ab" * 32


def whole(kind: str = "causal") -> ModelRun:
    run = make_run(kind=kind)  # type: ignore[arg-type]
    return ModelRun({**run.header, "fingerprint": "f" * 64}, dict(run.arrays))


def changed(header: dict[str, Any] | None = None, arrays: dict[str, Any] | None = None) -> ModelRun:
    run = whole()
    left = {name: array for name, array in {**run.arrays, **(arrays or {})}.items() if array is not None}
    return ModelRun({**run.header, **(header or {})}, left)


def read(path: Path, **limits: int) -> ModelRun:
    return read_foreign(path, KEY, path.name, **{"most_tokens": 4096, "most_bytes": 10**8, **limits}).run


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
def test_a_saved_run_is_read_under_a_key_of_its_own(tmp_path: Path, kind: str, suffix: str) -> None:
    run = whole(kind)
    found = read(save_run(run, tmp_path / f"mine.{suffix}"))
    assert found.key == KEY != run.key
    assert found.file == f"mine.{suffix}"
    assert found.header["file"]["key"] == run.key
    assert found.request == run.request
    assert set(found.arrays) == set(run.arrays)
    for name, array in run.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_it_is_stored_beside_the_run_of_the_same_text(tmp_path: Path) -> None:
    store, run = RunStore(tmp_path / "runs", 10**9), whole()
    store.save(run.key, run.header, run.arrays)
    forged = changed(arrays={"decoder/hidden_states/0": np.zeros_like(run.hidden_states[0])})
    store.adopt(read(save_run(forged, tmp_path / "forged.safetensors")))
    np.testing.assert_array_equal(store.open(run.key).hidden_states[0], run.hidden_states[0])
    assert not store.open(KEY).hidden_states[0].any()
    assert store.open(KEY).file == "forged.safetensors"
    assert store.open(run.key).file is None


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    run = changed(arrays={"decoder/query_norms/0": np.ones((2, 6), np.float32)})
    found = read_foreign(save_run(run, tmp_path / "more.npz", attention=True), KEY, "more.npz", 4096, 10**8)
    assert found.left_out == (
        "its attention weights, which follow from its queries and keys",
        "arrays that this version does not know (decoder/query_norms/0)",
    )
    assert not unknown_arrays(found.run)


def test_stored_weights_above_1_are_refused() -> None:
    run = stored()
    forged = ModelRun(run.header, {**run.arrays, "decoder/attention/1": np.full((2, 6, 6), 1.5, np.float32)})
    with pytest.raises(RunShapeError, match="weights of layer 1 are not 0 to 1"):
        check_run(forged)


def test_limits(tmp_path: Path) -> None:
    path = save_run(whole(), tmp_path / "run.npz")
    with pytest.raises(TextTooLongError, match="6 tokens; this server takes at most 5"):
        read(path, most_tokens=5)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("decoder/hidden_states/0.npy", b"\0" * 10**7)
    with pytest.raises(BadRequestError, match="10 MB unpacked; this server takes at most 1 MB"):
        read(bomb, most_bytes=10**6)


def test_an_archive_of_too_many_members_is_refused_before_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_run(whole(), tmp_path / "run.npz")
    with zipfile.ZipFile(path) as archive:
        count = len(archive.infolist())
    monkeypatch.setattr(foreign_run, "PIECE", 7)  # so that marks lie across two pieces
    monkeypatch.setattr(foreign_run, "MOST_MEMBERS", count)
    assert len(read(path)) == 6
    monkeypatch.setattr(foreign_run, "MOST_MEMBERS", count - 1)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(BadRequestError, match=r"^run\.npz holds more arrays than any run"):
        read(path)


def test_a_file_of_something_else_is_refused_by_its_name(tmp_path: Path) -> None:
    other = tmp_path / "holiday.npz"
    other.write_bytes(b"no archive")
    with pytest.raises(BadRequestError, match=r"^holiday\.npz is not a run of this program"):
        read(other)


def test_weights_must_be_named(tmp_path: Path) -> None:
    run = make_run()
    header = {name: value for name, value in run.header.items() if name != "fingerprint"}
    path = save_run(ModelRun(header, dict(run.arrays)), tmp_path / "run.npz")
    with pytest.raises(RunShapeError, match="does not say which weights"):
        read(path)


def model(**fields: Any) -> dict[str, Any]:
    return {"model": {**whole().header["model"], **fields}}


def tokens(change: Callable[[list[Any]], None]) -> dict[str, Any]:
    rows = json.loads(json.dumps(whole().header["tokens"]["decoder"]))
    change(rows)
    return {"tokens": {"decoder": rows}}


def set_in(row: int, field: int, value: Any) -> dict[str, Any]:
    return tokens(lambda rows: rows[row].__setitem__(field, value))


def recipes(**fields: Any) -> dict[str, Any]:
    return {"recipes": {"decoder": [{**row, **fields} for row in whole().header["recipes"]["decoder"]]}}


FORGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a title that is a list": (model(title=["x"]), {}),
    "a size that is a text": (model(vocabulary="20"), {}),
    "a size that is true": (model(limit=True), {}),
    "an unknown kind": (model(kind="oracle"), {}),
    "key heads that do not divide": (model(key_heads=3), {}),
    "no heads": (model(heads=0), {}),
    "10⁹ heads": (model(heads=10**9), {}),
    "another hidden width": (model(hidden_size=9), {}),
    "a negative id": (set_in(0, 0, -1), {}),
    "an id that is a text": (set_in(0, 0, "0"), {}),
    "a token that is a number": (set_in(0, 1, 7), {}),
    "offsets backwards": (set_in(1, 3, 0), {}),
    "a version that is a list": ({"version": []}, {}),
    "a layer without states": ({}, {"decoder/hidden_states/1": None}),
    "states of fewer tokens": ({}, {"decoder/hidden_states/1": np.zeros((2, 8), np.float32)}),
    "states of whole numbers": ({}, {"decoder/hidden_states/1": np.zeros((6, 8), np.int32)}),
    "a layer without keys": ({}, {"decoder/key/1": None}),
    "scores of one layer": ({}, {"decoder/scores/first": np.zeros((1, 2), np.float32)}),
    "thumbnails of another size": ({}, {"decoder/thumbnails": np.zeros((2, 2, 6, 5), np.uint8)}),
    "a token of a third text": ({}, {"decoder/segments": np.full(6, 2, np.int8)}),
    "a token of a second text, where there is one": ({}, {"decoder/segments": np.ones(6, np.int8)}),
    "a bias that is another array": (recipes(bias="received"), {}),
    "weights that are another array": (recipes(stored="received"), {}),
    "unread weights without a name": ({"unread": [7]}, {}),
    "unread weights that are a number": ({"unread": 7}, {}),
    "a revision without an end": ({"request": {**whole().header["request"], "revision": "r" * 2_000}}, {}),
    "classes of a model that is no classifier": ({"classes": {"of": "text", "scale": "softmax", "labels": ["a"]}}, {}),
    "classes of no head": ({"classes": {"of": "moods"}}, {}),
    "predictions without ranks": ({}, {"given/actual_rank": None}),
    "a prediction of an unknown token": ({}, {"given/top_ids": np.full((6, 5), 999, np.int32)}),
    "a probability above 1": ({}, {"given/top_logprobs": np.full((6, 5), 2, np.float32)}),
    "a vocabulary that is no JSON": ({}, {"vocabulary": np.zeros(3, np.uint8)}),
    "a vocabulary nested deeply": ({}, {"vocabulary": np.frombuffer(b"[" * 100_000, np.uint8)}),
}


def written(path: Path, header: dict[str, Any], arrays: dict[str, Any]) -> Path:
    """A run's file as anybody may write it."""
    run = whole()
    left = {name: array for name, array in {**run.arrays, **arrays}.items() if array is not None}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {"header": np.array(json.dumps({**run.header, **header})), **left}.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
    return path


@pytest.mark.parametrize("forged", FORGED)
def test_what_the_file_does_not_bear_out_is_refused(tmp_path: Path, forged: str) -> None:
    assert len(read(written(tmp_path / "whole.npz", {}, {}))) == 6  # so what is refused is what was forged
    with pytest.raises((RunShapeError, BadRequestError)) as caught:
        read(written(tmp_path / "forged.npz", *FORGED[forged]))
    assert "again" in str(caught.value) or "Choose" in str(caught.value)


@pytest.mark.parametrize(
    ("of", "classes", "words"),
    [
        ("answer", {"labels": ["a"]}, "no start and end"),
        ("answer", {"scale": "none"}, "no start and end"),
        ("text", {"labels": ["a", "b"]}, "class_logits” is float32"),
    ],
)
def test_classes_that_the_head_does_not_give_are_refused(of: ClassesOf, classes: dict[str, Any], words: str) -> None:
    run = make_classifier(of)
    check_run(run)
    forged = ModelRun({**run.header, "classes": {**run.header["classes"], **classes}}, run.arrays)
    with pytest.raises(RunShapeError, match=words):
        check_run(forged)


def stored() -> ModelRun:
    """A run of a family with its own attention code."""
    run = whole()
    arrays = {name: array for name, array in run.arrays.items() if "/query/" not in name and "/key/" not in name}
    recipes = [{"scaling": 1.0, "mask": "causal", "stored": f"attention/{layer}"} for layer in range(2)]
    weights = {
        f"decoder/attention/{layer}": np.stack([run.attention(layer, head) for head in (0, 1)]) for layer in (0, 1)
    }
    return ModelRun({**run.header, "recipes": {"decoder": recipes}}, {**arrays, **weights})


def test_every_array_that_a_view_reads_is_checked(tmp_path: Path) -> None:
    heads = [ClassHead("text", "softmax", ("a", "b")), ClassHead("tokens", "softmax", ("x", "y"))]
    classifiers = [make_run(kind="encoder", classes=head) for head in heads]
    for run in [*(whole(kind) for kind in ("causal", "masked", "encoder")), *classifiers, stored()]:
        assert unknown_arrays(run) == []
        check_run(run)
    found = read(save_run(stored(), tmp_path / "stored.npz"))
    np.testing.assert_array_equal(found.attention(1, 0), whole().attention(1, 0))


def test_stored_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    run = stored()
    forged = ModelRun(run.header, {**run.arrays, "decoder/attention/1": np.zeros((2, 5, 5), np.float32)})
    with pytest.raises(RunShapeError, match="attention/1” is float32"):
        check_run(forged)


def test_views_draw_what_was_read(tmp_path: Path) -> None:
    found = read(save_run(whole(), tmp_path / "run.safetensors"))
    for view in all_views():
        context = Context(found, Selection(found.key, 1, 1, 0), {one.name: one.default for one in view.controls})
        assert view.awaits(context) or view.text(context).title, view.name
