"""Room on the disk for models that this program writes into its cache folder. No torch."""

from __future__ import annotations

from pathlib import Path

from dashboard.errors import ModelError
from dashboard.models.hub import whole_folder
from dashboard.private import hold
from dashboard.settings import Settings
from dashboard.store.budget import Budget, is_within
from dashboard.store.files import touch
from dashboard.store.reserve import missing_bytes


def make_room(title: str, needed: int, folder: Path, settings: Settings) -> None:
    """Make room for `needed` bytes of a model that is written into `folder`.

    In the cache folder what was used longest ago leaves for it. Elsewhere nothing does; there, as here, the reserve of the disk
    stays free.

    Raises:
        ModelError: there is not enough that could leave, or that is free.
    """
    what = f"{title} needs {needed / 1e6:,.0f} MB on the disk"
    if is_within(folder, settings.cache_dir):
        touch(folder)  # a download that goes on must not leave to make room for itself
        room = Budget.from_settings(settings).make_room(needed)
        over, short = room.over, room.short
    else:
        over, short = 0, missing_bytes(_there(folder), needed)
    if over:
        raise ModelError(
            f"{what}, and too little of the {settings.cache_bytes / 1e9:g} GB that this server may keep can be freed now "
            "(DASHBOARD_CACHE_GIGABYTES). Choose a smaller model, or try again later."
        )
    if short:
        raise ModelError(
            f"{what}, and the server's disk has {short / 1e6:,.0f} MB too little room for it. Free some space, or choose a "
            "smaller model."
        )


def _there(folder: Path) -> Path:
    """A folder, or where it is missing the nearest one above it."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def use(folder: Path, settings: Settings) -> int | None:
    """Note that a model's folder is used from now on, where it could leave the cache folder; gives what `os.close` ends it with.

    Args:
        folder: of the model's files; of a hub model, one of its snapshots.
    """
    whole = whole_folder(folder)
    if not is_within(whole, settings.cache_dir):
        return None
    touch(whole)
    return hold(whole)
