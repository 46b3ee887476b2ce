"""A cache of results computed once for a value that never changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class ResultCache:
    """The last `most` results by name, thread-safe; the least recently used is dropped first."""

    def __init__(self, most: int) -> None:
        self._results: LRUCache[Hashable, Any] = LRUCache(most)
        self._lock = threading.RLock()

    def remember(self, name: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once even if several threads ask for it."""
        with self._lock:
            if name not in self._results:
                self._results[name] = compute()
            found: T = self._results[name]
            return found
