"""Run files that somebody made to do harm, or that were damaged: `open_run` says in a sentence that they are no run, at
once."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard import open_run, save_run
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, DashboardError, RunNotFoundError
from dashboard.exports import run_files
from dashboard.exports.npz import NpzFile
from dashboard.store.mapped import MOST_ITEMS
from tests.support.synthetic import make_parts


def whole_run() -> ModelRun:
    header, arrays = make_parts()
    return ModelRun(header, arrays)


def npz_of(header: str, change: Callable[[bytes], bytes] = bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """An npz file with this header and nothing else; `change` spoils its bytes."""
    file, entry = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(entry, np.array(header), allow_pickle=False)
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("header.npy", entry.getvalue())
    return change(file.getvalue())


def safetensors_of(header: str) -> bytes:
    raw = json.dumps({"__metadata__": {"header": header}}).encode()
    return struct.pack("<Q", len(raw)) + raw


NESTED = "[" * 100_000 + "]" * 100_000
HOSTILE_RUNS = {
    "npz-nested": npz_of(NESTED),
    "npz-object": npz_of('{"a":' * 50_000 + "1" + "}" * 50_000),
    "npz-list": npz_of("[1]"),
    "npz-encrypted": npz_of(
        "{}", lambda raw: raw.replace(b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14\0\1")
    ),
    "npz-method": npz_of(
        "{}", lambda raw: raw.replace(b"PK\x01\x02\x14\x03\x14\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63")
    ),
    "npz-deflated": npz_of("abc" * 900, lambda raw: raw[:60] + b"\xff" * 20 + raw[80:], zipfile.ZIP_DEFLATED),
    "npz-cut": npz_of("{}", lambda raw: raw[:-5]),
    "safetensors-nested": safetensors_of(NESTED),
    "safetensors-itself-nested": struct.pack("<Q", len(NESTED)) + NESTED.encode(),
    "safetensors-offsets": safetensors_of("{}").replace(b'"__metadata__"', b'"__m":1e400,"q'),
}


@pytest.mark.parametrize("content", HOSTILE_RUNS.values(), ids=HOSTILE_RUNS)
def test_a_hostile_file_is_no_run(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(
        BadRequestError, match=r"x is not a run of this program, or was cut short\. Export the run again\."
    ):
        open_run(tmp_path / "x")
    assert run_files.peek(tmp_path / "x") is None


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    """The members of a run's npz file."""
    file = io.BytesIO()
    run_files.write_run(whole_run(), file, "npz")
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy_of(header: str, values: bytes = b"") -> bytes:
    raw = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + values


def declared(kind: str, shape: str, values: bytes = b"", order: str = "False") -> bytes:
    return npy_of(f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}", values)


ABSURD = {  # arrays that stand in a run in place of its first query
    "10^12 numbers, and none": declared("'<f4'", "(1000000000000,)"),
    "10^12 numbers, and some": declared("'<f4'", "(1000000, 1000000)", bytes(4096)),
    "more than any computer counts": declared("'<f4'", f"({10**40},)"),
    "a side of 10^12, and none": declared("'<f4'", "(1000000000000, 0)"),
    "sides below 0": declared("'<f4'", "(-2, -3)", bytes(24)),
    "fewer than are there": declared("'<f4'", "(1,)", bytes(400)),
    "objects": declared("'|O'", "(2,)", pickle.dumps([1, 2])),
    "fields": declared("[('a', '<f4'), ('b', '<f4')]", "(2,)", bytes(16)),
    "texts of a gigabyte": declared("'<U250000000'", "(1,)", bytes(64)),
    "texts of nothing, 10^12 times": declared("'<U0'", "(1000000000000,)"),
    "bytes of nothing": declared("'|V0'", "(1000000000000,)"),
    "dates": declared("'<M8[s]'", "(1,)", bytes(8)),
    "numbers the other way round": declared("'>f4'", "(1,)", bytes(4)),
    "a header that ends a parser": npy_of("-" * 9000 + "1"),
    "a header without an end": npy_of("(" * 3000),
    "a header that calls something": npy_of("__import__('os').abort()"),
    "a header longer than the file": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1),
    "another version": b"\x93NUMPY\x09\x00\x00\x00",
    "no array": b"hello",
    "nothing": b"",
}


def archive_of(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def assert_refused_at_once(path: Path) -> None:
    """`open_run` says in a sentence that it is no run, and takes no more memory than a small file is worth."""
    tracemalloc.start()
    try:
        with pytest.raises(
            BadRequestError, match=r"is not a run of this program, or was cut short\. Export the run again\."
        ):
            open_run(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_an_array_that_says_something_absurd_makes_no_run(
    content: bytes, method: int, members: dict[str, bytes], tmp_path: Path
) -> None:
    assert_refused_at_once(archive_of(tmp_path / "x.npz", {**members, "decoder/query/0.npy": content}, method))


@pytest.mark.parametrize("name", ["header.npy", "about.npy", "more.npy"])
def test_a_member_that_expands_a_thousandfold_makes_no_run(
    name: str, members: dict[str, bytes], tmp_path: Path
) -> None:
    zeros = declared("'<f4'", "(50000000,)") + bytes(200_000_000)
    path = archive_of(tmp_path / "x.npz", {**members, name: zeros}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    assert_refused_at_once(path)
    assert run_files.peek(path) is None


def test_a_run_that_was_compressed_is_read(members: dict[str, bytes], tmp_path: Path) -> None:
    """As `np.savez_compressed` does it."""
    path = archive_of(tmp_path / "x.npz", members, zipfile.ZIP_DEFLATED)
    run, again = whole_run(), open_run(path)
    assert again.tokens == run.tokens
    assert set(again.arrays) == set(run.arrays)
    assert all(np.array_equal(run.arrays[name], again.arrays[name], equal_nan=True) for name in run.arrays)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_compress_are_not_read(method: int, members: dict[str, bytes], tmp_path: Path) -> None:
    assert_refused_at_once(archive_of(tmp_path / "x.npz", members, method))


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile says so when such a file is made
@pytest.mark.parametrize("name", ["decoder/query/0.npy", "header.npy", "tokens.npy"])
def test_a_name_that_stands_twice_makes_no_run(name: str, members: dict[str, bytes], tmp_path: Path) -> None:
    path = archive_of(tmp_path / "x.npz", members)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, members[name])
    assert_refused_at_once(path)


@pytest.mark.parametrize("name", ["notes.txt", "decoder/query/0.npy/", "__MACOSX/decoder/query/0"])
def test_a_member_that_is_no_array_makes_no_run(name: str, members: dict[str, bytes], tmp_path: Path) -> None:
    assert_refused_at_once(archive_of(tmp_path / "x.npz", {**members, name: b""}))


@pytest.mark.parametrize("field", range(16, 28, 4), ids=["sum", "packed size", "size"])
@pytest.mark.parametrize("value", [0, 2**31, 2**32 - 2])
def test_a_list_of_contents_that_lies_makes_no_run(
    field: int, value: int, members: dict[str, bytes], tmp_path: Path
) -> None:
    path = archive_of(tmp_path / "x.npz", members)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02") + field  # of the first member, the header
    raw[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(raw)
    assert_refused_at_once(path)


@pytest.mark.parametrize("offset", [1, 10**6, 2**32 - 2])
def test_a_member_that_lies_elsewhere_makes_no_run(offset: int, members: dict[str, bytes], tmp_path: Path) -> None:
    path = archive_of(tmp_path / "x.npz", members)
    raw = bytearray(path.read_bytes())
    # of the first member; of the list itself
    for at in (raw.index(b"PK\x01\x02") + 42, raw.rindex(b"PK\x05\x06") + 16):
        spoilt = bytearray(raw)
        spoilt[at : at + 4] = struct.pack("<I", offset)
        path.write_bytes(spoilt)
        assert_refused_at_once(path)


@pytest.mark.parametrize("suffix", run_files.FORMATS)
@pytest.mark.parametrize(
    "name", ["decoder/hidden_states/0", "decoder/hidden_states/2", "decoder/query/1", "decoder/key/0"]
)
@pytest.mark.parametrize("change", ["gone", "of fewer tokens", "of one axis"])
def test_a_run_without_an_array_of_its_header_is_refused(name: str, suffix: Any, change: str, tmp_path: Path) -> None:
    run = whole_run()
    run = ModelRun({**run.header, "not_finite": None}, run.arrays)
    changed = {"of fewer tokens": run.arrays[name][..., :-1, :], "of one axis": run.arrays[name].reshape(-1)}
    arrays = {**run.arrays, **({name: changed[change]} if change in changed else {})}
    if change == "gone":
        del arrays[name]
    path = save_run(ModelRun(run.header, arrays), tmp_path / f"x.{suffix}")
    assert_refused_at_once(path)


def spoilt_entry(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A run's safetensors file whose header `change` has changed; the arrays stay."""
    with path.open("wb") as file:
        run_files.write_run(whole_run(), file, "safetensors")
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    entries = json.loads(raw[8 : 8 + length])
    change(entries)
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])
    return path


def lie(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entries: entries["decoder/query/0"].update(fields)


def as_floats(field: str) -> Callable[[dict[str, Any]], None]:
    def change(entries: dict[str, Any]) -> None:
        entry = entries["decoder/query/0"]
        entry[field] = [float(number) for number in entry[field]]

    return change


def below_zero(entries: dict[str, Any]) -> None:
    first, second, *others = entries["decoder/query/0"]["shape"]
    entries["decoder/query/0"]["shape"] = [-first, -second, *others]


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "10^12 numbers": lie(shape=[10**12]),
    "sides below 0": below_zero,
    "sides that are no whole numbers": as_floats("shape"),
    "a side of 10^30 beside one of 0": lambda entries: entries.update(
        {"more": {"dtype": "F32", "shape": [10**30, 0], "data_offsets": [0, 0]}}
    ),
    "offsets beyond the file": lie(data_offsets=[10**12, 2 * 10**12]),
    "offsets below 0": lie(data_offsets=[-16, 0]),
    "offsets that are no whole numbers": as_floats("data_offsets"),
    "offsets of another array": lambda entries: lie(data_offsets=entries["decoder/key/0"]["data_offsets"])(entries),
    "one offset": lie(data_offsets=[0]),
    "words for offsets": lie(data_offsets=["0", "1"]),
    "no list of sides": lie(shape=7),
    "another type": lie(dtype="F128"),
    "a list for a type": lie(dtype=["F32"]),
    "a type of another size": lie(dtype="F64"),
    "metadata that are a list": lambda entries: entries.update({"__metadata__": ["header"]}),
    "metadata that are numbers": lambda entries: entries["__metadata__"].update({"header": 1}),
    "no metadata": lambda entries: entries.pop("__metadata__"),
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_a_safetensors_file_that_lies_makes_no_run(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    assert_refused_at_once(spoilt_entry(tmp_path / "x.safetensors", change))
    assert run_files.peek(tmp_path / "x.safetensors") is None


def test_a_safetensors_file_with_one_name_twice_makes_no_run(tmp_path: Path) -> None:
    path = spoilt_entry(tmp_path / "x.safetensors", lambda entries: None)
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = raw[8 : 8 + length].replace(b'"decoder/query/0"', b'"decoder/query/1"', 1)
    path.write_bytes(raw[:8] + header + raw[8 + length :])
    assert_refused_at_once(path)


@pytest.mark.parametrize("suffix", run_files.FORMATS)
def test_a_header_of_millions_of_values_makes_no_run(suffix: Any, tmp_path: Path) -> None:
    header = "[" + "[]," * (MOST_ITEMS // 2) + "[]]"  # as objects, a hundred megabytes
    (tmp_path / "x").write_bytes(npz_of(header) if suffix == "npz" else safetensors_of(header))
    with pytest.raises(BadRequestError, match="not a run"):
        open_run(tmp_path / "x")


@pytest.mark.parametrize(
    "derived",
    [
        [1],
        5,
        {"x-0": 5},
        {"x-0": {"kind": "x", "parameters": [1]}},
        {"x-0": {"kind": "x", "parameters": {}, "facts": None}},
    ],
)
def test_a_header_whose_derived_results_are_none_makes_no_run(derived: Any, tmp_path: Path) -> None:
    header, arrays = make_parts()
    run = ModelRun(header, arrays)
    run._header["derived"] = derived
    with pytest.raises(BadRequestError, match="not a run of this program"):
        open_run(save_run(run, tmp_path / "a.npz"))


def test_a_named_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(RunNotFoundError, match=r"it is not a file\)\. Check the path\."):
        open_run(tmp_path / "pipe.npz")
    assert run_files.peek(tmp_path / "pipe.npz") is None


def test_a_run_that_the_memory_has_no_room_for_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_run(whole_run(), tmp_path / "x.npz")
    monkeypatch.setattr(NpzFile, "numbers", lambda _self, _name: np.zeros(2**58))
    with pytest.raises(DashboardError, match=r"takes more memory than is free\. Close other programs, or export"):
        open_run(path)
