"""Well-known models on the Hugging Face hub, and where its local cache keeps downloads. No torch, no network."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from dashboard.catalog.adapters import has_adapter
from dashboard.catalog.fingerprint import has_weights
from dashboard.catalog.foreign_files import entries_of, read_bytes
from dashboard.catalog.model_card import ModelCard
from dashboard.contracts.model_info import ModelKind
from dashboard.errors import ForeignFileError
from dashboard.settings import HUB_PREFIX
from dashboard.settings import hub_cache as cache_folder

log = logging.getLogger(__name__)

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")
LONGEST_ID = 96
SNAPSHOTS = "snapshots"  # the folder of a model's revisions in the local cache
COMMIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # a folder below `snapshots`, and no other
LONGEST_REVISION = 200


def _published(
    name: str, kind: ModelKind, layers: int, heads: int, parameters: int, limit: int, megabytes: int
) -> ModelCard:
    """Make the card of a well-known model as published; `parameters` include its prediction head."""
    note = f"downloads about {megabytes:,} MB on first use"
    title = name.split("/")[-1]
    sizes = (layers, heads, parameters, limit)
    return ModelCard(name, title, kind, *sizes, note=note, megabytes=megabytes, pairs=kind == "masked")


# Sizes follow from the published configurations; parameters were counted on models built from these.
HUB_MODELS = (
    _published("gpt2", "causal", 12, 12, 124_439_808, 1024, 548),
    _published("distilgpt2", "causal", 6, 12, 81_912_576, 1024, 353),
    _published("bert-base-uncased", "masked", 12, 12, 109_514_298, 512, 440),
    _published("distilbert-base-uncased", "masked", 6, 12, 66_985_530, 512, 268),
    _published("roberta-base", "masked", 12, 12, 124_697_433, 512, 499),
    _published("albert-base-v2", "masked", 12, 12, 11_221_680, 512, 47),
    _published("google/electra-small-generator", "masked", 12, 4, 13_546_682, 512, 54),
    _published("answerdotai/ModernBERT-base", "masked", 22, 12, 149_655_232, 8192, 599),
    _published("EleutherAI/pythia-70m", "causal", 6, 8, 70_426_624, 2048, 166),
    _published("EleutherAI/pythia-160m", "causal", 12, 12, 162_322_944, 2048, 375),
    _published("facebook/opt-125m", "causal", 12, 12, 125_239_296, 2048, 251),
    _published("Qwen/Qwen3-0.6B", "causal", 28, 16, 596_049_920, 40_960, 1503),
)
ALIASES = {  # the hub moved these models to ids under an organisation; a cache may hold either
    "gpt2": "openai-community/gpt2",
    "distilgpt2": "distilbert/distilgpt2",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "roberta-base": "FacebookAI/roberta-base",
    "albert-base-v2": "albert/albert-base-v2",
}


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a hub id: NAME or ORGANISATION/NAME."""
    return len(name) <= LONGEST_ID and HUB_ID.fullmatch(name) is not None and ".." not in name and "--" not in name


def listed_model(name: str) -> ModelCard | None:
    """Return the well-known model of this name or alias."""
    return next((model for model in HUB_MODELS if name in (model.name, ALIASES.get(model.name))), None)


def cached_ids() -> tuple[str, ...]:
    """Return the hub ids of all complete models in the local cache, well-known or not, sorted by name."""
    try:
        names = sorted(entry.name for entry in entries_of(cache_folder()) if entry.name.startswith(HUB_PREFIX))
    except ForeignFileError as error:
        if cache_folder().is_dir():
            log.warning("no model of the hub's local cache is listed: %s", error)
        return ()
    ids = (name.removeprefix(HUB_PREFIX).replace("--", "/") for name in names)
    return tuple(name for name in ids if is_hub_id(name) and cached_snapshot(name) is not None)


def repository_of(hub_id: str) -> Path:
    """Return a model's folder in the local cache."""
    return cache_folder() / (HUB_PREFIX + hub_id.replace("/", "--"))


def is_snapshot(folder: Path) -> bool:
    """Whether a model's folder is a snapshot of a hub model in the local cache; its name is then the revision."""
    return folder.parent.name == SNAPSHOTS


def whole_folder(folder: Path) -> Path:
    """Return the folder of everything kept of a model: for a hub model the one around its snapshots, else `folder`."""
    return folder.parent.parent if is_snapshot(folder) else folder


def snapshot_of(hub_id: str, commit: str) -> Path:
    """Return where a revision of a model is in the local cache, or would be."""
    return repository_of(hub_id) / SNAPSHOTS / commit


def cached_snapshot(hub_id: str, revision: str | None = None) -> Path | None:
    """Return the folder of a model in the local cache, with its weights or those of an adapter; None if it is missing
    or incomplete."""
    repository = repository_of(hub_id)
    wanted = revision or "main"
    if len(wanted) > LONGEST_REVISION or wanted.startswith("/") or ".." in wanted:
        return None
    try:
        commit = read_bytes(repository / "refs" / wanted, LONGEST_REVISION).decode("utf-8", "replace").strip()
    except ForeignFileError:
        commit = wanted
    if not COMMIT.fullmatch(commit):
        return None
    folder = repository / SNAPSHOTS / commit
    return folder if has_weights(folder) or has_adapter(folder) else None


def find_cached(model: ModelCard, revision: str | None = None) -> Path | None:
    """Return `cached_snapshot` under the model's name or its alias."""
    for hub_id in (model.name, ALIASES.get(model.name)):
        found = cached_snapshot(hub_id, revision) if hub_id else None
        if found is not None:
            return found
    return None
