"""Adapters (LoRA and others) beside or instead of a model's weights: refused by name, since nothing applies them.

No torch.
"""

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
    """Return those of these file names that belong to an adapter, sorted."""
    return sorted(name for name in names if ADAPTER_FILE.fullmatch(name))


def has_adapter(folder: Path) -> bool:
    """Whether `folder` holds adapter files; False for a folder with more entries than a model's folder has."""
    try:
        names = adapter_files(entry.name for entry in entries_of(folder))
    except ForeignFileError:
        return False
    return any(os.path.isfile(folder / name) for name in names)


def adapter_refusal(folder: Path, weights: bool) -> str:
    """Return why a folder with an adapter cannot be run, as a clause; "" if it has no adapter.

    Args:
        weights: whether the folder also holds a whole model.
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
    """Return the adapter's kind ("LORA") and the base model it names, as far as its settings say."""
    try:
        found = read_object(settings, LONGEST_SETTINGS)
    except ForeignFileError:
        return "unknown kind", ""
    kind, base = found.get("peft_type"), found.get("base_model_name_or_path")
    return _short(kind) or "unknown kind", _short(base).rstrip("/").rpartition("/")[2]


def _short(value: object) -> str:
    """Return printable text of at most 80 characters; "" if `value` is not text."""
    return "".join(letter for letter in value if letter.isprintable())[:80] if isinstance(value, str) else ""
