"""The header of a GGUF file: what the model is, without reading its weights. No torch, no gguf package.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dashboard.errors import ModelError

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
MOST_ENTRIES = 1_000_000  # of keys, tensors or dimensions: more is no header


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
        architecture: its `general.architecture`. fields: every key whose value is one number or text.
        parameters: numbers in all its tensors. tensors: their names.
    """

    architecture: str
    fields: dict[str, Any]
    parameters: int
    tensors: frozenset[str]

    def number(self, key: str) -> int:
        """The whole number `ARCHITECTURE.key`, or 0."""
        value = self.fields.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read_header(path: Path) -> GgufHeader:
    """The header of a file; remembered until the file changes.

    Raises:
        ModelError: it is no GGUF file, or its header is damaged.
    """
    try:
        status = path.stat()
        return _read(path, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, IndexError, struct.error, UnicodeDecodeError) as error:
        raise ModelError(f"{path.name} is no GGUF file that can be read. Copy it again.") from error


@lru_cache(maxsize=128)
def _read(path: Path, _size: int, _time: int) -> GgufHeader:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        if data[:4] != MAGIC or reader.number("I", at=4) not in VERSIONS:
            raise ValueError(path.name)
        reader.at = 8
        tensors, keys = reader.count(), reader.count()
        fields = {}
        for _ in range(keys):
            key, value = reader.text(), reader.value(reader.number("I"))
            if value is not None:
                fields[key] = value
        names, total = [], 0
        for _ in range(tensors):
            names.append(reader.text())
            shape = [reader.number("Q") for _ in range(reader.number("I"))]
            total += math.prod(shape)
            reader.at += 12  # type and offset
    return GgufHeader(str(fields.get("general.architecture", "")), fields, total, frozenset(names))


class _Reader:
    """Reads one value after the other, little-endian."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def number(self, letter: str, at: int | None = None) -> Any:
        if at is not None:
            self.at = at
        (value,) = struct.unpack_from("<" + letter, self.data, self.at)
        self.at += struct.calcsize("<" + letter)
        return value

    def count(self) -> int:
        found = int(self.number("Q"))
        if found > MOST_ENTRIES:
            raise ValueError(found)
        return found

    def text(self) -> str:
        return self._bytes().decode("utf-8")

    def _bytes(self) -> bytes:
        length = self.count()
        if self.at + length > len(self.data):
            raise ValueError(length)
        self.at += length
        return self.data[self.at - length : self.at]

    def value(self, kind: int) -> Any:
        """A number or a text; None for an array, which is skipped."""
        if kind == TEXT:
            return self.text()
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind != ARRAY:
            raise ValueError(kind)
        inner, length = self.number("I"), self.number("Q")
        if inner == TEXT:
            for _ in range(length):
                self.at += 8 + struct.unpack_from("<Q", self.data, self.at)[0]
        elif inner in NUMBERS:
            self.at += length * struct.calcsize("<" + NUMBERS[inner])
        else:
            raise ValueError(inner)
        return None
