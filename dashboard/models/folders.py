"""The folders of models that a server offers: what is in them, and nothing else, can be asked for. No torch.

A model in a root has the name `folder:ROOT/PATH`, ROOT being the root folder's own name: no path of the machine reaches a
browser, and what a name leads to must be one of them: nothing outside a root, whatever links say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboard.errors import ModelNotFoundError
from dashboard.models.fingerprint import has_weights
from dashboard.settings import Settings

PREFIX = "folder:"
DEEPEST = 2  # a root's children, and their children
MOST = 400  # models of one root


@dataclass(frozen=True)
class FolderModel:
    """A model in one of the roots.

    Attributes:
        name: as in requests. path: a folder with configuration and weights, or a GGUF file.
        place: where it lies, for a person: the root's name and the path in it.
    """

    name: str
    path: Path

    @property
    def place(self) -> str:
        return self.name.removeprefix(PREFIX)

    @property
    def is_gguf(self) -> bool:
        return self.path.suffix == ".gguf"


def folder_models(settings: Settings) -> dict[str, FolderModel]:
    """Every model in the roots by its name; a root that is not there has none."""
    found: dict[str, FolderModel] = {}
    for label, root in root_labels(settings).items():
        for path in _below(root)[:MOST]:
            inside = path.relative_to(root).as_posix()
            name = PREFIX + (label if inside == "." else f"{label}/{inside}")
            found[name] = FolderModel(name, path)
    return found


def folder_model(name: str, settings: Settings) -> FolderModel:
    """The model called `name`; raises `ModelNotFoundError` where the roots hold no such model (any more)."""
    label, _, inside = name.removeprefix(PREFIX).partition("/")
    root = root_labels(settings).get(label)
    path = None if root is None else _at(root, inside)
    if path is None:
        raise ModelNotFoundError(
            f"There is no model “{name.removeprefix(PREFIX)[:200]}” in this server's model folders, or it is there no longer. "
            "List the models again to see which there are."
        )
    return FolderModel(name, path)


def _at(root: Path, inside: str) -> Path | None:
    """The model that `_walk` finds at this place of a root, without walking through all of it; None where there is none."""
    try:
        real = root.resolve(strict=True)
    except OSError:
        return None
    parts = inside.split("/") if inside else []
    path = root.joinpath(*parts)
    is_file = path.suffix == ".gguf" and os.path.isfile(path)  # no error for a name that no file can have
    folders = parts[:-1] if is_file else parts
    way = [root.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    if len(folders) > DEEPEST or any(not part or part.startswith(".") for part in folders):
        return None
    if not all(is_inside(step, real) for step in way):
        return None
    return path if is_file or (has_weights(path) and all(is_inside(child, real) for child in _children(path))) else None


def root_labels(settings: Settings) -> dict[str, Path]:
    """The roots by the names under which they are shown; those of one name are numbered."""
    labels: dict[str, Path] = {}
    for root in settings.model_folders:
        name, number = root.name or "models", 2
        while name in labels:
            name, number = f"{root.name or 'models'}-{number}", number + 1
        labels[name] = root
    return labels


def _below(root: Path) -> list[Path]:
    """The model folders and GGUF files of a root, in the order of their paths."""
    try:
        real = root.resolve(strict=True)
    except OSError:
        return []
    return sorted(_walk(root, real, DEEPEST))


def _walk(folder: Path, root: Path, deeper: int) -> Iterator[Path]:
    children = [child for child in _children(folder) if is_inside(child, root)]
    if has_weights(folder) and len(children) == len(_children(folder)):
        yield folder
    for child in children:
        if child.suffix == ".gguf" and os.path.isfile(child):
            yield child
        elif deeper and os.path.isdir(child) and not child.name.startswith("."):
            yield from _walk(child, root, deeper - 1)


def _children(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except OSError:
        return []


def is_inside(path: Path, root: Path) -> bool:
    """Whether `path` lies in `root` (a real path) once its links are followed."""
    try:
        return path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a link that leads nowhere or in a circle; no name of a file
        return False
