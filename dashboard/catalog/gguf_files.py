"""GGUF files as models to choose from: what they are, and where their converted folders go.

from_gguf.py converts them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dashboard.catalog.bundled import CARD
from dashboard.catalog.chat_templates import chosen_template
from dashboard.catalog.config_sizes import implausible
from dashboard.catalog.description import card_of, contained, refused
from dashboard.catalog.disk_space import make_room
from dashboard.catalog.fingerprint import WEIGHTS_FILE
from dashboard.catalog.foreign_files import shown
from dashboard.catalog.gguf_header import GgufHeader, read_header
from dashboard.catalog.gguf_keys import refused_key, refused_rope, refused_sizes, refused_tokenizer
from dashboard.catalog.memory import BYTES_A_WEIGHT, check_room
from dashboard.catalog.model_card import ModelCard
from dashboard.catalog.sizes import heads_in, layers_in, most_tokens, positions_in
from dashboard.contracts.job import OnProgress
from dashboard.errors import ModelError, SettingsError, UnsupportedModelError, is_full_disk
from dashboard.settings import Settings
from dashboard.store.budget import CONVERTED
from dashboard.store.leftovers import DOWNLOAD_SECONDS, last_written, remove_left
from dashboard.system.private import private_folder, remove_unused

FORMAT = 2  # raise it when the conversion changes, so that folders of an older format are rebuilt
ARCHITECTURES = ("llama", "qwen2", "qwen3")  # those whose layout from_gguf.py knows, each checked against the original
SIZES = {  # names in a configuration for the sizes that a header gives
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "n_ctx": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "head_dim": "attention.key_length",
    "vocab_size": "vocab_size",
}
SCRATCH = ".converting-"


def describe_gguf(path: Path, until: float | None = None) -> ModelCard:
    """Return the card that the file's header gives; if no header can be read, the card says so as its refusal."""
    try:
        status = path.stat()
    except OSError as error:
        raise _gone(path) from error
    return contained(lambda: _describe(path), path, (status.st_size, status.st_mtime_ns), until)


def _describe(path: Path) -> ModelCard:
    header = read_header(path)
    reason = _implausible(header)
    if reason:
        return refused(path, reason)
    sizes = _sizes(header)
    return card_of(
        path,
        kind="causal",  # like every convertible architecture
        layers=layers_in(sizes),
        heads=heads_in(sizes),
        parameters=header.parameters,
        limit=most_tokens(positions_in(sizes)),
        vocabulary=header.arrays.get("tokenizer.ggml.tokens", 0),  # conversion refuses a tokenizer without it
        chat=chosen_template({"default": header.fields.get("tokenizer.chat_template")}) is not None,
        refusal=refusal(header),
    )


def refusal(header: GgufHeader) -> str:
    """Return why the file cannot be converted, as a clause; "" if it can."""
    if header.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        family = f"the family {shown(header.architecture, 60)}" if header.architecture else "an unnamed family"
        return f"GGUF files of {family} are not supported, only those of {known}"
    if header.number("expert_count"):
        return "its layers are mixtures of experts, which are not supported"
    checks = (_implausible, refused_rope, refused_tokenizer, refused_key, refused_sizes)
    return next(filter(None, (check(header) for check in checks)), "")


def _implausible(header: GgufHeader) -> str:
    return implausible(_sizes(header))


def _sizes(header: GgufHeader) -> dict[str, int]:
    return {name: header.number(key) for name, key in SIZES.items()}


def converted_folder(path: Path, settings: Settings) -> Path:
    """Return where the converted model of this file goes, or is; named by the file's path, size and time."""
    real = path.resolve()
    try:
        status = real.stat()
    except OSError as error:
        raise _gone(path) from error
    state = hashlib.sha256(json.dumps([FORMAT, str(real), status.st_size, status.st_mtime_ns]).encode()).hexdigest()
    return settings.models_folder / CONVERTED / f"{path.stem}-{state[:12]}"


def _gone(path: Path) -> ModelError:
    return ModelError(f"{path.name} is no longer there. List the models again to see which there are.")


def is_ready(folder: Path) -> bool:
    """Whether `folder` holds a converted model."""
    return (folder / CARD).is_file() and (folder / WEIGHTS_FILE).is_file()


def convert_once(path: Path, settings: Settings, report: OnProgress) -> Path:
    """Return the converted folder of a GGUF file, converting it now if needed; a second process waits for the first.

    Raises:
        UnsupportedModelError: its architecture or tokenizer cannot be converted here; the message names it.
        ModelError: the file is damaged. SettingsError: the models folder cannot be written.
    """
    folder = converted_folder(path, settings)
    if is_ready(folder):
        return folder
    header = read_header(path)
    reason = refusal(header)
    if reason:
        raise UnsupportedModelError(f"{path.name} cannot be run: {reason}. Choose another model.")
    from filelock import FileLock

    try:
        private_folder(folder.parent)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if not is_ready(folder):
                check_room(path.name, header.parameters, settings.model_gigabytes)  # conversion holds it all in memory
                _convert(path, folder, settings, report)
    except OSError as error:
        raise SettingsError(
            f"{path.name} cannot be converted into {folder.parent} ({error.strerror or error}). "
            f"{'Free some space, or set' if is_full_disk(error) else 'Set'} DASHBOARD_MODELS_DIR to another folder."
        ) from error
    return folder


def _convert(path: Path, folder: Path, settings: Settings, report: OnProgress) -> None:
    remove_left(folder.parent, f"{SCRATCH}*", older=DOWNLOAD_SECONDS)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
    try:
        with make_room(path.name, BYTES_A_WEIGHT * read_header(path).parameters, scratch, settings):
            from dashboard.capture import from_gguf  # torch, only here

            from_gguf.convert(path, scratch, report)
        card = {"format": FORMAT, "title": path.stem, "source": str(path)}
        (scratch / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        os.replace(scratch, folder)
        for other in _of_source(folder.parent, str(path)):
            if other != folder:
                remove_unused(other)  # made from an older version of the file
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_stale(settings: Settings) -> None:
    """Remove conversions whose GGUF file is gone or has been replaced, and that nobody has used for a day."""
    for card in (settings.models_folder / CONVERTED).glob(f"*/{CARD}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            source = Path(json.loads(card.read_text(encoding="utf-8"))["source"])
            current = source.is_file() and converted_folder(source, settings) == card.parent
            if not current and time.time() - last_written(card.parent) > DOWNLOAD_SECONDS:
                remove_unused(card.parent)


def _of_source(parent: Path, source: str) -> Iterator[Path]:
    """Yield the converted folders of one file, from its current and its older versions."""
    for card in parent.glob(f"*/{CARD}"):
        with suppress(OSError, ValueError):
            if json.loads(card.read_text(encoding="utf-8")).get("source") == source:
                yield card.parent
