"""A model's sizes from its configuration, under the names that families give them; and the most tokens it takes.

No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
UNBOUNDED = 1_048_576  # the limit if neither configuration nor tokenizer names one


def layers_in(config: Mapping[str, Any]) -> int:
    """Return how many layers there are; 0 if the configuration does not say."""
    return _first(config, LAYERS)


def heads_in(config: Mapping[str, Any]) -> int:
    """Return how many query heads a layer has; 0 if the configuration does not say."""
    return _first(config, HEADS)


def vocabulary_in(config: Mapping[str, Any]) -> int:
    """Return how many embeddings there are; 0 if the configuration does not say."""
    return _first(config, ("vocab_size",))


def positions_in(config: Mapping[str, Any]) -> int:
    """Return how many positions there are; 0 if the configuration does not say."""
    return _first(config, POSITIONS)


def most_tokens(positions: int, padding: int | None = None, tokenizers: object = None) -> int:
    """Return the most tokens that a model takes: its positions, or its tokenizer's limit if that is smaller.

    Args:
        positions: 0 if unknown. padding: the padding token's id, if positions are counted from behind it (RoBERTa:
            514 − 2). tokenizers: the tokenizer's `model_max_length`, whatever that is.
    """
    limit = positions if positions > 0 else UNBOUNDED  # XLNet says −1
    if padding is not None:
        limit = max(0, limit - padding - 1)
    return int(min(limit, tokenizers)) if isinstance(tokenizers, int | float) and tokenizers > 1 else limit


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)
