"""The queue's cache: diskcache on a database that several processes share, and that repairs itself.

What other programs and full disks do to a database is handled here, so that all callers see only one error:

    damaged (garbage, truncated)    one process, under a lock, sets it aside as `broken.db` and creates a new one
    deleted, or replaced            the next use notices by the file's identity; every process moves to the new file
    the disk is full, or locked     `StorageError` at once, nothing is written; the next use tries again

A new database is empty: workers enter themselves again, and pages learn that their run is no longer known. Saved runs
are stored elsewhere. Values are kept inside the database, so that no file is left over when it is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import diskcache

from dashboard.errors import SettingsError, StorageError
from dashboard.jobs.json_disk import JsonDisk
from dashboard.system.private import alone, private_folder

log = logging.getLogger(__name__)
DATABASE = diskcache.core.DBNAME
ASIDE = "broken.db"
LOCK = "repair.lock"
LARGEST_LOG = 4_000_000  # bytes that SQLite's write-ahead log keeps on the disk between two uses
BUSY_SECONDS = 10.0  # how long one statement waits for another process's transaction
TRIES, TRY_SECONDS = 5, 0.05  # to make a new database while others still close the old one
PATIENCE_SECONDS = 20.0  # how long a transaction waits to begin
FULL = (
    "The server's disk is full, so nothing can be computed. Nothing is lost: free some space "
    "(or ask whoever runs this server), then try again."
)
DAMAGED = (
    "The server's list of jobs was damaged and has been reset. Saved runs are kept, and your text is "
    "still in "
    "the box: try again."
)
UNUSABLE = (
    "The server cannot read or write its list of jobs, so nothing can be computed. Nothing is lost: "
    "check the server's log (or ask whoever runs this server), then try again."
)
BUSY = "The server's list of jobs did not answer in time. Nothing is lost: try again in a moment."
T = TypeVar("T")
Identity = tuple[int, int]


def open_cache(folder: Path) -> HealingCache:
    """Open the cache of a folder, made with mode 0700; a damaged database is replaced by a new one.

    Raises:
        SettingsError: the folder cannot be created or written.
    """
    try:
        private_folder(folder).chmod(0o700)
        repair(folder)
        return HealingCache(folder)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(
            f"The cache folder {folder} cannot be used ({error}). Set DASHBOARD_CACHE_DIR to a folder that this user "
            f"may write."
        ) from error


class HealingCache(diskcache.Cache):
    """A cache whose reads and transactions raise `StorageError` instead of database errors.

    Attributes:
        failed_at: when this process last could not use it (monotonic); a process that cannot write must not judge which
            others are silent.
    """

    def __init__(self, folder: Path) -> None:
        self.failed_at = -1e9
        self._path = folder / DATABASE
        super().__init__(str(folder), **_options())

    # ---- connections: one per thread, to the current file ------------------------------------------------------------

    @property
    def _txn_id(self) -> int | None:
        """The thread's own id while it is in a transaction (diskcache keeps one for all threads)."""
        return getattr(self._local, "transaction", None)

    @_txn_id.setter
    def _txn_id(self, value: int | None) -> None:
        self._local.transaction = value

    @property
    def _con(self) -> sqlite3.Connection:
        local = self._local
        opened = getattr(local, "con", None)
        if (
            opened is not None
            and self._txn_id is None
            and getattr(local, "file", None) not in (None, _identity(self._path))
        ):
            self.close()
        if getattr(local, "con", None) is None:
            local.file = None
            if _identity(self._path) is None and self._timeout:  # not while the constructor creates it
                repair(self._path.parent)
            before = _identity(self._path)
            connection = super()._con
            local.file = before if before == _identity(self._path) else None
            return connection
        return super()._con

    # ---- used by the tables of jobs and workers ----------------------------------------------------------------------

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._safely(lambda: diskcache.Cache.get(self, *args, **kwargs))

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._safely(lambda: diskcache.Cache.set(self, *args, **kwargs))

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        return self._safely(lambda: diskcache.Cache.touch(self, *args, **kwargs))

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._safely(lambda: diskcache.Cache.delete(self, *args, **kwargs))

    def expire(self, *args: Any, **kwargs: Any) -> Any:
        return self._safely(lambda: diskcache.Cache.expire(self, *args, **kwargs))

    def volume(self) -> Any:
        return self._safely(lambda: diskcache.Cache.volume(self))

    @contextlib.contextmanager
    def transact(self, retry: bool = False) -> Iterator[None]:
        """Run one transaction: all of it or nothing. Raises `StorageError` if the database cannot do it."""
        try:
            with self._transact(retry):
                yield
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            raise self._failure(error) from error

    @contextlib.contextmanager
    def _transact(self, retry: bool = False, filename: str | None = None) -> Iterator[Any]:
        left: list[str | None] = []
        if self._txn_id is not None:
            yield self._con.execute, left.append
        else:
            connection = self._begin()
            self._txn_id = threading.get_ident()
            try:
                yield connection.execute, left.append
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite itself may have rolled back, or the file may be gone
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._txn_id = None
        for name in left:
            if name is not None:
                self._disk.remove(name)

    def _begin(self) -> sqlite3.Connection:
        """Return this thread's connection, in a transaction, after replacing a damaged database, once."""
        deadline, mended = time.monotonic() + PATIENCE_SECONDS, False
        while True:
            try:
                connection = self._con
                connection.execute("BEGIN IMMEDIATE")
                return connection
            except sqlite3.DatabaseError as error:
                if _is_busy(error) and time.monotonic() < deadline:
                    continue
                if mended or not self._mend(error):
                    raise
                mended = True

    def _safely(self, operation: Callable[[], T]) -> T:
        """Run an operation; outside a transaction, if the database was damaged, run it again on the new one."""
        inside = self._txn_id is not None
        for last in (inside, True):
            try:
                return operation()
            except (sqlite3.Error, OSError, diskcache.Timeout) as error:
                if last or not isinstance(error, sqlite3.DatabaseError) or not self._mend(error):
                    raise self._failure(error) from error
        raise AssertionError("unreachable")

    def _failure(self, error: Exception) -> StorageError:
        """Return the `StorageError` for an error, repairing any damage, so that the next use finds a whole database."""
        self.failed_at = time.monotonic()
        if _is_full(error):
            return StorageError(FULL, str(error))
        if isinstance(error, diskcache.Timeout) or _is_busy(error):
            return StorageError(BUSY, str(error))
        return StorageError(DAMAGED if self._mend(error) else UNUSABLE, str(error))

    def _mend(self, error: Exception) -> bool:
        """Drop this thread's connection and repair the database; False if that cannot help."""
        if _is_full(error) or _is_busy(error):
            return False
        try:
            repair(self._path.parent, self._drop)
        except (sqlite3.Error, OSError):
            log.exception("the queue's database could not be mended")
            return False
        return True

    def _drop(self) -> None:
        """Close this thread's connection, whatever state its database is in."""
        with contextlib.suppress(sqlite3.Error):
            self.close()


SET_ASIDE = b"This database of the queue was found empty.\n"


def repair(folder: Path, drop: Callable[[], None] = lambda: None) -> None:
    """Make sure that the folder has a whole database; the first caller does it, and sets a damaged one aside.

    Args:
        drop: closes the caller's own connection, while nobody else repairs: closing the last one deletes the database's
            log by its name, which may by then belong to a new database.

    Raises:
        OSError, sqlite3.Error: the folder cannot be written, or its disk is full.
    """
    with alone(folder, LOCK):
        drop()
        for tries_left in reversed(range(TRIES)):
            try:
                _make_whole(folder)
                return
            except sqlite3.OperationalError as error:  # a process with the old one still open deleted the new one's log
                if not tries_left or _is_full(error) or _is_busy(error):
                    raise
                time.sleep(TRY_SECONDS)


def _make_whole(folder: Path) -> None:
    path = folder / DATABASE
    if path.exists() and not _is_whole(path):
        log.error("the queue's database in %s is damaged; it is set aside as %s and a new one is begun", folder, ASIDE)
        if not path.stat().st_size:  # closing an emptied database deletes the log of that name: the new one's
            path.write_bytes(SET_ASIDE)
        path.replace(folder / ASIDE)
    elif not path.exists():
        log.info("a new database for the queue in %s", folder)
    if not path.exists():  # else SQLite would replay the old database's log into the new one
        for end in ("-wal", "-shm"):
            (folder / f"{DATABASE}{end}").unlink(missing_ok=True)
    diskcache.Cache(str(folder), **_options()).close()


def _options() -> dict[str, Any]:
    """Settings of diskcache. Memory mapping is off: reading a mapped file that someone truncates kills the process."""
    return {
        "timeout": BUSY_SECONDS,
        "disk": JsonDisk,
        "disk_min_file_size": 2**30,
        "eviction_policy": "none",
        "sqlite_mmap_size": 0,
        "sqlite_journal_size_limit": LARGEST_LOG,
    }


def _is_whole(path: Path) -> bool:
    """Whether SQLite can read all of it, and it is ours: an emptied file has no tables, and processes that had it open
    would mix their cached pages with the new content. (Opening it by any other means would drop this process's locks on
    it.)
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {"Settings", "Cache"} <= tables and connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False
    finally:
        connection.close()


def _identity(path: Path) -> Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or "is full" in str(error)


def _is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))
