"""A whole run as one file, npz or safetensors, and back.

Both formats hold the arrays of dashboard/contracts/run.py under the same names, and in addition

    header      the run's header: model, request (text, revision, options), tokens, recipes, schema, version, key (JSON)
    about       where the run comes from, in words, and how to continue with it (JSON)
    tokens      (token,) text of each token (npz only; safetensors holds numbers only, its tokens are in the header)
    KIND/attention/{layer}   (head, query, key) float32, if requested: derived from query, key and recipe (always there
                             if the run stores its weights)

npz: `np.load(path)["header"]`, never pickled. safetensors: `safe_open(path, "np").metadata()["header"]`.
"""

from __future__ import annotations

import errno
import json
import stat
import struct
import zipfile
import zlib
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np

from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_check import check_run
from dashboard.errors import BadRequestError, DashboardError, NewerRunError, RunNotFoundError, disk_error
from dashboard.exports.npz import NpzFile
from dashboard.exports.provenance import PROGRAM, of_run
from dashboard.store.array_file import in_order, write_arrays
from dashboard.store.files import whole_file
from dashboard.store.mapped import ANY_HEADER, DamagedFileError, HeaderLimits, map_arrays, parse_header
from dashboard.store.upgrades import upgraded

RunFormat = Literal["npz", "safetensors"]
FORMATS: tuple[RunFormat, ...] = ("npz", "safetensors")
BESIDE = ("header", "about", "tokens")  # entries of an npz that are not arrays of the run
MOST_ATTENTION = 256_000_000  # bytes of derived attention that a file may hold
HOW_TO = (
    'from dashboard import open_run; run = open_run("THIS FILE")  # run.tokens, run.hidden_states[i], run.top_k(i)',
    "run.attention(layer, head)  # (query, key): softmax of scaling * query @ key.T over the keys that the recipe "
    "allows",
)
STORED_HOW_TO = "run.attention(layer, head)  # (query, key): stored as the model computed it, without query and key"


def attention_bytes(run: ModelRun) -> int:
    """The size of all attention weights of a run, in bytes."""
    return 4 * sum(one.layers * one.heads * one.shape[0] * one.shape[1] for one in run.attentions.values())


def check_attention(run: ModelRun) -> None:
    """Raise `BadRequestError` if the attention weights exceed what a file may hold (`MOST_ATTENTION`)."""
    if attention_bytes(run) > MOST_ATTENTION:
        raise BadRequestError(
            f"The attention weights of this run take {attention_bytes(run) / 1e6:,.0f} MB; at most "
            f"{MOST_ATTENTION / 1e6:,.0f} MB are written. Export the run without them: open_run(path).attention(layer, "
            f"head) "
            "computes each of them again, exactly."
        )


def write_run(run: ModelRun, file: IO[bytes], kind: RunFormat, attention: bool = False) -> None:
    """Write a run to an open file, one array after the other, without a second copy of the run in memory.

    Args:
        attention: also write the derived attention weights.

    Raises:
        BadRequestError: an unknown format, or more than `MOST_ATTENTION` bytes of attention weights.
    """
    if kind not in FORMATS:
        raise BadRequestError(f"A run cannot be written as “{kind}”. Choose {' or '.join(FORMATS)}.")
    if attention:
        check_attention(run)
    extra = _Attention(run) if attention else {}
    arrays: Mapping[str, np.ndarray] = ChainMap(extra, run.arrays)  # type: ignore[arg-type]
    if kind == "npz":
        _write_npz(run, arrays, file)
    else:
        _write_safetensors(run, arrays, file)


def save_run(run: ModelRun, path: str | Path, attention: bool = False) -> Path:
    """Write a run to a file whose name ends in .npz or .safetensors; `open_run` reads it back.

    The file is written under another name and then renamed, so it is either complete or absent.

    Raises:
        BadRequestError: another ending, or attention weights that are too large. DashboardError: it cannot be written.
    """
    path = Path(path).expanduser()
    try:
        with whole_file(path) as part, part.open("wb") as file:
            write_run(run, file, cast(RunFormat, path.suffix.lower().removeprefix(".")), attention)
    except (OSError, ValueError) as error:
        problem = disk_error(error)
        if problem is None:
            raise
        raise DashboardError(f"{path} cannot be written ({problem.strerror}). Choose another place.") from error
    return path


class _Attention(Mapping[str, np.ndarray]):
    """`KIND/attention/{layer}`, computed when it is read."""

    def __init__(self, run: ModelRun) -> None:
        self._layers = {
            f"{kind}/attention/{layer}": (attention, layer)
            for kind, attention in run.attentions.items()
            for layer in range(attention.layers)
        }

    def __getitem__(self, name: str) -> np.ndarray:
        attention, layer = self._layers[name]
        return np.stack([attention.weights(layer, head) for head in range(attention.heads)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def shape(self, name: str) -> tuple[int, int, int]:
        """(head, query, key): the size of each axis."""
        attention, _layer = self._layers[name]
        return attention.heads, *attention.shape


def _about(run: ModelRun) -> dict[str, Any]:
    stored = any(one.recipe(layer).stored for one in run.attentions.values() for layer in range(one.layers))
    how = (HOW_TO[0], STORED_HOW_TO) if stored else HOW_TO
    return {**dict(of_run(run).entries), "How to read it": list(how)}


def _write_npz(run: ModelRun, arrays: Mapping[str, np.ndarray], file: IO[bytes]) -> None:
    beside = {
        "header": np.array(json.dumps(run.header, ensure_ascii=False)),
        "about": np.array(json.dumps(_about(run), ensure_ascii=False, indent=1)),
        "tokens": np.array([token.text for token in run.tokens]),
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in (*beside, *sorted(arrays, key=in_order)):
            values = beside[name] if name in beside else arrays[name]
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(
                    entry, np.ascontiguousarray(values) if values.ndim else values, allow_pickle=False
                )


def _write_safetensors(run: ModelRun, arrays: Mapping[str, np.ndarray], file: IO[bytes]) -> None:
    metadata = {
        "name": run.key,
        "header": json.dumps(run.header, ensure_ascii=False),
        "about": json.dumps(_about(run), ensure_ascii=False),
        "program": PROGRAM,
    }
    extra = arrays.maps[0] if isinstance(arrays, ChainMap) else {}
    known = (
        {name: (np.dtype("<f4"), extra.shape(name)) for name in extra}  # without computing them just to measure them
        if isinstance(extra, _Attention)
        else {}
    )
    write_arrays(file, arrays, metadata, known)


def read_run(path: Path, limits: HeaderLimits = ANY_HEADER) -> ModelRun:
    """Read a run file as `open_run` does, without checking that the run is whole.

    Raises:
        NewerRunError: a newer version of this program made it. One of `UNREADABLE`, or MemoryError, if it is no run.
    """
    return ModelRun(*upgraded(*(_read_npz(path) if _is_zip(path) else _read_safetensors(path, limits))))


# raised when reading a file that is not a run: deeply nested, encrypted, cut short …
NO_RUN: tuple[type[Exception], ...] = (
    *(DashboardError, DamagedFileError, zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError),
)
UNREADABLE: tuple[type[Exception], ...] = (OSError, *NO_RUN)


def open_run(path: str | Path) -> ModelRun:
    """Open an exported file (npz or safetensors), or a file of the run store, as a run equal to the one it was made
    from. A run from an earlier version of this program is read unchanged; `run.outdated` lists what has changed since.

    A safetensors file is mapped and read on demand; an npz file is read whole.

    Raises:
        RunNotFoundError: there is no such file. NewerRunError: a newer version of this program made it.
        BadRequestError: it is not a run, or not a whole one (`contracts.run_check`). DashboardError: it does not fit in
            memory.
    """
    path = Path(path).expanduser()
    try:
        run = read_run(path)
        check_run(run)
        return run
    except NewerRunError as error:
        raise NewerRunError(
            f"{path} was made by a newer version of this program. Open it with that version."
        ) from error
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a position before the start of a file
            raise RunNotFoundError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
        raise BadRequestError(
            f"{path} is not a run of this program, or was cut short. Export the run again."
        ) from error
    except MemoryError as error:
        raise DashboardError(
            f"{path} takes more memory than is free. Close other programs, or export the run as .safetensors, which is "
            "read only where it is used."
        ) from error


def peek(path: Path) -> tuple[str, bool] | None:
    """The name of the run that a file holds, and whether its attention weights are included; None if it holds no run,
    or a run that this version of the program would compute differently.
    """
    try:
        if _is_zip(path):
            with NpzFile(path) as stored:
                header, names = parse_header(stored.text("header").encode()), set(stored.names)
        else:
            header, arrays = _read_safetensors(path)
            names = set(arrays)
        whole = any(name.endswith("attention/0") for name in names)
        return None if upgraded(header, {})[0].get("outdated") else (header["key"], whole)
    except UNREADABLE:
        return None


def _is_zip(path: Path) -> bool:
    """Whether it is an npz file; raises `OSError` for anything but a regular file, such as a named pipe (it would
    block)."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.ENXIO, "it is not a file")
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _read_npz(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with NpzFile(path) as stored:
        header = parse_header(stored.text("header").encode())
        return header, {name: stored.numbers(name) for name in stored.names if name not in BESIDE}


def _read_safetensors(path: Path, limits: HeaderLimits = ANY_HEADER) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    arrays = map_arrays(path, limits)
    return parse_header(arrays.metadata["header"].encode(), limits), arrays
