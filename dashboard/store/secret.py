"""The server's secret: one private file in the cache folder, with which all its web processes sign."""

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
    """The secret in a file; a missing file is recreated from the copy that this process remembers, else at random."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self._known = b""

    def read(self, generate: Callable[[], bytes] = lambda: secrets.token_bytes(32)) -> bytes:
        """Return the secret's bytes.

        Raises:
            OSError: the secret does not exist and cannot be created.
        """
        with self._lock:
            self._known = kept_secret(self.path, lambda: self._known or generate())
            return self._known


def kept_secret(path: Path, generate: Callable[[], bytes]) -> bytes:
    """Return the secret in a private file; the first caller creates it, whole or not at all.

    Raises:
        OSError: the secret does not exist and cannot be created.
    """
    if not _secret_in(path):
        private_folder(path.parent)
        with part_of(path, private=True) as part:  # not `whole_file`: the second process must not replace it
            part.write_bytes(generate())
            try:
                os.link(part, path)
            except FileExistsError:  # another process was first, or it was created on a full disk
                if not _secret_in(path):
                    part.replace(path)
    return _secret_in(path)


def _secret_in(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
