"""Which models there are, what is known of each without loading it, and live token counts. No torch: the page imports this."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.contracts.run import ModelKind
from dashboard.errors import ModelNotFoundError
from dashboard.models.bundled import BUNDLED, BundledModel, is_converted
from dashboard.models.fingerprint import folder_fingerprint, has_weights
from dashboard.models.hub import HUB_MODELS, HubModel, find_cached
from dashboard.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZERS_KEPT = 4  # loaded tokenizers; one takes 10 to 40 MB


@dataclass(frozen=True)
class CatalogEntry:
    """One model that can be chosen.

    Attributes:
        name: as in requests. title: for people. kind: what it predicts.
        layers, heads, parameters, limit: sizes; `limit` is the most tokens it takes.
        here: loads without a network. folder: where its files are, or None.
        note: "" for a bundled model that is here; otherwise what choosing it means.
        monospace: its texts are formulas.
    """

    name: str
    title: str
    kind: ModelKind
    layers: int
    heads: int
    parameters: int
    limit: int
    here: bool
    folder: Path | None
    note: str
    monospace: bool = False


class Catalog:
    """The models of one server. Thread-safe.

    Raises (from the methods):
        ModelNotFoundError: the catalog has no such name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tokenizers: OrderedDict[tuple[str, int], Tokenizer] = OrderedDict()
        self._lock = threading.Lock()

    def entries(self) -> tuple[CatalogEntry, ...]:
        """The bundled models first, then well-known ones of the hub; looked up afresh, so that a finished download shows."""
        return (*(self._bundled(model) for model in BUNDLED), *(_hub_entry(model) for model in HUB_MODELS))

    def get(self, name: str, allow_folders: bool = False) -> CatalogEntry:
        """The entry called `name`; with `allow_folders`, also the model in an absolute folder."""
        for model in BUNDLED:
            if model.name == name:
                return self._bundled(model)
        for listed in HUB_MODELS:
            if name in (listed.name, listed.alias):
                return _hub_entry(listed)
        if allow_folders and Path(name).is_absolute() and has_weights(Path(name)):
            return _folder_entry(Path(name))
        names = ", ".join(model.name for model in (*BUNDLED, *HUB_MODELS))
        raise ModelNotFoundError(f"There is no model “{name}”. Choose one of: {names}.")

    def fingerprint(self, name: str, revision: str | None = None, allow_folders: bool = False) -> str:
        """What names the model's files in a run's key: 64 hex digits, or "unresolved:NAME@REVISION" where they are not here."""
        entry = self.get(name, allow_folders)
        folder = entry.folder
        listed = next((model for model in HUB_MODELS if model.name == entry.name), None)
        if listed is not None and revision is not None:
            folder = find_cached(listed, revision)
        if folder is None:
            return f"unresolved:{entry.name}@{revision or 'main'}"
        return folder_fingerprint(folder, fingerprint_memory(self._settings))

    def count_tokens(self, name: str, text: str, text_pair: str | None = None) -> int | None:
        """How many tokens a run of `text` will have, special ones included; None where only the run can tell.

        Equals the length of what `dashboard.models.tokens.tokenize` gives.
        """
        folder = self.get(name).folder
        if folder is None:
            return None
        tokenizer = self._tokenizer(folder / "tokenizer.json")
        if tokenizer is None:
            return None
        return len(tokenizer.encode(text, text_pair))

    def _tokenizer(self, path: Path) -> Tokenizer | None:
        from tokenizers import Tokenizer

        try:
            key = (str(path), path.stat().st_mtime_ns)
        except OSError:
            return None
        with self._lock:
            if key not in self._tokenizers:
                tokenizer = Tokenizer.from_file(str(path))
                tokenizer.no_truncation()
                tokenizer.no_padding()
                self._tokenizers[key] = tokenizer
            self._tokenizers.move_to_end(key)
            while len(self._tokenizers) > TOKENIZERS_KEPT:
                self._tokenizers.popitem(last=False)
            return self._tokenizers[key]

    def _bundled(self, model: BundledModel) -> CatalogEntry:
        folder = self._settings.models_folder / model.name
        here = is_converted(folder)
        return CatalogEntry(
            name=model.name,
            title=model.title,
            kind=model.kind,
            layers=model.layers,
            heads=model.heads,
            parameters=model.parameters,
            limit=model.limit,
            here=here,
            folder=folder if here else None,
            note="" if here else "not converted yet: run make setup",
            monospace=model.monospace,
        )


def fingerprint_memory(settings: Settings) -> Path:
    """The file that remembers hashes of model files, so that a fingerprint is free the second time."""
    return settings.models_folder / ".fingerprints.json"


def _hub_entry(model: HubModel) -> CatalogEntry:
    folder = find_cached(model)
    return CatalogEntry(
        name=model.name,
        title=model.name.split("/")[-1],
        kind=model.kind,
        layers=model.layers,
        heads=model.heads,
        parameters=model.parameters,
        limit=model.limit,
        here=folder is not None,
        folder=folder,
        note="in the local cache" if folder is not None else f"downloads {model.megabytes:,} MB on first use",
    )


def _folder_entry(folder: Path) -> CatalogEntry:
    """What config.json says of a model folder; 0 where it does not say (the loader counts)."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"{folder}/config.json cannot be read. Choose a folder that save_pretrained has written."
        ) from error
    head = (config.get("architectures") or [""])[0]
    kind: ModelKind = "masked" if "MaskedLM" in head else "causal" if "CausalLM" in head or "LMHead" in head else "encoder"
    return CatalogEntry(
        name=str(folder),
        title=folder.name,
        kind=kind,
        layers=_first(config, "num_hidden_layers", "n_layer", "n_layers"),
        heads=_first(config, "num_attention_heads", "n_head", "n_heads"),
        parameters=0,
        limit=_first(config, "max_position_embeddings", "n_positions", "n_ctx"),
        here=True,
        folder=folder,
        note="a folder on this machine",
    )


def _first(config: dict[str, Any], *names: str) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)
