"""Results that are computed once for a value that never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memory:
    """The last `most` results by name, safe for threads; the least recently used leaves."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.RLock()

    def remember(self, name: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed once, also where several threads ask."""
        with self._lock:
            if name in self._results:
                self._results.move_to_end(name)
            else:
                self._results[name] = compute()
                while len(self._results) > self._most:
                    self._results.popitem(last=False)
            found: T = self._results[name]
            return found
