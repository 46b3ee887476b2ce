"""The folders of models that a server offers: requests can reach what is in them, and nothing else. No torch.

A model in a root has the name `folder:ROOT/PATH`, ROOT being the root folder's own name: no path of the machine reaches
a browser, and a name can only lead to one of these models: nothing outside a root, whatever links say.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dashboard.catalog.adapters import has_adapter
from dashboard.catalog.fingerprint import has_weights
from dashboard.catalog.foreign_files import entries_of, shown
from dashboard.errors import ForeignFileError, ModelNotFoundError
from dashboard.settings import Settings

PREFIX = "folder:"
DEEPEST = 2  # a root's children, and their children
MOST = 400  # models of one root
MOST_SEEN = 50_000  # files and folders to look at in one root
MOST_SECONDS = 2.0  # to look through one root


@dataclass(frozen=True)
class FolderModel:
    """The location of a model in one of the roots; its `ModelCard` says what it is.

    Attributes:
        name: as in requests. path: a folder with configuration and weights, or a GGUF file.
        refusal: why it cannot be run, as a clause, if that is known before reading its files.
        location: where it is, for a person: the root's name and the path within it.
    """

    name: str
    path: Path
    refusal: str = ""

    @property
    def location(self) -> str:
        return shown(self.name.removeprefix(PREFIX))

    @property
    def is_gguf(self) -> bool:
        return self.path.suffix == ".gguf" and _is_file(self.path)


def folder_models(settings: Settings) -> dict[str, FolderModel]:
    """Return every model in the roots by its name; a missing root has none, one that is too large is listed as such."""
    found: dict[str, FolderModel] = {}
    for label, root in root_labels(settings).items():
        for path, trouble in _below(root):
            inside = path.relative_to(root).as_posix()
            name = PREFIX + (label if inside == "." else f"{label}/{inside}")
            clean = writable(name)
            trouble = trouble or ("" if clean == name else "its name is not UTF-8 text, so it cannot be requested")
            found[clean] = FolderModel(clean, path, trouble)
    return found


def folder_model(name: str, settings: Settings) -> FolderModel:
    """Return the model called `name`; raise `ModelNotFoundError` if the roots do not hold it (any more)."""
    label, _, inside = name.removeprefix(PREFIX).partition("/")
    root = root_labels(settings).get(label)
    path = None if root is None or inside.count("/") > DEEPEST else _at(root, inside)
    if path is None:
        raise ModelNotFoundError(
            f"There is no model “{shown(name.removeprefix(PREFIX), 200)}” in this server's model folders (any more). "
            "List the models again to see which are there."
        )
    return FolderModel(name, path)


def writable(name: str) -> str:
    """Return `name` as valid UTF-8: a byte that is not UTF-8 on the disk is written \\udcff."""
    return name.encode("utf-8", "backslashreplace").decode()


def _at(root: Path, inside: str) -> Path | None:
    """Return the model that `_walk` would find at this path in a root, without walking through all of it, or None."""
    try:
        real = root.resolve(strict=True)
    except OSError:
        return None
    parts = inside.split("/") if inside else []
    path = root.joinpath(*parts)
    is_file = path.suffix == ".gguf" and _is_file(path)
    folders = parts[:-1] if is_file else parts
    way = [root.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    if len(folders) > DEEPEST or any(not part or part.startswith(".") for part in folders):
        return None
    if not all(is_inside(step, real) for step in way):
        return None
    return path if is_file or (_is_model(path) and not _leads_out(path, real)) else None


def _is_model(folder: Path) -> bool:
    """Whether to list a folder: with weights, or with only an adapter, which is listed with what it lacks."""
    return has_weights(folder) or has_adapter(folder)


def _is_file(path: Path) -> bool:
    """Whether anything but a folder is at `path`; reading it will show what it is."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False


def root_labels(settings: Settings) -> dict[str, Path]:
    """Return the roots by the names shown to people; roots of the same name are numbered."""
    labels: dict[str, Path] = {}
    for root in settings.model_folders:
        name, number = root.name or "models", 2
        while name in labels:
            name, number = f"{root.name or 'models'}-{number}", number + 1
        labels[name] = root
    return labels


def _below(root: Path) -> list[tuple[Path, str]]:
    """Return the model folders and GGUF files of a root, sorted by path, each with "" or what is wrong with it; if not
    all of the root was searched, it has an entry of its own that says why.
    """
    try:
        walk = _Walk(root.resolve(strict=True))
    except OSError:
        return []
    found, trouble = [], {}
    try:
        for path, reason in walk.through(root, DEEPEST):
            if reason:
                trouble[path] = reason
            else:
                found.append(path)
            if len(found) > MOST:
                raise ForeignFileError(f"it holds more than {MOST} models; only {MOST} are listed")
    except ForeignFileError as error:
        trouble[root] = error.clause
    return sorted([*((path, "") for path in found[:MOST] if path not in trouble), *trouble.items()])


@dataclass
class _Walk:
    """A walk through one root (a real path): bounded in entries per folder, in total entries and in time."""

    root: Path
    left: int = MOST_SEEN
    until: float = field(default_factory=lambda: time.monotonic() + MOST_SECONDS)

    def through(self, folder: Path, deeper: int) -> Iterator[tuple[Path, str]]:
        """Yield the models below `folder`, and the folders that hold too much to search."""
        try:
            entries = entries_of(folder)
        except ForeignFileError as error:
            if os.access(folder, os.R_OK):  # else it is somebody's private folder, and stays unlisted
                yield folder, error.clause
            return
        self._count(len(entries))
        children = [Path(entry.path) for entry in entries if self._is_inside(entry)]
        if _is_model(folder) and len(children) == len(entries):
            yield folder, ""
        for child in children:
            if child.suffix == ".gguf" and _is_file(child):
                yield child, ""
            elif deeper and not child.name.startswith(".") and os.path.isdir(child):
                yield from self.through(child, deeper - 1)

    def _count(self, entries: int) -> None:
        self.left -= entries
        if self.left < 0:
            raise ForeignFileError(f"it holds more than {MOST_SEEN:,} files and folders; the rest was not searched")
        if time.monotonic() > self.until:
            raise ForeignFileError(
                f"searching it takes more than {MOST_SECONDS:.0f} seconds; the rest was not searched"
            )

    def _is_inside(self, entry: os.DirEntry[str]) -> bool:
        return not entry.is_symlink() or is_inside(Path(entry.path), self.root)


def _leads_out(folder: Path, root: Path) -> bool:
    """Whether a link in `folder` leads out of `root` (a real path), or nowhere."""
    try:
        return not all(is_inside(Path(entry.path), root) for entry in entries_of(folder) if entry.is_symlink())
    except ForeignFileError:
        return True


def is_inside(path: Path, root: Path) -> bool:
    """Whether `path` is in `root` (a real path) once its links are followed."""
    try:
        return path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a dangling or circular link; not a valid file name
        return False
