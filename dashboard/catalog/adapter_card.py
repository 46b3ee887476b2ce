"""The card of an adapter: what its base is, changed by what the adapter brings. No torch."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dashboard.catalog.adapter_base import Base, find_base
from dashboard.catalog.adapters import WEIGHTS, Adapter, has_adapter, read_adapter
from dashboard.catalog.chat_templates import has_template
from dashboard.catalog.description import (
    LONGEST_CONFIG,
    NOT_YET,
    card_of,
    contained,
    describe_folder,
    limit_of,
    refused,
    state_of,
)
from dashboard.catalog.fingerprint import CONFIG, has_vocabulary, has_weights
from dashboard.catalog.foreign_files import check_regular, read_object
from dashboard.catalog.model_card import ModelCard
from dashboard.catalog.prediction_head import has_classes
from dashboard.catalog.weight_headers import shapes_in
from dashboard.errors import ForeignFileError, UnsupportedModelError
from dashboard.settings import Settings

INPUT_EMBEDDING = re.compile(
    r"(.*\.)?(embed_tokens|wte|embed_in|word_embeddings|tok_embeddings|tokens_embed)(\.base_layer)?\.weight"
)
PREFIX = "base_model.model."  # of every weight in an adapter's file


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter without a whole model."""
    return not has_weights(folder) and has_adapter(folder)


def base_of(folder: Path, title: str, settings: Settings) -> Base | None:
    """Return the base of the adapter in `folder`; None if `folder` holds a whole model.

    Raises:
        UnsupportedModelError: the adapter cannot be applied, or its base is not here; the message says why.
    """
    if not is_adapter(folder):
        return None
    try:
        return find_base(read_adapter(folder), settings)
    except ForeignFileError as error:
        raise UnsupportedModelError(f"{title} cannot be run: {error.clause}.") from error


def describe_adapter(folder: Path, settings: Settings, until: float | None = None) -> ModelCard:
    """Return the card of an adapter's folder; its refusal says so if it cannot be applied or its base is not here.

    Args:
        until: as in `describe_folder`.
    """
    if until is not None and time.monotonic() > until:
        return refused(folder, NOT_YET)
    try:
        check_regular(folder)
        adapter = read_adapter(folder)
        base = find_base(adapter, settings)
    except ForeignFileError as error:
        return refused(folder, error.clause)
    card = describe_folder(base.folder, until)
    if card.refusal == NOT_YET:
        return refused(folder, NOT_YET)
    if card.refusal:
        return refused(folder, f"its base {base.word} cannot be run: {card.refusal}")
    stamp = (*state_of(folder), base, card)
    return contained(partial(_read, folder, adapter, base, card), folder, stamp, until)


def _read(folder: Path, adapter: Adapter, base: Base, card: ModelCard) -> ModelCard:
    shapes = {name.removeprefix(PREFIX): shape for name, shape in shapes_in(folder / WEIGHTS).items()}
    whole = read_object(base.folder / CONFIG, LONGEST_CONFIG)
    inner = whole.get("text_config")
    tokenizer = folder if has_vocabulary(folder) else base.folder
    found = replace(
        card,
        name=str(folder),
        title=card_of(folder).title,
        limit=limit_of(inner if isinstance(inner, dict) else whole, tokenizer),
        folder=folder,
        vocabulary=_rows(shapes) or card.vocabulary,
        base=base.name,
        base_folder=base.folder,
        tokenizer=None if tokenizer == folder else tokenizer,
        mute=not has_vocabulary(tokenizer),
        chat=has_template(tokenizer),
    )
    if has_classes(shapes):
        return replace(found, kind="encoder", without="classifier", classes=adapter.classes or card.classes)
    return replace(found, kind="encoder", without="embeddings") if adapter.without_lm_head else found


def _rows(shapes: Mapping[str, Sequence[int]]) -> int:
    """Return how many embeddings an adapter's own input embedding has; 0 if it brings none."""
    return next((shape[0] for name, shape in shapes.items() if INPUT_EMBEDDING.fullmatch(name) and shape), 0)
