"""Run files from elsewhere: what is taken, under which key, and what is refused."""

from __future__ import annotations

import errno
import json
import pickle
import struct
import tracemalloc
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
from dashboard.errors import BadRequestError, NewerRunError, NoSpaceError, RunShapeError, TextTooLongError
from dashboard.exports import foreign_run
from dashboard.exports.foreign_run import ForeignRun, read_foreign
from dashboard.exports.run_files import open_run, save_run
from dashboard.store.exports import ExportFile
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


def foreign(path: Path, **limits: int) -> ForeignRun:
    """What the page makes of a file. Nothing is left of what is unpacked, whatever happens."""
    folder = path.parent / "unpacked"
    folder.mkdir(exist_ok=True)

    def room(size: int) -> ExportFile:
        assert size <= {"most_bytes": 10**8, **limits}["most_bytes"]
        return ExportFile(folder / "x.part", (folder / "x.part").open("w+b"))

    try:
        return read_foreign(path, KEY, path.name, **{"most_tokens": 4096, "most_bytes": 10**8, **limits}, room=room)
    finally:
        assert not list(folder.iterdir())


def read(path: Path, **limits: int) -> ModelRun:
    return foreign(path, **limits).run


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
    found = foreign(save_run(run, tmp_path / "more.npz", attention=True))
    assert found.left_out == (
        "its attention weights, which follow from its queries and keys",
        "arrays that this version does not know (decoder/query_norms/0)",
    )
    assert not unknown_arrays(found.run)


def test_stored_weights_above_1_are_refused() -> None:
    run = stored()
    forged = ModelRun(run.header, {**run.arrays, "decoder/attention/1": np.full((2, 6, 6), 1.5, np.float32)})
    with pytest.raises(RunShapeError, match="some weights of layer 1 are outside 0 to 1"):
        check_run(forged)


def test_limits(tmp_path: Path) -> None:
    path = save_run(whole(), tmp_path / "run.npz")
    with pytest.raises(TextTooLongError, match="6 tokens; this server takes at most 5"):
        read(path, most_tokens=5)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("decoder/hidden_states/0.npy", b"\0" * 10**7)
    with pytest.raises(BadRequestError, match=r"^bomb\.npz is not a run .* compressed bytes unpack to 10,0.*, which"):
        read(bomb)
    with pytest.raises(
        BadRequestError, match=r"^run\.npz needs 0 MB unpacked; this server accepts at most 0 MB\. Save"
    ):
        read(path, most_bytes=path.stat().st_size // 2)


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


def test_a_safetensors_file_of_too_many_arrays_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_run(whole(), tmp_path / "run.safetensors")
    count = len(open_run(path).arrays)
    monkeypatch.setattr(foreign_run, "MOST_MEMBERS", count)
    assert len(read(path)) == 6
    monkeypatch.setattr(foreign_run, "MOST_MEMBERS", count - 1)
    with pytest.raises(BadRequestError, match=r"^run\.safetensors holds more arrays than any run"):
        read(path)


def test_an_array_of_any_size_is_copied_without_being_in_memory(tmp_path: Path) -> None:
    whole_states = np.zeros((6, 2_000_000), np.float32)
    header = {**whole().header, "model": {**whole().header["model"], "hidden_size": 2_000_000}}
    arrays = {f"decoder/hidden_states/{layer}": whole_states for layer in range(3)}
    path = written(tmp_path / "wide.npz", header, {**arrays, "decoder/residual_final": whole_states})
    tracemalloc.start()
    try:
        found = read(path, most_bytes=10**9)
        assert tracemalloc.get_traced_memory()[1] < 16_000_000 < whole_states.nbytes
    finally:
        tracemalloc.stop()
    assert found.hidden_states[1].shape == (6, 2_000_000)
    assert not found.hidden_states[1].flags.owndata, "it is mapped"


def member(kind: str, shape: str, values: bytes = b"", order: bool = False) -> bytes:
    """An array as an npz file holds it, whatever it declares."""
    raw = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + values


STATES = "decoder/hidden_states/1"
HOSTILE: dict[str, tuple[str, bytes, str]] = {  # what: name, content, words of the sentence
    "an object": (STATES, member("'|O'", "(1,)", pickle.dumps([1])), "hidden_states/1” is not an array of numbers"),
    "a class of objects": (STATES, member("[('a', '<f4')]", "(6,)", bytes(24)), "is not an array of numbers"),
    "10¹² numbers": (
        STATES,
        member("'<f4'", "(1000000, 1000000)", bytes(64)),
        "declares the shape 1,000,000 × 1,000,000",
    ),
    "sides below 0": (STATES, member("'<f4'", "(-6, -8)", bytes(192)), "is not an array of numbers"),
    "texts": (STATES, member("'<U2'", "(6,)", bytes(48)), "is an array of <U2"),
    "a header of 4 GB": (STATES, b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1), "has a header of 4,294,967,295"),
    "columns": (STATES, member("'<f4'", "(6, 8)", bytes(192), order=True), "stored in column order"),
    "a path upwards": ("../../x", member("'<f4'", "(1,)", bytes(4)), "../../x.npy” is not the name of an array"),
    "a path from the root": ("/x", member("'<f4'", "(1,)", bytes(4)), "/x.npy” is not the name of an array"),
    "another system's path": ("C:\\x", member("'<f4'", "(1,)", bytes(4)), "is not the name of an array"),
    "a name without an end": ("x" * 300, member("'<f4'", "(1,)", bytes(4)), "is not the name of an array"),
    "a name that stands twice": ("header", member("'<U2'", "()", bytes(8)), "two of its arrays have the name “header”"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_hostile_archive_is_refused_before_memory_is_taken_for_it(tmp_path: Path, what: str, method: int) -> None:
    name, content, words = HOSTILE[what]
    path = written(tmp_path / "x.npz", {}, {STATES: None} if name == STATES else {})
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr(f"{name}.npy", content)
    tracemalloc.start()
    try:
        with pytest.raises(BadRequestError) as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    said = str(caught.value)
    assert said.startswith("x.npz is not a run of this program, or was cut short (")
    assert words in said
    assert said.endswith("Choose a .npz or .safetensors file that the page, a notebook or the shell has saved.")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("header", ["x" * 9_000_000, "[" + "1," * 400_000 + "1]"], ids=["long", "of many values"])
def test_a_header_beyond_any_runs_is_not_parsed(tmp_path: Path, suffix: str, header: str) -> None:
    """Of what a text of so many tokens needs; with more tokens a header may be longer."""
    said = {**whole().header, "source": header} if header[0] == "x" else {**whole().header, "more": json.loads(header)}
    path = save_run(ModelRun(said, dict(whole().arrays)), tmp_path / f"x.{suffix}")
    with pytest.raises(BadRequestError, match=r"^x\..*\((its header|“header”) has more than"):
        read(path)
    assert len(read(path, most_tokens=100_000)) == 6


def test_a_real_header_of_the_longest_text_is_far_below_the_limit() -> None:
    token = [100_000, "⟨F0 9F 98 80⟩", 100_000, 100_001, True, True, 100_000, "continuation", [[0, 1]], "😀"]
    row = json.dumps(json.dumps(token))  # as it stands in a safetensors file's header
    assert 2 * len(row.encode()) < foreign_run.HEADER_BYTES_A_TOKEN
    assert 2 * sum(map(row.count, ",[{")) < foreign_run.HEADER_VALUES_A_TOKEN


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"1": "' + "x" * 32_000_000 + '"}', "its vocabulary takes 32 MB"),
        ("{" + ",".join(f'"{one}":""' for one in range(20_000)) + "}", "more texts than its predictions name"),
    ],
    ids=["long", "of many texts"],
)
def test_a_vocabulary_beyond_what_is_predicted_is_not_parsed(
    content: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = changed(arrays={"vocabulary": np.frombuffer(content.encode(), np.uint8)})
    monkeypatch.setattr("dashboard.contracts.run_check.texts_of", None)
    with pytest.raises(RunShapeError, match=words):
        check_run(run)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("forged", ["a title that is a list", "10⁹ heads", "scores of one layer", "a negative id"])
def test_open_run_has_the_same_rules(tmp_path: Path, suffix: str, forged: str) -> None:
    header, arrays = FORGED[forged]
    run = changed(header, arrays)
    with pytest.raises(BadRequestError, match="is not a run of this program, or was cut short"):
        open_run(save_run(run, tmp_path / f"x.{suffix}"))


def test_a_run_of_a_newer_version_is_said_to_be_one(tmp_path: Path) -> None:
    path = save_run(changed({"schema": 99}), tmp_path / "run.npz")
    with pytest.raises(NewerRunError, match=r"^run\.npz was made by a newer version of this program\. Open it"):
        read(path)


def test_a_full_disk_is_not_said_to_be_a_damaged_file(tmp_path: Path) -> None:
    def room(_size: int) -> ExportFile:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = save_run(whole(), tmp_path / "run.npz")
    with pytest.raises(OSError, match="No space left"):
        read_foreign(path, KEY, "run.npz", 4096, 10**8, room)

    def none(_size: int) -> ExportFile:
        raise NoSpaceError("No room.")

    with pytest.raises(NoSpaceError):
        read_foreign(path, KEY, "run.npz", 4096, 10**8, none)


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
    "a token likelier than certain": ({}, {"given/actual_logprob": np.full(6, 3e38, np.float32)}),
    "a token infinitely likely": ({}, {"given/actual_logprob": np.full(6, np.inf, np.float32)}),
    "an entropy without end": ({}, {"given/entropy": np.full(6, np.inf, np.float32)}),
    "an entropy below 0": ({}, {"given/entropy": np.full(6, -1, np.float32)}),
    "a name that no file can hold": (model(name="\ud800"), {}),
    "a source that no file can hold": ({"source": "\ud800"}, {}),
    "a name that fills a page": (model(title="t" * 1_001), {}),
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
