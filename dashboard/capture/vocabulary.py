"""Whether a model has an embedding for each id from its tokenizer: the two are published separately and may not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from dashboard.catalog.ids_beyond import Beyond
from dashboard.contracts.token import Token
from dashboard.errors import BadRequestError, UnsupportedModelError


def embedding_rows(model: PreTrainedModel) -> int:
    """Return how many ids the model has an embedding for."""
    rows = _rows(model.get_input_embeddings())
    return int(model.config.get_text_config().vocab_size) if rows is None else rows


def check_ids(
    model: PreTrainedModel, title: str, inputs: Mapping[str, torch.Tensor], tokens: Sequence[Token], lent: bool = False
) -> None:
    """Raise unless the model has an embedding for every token, and for every kind of text that the tokenizer marks.

    `lent`: the tokenizer is another model's.

    Raises:
        BadRequestError: the text holds a token that the model does not have (the message names it), or there are two
            texts.
        UnsupportedModelError: the tokenizer adds such a token to every text.
    """
    rows = embedding_rows(model)
    for position, token in enumerate(tokens):
        if token.id >= rows:
            sentence = Beyond(position, token.id, token.text, token.given).sentence(title, rows, lent)
            raise UnsupportedModelError(sentence) if token.given else BadRequestError(sentence)
    kinds = inputs.get("token_type_ids")
    table = next((part for name, part in model.named_modules() if name.endswith("token_type_embeddings")), None)
    most = _rows(table)
    if kinds is not None and most is not None and int(kinds.max()) >= most:
        raise BadRequestError(f"{title} has no embedding that marks a second text. Run a single text.")


def check_mask(model: PreTrainedModel, title: str, mask_id: int) -> None:
    """Raise `UnsupportedModelError` if the model has no embedding for the mask token."""
    if mask_id >= embedding_rows(model):
        raise UnsupportedModelError(
            f"{title} has no embedding for its mask token ({mask_id:,}), so nothing can be masked. Choose another "
            f"model."
        )


def logits_of(outputs: Any) -> torch.Tensor | None:
    """Return a model's (batch, token, vocabulary) logits; classes for pretraining call them `prediction_logits`."""
    found = getattr(outputs, "logits", None)
    return getattr(outputs, "prediction_logits", None) if found is None else found


def _rows(table: Any) -> int | None:
    weight = getattr(table, "weight", None)
    return int(weight.shape[0]) if isinstance(weight, torch.Tensor) and weight.ndim == 2 else None
