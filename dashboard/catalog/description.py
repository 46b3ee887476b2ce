"""What a model folder says about its model: family, kind, sizes, and whether it can be run here.

Loads nothing; no torch.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from dashboard.catalog.adapters import SETTINGS, WEIGHTS, beside_weights
from dashboard.catalog.architecture import family_source
from dashboard.catalog.chat_templates import TEMPLATE, has_template
from dashboard.catalog.config_sizes import implausible
from dashboard.catalog.fingerprint import CONFIG, TOKENIZER_CONFIG, TOKENIZER_FILES, has_vocabulary, weight_files
from dashboard.catalog.foreign_files import check_regular, read_object, shown
from dashboard.catalog.model_card import ModelCard
from dashboard.catalog.pairs import folder_takes_pairs
from dashboard.catalog.prediction_head import judge
from dashboard.catalog.refused_families import REFUSED
from dashboard.catalog.sizes import heads_in, layers_in, most_tokens, positions_in, vocabulary_in
from dashboard.catalog.unused_weights import unread
from dashboard.catalog.weight_headers import Headers, read_headers
from dashboard.contracts.model_info import ModelKind
from dashboard.errors import ForeignFileError, ModelNotFoundError

log = logging.getLogger(__name__)
NOT_YET = "its files have not been inspected yet; reload the page in a moment"
MOST_KNOWN = 4096  # remembered descriptions
_known: LRUCache[tuple[Path, tuple[object, ...]], ModelCard] = LRUCache(MOST_KNOWN)
_looking, _reading = threading.Lock(), threading.Lock()
LONGEST_CONFIG = 4_000_000  # bytes
LONGEST_LINE = 2_000  # characters about one kind of unread weights
PADDED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "mpnet")


def describe_folder(folder: Path, until: float | None = None) -> ModelCard:
    """Return the card of a folder with a whole model, from its files; remembered until one of them changes (see
    `contained`). `adapter_card` has those of adapters."""
    return contained(lambda: _read_folder(folder), folder, state_of(folder), until)


def state_of(folder: Path) -> tuple[object, ...]:
    """Return the sizes and times of a model folder's files, which show whether any was changed."""
    names = (CONFIG, *TOKENIZER_FILES, TEMPLATE, SETTINGS, WEIGHTS)
    files = [*weight_files(folder), *(folder / name for name in names), folder]  # its time shows entries come and go
    stamp: list[object] = []
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        stamp.append((path.name, status.st_size, status.st_mtime_ns))
    return tuple(stamp)


def contained(read: Callable[[], ModelCard], path: Path, stamp: tuple[object, ...], until: float | None) -> ModelCard:
    """Return the card that `read` makes of a model's files, or one that says why they cannot be read.

    All errors in a model's files end here, and only here: parsers of foreign content may raise anything, and one bad
    model must not break the list of all models. Such a model's card is its refusal.

    Args:
        read: called once for each `path` and `stamp` (the state of its files), in one thread at a time.
        until: monotonic time after which no file is read: a model not read by then gets a card that says so. None: no
            such time.
    """
    key = (path, stamp)
    with _looking:
        found = _known.get(key)
    if found is not None:
        return found
    left = -1.0 if until is None else max(0.0, until - time.monotonic())
    if left == 0.0 or not _reading.acquire(timeout=left):
        return refused(path, NOT_YET)
    try:
        with _looking:
            found = _known.get(key)
        if found is None:
            found = _described(read, path)
            with _looking:
                _known[key] = found
        return found
    finally:
        _reading.release()


def _described(read: Callable[[], ModelCard], path: Path) -> ModelCard:
    try:
        return read()
    except ForeignFileError as error:
        return refused(path, error.clause)
    except Exception as error:
        log.exception("%s cannot be described", shown(str(path)))
        return refused(path, f"its files cannot be read ({type(error).__name__})")


def refused(path: Path, reason: str) -> ModelCard:
    """Return the card of a model about which nothing is known but why it cannot be run."""
    return card_of(path, refusal=reason)


def card_of(path: Path, **facts: Any) -> ModelCard:
    """Return the card of a local model, under the name of its folder or file."""
    return replace(ModelCard(str(path), shown(path.name), here=True, folder=path, source="folder"), **facts)


def _read_folder(folder: Path) -> ModelCard:
    check_regular(folder)
    whole = read_object(folder / CONFIG, LONGEST_CONFIG)
    reason = implausible(whole)
    if reason:
        return refused(folder, reason)
    inner = whole.get("text_config")
    config: dict[str, Any] = inner if isinstance(inner, dict) else whole
    family = shown(str(whole.get("model_type") or ""), 60)
    try:
        headers, damage = read_headers(folder, whole), ""
    except ForeignFileError as error:
        headers, damage = Headers(frozenset(), 0), error.clause
    judged = judge(whole, headers.names)
    reads_text = bool(vocabulary_in(config)) and not {"vision_config", "audio_config"} & set(whole)
    return card_of(
        folder,
        kind=None if whole.get("is_encoder_decoder") else judged.kind,
        layers=layers_in(config),
        heads=heads_in(config),
        parameters=headers.parameters,
        limit=limit_of(config, folder),
        reads_text=reads_text,
        refusal=beside_weights(folder) or _refusal(whole, family) or damage,
        without=judged.without,
        classes=judged.classes,
        unread=tuple(shown(line, LONGEST_LINE) for line in unread(headers.names, whole, classes=judged.classes)),
        vocabulary=vocabulary_in(config),
        pairs=_takes_pairs(folder, family, judged.kind),
        chat=has_template(folder),
        stores_weights=_stores_weights(family),
        mute=not has_vocabulary(folder),
    )


def _takes_pairs(folder: Path, family: str, kind: ModelKind) -> bool:
    try:
        return folder_takes_pairs(folder, family, kind)
    except ForeignFileError:  # a run will say what is wrong with its tokenizer
        return False


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a model folder as stored; raise `ModelNotFoundError` if there is none."""
    try:
        return read_object(folder / CONFIG, LONGEST_CONFIG)
    except ForeignFileError as error:
        raise ModelNotFoundError(
            f"“{folder}”: {error.clause}. Choose a folder that save_pretrained has written."
        ) from error


def _refusal(config: dict[str, Any], family: str) -> str:
    source = family_source(family)
    if config.get("auto_map") and source is None:
        return "it needs code that comes with it, which is never run here"
    if source is None:
        return f"transformers does not know its family ({family or 'none is named'})"
    if config.get("is_encoder_decoder"):
        return "encoder–decoder models (BART, T5) are not supported yet"
    if family in REFUSED:
        return f"{family} {REFUSED[family].clause}"
    if not source.exposes and (isinstance(config.get("text_config"), dict) or not (source.masked or source.causal)):
        return f"{family} does not expose its attention to transformers' attention interface"
    if config.get("quantization_config"):
        return "it is quantised, and only plain weights are read"
    return ""


def _stores_weights(family: str) -> bool:
    source = family_source(family)
    return source is not None and not source.exposes


def limit_of(config: dict[str, Any], folder: Path) -> int:
    """Return the most tokens that a model takes with the tokenizer in `folder`; the family's name tells whether
    positions start after the padding position."""
    padding: int | None = None
    if config.get("model_type") in PADDED_POSITIONS:
        said = config.get("pad_token_id")
        padding = said if isinstance(said, int) else 1
    path = folder / TOKENIZER_CONFIG
    own = read_object(path).get("model_max_length") if os.path.exists(path) else None
    return most_tokens(positions_in(config), padding, own)
