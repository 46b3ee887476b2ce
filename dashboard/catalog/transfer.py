"""Downloading a hub model's files into the hub's own cache, with progress in bytes, so that it can be stopped.

The transfer runs in a thread and the caller checks it five times a second: a stalled connection cannot delay a
cancellation. A partial download is kept and resumed the next time. A transfer that has all but stopped
is cancelled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from dashboard.catalog.hub import repository_of, snapshot_of
from dashboard.catalog.partial_downloads import PART, bring_blob
from dashboard.contracts.job import OnProgress, Progress
from dashboard.errors import HubUnreachableError

LOOK_SECONDS = 0.2
SLOWEST = 10_000  # bytes a second, averaged over the time that a transfer may stall
# bytes between two reports of the hub's library, which reports nothing until a chunk is full: 7 s at the slowest
CHUNK = 1 << 16
T = TypeVar("T")


class StoppedError(Exception):
    """Ends the thread of a transfer that nobody waits for any more."""


class TransferError(Exception):
    """The transfer itself failed; `error` is what the hub's library raised, `begun` whether any data had arrived."""

    def __init__(self, error: Exception, begun: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.begun = error, begun


class Stall:
    """Watches whether data still arrives: at least `SLOWEST` bytes a second, averaged over `seconds`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._since, self._from = clock(), 0

    @property
    def least(self) -> float:
        """The bytes that must arrive in `seconds`."""
        return SLOWEST * self.seconds

    def over(self, done: int) -> bool:
        """Whether too few bytes have arrived for too long; `done` bytes are here by now."""
        now = self._clock()
        self._from = min(self._from, done)  # the hub's library subtracts bytes it could not use
        if done - self._from >= self.least:
            self._since, self._from = now, done
        return now - self._since > self.seconds


class Transfer:
    """Counts the bytes of one download; stops it at the next chunk once `stopped` is set."""

    def __init__(self) -> None:
        self.done = 0
        self.stopped = threading.Event()

    def bar(self) -> type:
        """Return a class that huggingface_hub uses in place of tqdm's."""
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


def bytes_to_come(name: str, commit: str, sizes: Mapping[str, int]) -> int:
    """Return how many bytes of these files (file → bytes) are not yet in the hub's cache."""
    snapshot, blobs = snapshot_of(name, commit), repository_of(name) / "blobs"
    missing = sum(size for file, size in sizes.items() if not (snapshot / file).exists())
    begun = 0  # bytes of partial files, which will be resumed
    for part in blobs.glob(f"*{PART}"):
        with suppress(OSError):  # it is complete now, and renamed
            begun += part.stat().st_size
    return missing - min(begun, missing)


def download(
    name: str, commit: str, branch: str, sizes: Mapping[str, int], report: OnProgress, patience: float
) -> Path:
    """Download files of a hub model into the local cache.

    Args:
        commit: the revision. branch: the name it was requested by, which the cache remembers.
        sizes: file → bytes. report: called with the bytes here so far and in total; an exception from it stops the
            transfer.
        patience: seconds over which at least `SLOWEST` bytes a second must arrive.

    Returns: the snapshot's folder.

    Raises:
        TransferError: the transfer failed.
        HubUnreachableError: it stalled.
    """
    transfer, stall, total = Transfer(), Stall(patience), sum(sizes.values())

    def look() -> None:
        report(Progress("fetch", min(transfer.done, total), total, _words(name, transfer.done, total)))
        if stall.over(transfer.done):
            raise HubUnreachableError(
                f"The download of {name} stopped at {transfer.done / 1e6:,.0f} of {total / 1e6:,.0f} MB: less than "
                f"{stall.least / 1e6:,.2g} MB arrived in {patience:g} seconds. What has arrived is kept. Try again to "
                "continue from there, or choose a model that is already on this machine."
            )

    try:
        return beside(lambda: _bring(name, commit, branch, sizes, transfer), look)
    except TransferError as failed:
        raise TransferError(failed.error, transfer.done > 0) from failed.error
    finally:
        transfer.stopped.set()


def beside(function: Callable[[], T], look: Callable[[], None]) -> T:
    """Call `function` in a thread and return its value; call `look` five times a second and let its exceptions pass.

    Raises:
        TransferError: `function` failed.
    """
    outcome = _Outcome(function)
    thread = threading.Thread(target=outcome.fetch, name="download", daemon=True)
    thread.start()
    while True:  # at least once, however quick the function was
        look()
        thread.join(LOOK_SECONDS)
        if not thread.is_alive():
            return outcome.value()


def _bring(name: str, commit: str, branch: str, sizes: Mapping[str, int], transfer: Transfer) -> Path:
    from huggingface_hub import hf_hub_download

    folder = Path()
    with _in_small_chunks():
        for file, size in sizes.items():
            if transfer.stopped.is_set():
                raise StoppedError
            before = transfer.done
            if file.endswith((".safetensors", ".bin")):
                bring_blob(name, file, commit, transfer.bar())
            folder = Path(hf_hub_download(name, file, revision=commit, tqdm_class=transfer.bar())).parent
            transfer.done = before + size
    references = folder.parent.parent / "refs"
    references.mkdir(exist_ok=True)
    (references / branch).parent.mkdir(parents=True, exist_ok=True)
    (references / branch).write_text(commit, encoding="utf-8")
    return folder


@contextmanager
def _in_small_chunks() -> Iterator[None]:
    """Use plain HTTP with frequent reports: the hub's other protocol cannot be stopped from Python."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET, constants.DOWNLOAD_CHUNK_SIZE
    constants.HF_HUB_DISABLE_XET, constants.DOWNLOAD_CHUNK_SIZE = True, CHUNK
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET, constants.DOWNLOAD_CHUNK_SIZE = before


class _Outcome(Generic[T]):
    """What a function returned or raised in a thread."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._values: list[T] = []
        self._error: Exception | None = None

    def fetch(self) -> None:
        try:
            self._values.append(self._function())
        except Exception as error:  # noqa: BLE001 - raised again by `value`
            self._error = error

    def value(self) -> T:
        if self._error is not None:
            raise TransferError(self._error) from self._error
        return self._values[0]


def _words(name: str, done: int, total: int) -> str:
    if not total:
        return f"Downloading {name}"
    return f"Downloading {name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
