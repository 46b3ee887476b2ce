"""What transformers' own sources say of a model family, read as text. No torch, and transformers is not imported.

Capture can read a family whose code looks up its attention function by name (decision 018). The sources show that, so
the picker can tell before anything is loaded.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

MODEL_TYPE = re.compile(r'^    model_type(?:: str)? = "([^"]+)"', re.M)
TIED = re.compile(r"^    tie_word_embeddings(?:: [\w| ]+)? = (True|False)", re.M)
ASKS_BY_NAME = "ALL_ATTENTION_FUNCTIONS"  # the table of attention functions, where capture registers its own


@dataclass(frozen=True)
class FamilySource:
    """Facts from the sources of one family.

    Attributes:
        exposes: its attention goes through transformers' attention interface.
        masked, causal: it has a class that predicts masked tokens, or one that predicts the next token.
        tied: its output embedding is the input embedding unless a configuration says otherwise.
    """

    exposes: bool
    masked: bool
    causal: bool
    tied: bool = False


@lru_cache(maxsize=1024)  # bounded, because a configuration may name anything
def family_source(model_type: str) -> FamilySource | None:
    """Return what the sources say of the family that a configuration calls `model_type`; None if transformers has no
    such family."""
    folder = _folders().get(model_type)
    if folder is None:
        return None
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("modeling_*.py")))
    return FamilySource(
        exposes=ASKS_BY_NAME in text,
        masked=re.search(r"^class \w+ForMaskedLM\b", text, re.M) is not None,
        causal=re.search(r"^class \w+(ForCausalLM|LMHeadModel)\b", text, re.M) is not None,
        tied=_is_tied(folder, model_type),
    )


def _is_tied(folder: Path, model_type: str) -> bool:
    """Return the default of `tie_word_embeddings` in the family's configuration class."""
    for path in sorted(folder.glob("configuration_*.py")):
        for part in re.split(r"^(?=class )", path.read_text(encoding="utf-8"), flags=re.M):
            if model_type in MODEL_TYPE.findall(part):
                said = TIED.search(part)
                return said is not None and said[1] == "True"
    return False


def families_known() -> frozenset[str]:
    """Return the name of every family that transformers has, as configurations use it."""
    return frozenset(_folders())


@cache
def _folders() -> dict[str, Path]:
    """Return each family's folder in transformers' sources, by the name that configurations use."""
    package = importlib.util.find_spec("transformers")
    if package is None or not package.submodule_search_locations:
        return {}
    found: dict[str, Path] = {}
    for path in sorted(Path(package.submodule_search_locations[0]).glob("models/*/configuration_*.py")):
        for name in MODEL_TYPE.findall(path.read_text(encoding="utf-8")):
            found.setdefault(name, path.parent)
    return found
