"""From a model's name to a folder that holds it: bundled, a folder, the hub's local cache, or a download."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.catalog.adapters import HELP, SETTINGS, WEIGHTS, adapter_files, has_adapter
from dashboard.catalog.bundled import BUNDLED, FETCH, bundled_card, is_converted
from dashboard.catalog.disk_space import make_room
from dashboard.catalog.fingerprint import CONFIG, TOKENIZER_FILES, has_weights
from dashboard.catalog.folders import PREFIX, folder_model
from dashboard.catalog.foreign_files import shown
from dashboard.catalog.gguf_files import convert_once, converted_folder, is_ready
from dashboard.catalog.hub import cached_snapshot, find_cached, is_hub_id, listed_model, repository_of
from dashboard.catalog.memory import BYTES_A_WEIGHT, check_bound, check_room
from dashboard.catalog.transfer import TransferError, beside, bytes_to_come, download
from dashboard.contracts.job import OnProgress, Progress
from dashboard.errors import (
    HubUnreachableError,
    ModelError,
    ModelNotFoundError,
    NotReadyError,
    UnsafeModelError,
    UnsupportedModelError,
    is_full_disk,
    unforeseen,
)
from dashboard.settings import Settings

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
SMALL_FILES = (CONFIG, "generation_config.json", "chat_template.jinja", *TOKENIZER_FILES)
SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")


@dataclass(frozen=True)
class HubFiles:
    """The files that a run needs from a hub model.

    Attributes:
        commit: the revision that its name currently means. sizes: file → bytes (0 if the hub does not say).
        parameters: as the hub counts them, or estimated from the weights' size as float32.
    """

    commit: str
    sizes: dict[str, int]
    parameters: int


def resolve_folder(
    name: str | Path,
    settings: Settings,
    revision: str | None,
    report: OnProgress | None = None,
    folders: bool = True,
    loads: bool = True,
    brings: bool = True,
) -> Path:
    """Return the folder of a model's files; asks the network only for a hub model that is not in the local cache.

    Args:
        report: called with the progress of a download or a conversion; an exception from it stops that.
        loads: the model will be loaded next, so it must fit into memory now, or it is not downloaded.
        folders: accept the path of any folder or GGUF file, not only the names of the catalog.
        brings: download or convert a model that is not here.

    Raises:
        NotReadyError: the model is not here, and `brings` is False.
        ModelNotFoundError: there is no such model, or it cannot be fetched from here; the message says which.
        ModelTooLargeError: the model would not fit into memory; it is not downloaded then.
        UnsafeModelError: the hub has the model only in a format that can run code when loaded.
        UnsupportedModelError: this program cannot convert the GGUF file.
    """
    tell = report or (lambda progress: None)
    bundled = bundled_card(name)
    if bundled is not None:
        folder = settings.models_folder / bundled.name
        if is_converted(folder):
            return folder
        how = f"Run {FETCH} {bundled.name}, then try again."
        raise ModelNotFoundError(f"{bundled.title} is not in “{settings.models_folder}” yet. {how}")
    if isinstance(name, str) and name.startswith(PREFIX):
        return _local(folder_model(name, settings).path, settings, tell, brings)
    if folders:
        path = Path(name).expanduser()
        if _is_path(name) or _holds_model(path) or (path.suffix == ".gguf" and path.is_file()):
            return _local(path, settings, tell, brings)
    if not is_hub_id(str(name)):
        raise ModelNotFoundError(
            f"“{shown(str(name), 200)}” is neither a model's name nor a folder. Choose one of the listed models."
        )
    listed = listed_model(str(name))
    cached = cached_snapshot(str(name), revision) or (find_cached(listed, revision) if listed else None)
    if cached is None and not brings:
        raise not_ready(str(name))
    return cached or _fetch(str(name), revision, settings, tell, loads)


def not_ready(title: str) -> NotReadyError:
    """Return the error for a model that a preparation should have made ready."""
    return NotReadyError(f"{title} is not ready: its files were removed or changed after it was requested. Try again.")


def _is_path(name: str | Path) -> bool:
    return isinstance(name, Path) or name.startswith((".", "~", "/"))


def _holds_model(folder: Path) -> bool:
    """Whether a folder holds a whole model, or an adapter."""
    return has_weights(folder) or has_adapter(folder)


def _local(path: Path, settings: Settings, report: OnProgress, brings: bool) -> Path:
    if path.suffix == ".gguf" and path.is_file():
        if not brings and not is_ready(converted_folder(path, settings)):
            raise not_ready(path.name)
        return convert_once(path, settings, report)
    if not path.is_dir():
        raise ModelNotFoundError(f"There is no folder “{path}”. Check the path.")
    if not _holds_model(path):
        raise ModelNotFoundError(
            f"“{path}” holds no model: config.json and model.safetensors (or pytorch_model.bin) are needed. "
            "Choose a folder that save_pretrained has written, or a GGUF file."
        )
    return path


def _fetch(name: str, revision: str | None, settings: Settings, report: OnProgress, loads: bool) -> Path:
    found = _found(name, revision, settings.stall_seconds, report)
    check = check_room if loads else check_bound
    check(name, found.parameters, settings.model_gigabytes, size=settings.weight_bytes)
    try:
        with make_room(name, bytes_to_come(name, found.commit, found.sizes), repository_of(name), settings):
            folder = download(name, found.commit, revision or "main", found.sizes, report, settings.stall_seconds)
    except TransferError as failed:  # only this: an exception from `report` belongs to the caller
        if failed.begun and _is_unreachable(failed.error):
            raise HubUnreachableError(
                f"The download of {name} broke off. What has arrived is kept. Try again to continue from there."
            ) from failed.error
        raise explained(name, revision, failed.error) from failed.error
    if not _holds_model(folder):
        raise ModelNotFoundError(f"The download of {name} is not complete. Try again.")
    return folder


def _found(name: str, revision: str | None, patience: float, report: OnProgress) -> HubFiles:
    """Return what the hub says of a model, waiting at most `patience` seconds."""
    until = time.monotonic() + patience

    def look() -> None:
        report(Progress("fetch", 0, 0, f"Looking for {name} on the hub"))
        if time.monotonic() > until:
            raise HubUnreachableError(
                f"The hub did not say within {patience:g} seconds what {name} holds. Try again later."
            )

    try:
        return beside(lambda: _look_up(name, revision), look)
    except TransferError as failed:
        if isinstance(failed.error, ModelError):
            raise failed.error from None
        raise explained(name, revision, failed.error) from failed.error


def _look_up(name: str, revision: str | None) -> HubFiles:
    """Ask the hub about a model; one request."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(name, revision=revision, timeout=CONNECT_SECONDS, files_metadata=True)
    sizes = {item.rfilename: int(item.size or 0) for item in info.siblings or ()}
    files = _files_to_load(name, list(sizes))
    weights = sum(sizes[file] for file in files if file.endswith((".safetensors", ".bin")))
    return HubFiles(str(info.sha), {file: sizes[file] for file in files}, _counted(info) or weights // BYTES_A_WEIGHT)


def _counted(info: Any) -> int:
    return int(getattr(getattr(info, "safetensors", None), "total", None) or 0)


def _files_to_load(name: str, files: list[str]) -> list[str]:
    """Return which of a repository's files a run needs: weights in one format only, or an adapter's."""
    adapter = adapter_files(files)
    if adapter and any(SAFE.fullmatch(file) or PICKLED.fullmatch(file) for file in files):
        raise UnsupportedModelError(
            f"{name} holds an adapter beside whole weights, and nothing says whether they include it already: {HELP}."
        )
    if adapter:
        if not {SETTINGS, WEIGHTS} <= set(adapter):
            raise UnsafeModelError(
                f"{name} holds an adapter without {SETTINGS} or {WEIGHTS}, and this program reads no other adapter "
                "files. Choose another model."
            )
        return [SETTINGS, WEIGHTS, *(file for file in files if file in SMALL_FILES and file != CONFIG)]
    for pattern in (SAFE, PICKLED):
        weights = [file for file in files if pattern.fullmatch(file)]
        if weights:
            return [*weights, *(file for file in files if file in SMALL_FILES)]
    if any(file.endswith(".gguf") for file in files):
        raise ModelNotFoundError(
            f"{name} holds GGUF files only. Download one into a folder of DASHBOARD_MODEL_FOLDERS to list it."
        )
    if any(file.endswith((".bin", ".pt", ".ckpt", ".h5", ".msgpack", ".pkl")) for file in files):
        raise UnsafeModelError(
            f"{name} has no safetensors or PyTorch checkpoint that can be read without running code. Choose another "
            f"model."
        )
    raise ModelNotFoundError(f"{name} is on the hub but holds no weights. Choose another model.")


def explained(name: str, revision: str | None, error: Exception) -> ModelNotFoundError:
    """Return the error that explains what went wrong on the way to the hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelNotFoundError(
            f"{name} is gated: accept its terms on the hub and set HF_TOKEN where the model is loaded, then try again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(f"{name} has no revision “{revision}”. Check the revision.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(f"The hub has no model “{name}” (or it is private). Check its name.")
    if is_full_disk(error):
        return ModelNotFoundError(f"{name} cannot be saved to the local cache: the disk is full. Free some space.")
    if isinstance(error, OSError) and error.filename is not None:
        log.error("%s cannot be saved to the local cache: %s", name, error)
        return ModelNotFoundError(f"{name} cannot be saved to the local cache ({error.strerror}). {unforeseen(error)}")
    here = ", ".join(model.name for model in BUNDLED)
    if _is_unreachable(error):
        return HubUnreachableError(
            f"{name} is not in the local cache, and the hub cannot be reached from here. Check the network, "
            f"or choose a bundled model ({here})."
        )
    return HubUnreachableError(
        f"{name} could not be fetched from the hub ({type(error).__name__}: {str(error).strip()[:200]}). "
        f"Try again later, or choose a bundled model ({here})."
    )


def _is_unreachable(error: Exception) -> bool:
    """Whether the network failed to deliver a file or an answer."""
    from huggingface_hub import errors

    unreachable = (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError)
    return isinstance(error, unreachable) or type(error).__module__.startswith(("httpx", "httpcore"))
