"""Room on the disk for models that this program writes into its cache folder. No torch."""

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
    """Make room for `needed` bytes of a model that is written into `folder` meanwhile; nobody else is given that room.

    In the cache folder what was used longest ago leaves for it. Elsewhere nothing does; there, as here, the reserve of
    the disk stays free.

    Raises:
        ModelError: there is not enough that could leave, or that is free.
    """
    with ExitStack() as stack:
        with ExitStack() as turn:
            told = False
            with suppress(OSError):  # a cache folder that cannot be written is nobody's: there is only this process
                turn.enter_context(alone(settings.cache_dir, TURNS))  # of two who come at once, one has room
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
    """What the budget and the disk of a folder lack for `needed` bytes and all that is announced (bytes)."""
    if is_within(folder, settings.cache_dir):
        touch(folder)  # a download that goes on must not leave to make room for itself
        room = Budget.from_settings(settings).make_room(needed)
        return room.over, room.short
    disk = disk_of(folder)
    others = sum(one.bytes for one in coming(settings.cache_dir) if one.disk == disk)
    return 0, missing_bytes(there(folder), needed + others)


def use(folder: Path, settings: Settings) -> int | None:
    """Say that this process uses a model's folder, so that nothing of this program removes it
    (`dashboard.system.private`); gives what `os.close` ends it with.

    Args:
        folder: of the model's files; of a hub model, one of its snapshots.
    """
    whole = whole_folder(folder)
    if is_within(whole, settings.cache_dir):
        touch(whole)
    return hold(whole)


def remove(title: str, folder: Path) -> None:
    """Remove a model's whole folder; raises `ModelError` where a process has it in memory, or it is not ours."""
    if not remove_unused(folder):
        raise ModelError(
            f"{folder} was not deleted: a server or program has {title} in memory, or the folder is not yours to "
            f"delete. "
            "Stop what uses it, then try again."
        )
