"""Downloading a hub model's files into the hub's own cache: with progress in bytes, and so that it can be stopped.

The transfer runs in a thread and the caller looks at it five times a second: a stalled connection cannot hold up a cancel.
A part that has come is kept and is gone on with the next time.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dashboard.contracts.job import Progress
from dashboard.errors import ModelError
from dashboard.models.hub import cache_folder

LOOK_SECONDS = 0.2
CHUNK = 1 << 20  # bytes between two reports of the hub's library, instead of ten times that


class StoppedError(Exception):
    """Ends the thread of a transfer that nobody waits for."""


class TransferError(Exception):
    """The transfer itself failed; `error` is what the hub's library raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Transfer:
    """Counts the bytes of one download; stops it at the next chunk once `stopped` is set."""

    def __init__(self) -> None:
        self.done = 0
        self.stopped = threading.Event()

    def bar(self) -> type:
        """A class that huggingface_hub takes for tqdm's."""
        transfer = self

        class Bar:
            def __init__(self, *_args: Any, initial: int = 0, **_kwargs: Any) -> None:
                transfer.done += int(initial or 0)

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_error: object) -> None:
                return None

            def update(self, count: float | None = 1) -> None:
                transfer.done += int(count or 0)
                if transfer.stopped.is_set():
                    raise StoppedError

            def __getattr__(self, _name: str) -> Callable[..., None]:
                return lambda *_args, **_kwargs: None

        return Bar


def check_disk(name: str, commit: str, sizes: Mapping[str, int]) -> None:
    """Raise `ModelError` where the hub's cache has no room for what is not there yet of these files (file → bytes)."""
    repository = cache_folder() / ("models--" + name.replace("/", "--"))
    snapshot, blobs = repository / "snapshots" / commit, repository / "blobs"
    missing = sum(size for file, size in sizes.items() if not (snapshot / file).exists())
    begun = sum(path.stat().st_size for path in blobs.glob("*.incomplete"))  # these are gone on with
    needed = missing - min(begun, missing)
    folder = repository
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"{name} needs {needed / 1e6:,.0f} MB more, and the disk of the local cache has {free / 1e6:,.0f} MB free. "
            "Free some space."
        )


def download(name: str, commit: str, branch: str, sizes: Mapping[str, int], report: Callable[[Progress], None]) -> Path:
    """Bring files of a hub model into the local cache.

    Args:
        commit: the revision. branch: the name under which it was asked for; the cache remembers that.
        sizes: file → bytes. report: is told how many bytes of how many are here; what it raises stops the transfer.

    Returns: the snapshot's folder.

    Raises:
        TransferError: it failed.
    """
    transfer, outcome = Transfer(), _Outcome()
    thread = threading.Thread(
        target=outcome.of, args=(_bring, name, commit, branch, tuple(sizes), transfer), name="download", daemon=True
    )
    total = sum(sizes.values())
    thread.start()
    try:
        while thread.is_alive():
            report(Progress("fetch", min(transfer.done, total), total, _words(name, transfer.done, total)))
            thread.join(LOOK_SECONDS)
    finally:
        transfer.stopped.set()
    return outcome.value()


def _bring(name: str, commit: str, branch: str, files: tuple[str, ...], transfer: Transfer) -> Path:
    from huggingface_hub import hf_hub_download

    folder = Path()
    with _in_small_chunks():
        for file in files:
            if transfer.stopped.is_set():
                raise StoppedError
            before = transfer.done
            folder = Path(hf_hub_download(name, file, revision=commit, tqdm_class=transfer.bar())).parent
            transfer.done = max(transfer.done, before)
    references = folder.parent.parent / "refs"
    references.mkdir(exist_ok=True)
    (references / branch).parent.mkdir(parents=True, exist_ok=True)
    (references / branch).write_text(commit, encoding="utf-8")
    return folder


@contextmanager
def _in_small_chunks() -> Iterator[None]:
    """Plain HTTP, reported often: the hub's other protocol cannot be stopped from Python."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET, constants.DOWNLOAD_CHUNK_SIZE
    constants.HF_HUB_DISABLE_XET, constants.DOWNLOAD_CHUNK_SIZE = True, CHUNK
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET, constants.DOWNLOAD_CHUNK_SIZE = before


class _Outcome:
    """What a function gave or raised in a thread."""

    def __init__(self) -> None:
        self._value: Any = None
        self._error: Exception | None = None

    def of(self, function: Callable[..., Any], *args: Any) -> None:
        try:
            self._value = function(*args)
        except Exception as error:  # noqa: BLE001 - it is raised again where the value is asked for
            self._error = error

    def value(self) -> Any:
        if self._error is not None:
            raise TransferError(self._error) from self._error
        return self._value


def _words(name: str, done: int, total: int) -> str:
    if not total:
        return f"Downloading {name}"
    return f"Downloading {name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
