"""The server's model folders and the hub's local cache: what is listed, with which facts, and that nothing else is
reached."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from dashboard.catalog import memory
from dashboard.catalog.architecture import family_source
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.description import describe_folder
from dashboard.catalog.folders import folder_model, folder_models
from dashboard.catalog.foreign_files import entries_of
from dashboard.catalog.gguf_header import read_header
from dashboard.contracts.request import ModelRequest
from dashboard.errors import ModelNotFoundError, ModelTooLargeError, NoRoomError, UnsupportedModelError
from dashboard.settings import Settings

GPT2 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_layer": 3,
    "n_head": 2,
    "n_positions": 32,
    "vocab_size": 5,
}
BERT = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "vocab_size": 5,
}
HEAD = 3  # numbers in a head
SHAPES = {"wte.weight": (5, 8), "h.0.attn.weight": (8, 24), "h.0.attn.bias": (24,)}


def write_model(
    folder: Path, config: dict[str, Any], tokenizer: bool = True, head: str | None = "cls.predictions.bias"
) -> Path:
    """A folder as `save_pretrained` leaves it, with numbers in float16."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {**SHAPES, **({} if head is None else {head: (HEAD,)})}
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, folder / "model.safetensors")
    if tokenizer:
        words = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return Settings(cache_dir=tmp_path / "cache", model_folders=(root,))


def names(settings: Settings) -> list[str]:
    return sorted(folder_models(settings))


def test_a_folder_that_cannot_be_read_hides_no_other(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(root / "mine", GPT2)
    (root / "lost+found").mkdir()
    real = os.stat

    def refused(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if f"{root}/lost+found/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refused)
    assert names(settings) == ["folder:weights/mine"]
    assert folder_model("folder:weights/mine", settings).path == root / "mine"


@pytest.mark.parametrize(
    "content", ['{"architectures": 5, "model_type": "gpt2"}', '{"model_ty', "[]", '{"text_config": {"n_layer": {}}}']
)
def test_a_folder_with_a_broken_configuration_is_listed_with_the_reason(
    settings: Settings, root: Path, content: str
) -> None:
    write_model(root / "mine", GPT2)
    (write_model(root / "broken", GPT2) / "config.json").write_text(content)
    found = {entry.name: entry for entry in Catalog(settings).entries()}
    assert not found["folder:weights/mine"].refusal
    assert found["folder:weights/broken"].refusal
    assert found["folder:weights/broken"].note == "in weights/broken"


@pytest.mark.parametrize("inside", ["a" * 300 + ".gguf", "a" * 300, "a\0.gguf", "x/" * 900 + "y.gguf"])
def test_a_name_that_no_file_can_have_is_no_model(settings: Settings, inside: str) -> None:
    with pytest.raises(ModelNotFoundError, match="in this server's model folders"):
        folder_model(f"folder:weights/{inside}", settings)


def test_models_up_to_two_levels_below_a_root_are_listed_with_what_their_files_say(
    settings: Settings, root: Path
) -> None:
    write_model(root / "mine", GPT2)
    write_model(root / "team" / "bert", BERT)
    write_model(root / "a" / "b" / "too-deep", BERT)
    write_model(root / ".hidden", BERT)
    (root / "notes").mkdir()
    assert names(settings) == ["folder:weights/mine", "folder:weights/team/bert"]
    found = {entry.name: entry for entry in Catalog(settings).entries()}
    entry = found["folder:weights/team/bert"]
    parameters = sum(math.prod(shape) for shape in SHAPES.values()) + HEAD
    assert (entry.title, entry.kind, entry.layers, entry.heads, entry.limit) == ("bert", "masked", 2, 4, 64)
    assert (entry.parameters, entry.here, entry.note, entry.refusal) == (parameters, True, "in weights/team/bert", "")
    assert found["folder:weights/mine"].kind == "causal"
    assert list(found)[3] == "folder:weights/mine"  # after the bundled ones, before what must be downloaded


def test_a_root_may_be_a_model_itself_and_roots_of_one_name_are_numbered(settings: Settings, tmp_path: Path) -> None:
    roots = (
        write_model(tmp_path / "x" / "same", GPT2),
        write_model(tmp_path / "y" / "same", BERT),
        tmp_path / "not there",
    )
    assert names(Settings(cache_dir=tmp_path / "cache", model_folders=roots)) == ["folder:same", "folder:same-2"]


def test_tokens_of_a_folder_model_are_counted_by_its_own_tokenizer(settings: Settings, root: Path) -> None:
    write_model(root / "mine", GPT2)
    catalog = Catalog(settings)
    assert Catalog(settings, patience=60).count_tokens("folder:weights/mine", "one two three") == 3
    assert len(catalog.fingerprint(ModelRequest("folder:weights/mine"))) == 64
    (root / "mine" / "tokenizer.json").write_text("{")
    assert catalog.count_tokens("folder:weights/mine", "one") is None


def test_nothing_outside_the_roots_can_be_asked_for(settings: Settings, root: Path, tmp_path: Path) -> None:
    outside = write_model(tmp_path / "secret", GPT2)
    inside = write_model(root / "mine", GPT2)
    (root / "link").symlink_to(outside)  # a folder that leads out
    (outside / "one.gguf").write_bytes(b"GGUF")
    (root / "link.gguf").symlink_to(outside / "one.gguf")
    partly = write_model(root / "partly", GPT2)  # one file that leads out
    (partly / "tokenizer.json").unlink()
    (partly / "tokenizer.json").symlink_to(outside / "tokenizer.json")
    (root / "circle").symlink_to(root / "circle")
    (root / "alias").symlink_to(inside)  # stays inside
    catalog = Catalog(settings)
    assert names(settings) == ["folder:weights/alias", "folder:weights/mine"]
    for name in (
        "folder:weights/../secret",
        "folder:weights/link",
        "folder:weights/partly",
        "folder:../secret",
        f"folder:{outside}",
        f"folder:weights/{outside}",
        "folder:weights/mine/../../secret",
        "folder:",
        "folder:weights/\0",
        str(outside),
        str(inside),
        "../secret",
    ):
        with pytest.raises(ModelNotFoundError):
            catalog.admit(name)


def test_one_model_is_found_where_all_are_listed_and_nowhere_else(settings: Settings, root: Path) -> None:
    places = ("mine", "team/bert", "a/b/too-deep", ".hidden", "team/.hidden")
    files = ("one.gguf", "team/two.gguf", "team/deep/three.gguf", "team/deep/deeper/four.gguf", ".hidden/five.gguf")
    for place in places:
        write_model(root / place, GPT2)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"GGUF")
    listed = folder_models(settings)
    assert sorted(listed) == [
        f"folder:weights/{place}"
        for place in ("mine", "one.gguf", "team/bert", "team/deep/three.gguf", "team/two.gguf")
    ]
    for place in (*places, *files, "team", "mine/config.json", "mine/", "/mine", "./mine"):
        name = f"folder:weights/{place}"
        if name in listed:
            assert folder_model(name, settings) == listed[name]
        else:
            with pytest.raises(ModelNotFoundError):
                folder_model(name, settings)


def test_a_folder_that_went_is_named(settings: Settings, root: Path) -> None:
    folder = write_model(root / "mine", GPT2)
    catalog = Catalog(settings)
    assert catalog.get("folder:weights/mine").here
    shutil.rmtree(folder)
    with pytest.raises(ModelNotFoundError, match=r"“weights/mine” in this server's model folders \(any more\)"):
        catalog.get("folder:weights/mine")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "longformer"}, "longformer has its own attention code, and it does not report"),
        ({"model_type": "mamba"}, "mamba has no attention from token to token"),
        ({"model_type": "vitmatte"}, "vitmatte does not expose its attention"),
        ({"model_type": "made-up"}, r"does not know its family \(made-up\)"),
        ({"model_type": "made-up", "auto_map": {"AutoModel": "x.Y"}}, "needs code that comes with it"),
        (
            {"model_type": "t5", "is_encoder_decoder": True},
            r"encoder–decoder models \(BART, T5\) are not supported yet",
        ),
        ({"vocab_size": None}, "does not read text"),
    ],
)
def test_what_cannot_be_run_is_listed_last_with_the_reason(
    settings: Settings, root: Path, config: dict[str, Any], reason: str
) -> None:
    write_model(root / "odd", {**BERT, **config})
    catalog = Catalog(settings)
    assert catalog.entries()[-1].name == "folder:weights/odd"
    assert (catalog.get("folder:weights/odd").kind is None) == ("decoder" in reason)
    with pytest.raises(UnsupportedModelError, match=f"odd cannot be run: .*{reason}"):
        catalog.admit("folder:weights/odd")


def test_a_folder_without_tokenizer_or_with_half_its_weights_says_so(settings: Settings, root: Path) -> None:
    write_model(root / "mute", BERT, tokenizer=False)
    half = write_model(root / "half", BERT)
    whole = (half / "model.safetensors").read_bytes()
    (half / "model.safetensors").write_bytes(whole[:-10])
    write_model(root / "noise", BERT)
    (root / "noise" / "model.safetensors").write_bytes(b"\xff" * 200)
    catalog = Catalog(settings)
    found = {entry.title: entry.refusal for entry in catalog.entries()}
    assert (found["mute"], catalog.get("folder:weights/mute").mute) == ("", True)
    assert catalog.get("folder:weights/mute").note == "in weights/mute, without a tokenizer"
    with pytest.raises(UnsupportedModelError, match=r"mute has no tokenizer.*Choose the model whose tokenizer"):
        catalog.admit("folder:weights/mute")
    assert found["half"] == found["noise"] == "model.safetensors is damaged or was not copied whole"


def test_facts_follow_the_files(settings: Settings, root: Path) -> None:
    folder = write_model(root / "mine", GPT2)
    assert describe_folder(folder).layers == 3
    (folder / "config.json").write_text(json.dumps({**GPT2, "n_layer": 12}))
    assert describe_folder(folder).layers == 12


@pytest.mark.parametrize(
    ("config", "head", "kind"),
    [
        ({"architectures": ["BertModel"]}, None, "encoder"),
        ({"architectures": ["BertForPreTraining"]}, "cls.predictions.bias", "masked"),
        ({"architectures": ["BertLMHeadModel"]}, "cls.predictions.bias", "masked"),
        ({"architectures": ["BertLMHeadModel"], "is_decoder": True}, "cls.predictions.bias", "causal"),
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "lm_head.weight", "causal"),
        ({"architectures": ["LLaMAForCausalLM"], "model_type": "llama"}, "lm_head.weight", "causal"),
        ({"model_type": "llama", "tie_word_embeddings": True}, None, "causal"),
        ({"model_type": "llama", "tie_word_embeddings": False}, None, "encoder"),
        ({"model_type": "gpt2"}, None, "causal"),
        ({"model_type": "gpt2"}, "score.weight", "classifier"),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, None, "encoder"),
        ({"model_type": "electra"}, "discriminator_predictions.dense.weight", "classifier"),
        ({"architectures": ["BertForMaskedLM"]}, "qa_outputs.weight", "classifier"),
        ({"architectures": None}, None, "encoder"),
        ({"architectures": None}, "cls.predictions.bias", "masked"),
    ],
)
def test_the_kind_is_judged_by_the_weights(tmp_path: Path, config: dict[str, Any], head: str | None, kind: str) -> None:
    folder = write_model(tmp_path / "x", {**BERT, "architectures": None, **config}, head=head)
    described = describe_folder(folder)
    assert (described.without if kind == "classifier" else described.kind) == kind


@pytest.mark.parametrize(
    ("config", "head", "classes", "word"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, "classifier.weight", "text", "classifier"),
        ({"architectures": ["BertForTokenClassification"]}, "classifier.weight", "tokens", "token classifier"),
        ({"architectures": ["BertForMaskedLM"]}, "qa_outputs.weight", "answer", "answers questions"),
        ({"architectures": ["DistilBertModel"]}, "pre_classifier.weight", "text", "classifier"),
        ({"architectures": None}, "classifier.out_proj.weight", "text", "classifier"),
        ({"architectures": None}, "classifier.weight", "", "classifier"),
        ({"architectures": None}, "score.weight", "", "classifier"),
        ({"architectures": ["LlamaForTokenClassification"]}, "score.weight", "tokens", "token classifier"),
        ({"architectures": ["BertForMultipleChoice"]}, "classifier.weight", "", "classifier"),
        ({"architectures": ["BertForSequenceClassification"]}, "cls.seq_relationship.weight", "", "classifier"),
        ({"architectures": ["BertForSequenceClassification"]}, None, "", "encoder"),
    ],
)
def test_what_a_classifier_classifies(
    tmp_path: Path, config: dict[str, Any], head: str | None, classes: str, word: str
) -> None:
    described = describe_folder(write_model(tmp_path / "x", {**BERT, **config}, head=head))
    assert (described.classes, described.kind_word) == (classes, word)
    named = head is not None and any(head.rpartition(".")[0] in line for line in described.unread)
    assert named is (head is not None and not classes)


def test_the_limit_is_the_smaller_of_positions_and_tokenizer(tmp_path: Path) -> None:
    roberta = write_model(
        tmp_path / "x", {**BERT, "model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    )
    assert describe_folder(roberta).limit == 512
    (roberta / "tokenizer_config.json").write_text('{"model_max_length": 100}')
    assert describe_folder(roberta).limit == 100


def in_cache(tmp_path: Path, name: str, config: dict[str, Any]) -> Path:
    """A model in the hub's local cache, its files linked to blobs as the hub's library does."""
    repository = tmp_path / "hub" / ("models--" + name.replace("/", "--"))
    folder = write_model(repository / "snapshots" / "abc", config)
    (repository / "blobs").mkdir()
    for path in list(folder.iterdir()):
        path.rename(repository / "blobs" / path.name)
        path.symlink_to(os.path.relpath(repository / "blobs" / path.name, folder))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    return folder


def test_every_complete_text_model_of_the_local_cache_is_listed(settings: Settings, tmp_path: Path) -> None:
    in_cache(tmp_path, "someone/gpt-small", GPT2)
    in_cache(tmp_path, "openai-community/gpt2", GPT2)  # the alias of a well-known one
    in_cache(tmp_path, "someone/eyes", {**BERT, "model_type": "vit", "vocab_size": None})
    half = in_cache(tmp_path, "someone/half", BERT)
    (half / "model.safetensors").unlink()
    in_cache(tmp_path, "someone/old", {**BERT, "model_type": "longformer"})
    found = {entry.name: entry for entry in Catalog(settings).entries()}
    assert {name for name in found if name.startswith("someone")} == {"someone/gpt-small", "someone/old"}
    entry = found["someone/gpt-small"]
    assert (entry.title, entry.kind, entry.layers, entry.heads) == ("gpt-small", "causal", 3, 2)
    assert (entry.here, entry.note) == (True, "in the local cache")
    assert found["gpt2"].note == "in the local cache"
    assert found["someone/old"].refusal
    catalog = Catalog(settings)
    assert len(catalog.fingerprint(ModelRequest("someone/gpt-small"))) == 64
    assert catalog.fingerprint(ModelRequest("someone/gpt-small", "v2")) == "unresolved:someone/gpt-small@v2"
    assert Catalog(settings, patience=60).count_tokens("someone/gpt-small", "one two") == 2


def test_a_well_known_model_of_the_local_cache_is_what_its_files_say(settings: Settings, tmp_path: Path) -> None:
    """Whoever put another model under that name, or a damaged one, finds it so in the list."""
    folder = in_cache(tmp_path, "openai-community/gpt2", GPT2)
    entry = Catalog(settings).get("gpt2")
    assert (entry.layers, entry.heads, entry.title, entry.refusal) == (3, 2, "gpt2", "")
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("{")
    assert Catalog(settings).get("gpt2").refusal


def test_an_adapter_alone_in_the_local_cache_is_listed_and_refused(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "models--someone--adapter" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2", "peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text("abc")
    entry = {entry.name: entry for entry in Catalog(settings).entries()}["someone/adapter"]
    assert "adapter" in entry.refusal
    with pytest.raises(UnsupportedModelError, match="adapter"):
        Catalog(settings).admit("someone/adapter")


def test_a_local_cache_of_too_many_entries_is_said_in_the_log(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    in_cache(tmp_path, "someone/gpt-small", GPT2)
    in_cache(tmp_path, "someone/other", GPT2)
    monkeypatch.setattr("dashboard.catalog.hub.entries_of", lambda folder: entries_of(folder, most=1))
    assert not any(entry.name.startswith("someone") for entry in Catalog(settings).entries())
    assert "no model of the hub's local cache is listed" in caplog.text


def test_too_large_is_said_before_anything_is_loaded(
    settings: Settings, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(root / "mine", GPT2)
    small = Settings(cache_dir=tmp_path / "cache", model_folders=(root,), model_gigabytes=1e-7)
    with pytest.raises(ModelTooLargeError, match=r"mine has 0 M parameters.*DASHBOARD_MODEL_GIGABYTES"):
        Catalog(small).admit("folder:weights/mine")
    assert memory.needed_gigabytes(10**9) == pytest.approx(4.8)
    monkeypatch.setattr(memory, "free_gigabytes", lambda: 3.0)
    with pytest.raises(NoRoomError, match=r"needs about 4\.8 GB of memory, and 3\.0 GB are free"):
        memory.check_room("Big", 10**9, 100.0)
    memory.check_room("Small", 10**8, 100.0)
    assert 0 < memory.needed_gigabytes(1) < settings.model_gigabytes


def test_the_sources_of_transformers_tell_which_families_can_be_captured() -> None:
    for family in ("gpt2", "bert", "llama", "xlm-roberta", "distilbert"):
        source = family_source(family)
        assert source is not None
        assert source.exposes
    for family in ("gptj", "bloom", "mpnet", "longformer"):
        source = family_source(family)
        assert source is not None
        assert not source.exposes
    assert family_source("made-up") is None


def gguf_bytes(fields: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> bytes:
    """A GGUF header as the format's description has it."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def value(found: Any) -> bytes:
        if isinstance(found, str):
            return struct.pack("<I", 8) + text(found)
        if isinstance(found, list):
            return struct.pack("<IIQ", 9, 8, len(found)) + b"".join(map(text, found))
        if isinstance(found, bool):
            return struct.pack("<I?", 7, found)
        if isinstance(found, float):
            return struct.pack("<If", 6, found)
        return struct.pack("<IQ", 10, found)

    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    out += b"".join(text(key) + value(found) for key, found in fields.items())
    for name, shape in tensors.items():
        out += (
            text(name)
            + struct.pack("<I", len(shape))
            + struct.pack(f"<{len(shape)}Q", *shape)
            + struct.pack("<IQ", 0, 0)
        )
    return out


LLAMA = {
    "general.architecture": "llama",
    "general.name": "Small",
    "tokenizer.ggml.tokens": ["a", "bc", ""],
    "tokenizer.ggml.merges": ["b c"],
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "llama.block_count": 4,
    "llama.attention.head_count": 3,
    "llama.context_length": 99,
    "llama.embedding_length": 24,
    "llama.feed_forward_length": 48,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}


def test_a_gguf_file_is_described_by_its_header(settings: Settings, root: Path) -> None:
    path = root / "small.gguf"
    path.write_bytes(gguf_bytes(LLAMA, {"a": (3, 4), "b": (5,)}))
    header = read_header(path)
    assert (header.parameters, header.tensors, header.number("block_count")) == (17, {"a", "b"}, 4)
    entry = Catalog(settings).admit("folder:weights/small.gguf")
    assert (entry.title, entry.kind, entry.layers, entry.heads, entry.limit) == ("small", "causal", 4, 3, 99)
    assert (entry.here, entry.folder, entry.note) == (True, None, "in weights/small.gguf, converted on first run")
    assert Catalog(settings).fingerprint(ModelRequest(entry.name)) == "unresolved:folder:weights/small.gguf@main"
    assert Catalog(settings).count_tokens(entry.name, "one") is None


@pytest.mark.parametrize(
    ("fields", "tensors", "reason"),
    [
        ({"general.architecture": "gemma3"}, (), "family gemma3"),
        ({"llama.expert_count": 8}, (), "mixtures of experts"),
        ({}, ("rope_freqs.weight",), "rotary positions are scaled"),
        ({"llama.rope.scaling.type": "yarn"}, (), "rotary positions are scaled .rope.scaling.type = yarn"),
        ({"llama.rope.dimension_count": 4}, (), "llama.rope.dimension_count"),
        ({"llama.attention.sliding_window": 5}, (), "llama.attention.sliding_window = 5"),
        ({"llama.attention.causal": False}, (), "llama.attention.causal = false"),
        ({"llama.attention.scale": 0.5}, (), "llama.attention.scale = 0.5"),
        ({"llama.attention.value_length": 4}, (), "llama.attention.value_length"),
        ({"llama.attention.head_count_kv": 2}, (), "3 heads do not share 2 key heads"),
        ({"llama.attention.head_count_kv": ["1", "3"]}, (), "llama.attention.head_count_kv in a form"),
        ({"llama.rope.scaling.attn_factor": 1.5}, (), "llama.rope.scaling.attn_factor = 1.5"),
        ({"llama.rope.freq_base": 0.0}, (), "impossible base"),
        ({"llama.vocab_size": 5}, (), "3 tokens, but llama.vocab_size says 5"),
        ({"llama.something.new": 1}, (), "llama.something.new = 1"),
        ({"something.new": "yes"}, (), "something.new = yes"),
        ({"general.type": "adapter"}, (), "general.type = adapter"),
        ({"split.count": 3}, (), "split.count = 3"),
        ({"tokenizer.ggml.pre": "tekken"}, (), "tokenizer.ggml.pre = tekken"),
        ({"tokenizer.ggml.pre": "default"}, (), "tokenizer.ggml.pre = default"),
        ({"tokenizer.ggml.model": "llama"}, (), "tokenizer.ggml.model = llama"),
        ({"tokenizer.ggml.add_sep_token": True}, (), "tokenizer.ggml.add_sep_token = true"),
        ({"tokenizer.ggml.precompiled_charsmap": ["x"]}, (), "tokenizer.ggml.precompiled_charsmap = a list"),
        ({"tokenizer.ggml.token_type": ["x"]}, (), "not have one type for each token"),
        ({"tokenizer.ggml.bos_token_id": 3}, (), "tokenizer.ggml.bos_token_id = 3"),
        ({"tokenizer.ggml.add_eos_token": True}, (), "tokenizer.ggml.eos_token_id is missing"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, (), "tokenizer.ggml.bos_token_id is missing"),
        ({"tokenizer.ggml.pre": None}, (), "tokenizer.ggml.pre is missing"),
        ({"tokenizer.ggml.merges": None}, (), "no tokens or no merges"),
        ({"llama.feed_forward_length": None}, (), "lacks llama.feed_forward_length"),
    ],
)
def test_gguf_files_that_cannot_be_converted_say_why(
    settings: Settings, root: Path, fields: dict[str, Any], tensors: tuple[str, ...], reason: str
) -> None:
    said = {key: value for key, value in {**LLAMA, **fields}.items() if value is not None}
    (root / "odd.gguf").write_bytes(gguf_bytes(said, dict.fromkeys(tensors, (2,))))
    with pytest.raises(UnsupportedModelError, match=reason):
        Catalog(settings).admit("folder:weights/odd.gguf")


def test_keys_that_say_nothing_about_the_numbers_refuse_no_gguf_file(settings: Settings, root: Path) -> None:
    silent: dict[str, Any] = {
        "general.description": "two\nlines",
        "general.tags": ["a", "b"],
        "general.base_model.0.name": "Base",
        "quantize.imatrix.file": "x.dat",
        "tokenizer.ggml.scores": ["0"],
        "tokenizer.ggml.eot_token_id": 1,
        "tokenizer.ggml.fim_pre_token_id": 1,
        "tokenizer.chat_template": "{{ x }}",
        "tokenizer.chat_template.tool_use": "{{ y }}",
        "llama.pooling_type": 3,
        "llama.attention.causal": True,
        "llama.rope.scaling.type": "none",
        "llama.rope.scaling.original_context_length": 99,
        "llama.expert_count": 0,
        "llama.tensor_data_layout": "Meta AI original pth",
        "tokenizer.ggml.add_space_prefix": False,
    }
    (root / "said.gguf").write_bytes(gguf_bytes({**LLAMA, **silent}, {}))
    assert Catalog(settings).admit("folder:weights/said.gguf").refusal == ""


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 9, gguf_bytes(LLAMA, {"a": (3, 4)})[:-20]])
def test_a_damaged_gguf_file_is_listed_as_such(settings: Settings, root: Path, content: bytes) -> None:
    (root / "odd.gguf").write_bytes(content)
    with pytest.raises(UnsupportedModelError, match="is damaged, or is not a GGUF file"):
        Catalog(settings).admit("folder:weights/odd.gguf")
    assert Catalog(settings).get("folder:weights/odd.gguf").kind is None
