"""Loading a model: a folder's weights, float32 unless asked otherwise, with the prediction head that the checkpoint
really has."""

from __future__ import annotations

import logging
import os
import warnings
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import transformers
from torch import nn
from transformers import (
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dashboard.capture.adapter_weights import read_weights
from dashboard.capture.class_head import class_head
from dashboard.capture.configuration import first_line, load_config, refuse_encoder_decoder
from dashboard.capture.device import dtype_in, name_of, place_of
from dashboard.capture.kind import judge_in_memory
from dashboard.capture.spm import check_format, faithful
from dashboard.capture.weights import read_model
from dashboard.capture.wrapping import fingerprint_in_memory, unwrapped
from dashboard.catalog.adapter_base import Base
from dashboard.catalog.adapter_card import base_of
from dashboard.catalog.adapters import WEIGHTS, beside_weights
from dashboard.catalog.bundled import WHEELS, bundled_card
from dashboard.catalog.catalog import title_of
from dashboard.catalog.config_sizes import implausible
from dashboard.catalog.description import read_config
from dashboard.catalog.disk_space import use
from dashboard.catalog.fetch import not_ready, resolve_folder
from dashboard.catalog.fingerprint import (
    fingerprint_memories,
    folder_fingerprint,
    has_vocabulary,
    known_fingerprint,
    strange_weights,
)
from dashboard.catalog.foreign_files import check_regular, shown
from dashboard.catalog.hub import is_snapshot
from dashboard.catalog.prediction_head import Judgement
from dashboard.catalog.sizes import most_tokens
from dashboard.catalog.tokenizer_panics import loading_tokenizer
from dashboard.catalog.tokenizers import lacking, owned, tokenizer_folder
from dashboard.catalog.weight_headers import parameters_in, read_headers
from dashboard.contracts.classes import ClassHead
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.model_info import ModelInfo, Without
from dashboard.contracts.precision import FULL
from dashboard.errors import (
    DashboardError,
    ModelError,
    ModelNotFoundError,
    NotReadyError,
    UnsafeModelError,
    UnsupportedModelError,
)
from dashboard.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        model: in eval mode, gradients off; with a prediction head if the checkpoint has one.
        tokenizer: the model's own, or another's. info: its sizes. fingerprint: of its files, as in run keys.
        source: which published version it is ("commit …", "package … 0.1.2"); "" if unknown.
        without: what an encoder is: a classifier, or an embedding model. classes: what a classifier's head classifies;
            None if the model is none, or one of a kind that is not read. unread: weights in its files that nothing
            reads. tokenizer_of: the name of that other model, for a model that has no tokenizer; else None.
        dtype, device: the numbers that it computes in, and on what: "float32", "cuda (NVIDIA H200)".
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    info: ModelInfo
    fingerprint: str
    source: str = ""
    without: Without = ""
    classes: ClassHead | None = None
    unread: tuple[str, ...] = ()
    tokenizer_of: str | None = None
    dtype: str = FULL
    device: str = "cpu"

    @property
    def asked_dtype(self) -> str | None:
        """The `dtype` of requests that this model answers (`RunRequest`)."""
        return None if self.dtype == FULL else self.dtype


def load_model(
    name: str | Path,
    settings: Settings | None = None,
    revision: str | None = None,
    progress: OnProgress | None = None,
    folders: bool = True,
    brings: bool = True,
    tokenizer: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> LoadedModel:
    """Load a bundled model by its catalog name, a model folder, a GGUF file, or a hub model (downloaded if needed).

    Never runs code that comes with a model, and reads pickled weights only as plain tensors.

    Args:
        progress: called with each step; an exception from it stops a download, a conversion or the reading of a
            checksum.
        folders: accept the path of any folder, not only of those that `settings` names.
        brings: download or convert what is not here, and read the checksum of files not read before.
        tokenizer: the model whose tokenizer reads texts for one that has none; its files must be here.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto" (a GPU if there is one); by default what `settings` say.
        dtype: the numbers to compute in: "float32", "bfloat16", "float16", or "auto": float32 on the CPU, those of the
            model's own files on a GPU; by default what `settings` say.

    Raises:
        SettingsError: this computer has no such device, or there are no such numbers.
        NotReadyError: the model is not here or was never read through, and `brings` is False; or its files changed
            meanwhile.
        ModelNotFoundError: there is no such model, or it cannot be fetched from here.
        ModelTooLargeError: it would not fit into memory.
        UnsupportedModelError: this program does not support its architecture.
        UnsafeModelError: the model would only load by running code.
        ModelError: its files are damaged.
    """
    settings = settings or Settings.from_env()
    settings = replace(settings, device=device or settings.device, dtype=dtype or settings.dtype)
    folder = resolve_folder(name, settings, revision, progress, folders, brings=brings)
    base = base_of(folder, title_of(name), settings)
    with ExitStack() as stack:
        for used in (use(place, settings) for place in (folder, *([] if base is None else [base.folder]))):
            if used is not None:
                stack.callback(os.close, used)
        reader = None if tokenizer is None else tokenizer_folder(str(tokenizer), settings, folders)
        loaded = _load(name, _Places(folder, base, reader), settings, progress, brings)
        weakref.finalize(loaded.model, stack.pop_all().close)  # its files stay as long as it is in memory
    return replace(loaded, tokenizer_of=None if tokenizer is None else str(tokenizer))


@dataclass(frozen=True)
class _Places:
    """The folders that a model is read from: its own, of an adapter its base, and of the model that lends a tokenizer.

    Raises:
        UnsupportedModelError: there is no tokenizer, or one too many.
    """

    folder: Path
    base: Base | None
    lent: Path | None

    @property
    def whole(self) -> Path:
        """Where configuration and whole weights are."""
        return self.folder if self.base is None else self.base.folder

    @property
    def adapted(self) -> Path | None:
        return None if self.base is None else self.base.folder

    def tokenizer(self, title: str) -> Path:
        """Return where the tokenizer is."""
        own = next((place for place in (self.folder, self.whole) if has_vocabulary(place)), None)
        if own is not None and self.lent is not None:
            raise owned(title)
        found = own or self.lent
        if found is None:
            raise lacking(title)
        return found


def _load(
    name: str | Path, places: _Places, settings: Settings, progress: OnProgress | None, brings: bool
) -> LoadedModel:
    """Load the model from the folders found for its name."""
    title, whole = title_of(name), places.whole
    check_regular(places.folder)
    _check_files(whole, title)
    reader = places.tokenizer(title)
    place = place_of(settings.device, settings.dtype, whole, title)
    place.check_room(title, _parameters(places.folder, places.adapted, title), settings.model_gigabytes)
    fingerprint = _fingerprint(name, places, settings, progress, brings)
    if progress is not None:
        progress(Progress("load", message=f"Loading {title}"))
    with _quiet(), _foreign(title):
        config = load_config(whole, title)
        tokenizer = _read_tokenizer(reader, title)
        adapter = None if places.base is None else read_weights(places.folder, title)
        model, judged, left = read_model(whole, config, title, settings.model_gigabytes, place, adapter)
    memories = fingerprint_memories(settings)
    if known_fingerprint(places.folder, memories, places.adapted, places.lent) != fingerprint:
        raise NotReadyError(f"The files of {title} changed while they were read. Try again.")
    loaded = _finish(model, tokenizer, str(name), title, judged, fingerprint)
    return replace(loaded, source=_source(str(name), places.folder, places.base), unread=left)


def _fingerprint(
    name: str | Path, places: _Places, settings: Settings, progress: OnProgress | None, brings: bool
) -> str:
    """Return the hash of the files.

    Reading gigabytes for it is a preparation's work, which can be stopped: with `brings` False, only a known hash is
    used. Bundled models are small, and were read when they were fetched.
    """
    memories = fingerprint_memories(settings)
    known = known_fingerprint(places.folder, memories, places.adapted, places.lent)
    if known is None and not (brings or bundled_card(name)):
        raise not_ready(title_of(name))
    return known or folder_fingerprint(places.folder, memories, progress, places.adapted, places.lent)


def _check_files(folder: Path, title: str) -> None:
    """Refuse files that would block, mislead or overwhelm the loader: pipes and devices, an adapter beside whole
    weights, weights elsewhere, and sizes that no model has.
    """
    check_regular(folder)
    reason = implausible(read_config(folder))
    if reason:
        raise UnsupportedModelError(f"{title} cannot be loaded: {reason}. Choose another model.")
    beside = beside_weights(folder)
    if beside:
        raise UnsupportedModelError(f"{title} cannot be run: {beside}.")
    strange = strange_weights(folder)
    if strange is not None:
        raise UnsafeModelError(
            f"{title} names weights that are not among its own files ({strange[:80]}). Choose another model."
        )


@contextmanager
def _foreign(title: str) -> Iterator[None]:
    """Turn any error that transformers raises on foreign files into one that blames the files, not this program."""
    try:
        yield
    except (DashboardError, MemoryError):
        raise
    except Exception as error:
        if "not enough memory" in str(error) or "out of memory" in str(error):
            raise
        log.exception("%s cannot be loaded", title)
        raise ModelError(
            f"The files of {title} cannot be read ({type(error).__name__}: {shown(first_line(error), 120)}). "
            "Download or save the model again, or choose another one."
        ) from error


def _source(name: str, folder: Path, base: Base | None = None) -> str:
    """Return the published version that a folder holds, judged by its path; of an adapter, also its base."""
    if base is not None:
        parts = (_source(name, folder), f"adapter of {base.word}", _source(base.name, base.folder))
        return ", ".join(part for part in parts if part)
    wheel = WHEELS.get(name)
    if wheel is not None:
        return f"package {wheel.package} {wheel.version}"
    return f"commit {folder.name}" if is_snapshot(folder) else ""


def _parameters(folder: Path, base: Path | None, title: str) -> int:
    """Count the parameters from the files' headers, of an adapter and its base together."""
    try:
        if base is None:
            return read_headers(folder, read_config(folder)).parameters
        return parameters_in(folder / WEIGHTS) + read_headers(base, read_config(base)).parameters
    except ModelNotFoundError as error:
        raise ModelError(f"The configuration of {title} cannot be read. Download or save it again.") from error
    except ModelError as error:
        raise ModelError(f"The weights of {title} cannot be read ({error}). Download or save it again.") from error


def wrap_model(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    title: str | None = None,
    fingerprint: str | None = None,
) -> LoadedModel:
    """Make a model that is already in memory usable; puts it in eval mode, with gradients off.

    The model keeps its device and dtype.

    Args:
        model: a transformers model, also inside `torch.compile`, `DataParallel` or `DistributedDataParallel`; or
            peft's, of which a copy with the active adapters merged is used.
        fingerprint: by default, a hash of the model's configuration, its weights and its tokenizer.

    Raises:
        UnsupportedModelError: an encoder–decoder model, or an object that is not a transformers model.
    """
    model = unwrapped(model, title or name)
    refuse_encoder_decoder(model.config, title or name)
    return _finish(model, tokenizer, name, title or name, None, fingerprint or fingerprint_in_memory(model, tokenizer))


def _finish(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    title: str,
    judged: Judgement | None,
    fingerprint: str,
) -> LoadedModel:
    model.eval()
    model.requires_grad_(False)
    judged = judge_in_memory(model, judged)
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        raise UnsupportedModelError(
            f"{title} ({model.config.model_type}) has no attention that could be shown. Choose another model."
        )
    info = ModelInfo(
        name=name,
        title=title,
        family=model.config.model_type,
        kind=judged.kind,
        layers=config.num_hidden_layers,
        heads=heads,
        key_heads=getattr(config, "num_key_value_heads", None) or heads,
        hidden_size=config.hidden_size,
        vocabulary=config.vocab_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        limit=_limit(model, config, tokenizer),
    )
    classes = class_head(model) if judged.without == "classifier" else None
    return LoadedModel(
        model,
        tokenizer,
        info,
        fingerprint,
        without=judged.without,
        classes=classes,
        dtype=dtype_in(model),
        device=name_of(model.device),
    )


def _limit(model: nn.Module, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the most tokens; the model's own module tells whether positions start after the padding position."""
    tables = (module for path, module in model.named_modules() if path.endswith("position_embeddings"))
    padding = next(
        (int(table.padding_idx) for table in tables if getattr(table, "padding_idx", None) is not None), None
    )
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)  # MPT's name
    return most_tokens(positions or 0, padding, tokenizer.model_max_length)


def _read_tokenizer(folder: Path, title: str) -> PreTrainedTokenizerBase:
    check_format(folder, title)
    try:
        with loading_tokenizer(title):
            found = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, ImportError, TypeError, AttributeError) as error:
        raise UnsupportedModelError(
            f"{title} has no tokenizer that can be loaded here ({first_line(error)}). "
            "Save its tokenizer again, or choose another model."
        ) from error
    with loading_tokenizer(title):
        return faithful(found, folder, title)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and reports while loading; anything in them that matters is checked and raised."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
