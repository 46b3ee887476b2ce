"""The header of a GGUF file: what the model is, without reading its weights. No torch, no gguf package.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from dashboard.catalog.foreign_files import LARGEST_NUMBER, open_regular, shown
from dashboard.errors import ForeignFileError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}  # struct's letter of each type
TEXT, ARRAY = 8, 9
MOST_ENTRIES = 1_000_000  # keys or tensors: with more it is not a header
# texts and numbers in one header; the largest vocabularies with their merges have over half as many
MOST_ITEMS = 2_000_000
MOST_BYTES = 100_000_000  # of one header; the largest vocabularies take 15 MB
MOST_DIMENSIONS = 8  # of one tensor; the format has 4
PIECE = 1 << 20  # bytes read at once


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
        architecture: its `general.architecture`. fields: every key whose value is one number or text.
        arrays: every other key, with its number of values. parameters: how many numbers all its tensors hold. tensors:
            their names.
    """

    architecture: str
    fields: dict[str, Any]
    arrays: dict[str, int]
    parameters: int
    tensors: frozenset[str]

    def number(self, key: str) -> int:
        """Return the whole number `ARCHITECTURE.key`, or 0."""
        value = self.fields.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def said(self, key: str, default: Any) -> Any:
        """Return the value of `ARCHITECTURE.key`, or the default."""
        return self.fields.get(f"{self.architecture}.{key}", default)


def read_header(path: Path) -> GgufHeader:
    """Read the header of a file; remembered until the file changes.

    Raises:
        ModelError: it is not a GGUF file, or its header is damaged or too large.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise ForeignFileError(f"{shown(path.name)} cannot be read") from error
    found = _read(path, status.st_size, status.st_mtime_ns)
    if isinstance(found, str):
        raise ForeignFileError(found)
    return found


@lru_cache(maxsize=512)
def _read(path: Path, _size: int, _time: int) -> GgufHeader | str:
    """Return the header, or why there is none, so that a damaged file is not read again for every page, either."""
    try:
        with open_regular(path) as stream:
            return _header(_Reader(stream))
    except ForeignFileError as error:
        return error.clause
    except (OSError, ValueError, IndexError, OverflowError, struct.error) as error:
        return f"the file is damaged, or is not a GGUF file ({type(error).__name__})"


def _header(reader: _Reader) -> GgufHeader:
    if reader.take(4) != MAGIC or reader.number("I") not in VERSIONS:
        raise ValueError("not a GGUF file")
    tensors, keys = reader.count(), reader.count()
    fields: dict[str, Any] = {}
    arrays: dict[str, int] = {}
    for _ in range(keys):
        key, kind = reader.text(), reader.number("I")
        if key in fields or key in arrays:
            raise ValueError(f"two values of {key}")
        if kind == ARRAY:
            arrays[key] = reader.skip_array()
        else:
            fields[key] = reader.value(kind)
    names, total = [], 0
    for _ in range(tensors):
        names.append(reader.text())
        total += math.prod(reader.shape())
        reader.skip(12)  # type and offset
    if total > LARGEST_NUMBER:
        raise ValueError(total)
    return GgufHeader(str(fields.get("general.architecture", "")), fields, arrays, total, frozenset(names))


class _Reader:
    """Reads values in order, little-endian, from the start of the file, never past its end or a header's limit.

    The file is read, not mapped: if someone truncates a mapped file, reading it ends the process.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.data, self.at, self.items = stream, bytearray(), 0, 0
        self.size = os.fstat(stream.fileno()).st_size

    def skip(self, length: int) -> int:
        """Advance by `length` bytes, which are then in `data`; return the position before them."""
        end = self.at + length
        if end > len(self.data):
            self._fill(end)
        before, self.at = self.at, end
        return before

    def skip_texts(self, count: int) -> None:
        """Advance by `count` texts; there may be hundreds of thousands."""
        length_at, data, at = struct.Struct("<Q").unpack_from, self.data, self.at
        for _ in range(count):
            if at + 8 > len(data):
                self._fill(at + 8)
            at += 8 + length_at(data, at)[0]
        self.at = at
        self.skip(0)

    def _fill(self, end: int) -> None:
        """Read on until `data` ends at `end`."""
        if end > self.size:
            raise ValueError("the file ends within its header")
        if end > MOST_BYTES:
            raise ForeignFileError(f"its header is longer than {MOST_BYTES / 1e6:.0f} MB")
        while len(self.data) < end:
            piece = self.stream.read(max(PIECE, end - len(self.data)))
            if not piece:
                raise ValueError("the file ends within its header")
            self.data += piece

    def take(self, length: int) -> bytes:
        start = self.skip(length)
        return bytes(self.data[start : self.at])

    def number(self, letter: str) -> Any:
        (value,) = struct.unpack_from("<" + letter, self.data, self.skip(struct.calcsize("<" + letter)))
        return value

    def count(self, most: int = MOST_ENTRIES) -> int:
        """Read the number of items that follow; each takes some room, in the file and in memory."""
        found = int(self.number("Q"))
        self.items += found
        if found > most or self.items > MOST_ITEMS:
            raise ForeignFileError(f"its header says that {found:,} values follow, which no header has")
        return found

    def shape(self) -> list[int]:
        """Read the sides of a tensor."""
        count = self.number("I")
        if count > MOST_DIMENSIONS:
            raise ValueError(count)
        sides = [int(self.number("Q")) for _ in range(count)]
        if math.prod(sides) > LARGEST_NUMBER:
            raise ValueError("no tensor is so large")
        return sides

    def text(self) -> str:
        return self.take(int(self.number("Q"))).decode("utf-8")

    def value(self, kind: int) -> Any:
        """Read a number or a text."""
        if kind == TEXT:
            return self.text()
        if kind not in NUMBERS:
            raise ValueError(kind)
        return self.number(NUMBERS[kind])

    def skip_array(self) -> int:
        """Advance past an array; return how many values it has."""
        inner, length = self.number("I"), self.count(MOST_ITEMS)
        if inner == TEXT:
            self.skip_texts(length)
        elif inner in NUMBERS:
            self.skip(length * struct.calcsize("<" + NUMBERS[inner]))
        else:
            raise ValueError(inner)
        return length
