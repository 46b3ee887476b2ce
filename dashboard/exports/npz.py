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
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from dashboard.store.mapped import READABLE, DamagedFileError

MOST_EXPANSION = 20  # largest size of all members, in multiples of the file's size; a run's numbers hardly compress
# bytes of the field that holds a header's length
LENGTHS: Mapping[bytes, int] = MappingProxyType({b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4})
MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 4_096  # bytes of one array's header
HEADER = re.compile(
    r"\{'descr': '(?P<type>[<|][a-zA-Z]\d+)', 'fortran_order': (?P<order>True|False), 'shape': \((?P<shape>[\d, ]*)\), "
    r"\} *\n"
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods may ask for gigabytes of memory


class NpzFile:
    """The members of an npz file by name; `with` closes it.

    Raises:
        DamagedFileError: two members have the same name, one is not an array, or together they are out of proportion.
            zipfile's own errors, if it is not an archive.
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

    def text(self, name: str) -> str:
        """The text stored as an array without axes."""
        return str(self._read(name, texts=True))

    def numbers(self, name: str) -> np.ndarray:
        """An array of numbers, read-only."""
        return self._read(name, texts=False)

    def _checked(self, size: int) -> dict[str, zipfile.ZipInfo]:
        found: dict[str, zipfile.ZipInfo] = {}
        for entry in self._archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in found or name == entry.filename or entry.compress_type not in METHODS:
                raise DamagedFileError(f"{entry.filename[:80]!r} is no array, or stands twice")
            found[name] = entry
        packed, whole = (
            sum(entry.compress_size for entry in found.values()),
            sum(entry.file_size for entry in found.values()),
        )
        if packed > size or whole > MOST_EXPANSION * size:
            raise DamagedFileError(f"{size} bytes are said to hold {packed}, which make {whole}")
        return found

    def _read(self, name: str, texts: bool) -> np.ndarray:
        entry = self._entries[name]
        with self._archive.open(entry) as stream:
            start = stream.read(len(MAGIC) + 2)
            digits = LENGTHS.get(start.removeprefix(MAGIC))
            if not start.startswith(MAGIC) or digits is None:
                raise DamagedFileError(f"{name[:80]!r} is no array")
            length = int.from_bytes(stream.read(digits), "little")
            if length > LONGEST_HEADER:
                raise DamagedFileError(f"{name[:80]!r} has a header of {length} bytes")
            kind, shape, by_columns = _layout(stream.read(length), texts)
            size = entry.file_size - len(start) - digits - length
            if math.prod(shape) * kind.itemsize != size or max(shape, default=0) > entry.file_size:
                raise DamagedFileError(f"{name[:80]!r} is said to be {shape}, and has {size} bytes")
            values = np.frombuffer(stream.read(size), kind)  # bytes are read-only, and so is the array
        if values.size != math.prod(shape):
            raise DamagedFileError(f"{name[:80]!r} was cut short")
        return values.reshape(shape[::-1]).T if by_columns else values.reshape(shape)


def _layout(raw: bytes, texts: bool) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """(type, shape, whether in column order) that a header declares: of numbers or, with `texts`, of text."""
    found = HEADER.fullmatch(raw.decode("latin-1"))
    if found is None:
        raise DamagedFileError("no header of an array of numbers")
    kind = np.dtype(found["type"])
    if (kind.kind != "U" or kind.itemsize == 0) if texts else kind not in READABLE:
        raise DamagedFileError(f"an array of {found['type']}")
    return (
        kind,
        tuple(int(side) for side in found["shape"].replace(" ", "").split(",") if side),
        found["order"] == "True",
    )
