"""Disk space for models that this program writes into its cache folder. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dashboard.catalog.hub import whole_folder
from dashboard.errors import ModelError
from dashboard.settings import Settings
from dashboard.store.announced import announced, coming
from dashboard.store.budget import Budget, is_within
from dashboard.store.files import touch
from dashboard.store.reserve import disk_of, missing_bytes, there
from dashboard.system.private import alone, hold, remove_unused

TURNS = "announced.lock"


@contextmanager
def make_room(title: str, needed: int, folder: Path, settings: Settings) -> Iterator[None]:
    """Reserve room for `needed` bytes of a model while it is written into `folder`; nobody else gets that room.

    In the cache folder, the least recently used items are deleted to make room. Elsewhere nothing is deleted. The
    disk's reserve stays free in both cases.

    Raises:
        ModelError: too little can be deleted, or is free.
    """
    with ExitStack() as stack:
        with ExitStack() as turn:
            told = False
            with suppress(OSError):  # a cache folder that cannot be written is not shared: this process is alone
                turn.enter_context(alone(settings.cache_dir, TURNS))  # two processes must not claim the same room
                stack.enter_context(announced(settings.cache_dir, folder, needed))
                told = True
            over, short = _lacking(0 if told else needed, folder, settings)
        what = f"{title} needs {needed / 1e6:,.0f} MB on the disk"
        if over:
            raise ModelError(
                f"{what}, and too little of the {settings.cache_bytes / 1e9:g} GB that this server may keep can be "
                f"freed now "
                "(DASHBOARD_CACHE_GIGABYTES). Choose a smaller model, or try again later."
            )
        if short:
            raise ModelError(
                f"{what}, and the server's disk has {short / 1e6:,.0f} MB too little room for it. Free some space, or "
                f"choose a "
                "smaller model."
            )
        yield


def _lacking(needed: int, folder: Path, settings: Settings) -> tuple[int, int]:
    """Return what a folder's budget and disk lack for `needed` bytes and all announced writes (bytes)."""
    if is_within(folder, settings.cache_dir):
        touch(folder)  # a resumed download must not be deleted to make room for itself
        room = Budget.from_settings(settings).make_room(needed)
        return room.over, room.short
    disk = disk_of(folder)
    others = sum(one.bytes for one in coming(settings.cache_dir) if one.disk == disk)
    return 0, missing_bytes(there(folder), needed + others)


def use(folder: Path, settings: Settings) -> int | None:
    """Mark a model's folder as in use by this process, so that nothing in this program removes it.

    Pass the returned value to `os.close` to end that (`dashboard.system.private`).

    Args:
        folder: holds the model's files; for a hub model, one of its snapshots.
    """
    whole = whole_folder(folder)
    if is_within(whole, settings.cache_dir):
        touch(whole)
    return hold(whole)


def remove(title: str, folder: Path) -> None:
    """Remove a model's whole folder; raise `ModelError` if a process has it in memory, or it is not ours."""
    if not remove_unused(folder):
        raise ModelError(
            f"{folder} was not deleted: a server or program has {title} in memory, or the folder is not yours to "
            f"delete. "
            "Stop what uses it, then try again."
        )
