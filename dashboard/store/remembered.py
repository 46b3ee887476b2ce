"""What a process remembers about files, as long as each file stays unchanged."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """What changes when a file is replaced (the modification time shows its last use instead)."""

    device: int
    inode: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        return cls(status.st_dev, status.st_ino, status.st_size)

    @classmethod
    def at(cls, path: Path) -> Identity | None:
        """Return the identity of the file now at `path`; None if there is none."""
        try:
            return cls.of(path.stat())
        except OSError:
            return None


class Remembered(Generic[T]):
    """Values by key, each belonging to one file; the least recently used is dropped first. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[str, tuple[Identity, T]] = LRUCache(most)

    def get(self, key: str, identity: Identity) -> T | None:
        """Return the value of a key, if it belongs to this very file; otherwise forget it."""
        with self._lock:
            found = self._values.get(key)
            if found is None or found[0] != identity:
                self._values.pop(key, None)
                return None
            return found[1]

    def keep(self, key: str, identity: Identity, value: T) -> None:
        """Remember a value for a file."""
        with self._lock:
            self._values[key] = identity, value

    def forget_gone(self, path_of: Callable[[str], Path]) -> None:
        """Forget values whose file was removed or replaced."""
        with self._lock:
            for key, (identity, _value) in list(self._values.items()):
                if Identity.at(path_of(key)) != identity:
                    del self._values[key]
