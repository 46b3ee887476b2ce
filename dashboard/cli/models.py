"""`models`: list the models, fetch one, or remove a fetched one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.cli._steps import EXIT_CODES, line_by_line, suggesting
from dashboard.errors import ModelError, ModelNotFoundError
from dashboard.settings import Settings

if TYPE_CHECKING:
    from dashboard.catalog.model_card import ModelCard


def add(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    models = commands.add_parser(
        "models",
        help="list the models, fetch one, remove one",
        description="Without an action: list the models that this server offers, with what each predicts, "
        "layers × heads, parameters, and whether it is here or would be downloaded.",
        epilog=f"To list models in your own folders, name the folders in DASHBOARD_MODEL_FOLDERS. {EXIT_CODES}",
    )
    models.set_defaults(command=_list)
    actions = models.add_subparsers(metavar="ACTION")
    listing = actions.add_parser("list", help="list the models (the default)", epilog=EXIT_CODES)
    listing.set_defaults(command=_list)
    fetch = actions.add_parser(
        "fetch",
        help="download or convert a model, so that its first run needs no network",
        description="Download a model, or convert a GGUF file, and check as far as its files tell that it can be run. "
        "A download that was stopped continues from there. A model that is already here is left as it is.",
        epilog=f"Examples: models fetch · models fetch gpt2 · models fetch EleutherAI/pythia-70m. {EXIT_CODES}",
    )
    fetch.add_argument(
        "name", nargs="?", help="a name of the list, or a hub id (organisation/name); without one, all bundled models"
    )
    fetch.set_defaults(command=_fetch)
    remove = actions.add_parser(
        "remove",
        help="delete a converted, bundled or downloaded model from the disk",
        description="Delete the files of a bundled model, of the conversion of a GGUF file, or of a hub model "
        "in the local cache of Hugging Face, which other programs may use, too. Folders and GGUF files of yours are "
        "never deleted. Saved runs stay.",
        epilog=f"It asks before it deletes, unless you give --yes; without a terminal it needs --yes. {EXIT_CODES}",
    )
    remove.add_argument("name", help="a name of the list")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(command=_remove)


def _list(settings: Settings, parsed: argparse.Namespace) -> int:
    from dashboard.catalog.catalog import Catalog

    for root in settings.model_folders:
        if not root.is_dir():
            print(f"DASHBOARD_MODEL_FOLDERS names {root}, which is not a folder.", file=sys.stderr)
    rows = [_row(card) for card in Catalog(settings).entries()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, kind, shape, size, where in rows:
        print(f"{name:{widths[0]}}  {kind:{widths[1]}}  {shape:{widths[2]}}  {size:>{widths[3]}}  {where}".rstrip())
    return 0


def _row(card: ModelCard) -> tuple[str, str, str, str, str]:
    from dashboard.catalog.foreign_files import shown

    shape = f"{card.layers} layers × {card.heads} heads" if card.layers and card.heads else ""
    size = f"{card.parameters / 1e6:,.1f} M" if card.parameters else ""
    where = f"not supported: {card.refusal}" if card.refusal else card.note or "here"
    if card.unread and not card.refusal:
        where += f"; not read: {'; '.join(card.unread)}"
    name = f"  {shown(card.name)}" if card.base else shown(card.name)  # below its base
    return name, card.kind_word, shape, size, where


def _fetch(settings: Settings, parsed: argparse.Namespace) -> int:
    from dashboard.catalog.bundled import BUNDLED, fetch_bundled, is_converted
    from dashboard.catalog.catalog import Catalog
    from dashboard.catalog.fetch import resolve_folder

    def say(line: str) -> None:
        print(line, flush=True)

    bundled = [model for model in BUNDLED if parsed.name in (None, model.name)]
    if bundled:
        for model in bundled:
            folder = settings.models_folder / model.name
            if is_converted(folder):
                say(f"{model.title} is here already: {folder}")
        fetch_bundled(settings, say, tuple(model.name for model in bundled))
        return 0
    with suggesting(parsed.name, settings):
        card = Catalog(settings).admit(parsed.name)
        folder = resolve_folder(card.name, settings, None, line_by_line(say), folders=False, loads=False)
        admitted = Catalog(settings).admit(card.name)
    say(f"{admitted.title} is here{'' if card.folder is None else ' already'}: {folder}")
    return 0


def _remove(settings: Settings, parsed: argparse.Namespace) -> int:
    from dashboard.catalog.catalog import Catalog
    from dashboard.catalog.disk_space import remove

    with suggesting(parsed.name, settings):
        card = Catalog(settings).get(parsed.name)
        folder = _removable(card)
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not parsed.yes and not _agreed(f"Delete {folder} ({size / 1e6:,.0f} MB)? [y/N] "):
        print("Nothing was deleted.")
        return 0
    remove(card.title, folder)
    print(f"{card.title} was deleted: {size / 1e6:,.0f} MB.")
    return 0


def _removable(card: ModelCard) -> Path:
    """The folder that holds the model's files and nothing else."""
    from dashboard.catalog.hub import whole_folder

    if card.source == "folder":
        raise ModelError(f"{card.title} is a folder of yours ({card.folder}); delete it yourself.")
    if card.folder is None:
        raise ModelNotFoundError(
            f"{card.title} has no files here that could be deleted. List those that have: python -m dashboard models"
        )
    return whole_folder(card.folder)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ModelError("There is no terminal to ask on, so nothing was deleted. Give --yes.")
    return input(question).strip().lower() in ("y", "yes")
