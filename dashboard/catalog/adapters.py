"""Adapters (LoRA and others) beside or instead of a model's weights: refused by name, as they are not applied. No
torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from dashboard.catalog.foreign import entries_of, read_object
from dashboard.errors import ForeignFileError

SETTINGS = "adapter_config.json"
ADAPTER_FILE = re.compile(r"adapter_config\.json|(adapter_model|pytorch_adapter)[\w.-]*\.(safetensors|bin|pt|pth)")
LONGEST_SETTINGS = 1_000_000  # bytes
HELP = "merge it into its base first (peft: merge_and_unload), and save the result"


def adapter_files(names: Iterable[str]) -> list[str]:
    """Those of these file names that belong to an adapter, sorted."""
    return sorted(name for name in names if ADAPTER_FILE.fullmatch(name))


def has_adapter(folder: Path) -> bool:
    """Whether `folder` holds files of an adapter; no folder that holds more entries than a model's does."""
    try:
        names = adapter_files(entry.name for entry in entries_of(folder))
    except ForeignFileError:
        return False
    return any(os.path.isfile(folder / name) for name in names)


def adapter_refusal(folder: Path, weights: bool) -> str:
    """Why a folder with an adapter cannot be run, as a clause; "" where it has none.

    Args:
        weights: whether the folder holds a whole model, too.
    """
    if not has_adapter(folder):
        return ""
    kind, base = _described(folder / SETTINGS)
    what = f"an adapter ({kind}{f' for {base}' if base else ''})"
    if weights:
        return (
            f"{what} lies beside its weights and is not applied yet: move it elsewhere to run the base alone, or {HELP}"
        )
    return f"it is {what} without its base model, and is not applied yet: {HELP}"


def _described(settings: Path) -> tuple[str, str]:
    """The adapter's kind ("LORA") and the base that it names, as far as its settings say so."""
    try:
        found = read_object(settings, LONGEST_SETTINGS)
    except ForeignFileError:
        return "unknown kind", ""
    kind, base = found.get("peft_type"), found.get("base_model_name_or_path")
    return _short(kind) or "unknown kind", _short(base).rstrip("/").rpartition("/")[2]


def _short(value: object) -> str:
    """Printable text of at most 80 characters; "" for what is no text."""
    return "".join(letter for letter in value if letter.isprintable())[:80] if isinstance(value, str) else ""
