"""Adapters in the list of models: their base by its name, their card, their fingerprint, files by anyone. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard.catalog.adapter_card import base_of
from dashboard.catalog.adapters import MOST_PATTERNS, Adapter, read_adapter
from dashboard.catalog.bundled import CARD, FORMAT
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.fetch import _files_to_load
from dashboard.catalog.fingerprint import folder_fingerprint, is_kept, known_fingerprint
from dashboard.catalog.model_card import ModelCard
from dashboard.cli.models import _row
from dashboard.contracts.request import ModelRequest
from dashboard.errors import ForeignFileError, UnsafeModelError, UnsupportedModelError
from dashboard.settings import Settings
from dashboard.web.model_picker import line_of
from tests.support.hostile import good_model, safetensors

PLAIN = {"peft_type": "LORA", "base_model_name_or_path": "who/base", "r": 2, "lora_alpha": 4}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models").mkdir()
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "own", model_folders=(tmp_path / "models",))


def adapter(folder: Path, shapes: dict[str, list[int]] | None = None, **more: Any) -> Path:
    """An adapter's folder; its weights hold numbers for these shapes."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({**PLAIN, **more}))
    names = {f"base_model.model.{name}": shape for name, shape in (shapes or {"a.lora_A.weight": [2, 1]}).items()}
    entries, end = {}, 0
    for name, shape in names.items():
        size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    (folder / "adapter_model.safetensors").write_bytes(safetensors(entries, end))
    return folder


def cached(tmp_path: Path, hub_id: str, commit: str = "abc") -> Path:
    repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text("abc")
    return good_model(repository / "snapshots" / commit)


def card(settings: Settings, name: str = "folder:models/tuned") -> ModelCard:
    return Catalog(settings).get(name)


def test_an_adapter_is_listed_below_its_base_as_what_it_makes_of_it(settings: Settings, tmp_path: Path) -> None:
    base = good_model(tmp_path / "models" / "base")
    good_model(tmp_path / "models" / "zebra")
    adapter(tmp_path / "models" / "a-tuned")
    adapter(tmp_path / "models" / "nowhere", base_model_name_or_path="other")
    names = [entry.name for entry in Catalog(settings).entries() if entry.name.startswith("folder:")]
    assert names == ["folder:models/base", "folder:models/a-tuned", "folder:models/zebra", "folder:models/nowhere"]
    found, whole = card(settings, "folder:models/a-tuned"), card(settings, "folder:models/base")
    assert (found.base, found.base_folder, found.tokenizer) == (whole.name, base, base)
    assert (found.kind, found.layers, found.heads, found.limit) == (whole.kind, whole.layers, whole.heads, whole.limit)
    assert found.note == "adapter of base, in models/a-tuned"
    assert (
        "its base other is not here: put its folder, called other, into"
        in card(settings, "folder:models/nowhere").refusal
    )
    assert tuple(line_of(one, settings)["label"].className for one in (found, whole)) == (
        "model-option adapter",
        "model-option",
    )
    assert [_row(one)[0] for one in (whole, found)] == ["folder:models/base", "  folder:models/a-tuned"]


def test_an_adapter_counts_tokens_with_its_own_tokenizer_or_its_bases(settings: Settings, tmp_path: Path) -> None:
    base = good_model(tmp_path / "models" / "base")
    folder = adapter(tmp_path / "models" / "tuned", {"transformer.wte.weight": [9, 3]})
    catalog = Catalog(settings, patience=60)
    assert catalog.count_tokens("folder:models/tuned", "one two") == 2
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 7}')
    found = card(settings)
    assert (found.tokenizer, found.limit, found.vocabulary) == (None, 7, 9)


@pytest.mark.parametrize(
    ("shapes", "task", "kind"),
    [
        ({"score.weight": [2, 3]}, "SEQ_CLS", ("encoder", "classifier")),
        ({"a.lora_A.weight": [2, 3]}, "FEATURE_EXTRACTION", ("encoder", "embeddings")),
    ],
)
def test_the_task_says_what_is_left_of_a_head(
    settings: Settings, tmp_path: Path, shapes: dict[str, list[int]], task: str, kind: tuple[str, str]
) -> None:
    good_model(tmp_path / "models" / "base")
    adapter(tmp_path / "models" / "tuned", shapes, task_type=task)
    assert (card(settings).kind, card(settings).without) == kind


# the base by its name


def test_a_hub_id_means_the_cache_then_a_folder_of_that_name(settings: Settings, tmp_path: Path) -> None:
    adapter(tmp_path / "models" / "tuned")
    assert "its base who/base is not here" in card(settings).refusal
    assert "python -m dashboard models fetch who/base" in card(settings).refusal
    plain = good_model(tmp_path / "models" / "base")
    assert card(settings).base_folder == plain
    nested = good_model(tmp_path / "models" / "who" / "base")
    assert card(settings).base_folder == nested  # the whole id
    snapshot = cached(tmp_path, "who/base")
    assert (card(settings).base, card(settings).base_folder) == ("who/base", snapshot)


def test_several_folders_of_that_name_are_none(settings: Settings, tmp_path: Path) -> None:
    adapter(tmp_path / "models" / "tuned")
    good_model(tmp_path / "models" / "one" / "base")
    assert not card(settings).refusal
    good_model(tmp_path / "models" / "two" / "base")
    assert "several folders have the name of its base base (models/one/base, models/two/base)" in card(settings).refusal


@pytest.mark.parametrize(
    "name", ["/home/x/models--who--base/snapshots/abc", "~/.cache/hub/models--who--base/snapshots/abc/"]
)
def test_somebodys_cache_is_read_for_the_id_in_it(settings: Settings, tmp_path: Path, name: str) -> None:
    adapter(tmp_path / "models" / "tuned", base_model_name_or_path=name)
    assert "who/base (revision abc) is not here" in card(settings).refusal
    snapshot = cached(tmp_path, "who/base")
    assert card(settings).base_folder == snapshot


@pytest.mark.parametrize("name", ["/data/base", "base", "./base", "C:\\models\\base", "../../base/"])
def test_of_a_path_only_the_last_part_counts(settings: Settings, tmp_path: Path, name: str) -> None:
    adapter(tmp_path / "models" / "tuned", base_model_name_or_path=name)
    snapshot = cached(tmp_path, "who/base")
    assert card(settings).base_folder == snapshot
    cached(tmp_path, "another/base")
    assert "is not here" in card(settings).refusal
    assert card(settings).base_folder is None
    plain = good_model(tmp_path / "models" / "base")
    assert card(settings).base_folder == plain


def test_a_path_leads_nowhere(settings: Settings, tmp_path: Path) -> None:
    outside = good_model(tmp_path / "outside" / "base")
    for number, name in enumerate((str(outside), "..", ".", "/", "../outside/base", f"folder:models/{outside}")):
        adapter(tmp_path / "models" / f"tuned{number}", base_model_name_or_path=name)
        assert card(settings, f"folder:models/tuned{number}").refusal
        assert card(settings, f"folder:models/tuned{number}").base_folder is None


def test_a_revision_is_that_revision(settings: Settings, tmp_path: Path) -> None:
    cached(tmp_path, "who/base")
    adapter(tmp_path / "models" / "tuned", revision="def")
    assert "(revision def) is not here" in card(settings).refusal
    other = cached(tmp_path, "who/base", "def")
    assert card(settings).base_folder == other


def test_a_bundled_model_is_a_base_by_its_name(settings: Settings, tmp_path: Path) -> None:
    adapter(tmp_path / "models" / "tuned", base_model_name_or_path="/anywhere/minilm-l6")
    assert card(settings).refusal
    folder = good_model(tmp_path / "own" / "minilm-l6")
    (folder / CARD).write_text(json.dumps({"format": FORMAT}))
    assert (card(settings).base, card(settings).base_folder) == ("minilm-l6", folder)
    entries = [entry.name for entry in Catalog(settings).entries()]
    assert entries[entries.index("minilm-l6") + 1] == "folder:models/tuned"


def test_an_adapter_is_no_base(settings: Settings, tmp_path: Path) -> None:
    adapter(tmp_path / "models" / "base", base_model_name_or_path="base")
    adapter(tmp_path / "models" / "tuned")
    assert "is not here" in card(settings).refusal
    assert "is not here" in card(settings, "folder:models/base").refusal


def test_what_a_base_lacks_is_said_of_its_adapter(settings: Settings, tmp_path: Path) -> None:
    base = good_model(tmp_path / "models" / "base")
    folder = adapter(tmp_path / "models" / "tuned")
    tokenizer = (base / "tokenizer.json").read_bytes()
    (base / "tokenizer.json").unlink()
    assert (card(settings).refusal, card(settings).mute) == ("", True)
    (folder / "tokenizer.json").write_bytes(tokenizer)
    assert (card(settings).refusal, card(settings).mute) == ("", False)
    (base / "config.json").write_text('{"model_type": "made-up"}')
    assert "its base base cannot be run: transformers does not know" in card(settings).refusal


# the fingerprint


def test_the_fingerprint_is_that_of_both(tmp_path: Path) -> None:
    base, tuned = good_model(tmp_path / "base"), adapter(tmp_path / "tuned")
    parts = {"adapter": folder_fingerprint(tuned), "base": folder_fingerprint(base)}
    both = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    assert folder_fingerprint(tuned, base=base) == known_fingerprint(tuned, base=base) == both
    memory = (tmp_path / "memory.json",)
    assert is_kept(tuned, memory, base)


def test_the_fingerprint_of_an_adapter_stays(tmp_path: Path) -> None:
    found = folder_fingerprint(adapter(tmp_path / "tuned"), base=good_model(tmp_path / "base"))
    assert found == "0f4f92bd9fd3f1f25ada5af315ed09984823d0ced1fa2759d1ba5e64ff100842"


@pytest.mark.parametrize(
    "part", ["base/model.safetensors", "tuned/adapter_model.safetensors", "tuned/adapter_config.json"]
)
def test_each_part_changes_the_fingerprint(settings: Settings, tmp_path: Path, part: str) -> None:
    good_model(tmp_path / "models" / "base")
    adapter(tmp_path / "models" / "tuned")
    catalog = Catalog(settings)
    before = catalog.readiness(ModelRequest("folder:models/tuned")).fingerprint
    assert before == catalog.fingerprint(ModelRequest("folder:models/tuned"))
    assert before != catalog.fingerprint(ModelRequest("folder:models/base"))
    path = tmp_path / "models" / part
    path.write_bytes(path.read_bytes() + b" ")
    assert catalog.fingerprint(ModelRequest("folder:models/tuned")) != before


# settings by anyone


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "other"])
def test_a_pipe_in_an_adapters_folder_blocks_nobody(settings: Settings, tmp_path: Path, name: str) -> None:
    good_model(tmp_path / "models" / "base")
    folder = adapter(tmp_path / "models" / "tuned")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert "named pipe" in card(settings).refusal or "no adapter_model.safetensors" in card(settings).refusal


SPOILT: dict[str, Callable[[Path], object]] = {
    "huge": lambda path: path.write_text("[" + "1," * 600_000 + "1]"),
    "deep": lambda path: path.write_text('{"a":' * 200_000),
    "a list": lambda path: path.write_text("[]"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "types": lambda path: path.write_text(json.dumps({**PLAIN, "task_type": [1], "revision": {}, "r": "8"})),
    "ranks": lambda path: path.write_text(json.dumps({**PLAIN, "rank_pattern": [1]})),
    "many": lambda path: path.write_text(
        json.dumps({**PLAIN, "alpha_pattern": {f"a{number}": 1 for number in range(MOST_PATTERNS + 1)}})
    ),
    "rows": lambda path: path.write_text(json.dumps({**PLAIN, "trainable_token_indices": {"a": [-1]}})),
    "numbers": lambda path: path.write_text('{"peft_type": "LORA", "base_model_name_or_path": "b", "r": 1e999}'),
    "long": lambda path: path.write_text(json.dumps({**PLAIN, "r": "9" * 5000})),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_settings_are_one_clause(settings: Settings, tmp_path: Path, name: str) -> None:
    good_model(tmp_path / "models" / "base")
    SPOILT[name](adapter(tmp_path / "models" / "tuned") / "adapter_config.json")
    with pytest.raises(ForeignFileError) as refused:
        read_adapter(tmp_path / "models" / "tuned")
    assert refused.value.clause.startswith("it is an adapter (")
    assert card(settings).refusal == refused.value.clause[:300]
    with pytest.raises(UnsupportedModelError, match="tuned cannot be run: it is an adapter"):
        base_of(tmp_path / "models" / "tuned", "tuned", settings)


@pytest.mark.parametrize(
    ("module", "rank", "alpha"),
    [
        ("model.layers.0.self_attn.q_proj", 8, 3),
        ("model.layers.1.self_attn.q_proj", 4, 16),
        ("model.layers.1.mlp.up_proj", 8, 16),
        ("model.layers.10.mlp.down_proj", 8, 5),
        ("lm_head", 8, 9),
        ("head.lm_head", 8, 16),
    ],
)
def test_patterns_mean_the_ends_of_names_as_in_peft(module: str, rank: int, alpha: float) -> None:
    found = Adapter(
        "LoRA",
        "b",
        alpha=16,
        ranks={"layers.1.self_attn.q_proj": 4},
        alphas={"layers.0.self_attn.q_proj": 3, "q_proj.x": 1, "down_proj": 5, "mlp.down_proj": 6, "^lm_head": 9},
    )
    assert (found.rank_of(module), found.alpha_of(module)) == (rank, alpha)


# what the hub has


def test_an_adapter_of_the_hub_is_its_two_files_and_its_tokenizer() -> None:
    files = ["README.md", "adapter_config.json", "adapter_model.safetensors", "config.json", "tokenizer.json", "x.pt"]
    assert _files_to_load("a/b", files) == ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"]
    with pytest.raises(UnsafeModelError, match=r"without adapter_config\.json or adapter_model\.safetensors"):
        _files_to_load("a/b", ["adapter_config.json", "adapter_model.bin"])
    with pytest.raises(UnsupportedModelError, match="beside whole weights"):
        _files_to_load("a/b", [*files, "model.safetensors"])
