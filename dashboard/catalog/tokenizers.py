"""The tokenizer of one model, for another that has none. No torch."""

from __future__ import annotations

from pathlib import Path

from dashboard.catalog.adapter_card import base_of
from dashboard.catalog.adapters import base_word
from dashboard.catalog.fetch import resolve_folder
from dashboard.catalog.fingerprint import has_vocabulary
from dashboard.catalog.folders import PREFIX
from dashboard.errors import ModelNotFoundError, NotReadyError, UnsupportedModelError
from dashboard.settings import Settings


def tokenizer_folder(name: str, settings: Settings, folders: bool = False) -> Path:
    """Return the folder of a model's tokenizer; of an adapter without one, that is its base's.

    Args:
        folders: accept the path of any folder.

    Raises:
        ModelNotFoundError: there is no such model, or its files are not here.
        UnsupportedModelError: it has no tokenizer.
    """
    title = base_word(name.removeprefix(PREFIX))
    try:
        folder = resolve_folder(name, settings, None, folders=folders, brings=False)
    except NotReadyError as error:
        raise ModelNotFoundError(
            f"The files of {title}, whose tokenizer was requested, are not on this machine. Run a text with that model "
            "first, or choose another model's tokenizer."
        ) from error
    if has_vocabulary(folder):
        return folder
    base = base_of(folder, title, settings)
    if base is None or not has_vocabulary(base.folder):
        raise UnsupportedModelError(f"{title} has no tokenizer. Choose another model's.")
    return base.folder


def owned(title: str) -> UnsupportedModelError:
    """Return the error for a model that has a tokenizer and is given another's."""
    return UnsupportedModelError(f"{title} has its own tokenizer and always uses it. Leave the other one out.")


def lacking(title: str) -> UnsupportedModelError:
    """Return the error for a model without a tokenizer that is given none."""
    return UnsupportedModelError(
        f"{title} has no tokenizer: no tokenizer.json or vocabulary is in its folder. Choose the model whose tokenizer "
        "it was trained with (on the command line: --tokenizer), or save the tokenizer there."
    )
