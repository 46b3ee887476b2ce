"""Reading a safetensors file by mapping it: opening takes milliseconds whatever the size, and copies no array.

    8 bytes: length of the header, little-endian | header: JSON {name: {dtype, shape, data_offsets}} | the arrays

A mapped file stays readable after it is deleted or replaced. Opening checks the whole layout, so that a truncated file
is found before anyone reads an array from it.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "F64": np.dtype("<f8"),
        "F32": np.dtype("<f4"),
        "F16": np.dtype("<f2"),
        "I64": np.dtype("<i8"),
        "I32": np.dtype("<i4"),
        "I16": np.dtype("<i2"),
        "I8": np.dtype("i1"),
        "U64": np.dtype("<u8"),
        "U32": np.dtype("<u4"),
        "U16": np.dtype("<u2"),
        "U8": np.dtype("u1"),
        "BOOL": np.dtype("?"),
    }
)
READABLE = frozenset(DTYPES.values())


LONGEST_HEADER = 64_000_000  # bytes; the header of a very long text's run takes several million
MOST_ITEMS = 2_000_000  # values in one header; parsed, they may need fifty times the memory of their text


class DamagedFileError(ValueError):
    """The file is not a complete file of arrays."""


class MappedArrays(Mapping[str, np.ndarray]):
    """The arrays of one file, by name, read-only; `metadata` is the file's text metadata."""

    def __init__(self, buffer: mmap.mmap, entries: Mapping[str, Any], start: int, metadata: Mapping[str, str]) -> None:
        self._buffer, self._entries, self._start, self.metadata = buffer, entries, start, metadata

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        shape = entry["shape"]
        offset = self._start + entry["data_offsets"][0]
        flat = np.frombuffer(self._buffer, DTYPES[entry["dtype"]], count=math.prod(shape), offset=offset)
        return flat.reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class HeaderLimits:
    """The most bytes of one header, and the most values in it."""

    bytes: int = LONGEST_HEADER
    items: int = MOST_ITEMS


ANY_HEADER = HeaderLimits()


def map_arrays(path: Path, limits: HeaderLimits = ANY_HEADER) -> MappedArrays:
    """Map the arrays of a safetensors file.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: the file is truncated, has garbage in its header, or is something else.
    """
    with path.open("rb") as file:
        try:
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file cannot be mapped
            raise DamagedFileError("the file is empty") from error
    try:
        return _parse(buffer, limits)
    except DamagedFileError:
        buffer.close()
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        buffer.close()
        raise DamagedFileError(f"{type(error).__name__}: {error}") from error


def _parse(buffer: mmap.mmap, limits: HeaderLimits) -> MappedArrays:
    length = int.from_bytes(buffer[:8], "little")
    start = 8 + length
    if len(buffer) < 8 or start > len(buffer):
        raise DamagedFileError(f"a header of {length} bytes in a file of {len(buffer)}")
    entries = parse_header(buffer[8 : min(start, 8 + limits.bytes + 1)], limits)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(words, str) for words in metadata.values()):
        raise DamagedFileError("the metadata are no texts")
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: tuple(entry["data_offsets"])):
        (first, last), shape = entry["data_offsets"], entry["shape"]
        if not all(type(number) is int and 0 <= number <= len(buffer) for number in (first, last, *shape)):
            raise DamagedFileError("an array is larger than the file")
        if first != end or last - first != math.prod(shape) * DTYPES[entry["dtype"]].itemsize:
            raise DamagedFileError("the arrays do not lie one after the other")
        end = last
    if start + end != len(buffer):
        raise DamagedFileError(f"the arrays take {end} bytes, and {len(buffer) - start} are there")
    return MappedArrays(buffer, entries, start, metadata)


def parse_header(raw: bytes, limits: HeaderLimits = ANY_HEADER) -> dict[str, Any]:
    """Parse the JSON object of a header.

    Raises:
        DamagedFileError: it is too long, or names something twice. ValueError and others of `json`: it is not JSON.
    """
    if len(raw) > limits.bytes or sum(map(raw.count, (b",", b"[", b"{"))) > limits.items:
        raise DamagedFileError(f"its header has more than {limits.bytes:,} bytes or {limits.items:,} values")
    found = json.loads(raw.decode(), object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise DamagedFileError("the header is no object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DamagedFileError("the header names one thing twice")
    return found
