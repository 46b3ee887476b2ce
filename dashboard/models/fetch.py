"""From a model's name to a folder that holds it: bundled, a folder, the hub's local cache, or a download."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dashboard.errors import HubUnreachableError, ModelNotFoundError, UnsafeModelError
from dashboard.models.bundled import BUNDLED, is_converted
from dashboard.models.fingerprint import TOKENIZER_FILES, has_weights
from dashboard.models.hub import HUB_MODELS, HubModel, cached_snapshot, find_cached
from dashboard.settings import Settings

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
CONNECT_SECONDS = 5.0
SMALL_FILES = ("config.json", "generation_config.json", "chat_template.jinja", *TOKENIZER_FILES)
SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
Progress = Callable[[str], None]


def resolve_folder(name: str | Path, settings: Settings, revision: str | None, progress: Progress | None = None) -> Path:
    """The folder of a model's files; asks the network only for a hub model that is not in the local cache.

    Raises:
        ModelNotFoundError: there is no such model, or it cannot be fetched from here; the message says which.
        UnsafeModelError: the hub has it only in a format whose loading can run code.
    """
    for bundled in BUNDLED:
        if name == bundled.name:
            folder = settings.models_folder / bundled.name
            if is_converted(folder):
                return folder
            raise ModelNotFoundError(f"{bundled.title} is not in {settings.models_folder} yet. Run make setup, then try again.")
    path = Path(name).expanduser()
    if isinstance(name, Path) or path.is_absolute() or str(name).startswith((".", "~")) or has_weights(path):
        return _local(path)
    if not HUB_ID.fullmatch(str(name)):
        raise ModelNotFoundError(f"“{name}” is neither a model's name nor a folder. Choose a model in the list.")
    listed = next((model for model in HUB_MODELS if name in (model.name, model.alias)), None)
    cached = cached_snapshot(str(name), revision) or (find_cached(listed, revision) if listed else None)
    return cached or _download(str(name), revision, listed, progress or (lambda line: None))


def _local(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelNotFoundError(f"There is no folder {folder}. Check the path.")
    if not has_weights(folder):
        raise ModelNotFoundError(
            f"{folder} holds no model: config.json and model.safetensors (or pytorch_model.bin) are needed. "
            "Choose a folder that save_pretrained has written."
        )
    return folder


def _download(name: str, revision: str | None, listed: HubModel | None, progress: Progress) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    progress(f"Looking for {name} on the hub")
    try:
        info = HfApi().model_info(name, revision=revision, timeout=CONNECT_SECONDS)
        files = _files_to_load(name, [item.rfilename for item in info.siblings or ()])
        size = f" ({listed.megabytes:,} MB)" if listed else ""
        progress(f"Downloading {name}{size}")
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=files, etag_timeout=CONNECT_SECONDS))
    except (ModelNotFoundError, UnsafeModelError):
        raise
    except Exception as error:
        raise _explained(name, revision, error) from error
    if not has_weights(folder):
        raise ModelNotFoundError(f"The download of {name} is not complete. Run it again.")
    return folder


def _files_to_load(name: str, files: list[str]) -> list[str]:
    """Which of a repository's files a run needs: weights in one format only."""
    for pattern in (SAFE, PICKLED):
        weights = [file for file in files if pattern.fullmatch(file)]
        if weights:
            return [*weights, *(file for file in files if file in SMALL_FILES)]
    if any(file.endswith((".bin", ".pt", ".ckpt", ".h5", ".msgpack", ".pkl")) for file in files):
        raise UnsafeModelError(f"{name} has no safetensors or PyTorch checkpoint that can be read without running code.")
    raise ModelNotFoundError(f"{name} is on the hub but holds no weights. Choose another model.")


def _explained(name: str, revision: str | None, error: Exception) -> ModelNotFoundError:
    """The sentence for what went wrong on the way to the hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelNotFoundError(
            f"{name} is gated: accept its terms on the hub and set HF_TOKEN for the worker, then run again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(f"{name} has no revision “{revision}”. Check the revision.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(f"The hub has no model “{name}” (or it is private). Check its name.")
    if isinstance(error, OSError) and error.filename is not None:
        return ModelNotFoundError(f"{name} cannot be saved to the local cache ({error.strerror}). Free some space.")
    unreachable = (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError)
    here = ", ".join(model.name for model in BUNDLED)
    if isinstance(error, unreachable) or type(error).__module__.startswith(("httpx", "httpcore")):
        return HubUnreachableError(
            f"{name} is not in the local cache, and the hub cannot be reached from here. Check the network, "
            f"or choose a bundled model ({here})."
        )
    return HubUnreachableError(
        f"{name} could not be fetched from the hub ({type(error).__name__}: {str(error).strip()[:200]}). "
        f"Try again later, or choose a bundled model ({here})."
    )
