"""A diskcache that never unpickles: numbers, text and bytes as they are, everything else as JSON.

diskcache pickles by default, and unpickling a value that someone planted in the cache folder would run their code. Here
a pickled value is a miss. The folder is private (mode 0700), too.
"""

from __future__ import annotations

import json
import math
import sqlite3
from typing import Any

import diskcache

MODE_JSON = 5  # diskcache's own modes are 1 to 4; 4 is pickle
WHOLE_NUMBERS = range(-(2**63), 2**63)


class RefusedValueError(OSError):
    """A pickled value; an OSError, so that diskcache treats it as a missing value."""


class JsonDisk(diskcache.Disk):
    """Stores bytes, text and numbers natively and everything else as JSON."""

    def put(self, key: Any) -> tuple[Any, bool]:
        if type(key) is bytes:
            return sqlite3.Binary(key), True
        if _native(key):
            return key, True
        raise TypeError(f"A key of the cache must be text, bytes or a number, not {type(key).__name__}.")

    def get(self, key: Any, raw: bool) -> Any:
        if not raw:
            raise RefusedValueError("a pickled key was refused")
        return super().get(key, raw)

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> tuple[int, int, str | None, Any]:
        if read or type(value) is bytes or _native(value):
            return super().store(value, read, key)
        text = json.dumps(value, separators=(",", ":"))
        size, _mode, filename, stored = super().store(text, False, key)
        return size, MODE_JSON, filename, stored

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode == diskcache.core.MODE_PICKLE:
            raise RefusedValueError("a pickled value was refused")
        if mode != MODE_JSON:
            return super().fetch(mode, filename, value, read)
        text = value if filename is None else super().fetch(diskcache.core.MODE_TEXT, filename, None, False)
        return json.loads(text)


def _native(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)  # SQLite stores NaN as NULL
    return type(value) is str or (type(value) is int and value in WHOLE_NUMBERS)
