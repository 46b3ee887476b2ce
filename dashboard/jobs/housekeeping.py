"""Housekeeping, once a minute, beside the supervisor: sweep leftovers and keep the cache folder within its budget."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from dashboard.catalog.bundled import BUNDLED
from dashboard.catalog.digests import UNFINISHED
from dashboard.catalog.gguf_files import SCRATCH, remove_stale
from dashboard.catalog.partial_downloads import PART
from dashboard.settings import HUB_PREFIX, PROBE, Settings, hub_cache
from dashboard.store.announced import FOLDER as ANNOUNCED
from dashboard.store.budget import CONVERTED, Budget
from dashboard.store.exports import LONGEST_SENDING
from dashboard.store.exports import NAME as EXPORTED
from dashboard.store.leftovers import DOWNLOAD_SECONDS, STOPPED_SECONDS, remove_left
from dashboard.store.visits import VisitorLists
from dashboard.system.private import LEAVING

log = logging.getLogger(__name__)
HOUSEKEEPING_SECONDS = 60.0


@contextlib.contextmanager
def kept_tidy(settings: Settings) -> Iterator[None]:
    """Tidy up at once and then every minute, in a separate thread, so that a slow disk holds up nobody."""
    ended = threading.Event()
    thread = threading.Thread(target=_keep_tidy, args=(settings, ended), name="housekeeping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _keep_tidy(settings: Settings, ended: threading.Event) -> None:
    while True:
        try:
            tidy(settings)
        except Exception:
            log.exception("the cache folder could not be tidied")
        if ended.wait(HOUSEKEEPING_SECONDS):
            return


def tidy(settings: Settings) -> None:
    """Sweep everywhere, then delete what exceeds the budget.

    Raises:
        OSError: the cache folder cannot be used.
    """
    sweep(settings)
    Budget.from_settings(settings).make_room()


def sweep(settings: Settings) -> None:
    """Remove what killed processes left in this server's folders, once nobody has written to it for long enough."""
    for folder in (settings.cache_dir, settings.runs_folder, settings.queue_folder, settings.visitors_folder):
        remove_left(folder, "*.part", f"{PROBE}*", f"{UNFINISHED}*")
    remove_left(settings.cache_dir / ANNOUNCED, "*.part")
    remove_left(settings.exports_folder, EXPORTED, older=LONGEST_SENDING)
    models = settings.models_folder
    remove_left(models, f"{UNFINISHED}*")
    remove_left(models, *(f".{model.name}-*" for model in BUNDLED), older=DOWNLOAD_SECONDS)
    remove_left(models / CONVERTED, f"{SCRATCH}*", f"{LEAVING}*", older=DOWNLOAD_SECONDS)
    remove_left(hub_cache(), f"{LEAVING}*", older=DOWNLOAD_SECONDS)
    remove_left(hub_cache(), f"{HUB_PREFIX}*/blobs/*{PART}", older=STOPPED_SECONDS)
    remove_stale(settings)
    VisitorLists.from_settings(settings).sweep()
