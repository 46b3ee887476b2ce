"""Writing a safetensors file array by array, so that a whole run is never in memory twice.

The library's own `save_file` copies every array before it writes the first one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset, names = 0, sorted(arrays, key=in_order)
    for name in names:
        dtype, shape = known.get(name) or _layout(arrays[name])
        size = math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    header = json.dumps(entries, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for name in names:
        raw = np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8)
        for start in range(0, len(raw), WRITTEN_AT_ONCE):
            file.write(raw[start : start + WRITTEN_AT_ONCE].data)


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
