"""Adapters (LoRA, DoRA): what their settings say, and which of them can be applied to a base model. No torch.

An adapter's settings come from anywhere. Nothing in them is followed: no path, no class, no pattern of names is
evaluated. What an adapter changes is read from the names and shapes of its weights; settings that change how these are
applied are known here by name, and any other refuses the adapter.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from dashboard.catalog.foreign_files import LARGEST_NUMBER, entries_of, read_object, shown
from dashboard.contracts.classes import ClassesOf
from dashboard.errors import ForeignFileError

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILE = re.compile(r"adapter_config\.json|(adapter_model|pytorch_adapter)[\w.-]*\.(safetensors|bin|pt|pth)")
LONGEST_SETTINGS = 1_000_000  # bytes
LONGEST_BASE = 200  # characters of the name of a base model
MOST_PATTERNS = 10_000  # modules with a rank or an alpha of their own
HELP = "merge it into its base first (peft: merge_and_unload), and save the result"
READ = frozenset(
    (
        *("peft_type", "base_model_name_or_path", "revision", "task_type", "r", "lora_alpha", "rank_pattern"),
        *("alpha_pattern", "use_dora", "use_rslora", "lora_bias", "trainable_token_indices", "ensure_weight_tying"),
        *("init_lora_weights", "auto_mapping"),
    )
)
# settings that were for training, or that the names and shapes of the weights say better
NEEDLESS = frozenset(
    (
        *("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "bias"),
        *("fan_in_fan_out", "lora_dropout", "inference_mode", "peft_version", "runtime_config", "megatron_core"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size"),
    )
)
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # how to begin training without changing the base
MODULE = re.compile(r"\^?[\w.\\-]+\$?")  # a module's name as peft writes it, which takes it for a pattern
TASK_CLASSES: Mapping[str, ClassesOf] = MappingProxyType(  # peft's words for tasks with a classification head
    {"SEQ_CLS": "text", "TOKEN_CLS": "tokens", "QUESTION_ANS": "answer"}
)
WITHOUT_LM_HEAD = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")  # peft's words for tasks


@dataclass(frozen=True)
class Adapter:
    """What an adapter's settings say, as far as it is needed to apply its weights.

    Attributes:
        word: "LoRA" or "DoRA". base: the name of its base, as the settings give it (a hub id, or somebody's path).
        revision: of the base, or None. task: peft's word for what the base was loaded as ("CAUSAL_LM"), or "".
        rank, alpha: for every module that `ranks` and `alphas` do not name.
        rslora: scaled by the root of the rank. bias: its second factor has a bias. tying: what it changes in one of
            two tied weights is meant for both.
        tokens: module of an embedding → ids of the rows that it replaces ("" stands for the input embedding).
    """

    word: str
    base: str
    revision: str | None = None
    task: str = ""
    rank: int = 8
    alpha: float = 8
    ranks: Mapping[str, float] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    dora: bool = False
    rslora: bool = False
    bias: bool = False
    tying: bool = False
    tokens: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def without_lm_head(self) -> bool:
        """Whether it was trained on a base without its head over the vocabulary."""
        return self.task in WITHOUT_LM_HEAD

    @property
    def classes(self) -> ClassesOf | Literal[""]:
        """What a classification head among its weights classifies; "" if its settings do not say."""
        return TASK_CLASSES.get(self.task, "")

    def rank_of(self, module: str) -> float:
        """Return the rank that the settings give a module."""
        return _of(self.ranks, module, self.rank)

    def alpha_of(self, module: str) -> float:
        """Return the module's alpha, which its rank divides."""
        return _of(self.alphas, module, self.alpha)


def _of(patterns: Mapping[str, float], module: str, default: float) -> float:
    """Return the value of the first pattern that means this module, as peft finds it: by the end of its name."""
    parts = module.split(".")
    names = {f"^{module}", *(".".join(parts[first:]) for first in range(len(parts)))}
    hits = [name for name in names if name in patterns]
    if len(hits) < 2:
        return patterns[hits[0]] if hits else default
    return next(value for name, value in patterns.items() if name in names)


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


def beside_weights(folder: Path) -> str:
    """Return why a folder with whole weights cannot be run because of an adapter in it, as a clause; "" if it can."""
    if not has_adapter(folder):
        return ""
    try:
        found = read_adapter(folder)
        what = f"an adapter ({found.word} for {base_word(found.base)})"
    except ForeignFileError:
        what = "an adapter (unknown kind)"
    return (
        f"{what} is in the same folder as its weights, and nothing says whether they include it already: move the "
        "adapter into a separate folder, and both will be listed"
    )


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's settings.

    Raises:
        ForeignFileError: they cannot be read, or the adapter cannot be applied; the clause says why and what helps.
    """
    try:
        found = read_object(folder / SETTINGS, LONGEST_SETTINGS)
    except ForeignFileError as error:
        raise ForeignFileError(f"it is an adapter (unknown kind): {error.clause}; correct the file") from error
    kind = _short(found.get("peft_type")) or "unknown kind"
    base = _text(found.get("base_model_name_or_path"))
    what = f"it is an adapter ({kind}{f' for {base_word(base)}' if base else ''})"
    if kind != "LORA":
        raise ForeignFileError(f"{what}, and only LoRA and DoRA are applied: {HELP}")
    reason = _refused(found) or _without_weights(folder)
    if reason:
        raise ForeignFileError(f"{what}, and {reason}")
    try:
        return _read(found, base)
    except (TypeError, ValueError, OverflowError) as error:
        raise ForeignFileError(f"{what}, and its settings cannot be used ({shown(str(error), 100)}): {HELP}") from error


def base_word(base: str) -> str:
    """Return the last part of a base's name or path, for a person."""
    return shown(re.split(r"[\\/]", base.rstrip("\\/"))[-1], 80)


def _without_weights(folder: Path) -> str:
    if os.path.isfile(folder / WEIGHTS):
        return ""
    return f"it has no {WEIGHTS}, the only file that can be read: save it again as safetensors (peft: save_pretrained)"


def _refused(found: Mapping[str, Any]) -> str:
    """Return which setting changes how the weights are applied in a way that is not known here: a clause, or ""."""
    base = found.get("base_model_name_or_path")
    if not isinstance(base, str) or not base_word(base):
        return f"its settings name no base model: write the base's name into {SETTINGS} (base_model_name_or_path)"
    own = found.get("auto_mapping")
    library = own.get("parent_library") if isinstance(own, dict) else None
    if own and not (isinstance(library, str) and library.startswith("transformers.")):
        return (
            f"its base needs its own code ({_short(library) or 'auto_mapping'}), which this program never runs: {HELP}"
        )
    start = found.get("init_lora_weights")
    if not any(start is plain or start == plain for plain in PLAIN_STARTS):
        return (
            f"its training changed the base's own weights (init_lora_weights = {_short(start) or 'unknown'}): save it "
            "as a plain LoRA (peft: path_initial_model_for_weight_conversion)"
        )
    strange = next((name for name, value in found.items() if name not in READ | NEEDLESS and value), None)
    return f"{shown(strange, 60)} is a setting that this program does not know: {HELP}" if strange else ""


def _read(found: Mapping[str, Any], base: str) -> Adapter:
    revision, dora = found.get("revision"), _flag(found, "use_dora")
    return Adapter(
        word="DoRA" if dora else "LoRA",
        base=base,
        revision=_text(revision) or None,
        task=_short(found.get("task_type")),
        rank=_count(found.get("r", 8), "r"),
        alpha=_number(found.get("lora_alpha", 8), "lora_alpha"),
        ranks=_patterns(found, "rank_pattern"),
        alphas=_patterns(found, "alpha_pattern"),
        dora=dora,
        rslora=_flag(found, "use_rslora"),
        bias=_flag(found, "lora_bias"),
        tying=_flag(found, "ensure_weight_tying"),
        tokens=_tokens(found.get("trainable_token_indices")),
    )


def _flag(found: Mapping[str, Any], name: str) -> bool:
    value = found.get(name)
    if value not in (None, True, False):
        raise ValueError(f"{name} is neither true nor false")
    return bool(value)


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 0 < value <= LARGEST_NUMBER:
        raise ValueError(f"{name} is not a rank")
    return value


def _number(value: object, name: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(float(str(value))):
        raise ValueError(f"{name} is not a number")
    return float(str(value))


def _patterns(found: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return names of modules with their values; a leading ^ asks for the whole name."""
    given = found.get(name) or {}
    if not isinstance(given, dict) or len(given) > MOST_PATTERNS:
        raise ValueError(f"{name} is not a list of modules")
    for key in given:
        if not MODULE.fullmatch(key):
            raise ValueError(f"{name} has “{shown(key, 40)}”, which is not a module's name")
    return {key.replace("\\", "").rstrip("$"): _number(value, name) for key, value in given.items()}


def _tokens(given: object) -> dict[str, tuple[int, ...]]:
    """Return the rows of embeddings that an adapter replaces."""
    named = given if isinstance(given, dict) else {"": given} if given else {}
    return {str(name): tuple(_rows(rows)) for name, rows in named.items()}


def _rows(rows: object) -> Sequence[int]:
    if not isinstance(rows, list) or not all(type(row) is int and 0 <= row <= LARGEST_NUMBER for row in rows):
        raise ValueError("trainable_token_indices are not token ids")
    return rows


def _text(value: object) -> str:
    return value[:LONGEST_BASE] if isinstance(value, str) else ""


def _short(value: object) -> str:
    """Return printable text of at most 80 characters; "" if `value` is not text."""
    return "".join(letter for letter in value if letter.isprintable())[:80] if isinstance(value, str) else ""
