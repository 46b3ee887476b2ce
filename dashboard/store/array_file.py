"""Writing a safetensors file array by array, so that a whole run is never in memory twice.

The library's own `save_file` copies every array before it writes the first one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from dashboard.errors import RunShapeError
from dashboard.store.mapped import DTYPES, READABLE

DTYPE_NAMES: Mapping[np.dtype[Any], str] = MappingProxyType({dtype: name for name, dtype in DTYPES.items()})
WRITTEN_AT_ONCE = 1 << 22  # bytes
Layout = tuple[np.dtype[Any], tuple[int, ...]]


def write_arrays(
    file: IO[bytes],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    known: Mapping[str, Layout] = MappingProxyType({}),
) -> None:
    """Write arrays to an open file, in the order of `in_order`; each is read when it is written.

    Args:
        known: type and shape of arrays that are computed when they are read, so that they are computed once.
    """
    layouts = {name: known.get(name) or _layout(arrays[name]) for name in arrays}

    def pieces(name: str) -> Iterator[memoryview]:
        raw = np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8)
        for start in range(0, len(raw), WRITTEN_AT_ONCE):
            yield raw[start : start + WRITTEN_AT_ONCE].data

    write_pieces(file, layouts, pieces, metadata)


def write_pieces(
    file: IO[bytes],
    layouts: Mapping[str, Layout],
    pieces: Callable[[str], Iterable[bytes | memoryview]],
    metadata: Mapping[str, str],
) -> None:
    """Write arrays of which only a piece at a time is in memory, in the order of `in_order`.

    Args:
        layouts: type and shape of each array. pieces: yields an array's numbers, in row order.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset, names = 0, sorted(layouts, key=in_order)
    for name in names:
        dtype, shape = layouts[name]
        size = math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    header = json.dumps(entries, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for name in names:
        for piece in pieces(name):
            file.write(piece)


def _layout(values: np.ndarray) -> Layout:
    return values.dtype.newbyteorder("<"), values.shape


def in_order(name: str) -> tuple[str, int]:
    """A sort key that puts `query/10` after `query/9`."""
    head, _, tail = name.rpartition("/")
    return (head, int(tail)) if tail.isdigit() else (name, -1)


def storable(label: str, array: np.ndarray) -> np.ndarray:
    """Return an array in the form a file holds; raise `RunShapeError` for a type that could be written but not read."""
    if array.dtype.newbyteorder("<") not in READABLE:
        raise RunShapeError(
            f"The array “{label}” holds {array.dtype} values, which a run file cannot store. Use another dtype."
        )
    return np.ascontiguousarray(array).reshape(array.shape)
