"""Every setting, in one frozen value, with its default, help text and environment name (listed in docs/settings.md)."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dashboard.contracts.precision import CARD, DEVICES, DTYPES, asked_dtype, least_bytes
from dashboard.errors import SettingsError
from dashboard.system.container import memory_limit
from dashboard.system.private import private_folder

log = logging.getLogger(__name__)
PREFIX = "DASHBOARD_"
RENAMED = MappingProxyType({"DASHBOARD_PATH": "DASHBOARD_PUBLIC_PATH"})  # old names of settings, which go on working
HUB_PREFIX = "models--"  # prefix of a model's folder in Hugging Face's own cache
PROBE = ".write-test-"  # prefix of a file written to test whether a folder is writable
LEAST_MODELS_GIGABYTES = 20.0  # in the cache folder, if no setting says how much it may hold
LEAST_WEB_GIGABYTES = 0.4  # a web process takes half of that when it has just started


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "transformer-dashboard"


def memory_bytes() -> int:
    """Return the memory of this computer, or the part of it that the container may use."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = memory_limit()
    return whole if allowed is None else min(whole, allowed)


def _setting(default: Any, help_text: str, environ: str | None = None, none: bool = False, **kwargs: Any) -> Any:
    """Declare a setting; `none`: 0 is a value, too."""
    metadata = {"help": help_text, "environ": environ, "none": none}
    if callable(default):
        return field(default_factory=default, metadata=metadata, **kwargs)
    return field(default=default, metadata=metadata, **kwargs)


@dataclass(frozen=True)
class Settings:
    """How this server runs. `Settings.from_env()` reads the environment; tests make their own."""

    host: str = _setting("127.0.0.1", "address the page is served on", "HOST")
    port: int = _setting(8050, "port the page is served on", "PORT")
    hosts: str | None = _setting(None, "host names that this server answers to, separated by commas; `*` for any")
    public_path: str = _setting("/", "path below which a proxy serves the page")
    cache_dir: Path = _setting(_cache_home, "folder of the queue, the visitors' lists and the saved runs (mode 0700)")
    models_dir: Path | None = _setting(
        None, "folder of the converted bundled models; by default `models` in the cache folder"
    )
    model_folders: tuple[Path, ...] = _setting(tuple, "folders whose models the page offers, separated as in PATH")
    model_gigabytes: float = _setting(
        lambda: round(0.8 * memory_bytes() / 1e9, 1), "most memory that one model may need; larger ones are refused"
    )
    default_model: str = _setting("smollm2-135m", "model that is chosen and loaded at the start")
    web_threads: int = _setting(8, "threads of one web process")
    request_seconds: float = _setting(10.0, "time for a complete request to arrive, headers and body")
    send_seconds: float = _setting(20.0, "time for a client to take each 256 kB of a response")
    web_processes: int = _setting(1, "web processes", "WEB_CONCURRENCY")
    web_gigabytes: float = _setting(
        lambda: max(LEAST_WEB_GIGABYTES, round(min(2.0, 0.4 * memory_bytes() / 1e9), 1)),
        "memory of one web process; above it, the process is replaced",
    )
    workers: int = _setting(1, "worker processes that hold models; two on the same cores slow each other down")
    device: str = _setting("cpu", "what models compute on: `cpu`, `cuda`, `mps`, or `auto`: a GPU if there is one")
    dtype: str = _setting(
        "auto",
        "dtype that models compute in: `float32`, `bfloat16`, `float16`, or `auto`: float32 on the CPU, on a GPU the "
        "dtype of the model's files",
    )
    worker_threads: int = _setting(lambda: max(1, os.cpu_count() or 1), "threads of one worker process")
    worker_gigabytes: float = _setting(
        lambda: round(0.8 * memory_bytes() / 1e9, 1),
        "memory of one worker, or of one process that prepares a model; above it, the process is ended",
    )
    resident_models: int = _setting(3, "models that one worker keeps in memory; beyond, it removes the least used")
    max_tokens: int = _setting(4096, "tokens that one text may have on this server, even if the model takes more")
    cache_gigabytes: float | None = _setting(
        None, "size of the cache folder in all; beyond it, the least recently used files are deleted"
    )
    store_gigabytes: float = _setting(10.0, "size of all saved runs; beyond it, the least used are deleted")
    results_megabytes: float = _setting(
        256.0, "size of all derived results of one run; beyond it, the least recently used are deleted"
    )
    weights_megabytes: float = _setting(
        150.0, "attention weights of one run, if they have to be stored; a longer text is refused"
    )
    export_gigabytes: float = _setting(2.0, "room for run files that are exported or opened, for all visitors")
    upload_megabytes: float = _setting(
        256.0, "largest run file that a visitor may open on the page; 0: none at all", none=True
    )
    text_in_links: bool = _setting(
        True, "whether a copied link carries text and model, in the part that browsers do not send (1 or 0)"
    )
    queue_runs: int = _setting(1000, "runs that may wait on this server; further ones are refused")
    queue_megabytes: float = _setting(64.0, "size of all waiting texts, in MB; one visitor may use a quarter of it")
    visitor_runs: int = _setting(64, "runs of one visitor that may wait; further ones are refused")
    job_seconds: float = _setting(600.0, "longest time that one run may take to compute")
    preparations: int = _setting(3, "models that are downloaded, converted or hashed at the same time, one per visitor")
    stall_seconds: float = _setting(60.0, "a download that stays below 10 kB a second for this long is stopped")
    cancel_grace_seconds: float = _setting(
        1.0, "how long a cancelled run may take to stop before its worker is replaced"
    )
    lease_seconds: float = _setting(5.0, "how long a page that has stopped asking still counts as waiting")
    heartbeat_seconds: float = _setting(2.0, "after this long without a sign of life, a worker counts as gone")
    poll_milliseconds: int = _setting(120, "how often a waiting page asks for its run")

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise SettingsError(f"PORT is {self.port}; choose a port from 1 to 65535.")
        object.__setattr__(self, "public_path", whole_path(self.public_path))
        _check_choice("DASHBOARD_DEVICE", "cuda" if _is_card(self.device) else self.device, DEVICES)
        _check_choice("DASHBOARD_DTYPE", self.dtype, DTYPES)
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if value < 0 or (value == 0 and not item.metadata["none"]):
                raise SettingsError(f"{environ_name(item)} is {value}; choose a number above 0.")

        if self.web_gigabytes < LEAST_WEB_GIGABYTES:
            raise SettingsError(
                f"DASHBOARD_WEB_GIGABYTES is {self.web_gigabytes}; choose at least {LEAST_WEB_GIGABYTES}."
            )

    @property
    def cache_bytes(self) -> int:
        """The most that the cache folder may hold."""
        models = max(LEAST_MODELS_GIGABYTES, 3 * self.model_gigabytes)
        return int((self.cache_gigabytes or self.store_gigabytes + self.export_gigabytes + models) * 1e9)

    @property
    def asked_dtype(self) -> str | None:
        """The `dtype` of this server's requests (`RunRequest`)."""
        return asked_dtype(self.device, self.dtype)

    @property
    def weight_bytes(self) -> int:
        """The fewest bytes that a weight may take in memory here."""
        return least_bytes(self.device, self.dtype)

    @property
    def upload_bytes(self) -> int:
        """The most bytes that a run file opened on the page may have."""
        return int(self.upload_megabytes * 1e6)

    @property
    def models_folder(self) -> Path:
        return self.models_dir or self.cache_dir / "models"

    @property
    def runs_folder(self) -> Path:
        return self.cache_dir / "runs"

    @property
    def visitors_folder(self) -> Path:
        return self.cache_dir / "visitors"

    @property
    def exports_folder(self) -> Path:
        return self.cache_dir / "exports"

    @property
    def queue_folder(self) -> Path:
        return self.cache_dir / "queue"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from the environment.

        Raises:
            SettingsError: a value cannot be read, or makes no sense.
        """
        environ = _with_new_names(os.environ if environ is None else environ)
        values = {
            item.name: _read(item, environ[environ_name(item)])
            for item in fields(cls)
            if environ.get(environ_name(item))
        }
        return cls(**values)

    def to_env(self) -> dict[str, str]:
        """Return the environment that gives a child process these settings."""
        values = {environ_name(item): getattr(self, item.name) for item in fields(self)}
        return {name: _written(value) for name, value in values.items() if value not in (None, ())}


def _with_new_names(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with each old name's value under the new name as well, unless that is set; log old
    names."""
    found = dict(environ)
    for old, new in RENAMED.items():
        if found.get(old) and not found.get(new):
            log.warning("%s is now called %s. The old name still works; change it when you can.", old, new)
            found[new] = found[old]
    return found


def whole_path(raw: str) -> str:
    """Return a path with a slash at both ends: "/tools/dash/"; "/" for none.

    Raises:
        SettingsError: it is a full URL, or contains something that parts of a path cannot have.
    """
    parts = [part for part in raw.strip().strip("/").split("/") if raw.strip("/ ")]
    if any(not re.fullmatch(r"[\w.~@-]+", part, re.ASCII) or set(part) == {"."} for part in parts):
        raise SettingsError(f"DASHBOARD_PUBLIC_PATH is {raw!r}; give only the path, such as /tools/dash/.")
    return "/".join(["", *parts, ""])


def environ_name(item: Field[Any]) -> str:
    """Return the environment variable of one setting."""
    return item.metadata["environ"] or PREFIX + item.name.upper()


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; choose {', '.join(choices[:-1])} or {choices[-1]}.")


def _is_card(device: str) -> bool:
    """Whether a device is one of several cards: "cuda:1"."""
    return device.startswith(CARD) and device.removeprefix(CARD).isdecimal()


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return os.pathsep.join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read(item: Field[Any], raw: str) -> Any:
    kind = str(item.type)
    if kind.startswith("tuple"):
        return tuple(Path(part).expanduser() for part in raw.split(os.pathsep) if part.strip())
    if kind == "bool":
        if raw not in ("0", "1"):
            raise SettingsError(f"{environ_name(item)} is {raw!r}; give 1 or 0.")
        return raw == "1"
    try:
        if kind == "int":
            return int(raw)
        if kind.startswith("float"):
            return finite(raw)
    except ValueError as error:
        raise SettingsError(f"{environ_name(item)} is {raw!r}; give a number.") from error
    return Path(raw).expanduser() if "Path" in kind else raw


def finite(raw: str) -> float:
    """Parse `raw` as a number; `ValueError` for nan and inf, too."""
    value = float(raw)
    if not math.isfinite(value):
        raise ValueError(raw)
    return value


def hub_cache() -> Path:
    """Return Hugging Face's own model cache, located as its library does (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME)."""
    direct = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if direct:
        return Path(direct).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("HF_HOME") or Path(cache) / "huggingface"
    return Path(home).expanduser() / "hub"


def make_folders(settings: Settings) -> None:
    """Create the cache folders, for their owner alone; raise `SettingsError` if they cannot be written."""
    for folder in (settings.cache_dir, settings.runs_folder, settings.queue_folder, settings.visitors_folder):
        try:
            private_folder(folder).chmod(0o700)
            probe = folder / f"{PROBE}{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise SettingsError(
                f"The cache folder {folder} cannot be written ({error.strerror}). "
                "Make it writable, or choose another one: DASHBOARD_CACHE_DIR=/path make run"
            ) from error
