"""Names and numbers of a model's weights, from file headers alone. Nothing is unpickled; no torch.

All files of a model share one allowance (`Allowance`): a few kB of a compressed index may stand for gigabytes.
"""

from __future__ import annotations

import io
import math
import os
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Literal

from dashboard.catalog.config_sizes import LARGEST_NUMBER
from dashboard.catalog.fingerprint import weight_files
from dashboard.catalog.foreign_files import MOST_BYTES, open_regular, parse_object, shown
from dashboard.errors import ForeignFileError

LONGEST_HEADERS = 32_000_000  # bytes of all safetensors headers of one model
LONGEST_INDEXES = 6_000_000  # bytes of all PyTorch checkpoint indexes of one model; a weight takes some 500
MOST_OPERATIONS = 300_000  # in the pickles of these indexes; a weight takes some 35
MOST_WEIGHTS = 250_000  # the largest published models have 150,000
MOST_DIMENSIONS = 16  # of one tensor
BYTES = {"float16": 2, "bfloat16": 2, "float64": 8}  # per weight in a PyTorch checkpoint; 4 if it does not say
ZIP = b"PK\x03\x04"
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error)
MAGIC = 0x1950A86A20F9469CFC6C  # the first value of a PyTorch checkpoint of the old format
OLD_PICKLES = 4  # magic number, protocol, machine, weights
TEXT = frozenset(
    # including Python 2's
    ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING")
)


@dataclass(frozen=True)
class Headers:
    """The weights of a model folder.

    Attributes:
        names: empty if they are unknown (a checkpoint in a format of its own).
        parameters: how many numbers, counted from safetensors headers; estimated from the file's size for PyTorch
            checkpoints.
    """

    names: frozenset[str]
    parameters: int


Part = Literal["header bytes", "index bytes", "entries", "weights"]
TOO_MUCH: Mapping[Part, str] = MappingProxyType(
    {
        "header bytes": f"the headers of its weights are longer than {LONGEST_HEADERS / 1e6:.0f} MB",
        "index bytes": f"the indexes of its weights are longer than {LONGEST_INDEXES / 1e6:.0f} MB",
        "entries": f"the indexes of its weights have more than {MOST_OPERATIONS:,} entries",
        "weights": f"its files name more than {MOST_WEIGHTS:,} weights",
    }
)


class Allowance:
    """What may still be read of one model's headers, across all its files."""

    def __init__(self) -> None:
        self.left: dict[Part, int] = {
            "header bytes": LONGEST_HEADERS,
            "index bytes": LONGEST_INDEXES,
            "entries": MOST_OPERATIONS,
            "weights": MOST_WEIGHTS,
        }

    def take(self, part: Part, count: int = 1) -> None:
        """Use up `count` of a part; raise `ForeignFileError` if less than that is left."""
        self.left[part] -= count
        if self.left[part] < 0:
            raise ForeignFileError(TOO_MUCH[part])


def read_headers(folder: Path, config: Mapping[str, Any]) -> Headers:
    """Return the names and number of all weights.

    Raises:
        ForeignFileError: a file is truncated, is not a checkpoint, or exceeds a model's allowance.
    """
    allowance = Allowance()
    names: set[str] = set()
    total, told = 0, True
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            shapes = _safetensors(path, allowance)
            names.update(shapes)
            total += sum(math.prod(shape) for shape, real in shapes.values() if real)
        else:
            found = _indexed(path, allowance)
            told = told and bool(found)
            names |= found
            total += os.path.getsize(path) // BYTES.get(str(config.get("torch_dtype") or config.get("dtype")), 4)
    return Headers(frozenset(names if told else ()), total)


def shapes_in(path: Path) -> dict[str, list[int]]:
    """Return the shapes of the weights in one safetensors file by name; raises like `read_headers`."""
    return {name: shape for name, (shape, _real) in _safetensors(path, Allowance()).items()}


def parameters_in(path: Path) -> int:
    """Return how many numbers are in one safetensors file; raises like `read_headers`."""
    return sum(math.prod(shape) for shape in shapes_in(path).values())


def _safetensors(path: Path, allowance: Allowance) -> dict[str, tuple[list[int], bool]]:
    """Return the weights of one file: name → (shape, whether its numbers are real ones)."""
    damaged = ForeignFileError(f"{path.name} is damaged or was not copied whole")
    with open_regular(path) as stream:
        size, start = os.fstat(stream.fileno()).st_size, stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            raise damaged
        if length > MOST_BYTES:
            raise ForeignFileError(f"the header of {path.name} is longer than {MOST_BYTES / 1e6:.0f} MB")
        allowance.take("header bytes", length)
        data = stream.read(length)
    try:
        entries = {name: entry for name, entry in parse_object(data, path.name).items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
        found = {name: (_shape(entry["shape"]), "F" in entry["dtype"]) for name, entry in entries.items()}
    except (ForeignFileError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise damaged from error
    if size < 8 + length + end:
        raise damaged
    allowance.take("weights", len(found))
    return found


def _shape(sides: list[int]) -> list[int]:
    """Check the sides of a tensor; raise `ValueError` if no tensor has this shape."""
    if len(sides) > MOST_DIMENSIONS or not all(isinstance(side, int) and 0 <= side <= LARGEST_NUMBER for side in sides):
        raise ValueError(len(sides))
    if math.prod(sides) > LARGEST_NUMBER:
        raise ValueError("no tensor is so large")
    return sides


def _indexed(path: Path, allowance: Allowance) -> set[str]:
    """Return the texts in a PyTorch checkpoint's index that could be names of weights; the index is read, not run.

    Empty if the file has another format, whose names show only on loading.
    """
    try:
        with open_regular(path) as stream:
            start = stream.read(len(ZIP))
            stream.seek(0)
            counted = _Counted(stream, allowance)
            return _names(_zipped(counted), 1, allowance) if start == ZIP else _old(counted)
    except (*BROKEN_ZIP, OSError, ValueError, RuntimeError, LookupError, EOFError) as error:
        raise ForeignFileError(f"{shown(path.name)} is damaged or was not copied whole") from error


class _Counted(io.RawIOBase):
    """A file that cannot be read past the allowance: `zipfile` reads a whole table of contents, whatever its length."""

    def __init__(self, stream: BinaryIO, allowance: Allowance) -> None:
        self.stream, self.allowance = stream, allowance

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def read(self, size: int | None = -1) -> bytes:
        left = self.allowance.left["index bytes"]
        data = self.stream.read(left + 1 if size is None or size < 0 else min(size, left + 1))
        self.allowance.take("index bytes", len(data))
        return data


def _zipped(file: _Counted) -> BinaryIO:
    """Open the index of a checkpoint in the new format."""
    with zipfile.ZipFile(file) as archive:
        [entry] = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == "data.pkl"]
        # other compression methods may ask for gigabytes of memory
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(entry.compress_type)
        with archive.open(entry) as content:
            data = content.read(file.allowance.left["index bytes"] + 1)
    file.allowance.take("index bytes", len(data))
    return io.BytesIO(data)


def _old(file: _Counted) -> set[str]:
    """Return the names in a checkpoint of the old format, whose weights follow its index."""
    try:
        if MAGIC not in [value for _, value in _operations(file, file.allowance)]:
            return set()
        return _names(file, OLD_PICKLES - 1, file.allowance)
    except ValueError:  # not a pickle
        return set()


def _names(index: Any, pickles: int, allowance: Allowance) -> set[str]:
    """Return the texts that could be names of weights: with a dot, and without a space."""
    found: set[str] = set()
    for _ in range(pickles):
        for code, value in _operations(index, allowance):
            if code in TEXT and "." in value and " " not in value and value not in found:
                allowance.take("weights")
                found.add(value)
    return found


def _operations(index: Any, allowance: Allowance) -> Iterator[tuple[str, Any]]:
    """Yield (name, argument) of each operation of one pickle, without running it."""
    for code, value, _ in pickletools.genops(index):
        allowance.take("entries")
        yield code.name, value
