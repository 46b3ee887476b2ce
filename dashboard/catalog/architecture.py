"""What transformers' own sources say of a model family, read as text. No torch, and transformers is not imported.

A family can be captured when its code asks for its attention function by name (decision 018); the sources say so, and
so the picker can tell before anything is loaded.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

MODEL_TYPE = re.compile(r'^    model_type(?:: str)? = "([^"]+)"', re.M)
TIED = re.compile(r"^    tie_word_embeddings(?:: [\w| ]+)? = (True|False)", re.M)
ASKS_BY_NAME = "ALL_ATTENTION_FUNCTIONS"  # the table of attention functions, in which capture enters its own


@dataclass(frozen=True)
class FamilySource:
    """What the sources of one family hold.

    Attributes:
        exposes: its attention goes through transformers' attention interface.
        masked, causal: it has a class that fills masked tokens, that predicts the next one.
        tied: its output embedding is the input embedding where a configuration does not say otherwise.
    """

    exposes: bool
    masked: bool
    causal: bool
    tied: bool = False


@lru_cache(maxsize=1024)  # configurations name what they like
def family_source(model_type: str) -> FamilySource | None:
    """What is known of the family that a configuration calls `model_type`; None where transformers has no such
    family."""
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
    """What the family's configuration class takes for `tie_word_embeddings`."""
    for path in sorted(folder.glob("configuration_*.py")):
        for part in re.split(r"^(?=class )", path.read_text(encoding="utf-8"), flags=re.M):
            if model_type in MODEL_TYPE.findall(part):
                said = TIED.search(part)
                return said is not None and said[1] == "True"
    return False


@cache
def _folders() -> dict[str, Path]:
    """Each family's folder in transformers' sources, by the name that configurations use."""
    package = importlib.util.find_spec("transformers")
    if package is None or not package.submodule_search_locations:
        return {}
    found: dict[str, Path] = {}
    for path in sorted(Path(package.submodule_search_locations[0]).glob("models/*/configuration_*.py")):
        for name in MODEL_TYPE.findall(path.read_text(encoding="utf-8")):
            found.setdefault(name, path.parent)
    return found
