"""Plausible sizes in a configuration: sizes that no model has are refused before anything is built. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dashboard.catalog.foreign_files import LARGEST_NUMBER, shown
from dashboard.catalog.sizes import HEADS, LAYERS, POSITIONS

MOST_LAYERS = 1_000  # published models have at most some 130
MOST_HEADS = 4_096
LARGEST: dict[str, int] = {
    **dict.fromkeys(
        (*LAYERS, "encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers"), MOST_LAYERS
    ),
    **dict.fromkeys((*HEADS, "num_key_value_heads", "n_head_kv"), MOST_HEADS),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "head_dim"), 1_000_000),
    **dict.fromkeys(
        ("intermediate_size", "n_inner", "hidden_dim", "ffn_dim", "d_ff", "moe_intermediate_size"), 10_000_000
    ),
    **dict.fromkeys(("vocab_size", "type_vocab_size"), 20_000_000),
    **dict.fromkeys(POSITIONS, 100_000_000),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 10_000),
    "num_labels": 1_000_000,
}
COUNTS = re.compile(r".*(layers|blocks)")  # counts of parts in rarer families, each of which would be built
TYPES: dict[str, type] = {"architectures": list, "model_type": str, "text_config": dict, "auto_map": dict}


def implausible(config: dict[str, Any]) -> str:
    """Return why no model has this configuration, as a clause; "" if it is plausible."""
    for key, kind in TYPES.items():
        if not isinstance(config.get(key), (kind, type(None))):
            return f"its configuration says {shown(repr(config[key]), 40)} for {key}"
    for key, value in _values(config):
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            return f"its configuration holds a number of more than 18 digits ({shown(key, 60)})"
        reason = _wrong_size(key, value)
        if reason:
            return reason
        if COUNTS.fullmatch(key) and type(value) is int and value > MOST_LAYERS:
            return f"its configuration says {value:,} for {shown(key, 60)}; at most {MOST_LAYERS:,} are allowed"
    return _repeated(config)


def _repeated(config: dict[str, Any]) -> str:
    """Check GPT-Neo's kinds of layers, each with its repeats ([[["global", "local"], 12]]): a clause, or ""."""
    kinds = config.get("attention_types")
    for kind in kinds if isinstance(kinds, list) else ():
        times = kind[1] if isinstance(kind, list) and len(kind) > 1 else 0
        if isinstance(times, int) and times > MOST_LAYERS:
            return f"its configuration says {times:,} in attention_types; at most {MOST_LAYERS:,} are allowed"
    return ""


def _values(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each value with its key, including those of nested objects; not recursive."""
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list) and key not in LARGEST:
            waiting.extend((key, item) for item in value)
        else:
            yield key, value


def _wrong_size(key: str, value: Any) -> str:
    largest = LARGEST.get(key)
    if largest is None or value is None:
        return ""
    each = value if isinstance(value, list) else [value]  # some families have a size for each layer
    if len(each) > MOST_LAYERS:
        return f"its configuration has {len(each):,} values of {key}"
    for size in each:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            return f"its configuration says {shown(repr(size), 40)} for {key}, which is not a size"
        if size > largest:
            return f"its configuration says {size:,} for {key}; at most {largest:,} are allowed"
    return ""
