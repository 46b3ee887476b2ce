"""What a model folder says of itself: family, kind, sizes, and whether it can be run here. Nothing is loaded; no torch."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dashboard.contracts.run import ModelKind
from dashboard.errors import ModelError, ModelNotFoundError
from dashboard.models.architecture import family_source
from dashboard.models.fingerprint import TOKENIZER_FILES, has_vocabulary, weight_files

UNBOUNDED = 1_048_576  # the limit of a model whose configuration and tokenizer name none
LONGEST_HEADER = 100_000_000  # bytes, as in the safetensors format
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
LIMITS = ("max_position_embeddings", "n_positions", "n_ctx")
BYTES = {"float16": 2, "bfloat16": 2, "float64": 8}  # of one weight in a PyTorch checkpoint; 4 where it does not say
PADDED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm")


@dataclass(frozen=True)
class Description:
    """One model as its files describe it.

    Attributes:
        family: the configuration's `model_type`. kind: what it predicts; None for an encoder with a decoder.
        layers, heads: 0 where the configuration does not say. limit: the most tokens.
        parameters: counted from safetensors headers; estimated from the file's size for PyTorch checkpoints.
        reads_text: it has a vocabulary, and no eyes or ears.
        refusal: why it cannot be run here, as a clause; "" where nothing is known against it.
    """

    family: str
    kind: ModelKind | None
    layers: int
    heads: int
    parameters: int
    limit: int
    reads_text: bool
    refusal: str


def describe_folder(folder: Path) -> Description:
    """The description of a model folder; remembered until a file of it changes.

    Raises:
        ModelNotFoundError: there is no configuration that can be read.
    """
    files = [folder / "config.json", *weight_files(folder), *(folder / name for name in TOKENIZER_FILES)]
    stamp = []
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        stamp.append((path.name, status.st_size, status.st_mtime_ns))
    return _describe(folder, tuple(stamp))


@lru_cache(maxsize=512)
def _describe(folder: Path, _stamp: tuple[tuple[str, int, int], ...]) -> Description:
    whole = read_config(folder)
    inner = whole.get("text_config")
    config: dict[str, Any] = inner if isinstance(inner, dict) else whole
    family = str(whole.get("model_type") or "")
    try:
        parameters, damage = count_parameters(folder, whole), ""
    except ModelError as error:
        parameters, damage = 0, str(error)
    reads_text = bool(_first(config, "vocab_size")) and not {"vision_config", "audio_config"} & set(whole)
    return Description(
        family=family,
        kind=None if whole.get("is_encoder_decoder") else kind_of(whole),
        layers=_first(config, *LAYERS),
        heads=_first(config, *HEADS),
        parameters=parameters,
        limit=_limit(config, folder),
        reads_text=reads_text,
        refusal=_refusal(whole, family, folder) or damage,
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder as it stands there; raises `ModelNotFoundError` where there is none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"{folder}/config.json cannot be read. Choose a folder that save_pretrained has written."
        ) from error
    if not isinstance(config, dict):
        raise ModelNotFoundError(f"{folder}/config.json is no configuration. Choose a folder that save_pretrained has written.")
    return config


def kind_of(config: dict[str, Any]) -> ModelKind:
    """What the checkpoint was made to predict, by the name of its class (the loader looks at its weights, too)."""
    source = family_source(str(config.get("model_type") or ""))
    masked = source is not None and source.masked
    for name in map(str, config.get("architectures") or ()):
        if "MaskedLM" in name or (name.endswith("ForPreTraining") and masked):
            return "masked"
        if ("CausalLM" in name or "LMHead" in name) and (not masked or config.get("is_decoder")):
            return "causal"
    return "encoder"


def _refusal(config: dict[str, Any], family: str, folder: Path) -> str:
    source = family_source(family)
    if config.get("auto_map") and source is None:
        return "it needs code that comes with it, which is never run here"
    if source is None:
        return f"transformers does not know its family ({family or 'none is named'})"
    if config.get("is_encoder_decoder"):
        return f"{family} is an encoder with a decoder, which is not read yet"
    if not source.exposes:
        return f"{family} does not expose its attention to transformers' attention interface"
    if not has_vocabulary(folder):
        return "its folder has no tokenizer"
    return ""


def _limit(config: dict[str, Any], folder: Path) -> int:
    limit = _first(config, *LIMITS) or UNBOUNDED
    if config.get("model_type") in PADDED_POSITIONS:  # positions are counted from behind the padding's
        limit -= int(config.get("pad_token_id", 1)) + 1
    try:
        own = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        own = None
    return int(min(limit, own)) if isinstance(own, (int, float)) and own > 1 else limit


def count_parameters(folder: Path, config: dict[str, Any]) -> int:
    """How many numbers the weights' files hold.

    Raises:
        ModelError: a safetensors file is cut short or is none.
    """
    total = 0
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            total += _safetensors_parameters(path)
        else:
            total += path.stat().st_size // BYTES.get(str(config.get("torch_dtype") or config.get("dtype")), 4)
    return total


def _safetensors_parameters(path: Path) -> int:
    """Floating-point numbers in one file, from its header."""
    damaged = ModelError(f"{path.name} is damaged or was not copied whole")
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header: dict[str, Any] = json.loads(stream.read(min(length, LONGEST_HEADER)))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
        if path.stat().st_size < 8 + length + end:
            raise damaged
        return sum(math.prod(entry["shape"]) for entry in tensors if "F" in entry["dtype"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise damaged from error


def _first(config: dict[str, Any], *names: str) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)
