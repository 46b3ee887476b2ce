"""Bounded reading of a run's npz file: the sizes that its members declare are checked against the file before reading
any.

    a zip archive of NAME.npy: magic, version, length of the header | header: {'descr', 'fortran_order', 'shape'} | the
        values

numpy's own reader allocates what a header declares, no matter what follows it, and its header parser raises arbitrary
errors. Here a header must be exactly as `numpy.save` writes it, and its array as large as what follows it.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

import numpy as np

from dashboard.store.mapped import READABLE, DamagedFileError

MOST_EXPANSION = 20  # largest size of all members, in multiples of the file's size; a run's numbers hardly compress
# bytes of the field that holds a header's length
LENGTHS: Mapping[bytes, int] = MappingProxyType({b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4})
MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 4_096  # bytes of one array's header
LONGEST_NAME = 200  # characters of one array's name
PIECE = 1 << 20  # bytes per read
LETTER = 4  # bytes of a character of numpy's texts
HEADER = re.compile(
    r"\{'descr': '(?P<type>[<|][a-zA-Z]\d+)', 'fortran_order': (?P<order>True|False), 'shape': \((?P<shape>[\d, ]*)\), "
    r"\} *\n"
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods may ask for gigabytes of memory


@dataclass(frozen=True)
class Layout:
    """What a member's header declares: type, shape, whether the array is in column order, and its size in bytes."""

    type: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool
    size: int


class NpzFile:
    """The members of an npz file by name; `with` closes it.

    Raises:
        DamagedFileError: two members have the same name, one is not an array, or the unpacked size is implausible for
            the file's size. zipfile's own errors, if it is not an archive.
    """

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        try:
            self._entries = self._checked(path.stat().st_size)
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._archive.close()

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    @property
    def size(self) -> int:
        """The bytes of all members, unpacked."""
        return sum(entry.file_size for entry in self._entries.values())

    def text(self, name: str, longest: int | None = None) -> str:
        """The text stored as an array without axes; `DamagedFileError` if it has more than `longest` characters."""
        if longest is not None and self._entries[name].file_size > LETTER * longest + LONGEST_HEADER:
            raise DamagedFileError(f"{_quoted(name)} has more than {longest:,} characters")
        return str(self._read(name, texts=True))

    def numbers(self, name: str) -> np.ndarray:
        """An array of numbers, read-only."""
        return self._read(name, texts=False)

    def layout(self, name: str) -> Layout:
        """What an array of numbers is, without reading it."""
        with self._archive.open(self._entries[name]) as stream:
            return self._layout(name, stream, texts=False)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the numbers of an array piece by piece, in row order.

        Raises:
            DamagedFileError: the numbers are in column order, or cut short.
        """
        with self._archive.open(self._entries[name]) as stream:
            layout = self._layout(name, stream, texts=False)
            if layout.by_columns:
                raise DamagedFileError(f"{_quoted(name)} is stored in column order, which no run uses")
            left = layout.size
            while left:
                piece = stream.read(min(PIECE, left))
                if not piece:
                    raise DamagedFileError(f"{_quoted(name)} was cut short")
                left -= len(piece)
                yield piece
            stream.read(1)  # at a member's end its checksum is compared

    def _checked(self, size: int) -> dict[str, zipfile.ZipInfo]:
        found: dict[str, zipfile.ZipInfo] = {}
        for entry in self._archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename or not _is_plain(name):
                raise DamagedFileError(f"{_quoted(entry.filename)} is not the name of an array")
            if name in found:
                raise DamagedFileError(f"two of its arrays have the name {_quoted(name)}")
            if entry.compress_type not in METHODS:
                raise DamagedFileError(f"{_quoted(name)} is compressed in a way that is not read")
            found[name] = entry
        packed, whole = (
            sum(entry.compress_size for entry in found.values()),
            sum(entry.file_size for entry in found.values()),
        )
        if packed > size or whole > MOST_EXPANSION * size:
            raise DamagedFileError(
                f"its {packed:,} compressed bytes unpack to {whole:,}, which cannot be right for a file of {size:,} "
                "bytes"
            )
        return found

    def _read(self, name: str, texts: bool) -> np.ndarray:
        with self._archive.open(self._entries[name]) as stream:
            layout = self._layout(name, stream, texts)
            values = np.frombuffer(stream.read(layout.size), layout.type)  # bytes are read-only, and so is the array
        if values.size != math.prod(layout.shape):
            raise DamagedFileError(f"{_quoted(name)} was cut short")
        return values.reshape(layout.shape[::-1]).T if layout.by_columns else values.reshape(layout.shape)

    def _layout(self, name: str, stream: IO[bytes], texts: bool) -> Layout:
        """Read a member up to its values."""
        whole = self._entries[name].file_size
        start = stream.read(len(MAGIC) + 2)
        digits = LENGTHS.get(start.removeprefix(MAGIC))
        if not start.startswith(MAGIC) or digits is None:
            raise DamagedFileError(f"{_quoted(name)} is not an array")
        length = int.from_bytes(stream.read(digits), "little")
        if length > LONGEST_HEADER:
            raise DamagedFileError(f"{_quoted(name)} has a header of {length:,} bytes")
        kind, shape, by_columns = _parsed(name, stream.read(length), texts)
        size = whole - len(start) - digits - length
        if math.prod(shape) * kind.itemsize != size or max(shape, default=0) > whole:
            sides = " × ".join(f"{side:,}" if side < 10**12 else "10¹² or more" for side in shape[:4])
            raise DamagedFileError(f"{_quoted(name)} declares the shape {sides} but has {size:,} bytes")
        return Layout(kind, shape, by_columns, size)


def _is_plain(name: str) -> bool:
    """Whether unpacking a file of this name stays inside the target folder: no `..`, `/x` or `C:\\x`."""
    parts = name.split("/")
    fits = len(name) <= LONGEST_NAME and name.isprintable() and not set(name) & set("\\:")
    return fits and all(part not in ("", ".", "..") for part in parts)


def _quoted(name: str) -> str:
    return f"“{''.join(letter for letter in name if letter.isprintable())[:80]}”"


def _parsed(name: str, raw: bytes, texts: bool) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """(type, shape, whether in column order) that the header of an array of numbers (`texts`: of text) declares."""
    found = HEADER.fullmatch(raw.decode("latin-1"))
    if found is None:
        raise DamagedFileError(f"{_quoted(name)} is not an array of numbers")
    kind = np.dtype(found["type"])
    if (kind.kind != "U" or kind.itemsize == 0) if texts else kind not in READABLE:
        raise DamagedFileError(f"{_quoted(name)} is an array of {found['type']}")
    sides = found["shape"].replace(" ", "").split(",")
    return kind, tuple(int(side) for side in sides if side), found["order"] == "True"
