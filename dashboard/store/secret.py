"""The server's secret: one private file in the cache folder, which all its web processes sign with."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from dashboard.store.files import part_of
from dashboard.system.private import private_folder

SECRET_FILE = "signing-secret"


class Secret:
    """The secret of a file, which is made where it is missing: with what this process remembers of it, else at
    random."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self._known = b""

    def read(self, generate: Callable[[], bytes] = lambda: secrets.token_bytes(32)) -> bytes:
        """The secret's bytes.

        Raises:
            OSError: it is not there and cannot be made.
        """
        with self._lock:
            self._known = kept_secret(self.path, lambda: self._known or generate())
            return self._known


def kept_secret(path: Path, generate: Callable[[], bytes]) -> bytes:
    """The secret in a private file; whoever comes first makes it, whole or not at all.

    Raises:
        OSError: it is not there and cannot be made.
    """
    if not _secret_in(path):
        private_folder(path.parent)
        with part_of(path, private=True) as part:  # and not `whole_file`: who comes second must not replace it
            part.write_bytes(generate())
            try:
                os.link(part, path)
            except FileExistsError:  # another process was first, or it was made on a full disk
                if not _secret_in(path):
                    part.replace(path)
    return _secret_in(path)


def _secret_in(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
