"""Room on the disk for models that this program writes into its cache folder. No torch."""

from __future__ import annotations

from pathlib import Path

from dashboard.errors import ModelError
from dashboard.private import hold
from dashboard.settings import Settings
from dashboard.store.budget import Budget, is_within
from dashboard.store.files import touch
from dashboard.store.leftovers import bytes_in


def make_room(title: str, size: int, folder: Path, settings: Settings) -> None:
    """Make room for a model of `size` bytes in `folder`, where that lies in the cache folder; what has come of it counts.

    Raises:
        ModelError: there is not enough that could leave.
    """
    if not is_within(folder, settings.cache_dir):
        return
    touch(folder)  # a download that goes on must not leave to make room for itself
    needed = max(0, size - bytes_in(folder))
    room = Budget.from_settings(settings).make_room(needed)
    what = f"{title} needs {needed / 1e6:,.0f} MB on the disk"
    if room.over:
        raise ModelError(
            f"{what}, and too little of the {settings.cache_bytes / 1e9:g} GB that this server may keep can be freed now "
            "(DASHBOARD_CACHE_GIGABYTES). Choose a smaller model, or try again later."
        )
    if room.short:
        raise ModelError(f"{what}, and the server's disk has no room for it. Free some space, or choose a smaller model.")


def use(folder: Path, settings: Settings) -> int | None:
    """Note that a model's folder is used from now on, where it could leave the cache folder; gives what `os.close` ends it with.

    Args:
        folder: of the model's files; of a hub model, one of its snapshots.
    """
    whole = folder.parent.parent if folder.parent.name == "snapshots" else folder
    if not is_within(whole, settings.cache_dir):
        return None
    touch(whole)
    return hold(whole)
