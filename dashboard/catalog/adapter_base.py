"""The base model of an adapter: found by its name among the local models, never by a path. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboard.catalog.adapters import Adapter, base_word, has_adapter
from dashboard.catalog.bundled import bundled_card, is_converted
from dashboard.catalog.fingerprint import has_weights
from dashboard.catalog.folders import PREFIX, folder_model, folder_models, root_labels
from dashboard.catalog.foreign_files import shown
from dashboard.catalog.hub import SNAPSHOTS, cached_ids, cached_snapshot, find_cached, is_hub_id, listed_model
from dashboard.errors import ForeignFileError, ModelNotFoundError
from dashboard.settings import HUB_PREFIX, Settings


@dataclass(frozen=True)
class Base:
    """A whole model that an adapter names. `name`: as in requests. `folder`: the folder of its files."""

    name: str
    folder: Path

    @property
    def word(self) -> str:
        """Its display name, without organisation or root."""
        return base_word(self.name.removeprefix(PREFIX))


@dataclass(frozen=True)
class _Wanted:
    """What an adapter's settings say about its base.

    Attributes:
        word: the last part of its name. hub_id: its whole name, if that can be a hub id. revision: the hub revision, if
            any.
    """

    word: str
    hub_id: str = ""
    revision: str | None = None


def find_base(adapter: Adapter, settings: Settings) -> Base:
    """Return the base of an adapter: from the hub's local cache, from the server's folders, or bundled.

    A hub id names the model with that id in the cache, or a folder ORGANISATION/NAME or NAME below one of the roots. If
    the settings give a path, only its last part counts: as a folder, a bundled model, or a model in the cache.

    Raises:
        ForeignFileError: it is not here, or several models have its name; the clause says which base, and what to do.
    """
    wanted = _wanted(adapter)
    cached = _cached(wanted)
    if cached is not None:
        return cached
    found = {base.folder.resolve(): base for base in _in_folders(wanted, settings)}
    exact = {path: base for path, base in found.items() if wanted.hub_id and base.name.endswith(f"/{wanted.hub_id}")}
    if len(exact or found) > 1:
        places = ", ".join(sorted(shown(base.name.removeprefix(PREFIX), 60) for base in (exact or found).values()))
        raise ForeignFileError(
            f"several folders have the name of its base {shown(wanted.word, 80)} ({places}): rename all but the one "
            "that it was trained on"
        )
    base = next(iter((exact or found).values()), None) or _bundled(wanted, settings) or _cached_elsewhere(wanted)
    if base is None:
        raise ForeignFileError(_missing(adapter, wanted))
    return base


def _wanted(adapter: Adapter) -> _Wanted:
    """Parse a base's name; any path on somebody's disk is dropped."""
    name = adapter.base.strip()
    parts = [part for part in re.split(r"[\\/]", name) if part]
    if len(parts) > 2 and parts[-2] == SNAPSHOTS and parts[-3].startswith(HUB_PREFIX):  # a path in somebody's cache
        hub_id = parts[-3].removeprefix(HUB_PREFIX).replace("--", "/")
        return _Wanted(hub_id.rpartition("/")[2], hub_id if is_hub_id(hub_id) else "", parts[-1])
    return _Wanted(base_word(name), name if is_hub_id(name) else "", adapter.revision)


def _cached(wanted: _Wanted) -> Base | None:
    """Return the model with exactly this id in the hub's local cache."""
    if not wanted.hub_id:
        return None
    listed = listed_model(wanted.hub_id)
    folder = cached_snapshot(wanted.hub_id, wanted.revision) or (
        find_cached(listed, wanted.revision) if listed is not None else None
    )
    return None if folder is None or not _is_whole(folder) else Base(listed.name if listed else wanted.hub_id, folder)


def _in_folders(wanted: _Wanted, settings: Settings) -> Iterator[Base]:
    """Yield the whole models in the roots that have the base's name; looks through the roots only if it must."""
    direct = []
    for label in root_labels(settings):
        insides = (f"/{wanted.hub_id}", f"/{wanted.word}", *([""] if label == wanted.word else []))
        for name in dict.fromkeys(f"{PREFIX}{label}{inside}" for inside in insides):
            try:
                found = folder_model(name, settings)
            except ModelNotFoundError:
                continue
            if not found.is_gguf and _is_whole(found.path):
                direct.append(Base(found.name, found.path))
    if direct:
        yield from direct
        return
    for found in folder_models(settings).values():
        if found.path.name == wanted.word and not found.refusal and not found.is_gguf and _is_whole(found.path):
            yield Base(found.name, found.path)


def _bundled(wanted: _Wanted, settings: Settings) -> Base | None:
    card = bundled_card(wanted.word)
    folder = settings.models_folder / wanted.word
    return Base(card.name, folder) if card is not None and is_converted(folder) else None


def _cached_elsewhere(wanted: _Wanted) -> Base | None:
    """Return the only cached model with the last part of this name, for an adapter that names its base by a path."""
    if wanted.hub_id.count("/"):
        return None
    ids = [name for name in cached_ids() if name.rpartition("/")[2] == wanted.word]
    folder = cached_snapshot(ids[0]) if len(ids) == 1 else None
    return Base(ids[0], folder) if folder is not None and _is_whole(folder) else None


def _is_whole(folder: Path) -> bool:
    return has_weights(folder) and not has_adapter(folder)


def _missing(adapter: Adapter, wanted: _Wanted) -> str:
    of = f" (revision {shown(wanted.revision, 40)})" if wanted.revision else ""
    fetch = f", or fetch it (python -m dashboard models fetch {wanted.hub_id})" if wanted.hub_id and not of else ""
    return (
        f"it is a {adapter.word} adapter, and its base {shown(wanted.hub_id or wanted.word, 100)}{of} is not here: put "
        f"its folder, called {shown(wanted.word, 80)}, into one of DASHBOARD_MODEL_FOLDERS{fetch}"
    )
