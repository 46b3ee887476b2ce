"""A model's fingerprint: one hash over its files, so that a run's key changes whenever the weights do. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboard.catalog.digests import Digests
from dashboard.catalog.foreign_files import entries_of, read_object
from dashboard.contracts.job import OnProgress, Progress
from dashboard.errors import ForeignFileError
from dashboard.settings import Settings

READ_AT_ONCE = 16_000_000  # bytes of new files that may be hashed while a person waits for a click

CONFIG = "config.json"
WEIGHTS_FILE = "model.safetensors"  # if they are in one file
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (
    TOKENIZER,
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
FURTHER_FILES = (  # read by tokenizers of rarer families, or applied over the weights
    re.compile(r"adapter_config\.json|adapter_model\.(safetensors|bin)"),
    re.compile(r"tokenizer\.[0-9][0-9.]*\.json"),  # for one version of transformers
    re.compile(r"[^.].*\.(model|spm|tiktoken|codes)|(sentencepiece|vocab)\.[^.]+|tekken\.json|prophetnet\.tokenizer"),
    re.compile(
        r"(vocab-src|vocab-tgt|target_vocab|entity_vocab|emoji|normalizer|byte_maps|word_shape|word_pronunciation)\.json"
    ),
    re.compile(r"dict\.txt"),
)
VOCABULARY_FILES = (
    TOKENIZER,
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
WEIGHTS = (  # the first kind present is the one that is loaded
    re.compile(r"model(-\d+-of-(?P<count>\d+))?\.safetensors"),
    re.compile(r"pytorch_model(-\d+-of-(?P<count>\d+))?\.bin"),
)


def weight_files(folder: Path) -> list[Path]:
    """Return the files with the weights, by name; empty if there are none, or if a split checkpoint lacks a part."""
    try:
        entries = entries_of(folder)
    except ForeignFileError:  # not a folder, or not a model's
        return []
    found = [entry.name for entry in entries if any(pattern.fullmatch(entry.name) for pattern in WEIGHTS)]
    names = sorted(name for name in found if os.path.exists(folder / name))
    for pattern in WEIGHTS:
        matches = [match for match in map(pattern.fullmatch, names) if match]
        whole = [match for match in matches if match["count"] is None]
        parts = [match for match in matches if match["count"] is not None]
        if whole:
            return [folder / match.string for match in whole]
        if parts and len(parts) == int(parts[0]["count"]):
            return [folder / match.string for match in parts]
    return []


def index_file(folder: Path) -> Path | None:
    """Return the file that says which part of a split checkpoint holds which weight; None if it is not split."""
    weights = weight_files(folder)
    if len(weights) < 2:
        return None
    return folder / (
        "model.safetensors.index.json" if weights[0].suffix == ".safetensors" else "pytorch_model.bin.index.json"
    )


def strange_weights(folder: Path) -> str | None:
    """Return a file that the model's own files name as weights, that is not among `weight_files`, and that would be
    read anyway; or None.

    Such a path could lead out of the folder, or to a file in a format that runs code when read.

    Raises:
        ForeignFileError: one of these files cannot be read within bounds.
    """
    own = {path.name for path in weight_files(folder)}
    index = index_file(folder)
    named = [_read(folder / CONFIG).get("transformers_weights")]
    if index is not None:
        parts = _read(index).get("weight_map")
        named += list(parts.values()) if isinstance(parts, dict) else []
    return next((str(name) for name in named if name is not None and name not in own), None)


def _read(path: Path) -> dict[str, Any]:
    return read_object(path) if os.path.exists(path) else {}


def model_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that its output depends on, sorted by name: all that loading reads.

    Leaves out what has no influence on a run's numbers: descriptions, chat templates, settings of text generation.
    """
    named = {folder / name for name in (CONFIG, *TOKENIZER_FILES)} | _further(folder)
    index = index_file(folder)
    named |= set() if index is None else {index}
    return sorted({*weight_files(folder), *(path for path in named if path.is_file())})


def _further(folder: Path) -> set[Path]:
    try:
        entries = entries_of(folder)
    except ForeignFileError:  # not a model's: it has no weights either
        return set()
    return {folder / entry.name for entry in entries if any(kind.fullmatch(entry.name) for kind in FURTHER_FILES)}


def has_weights(folder: Path) -> bool:
    """Whether `folder` holds a configuration and all of its weights."""
    # no error if the folder cannot be read
    return os.path.exists(folder / CONFIG) and bool(weight_files(folder))


def has_vocabulary(folder: Path) -> bool:
    """Whether `folder` holds a tokenizer's pieces; without them transformers silently makes an empty tokenizer."""
    return any((folder / name).is_file() for name in VOCABULARY_FILES)


def folder_fingerprint(
    folder: Path,
    memories: Sequence[Path] = (),
    report: OnProgress | None = None,
    base: Path | None = None,
    tokenizer: Path | None = None,
) -> str:
    """Return the sha256 over the names, sizes and contents of the model's files, as 64 hex digits.

    Args:
        memories: JSON files that remember the hash of each file by its size and times, so that a second call reads
            nothing.
        report: called with the bytes read so far and in total, if any must be read; an exception from it stops the
            reading.
        base: the folder of the model that `folder`, an adapter, changes; the fingerprint is over both then.
        tokenizer: the folder of another model, whose tokenizer is used; its files count then, too.
    """
    digests, parts = Digests(memories), _parts(folder, base, tokenizer)
    files = [path for part in parts.values() for path in part]
    unread = [path for path in files if digests.known(path) is None]
    total, done = sum(path.stat().st_size for path in unread), 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if report is not None:
            report(Progress("fetch", min(done, total), total, _words(done, total)))

    if unread:
        tell(0)
    return _of(parts, {path: digests.of(path, tell) for path in files})


def known_fingerprint(
    folder: Path, memories: Sequence[Path] = (), base: Path | None = None, tokenizer: Path | None = None
) -> str | None:
    """Return `folder_fingerprint` if it takes reading at most `READ_AT_ONCE` bytes; else None."""
    digests, parts = Digests(memories), _parts(folder, base, tokenizer)
    files = [path for part in parts.values() for path in part]
    unread = [path for path in files if digests.known(path) is None]
    if sum(path.stat().st_size for path in unread) > READ_AT_ONCE:
        return None
    return _of(parts, {path: digests.of(path) for path in files})


def is_kept(folder: Path, memories: Sequence[Path], base: Path | None = None, tokenizer: Path | None = None) -> bool:
    """Whether every process gets a fingerprint from `known_fingerprint`."""
    digests = Digests(memories)
    files = [path for part in _parts(folder, base, tokenizer).values() for path in part]
    return sum(path.stat().st_size for path in files if not digests.kept(path)) <= READ_AT_ONCE


def _parts(folder: Path, base: Path | None, tokenizer: Path | None) -> dict[str, list[Path]]:
    """Return the files of each part of a model: of itself ("" or "adapter"), its base, another model's tokenizer."""
    parts = {"": model_files(folder)} if base is None else {"adapter": model_files(folder), "base": model_files(base)}
    return parts if tokenizer is None else {**parts, "tokenizer": tokenizer_files(tokenizer)}


def tokenizer_files(folder: Path) -> list[Path]:
    """Return those of a model's files that its tokenizer is made of, sorted by name."""
    others = {*weight_files(folder), index_file(folder)}
    return [path for path in model_files(folder) if path not in others and not path.name.startswith("adapter_")]


def fingerprint_memories(settings: Settings) -> tuple[Path, ...]:
    """Return the files that remember hashes of model files, so that a fingerprint is free the second time: beside the
    converted models, or in the cache folder if that cannot be written. Web process and workers share them.
    """
    own = settings.models_folder
    folders = (own, settings.cache_dir) if os.access(own, os.W_OK) else (settings.cache_dir,)
    return tuple(folder / ".fingerprints.json" for folder in folders)


def unresolved(name: str, revision: str | None) -> str:
    """Return a placeholder for a model's fingerprint while that is unknown."""
    return f"unresolved:{name}@{revision or 'main'}"


def _of(parts: Mapping[str, Sequence[Path]], digests: Mapping[Path, str]) -> str:
    """Return the hash over a model's files; of one that has several parts, over the hashes of these."""
    found = {
        part: _hash([[path.name, path.stat().st_size, digests[path]] for path in files])
        for part, files in parts.items()
    }
    return found[""] if list(found) == [""] else _hash(found)


def _hash(manifest: object) -> str:
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def _words(done: int, total: int) -> str:
    return f"Reading the model's checksum: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
