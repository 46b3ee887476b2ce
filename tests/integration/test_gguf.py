"""GGUF files: a random model of each known family, written with the gguf package, comes back with the same logits."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models

from dashboard.capture import from_gguf
from dashboard.capture.capture import capture_run
from dashboard.capture.from_gguf import expression
from dashboard.capture.loader import load_model
from dashboard.catalog import memory
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.gguf_files import ARCHITECTURES
from dashboard.catalog.gguf_keys import SPLITTING
from dashboard.contracts.job import Progress
from dashboard.contracts.request import ModelRequest
from dashboard.errors import BadRequestError, ModelError, NoRoomError, UnsupportedModelError
from dashboard.settings import Settings
from dashboard.store.budget import Budget
from tests.support.tiny_models import randomised

pytestmark = pytest.mark.integration
BEGIN = 1  # the id of the begin token in the files written here
TEXT = "The bank raised 1234 rates; we sat on the bank."
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
}
PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def byte_level(rule: str) -> Tokenizer:
    made = Tokenizer(tokenizer_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if rule == "qwen2":
        made.pre_tokenizer = hf.Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [TEXT] * 3,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|end|>", "<|begin|>"]),
    )
    return made


def model_of(family: str, vocabulary: int) -> Any:
    made = {
        "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=False, **SIZES)),
        "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(vocab_size=vocabulary, tie_word_embeddings=True, **SIZES)),
        "qwen3": lambda: hf.Qwen3ForCausalLM(
            hf.Qwen3Config(vocab_size=vocabulary, head_dim=16, tie_word_embeddings=False, **SIZES)
        ),
    }
    return randomised(made[family]())


def gguf_name(name: str) -> str:
    if name in WHOLE:
        return WHOLE[name]
    if name == "lm_head.weight":
        return "output.weight"
    _, _, layer, *part, kind = name.split(".")
    return f"blk.{layer}.{PARTS['.'.join(part)]}.{kind}"


def write_gguf(
    path: Path, family: str, rule: str = "gpt-2", said: Mapping[str, Any] | None = None, more: Sequence[str] = ()
) -> tuple[Any, Tokenizer]:
    """A random model as a GGUF file, its query and key rows in the order that llama.cpp's own converter gives Llama's.

    Args:
        said: more keys of the header. more: pieces that no merge makes.
    """
    tokenizer = byte_level(rule)
    pieces = [*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__), *more]
    model = model_of(family, len(pieces))
    config = model.config
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(5000.0)
    if family == "qwen3":
        writer.add_key_length(16)
        writer.add_value_length(16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(pieces)
    writer.add_token_types([3 if piece in ("<|end|>", "<|begin|>") else 1 for piece in pieces])
    writer.add_token_merges([" ".join(pair) for pair in merges(tokenizer)])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(0)
    for key, value in (said or {}).items():
        add = {bool: writer.add_bool, float: writer.add_float32, str: writer.add_string}[type(value)]
        add(key, value)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.numpy().astype(np.float32)
        heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2]) if family == "llama" else None
        if heads:  # halves of each head → pairs side by side
            values = (
                values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
                .swapaxes(1, 2)
                .reshape(values.shape)
            )
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer


def merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "weights").mkdir()
    return Settings(cache_dir=tmp_path / "cache", model_folders=(tmp_path / "weights",))


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_a_gguf_file_gives_the_logits_of_the_model_that_was_written(
    settings: Settings, tmp_path: Path, family: str
) -> None:
    path = tmp_path / "weights" / f"tiny-{family}.gguf"
    model, tokenizer = write_gguf(path, family, "gpt-2" if family == "llama" else "qwen2")
    name = f"folder:weights/tiny-{family}.gguf"
    before = Catalog(settings).admit(name)
    assert (before.layers, before.heads, before.limit, before.folder) == (2, 4, 64, None)
    steps: list[Progress] = []
    loaded = load_model(name, settings, progress=steps.append)
    ids = torch.tensor([tokenizer.encode(TEXT).ids])
    assert torch.equal(loaded.model(ids).logits, model(ids).logits)
    assert loaded.tokenizer(TEXT)["input_ids"] == ids[0].tolist()
    assert (loaded.info.name, loaded.info.title, loaded.info.parameters) == (name, f"tiny-{family}", before.parameters)
    assert {step.phase for step in steps} == {"fetch", "load"}
    assert steps[1].total == len(model.state_dict()) - (family == "qwen2")
    after = Catalog(settings).admit(name)
    assert after.folder is not None
    assert Catalog(settings).fingerprint(ModelRequest(name)) == loaded.fingerprint
    assert Catalog(settings, patience=60).count_tokens(name, TEXT) == ids.shape[1]
    assert [step.phase for step in _steps_of_a_second_load(name, settings)] == ["load"]
    run = capture_run(loaded, TEXT)
    assert "".join(token.text for token in run.tokens) == TEXT


def _steps_of_a_second_load(name: str, settings: Settings) -> list[Progress]:
    steps: list[Progress] = []
    load_model(name, settings, progress=steps.append)
    return steps


def test_smollm_splits_each_digit_and_qwen2_words_as_their_tokenizers_do(settings: Settings, tmp_path: Path) -> None:
    text = "in 1234, it's 56"
    expected = {
        "smollm": ["in", " ", "1", "2", "3", "4", ",", " it", "'s", " ", "5", "6"],
        "qwen2": ["in", " ", "1", "2", "3", "4", ",", " it", "'s", " ", "5", "6"],
        "llama-bpe": ["in", " ", "123", "4", ",", " it", "'s", " ", "56"],
        "gpt-2": ["in", " 1234", ",", " it", "'s", " 56"],
    }
    for rule, pieces in expected.items():
        path = tmp_path / f"{rule}.gguf"
        write_gguf(path, "llama", rule)
        split = load_model(path, settings).tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
        assert [text[start:end] for _piece, (start, end) in split] == pieces, rule


ADD_BOS, ADD_EOS = "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"


@pytest.mark.parametrize(
    ("rule", "said", "first", "last"),
    [
        ("gpt-2", {}, False, False),
        ("gpt-2", {ADD_BOS: True}, True, False),
        ("gpt-2", {ADD_EOS: True}, False, True),
        ("llama-bpe", {}, True, False),  # llama.cpp's default for the rules of Llama 3
        ("llama3", {ADD_EOS: True}, True, True),
        ("llama-bpe", {ADD_BOS: False}, False, False),
        ("smaug-bpe", {}, False, False),
    ],
)
def test_begin_and_end_tokens_stand_where_the_header_wants_them(
    settings: Settings, tmp_path: Path, rule: str, said: dict[str, bool], first: bool, last: bool
) -> None:
    _model, tokenizer = write_gguf(tmp_path / "ends.gguf", "llama", rule, said)
    loaded = load_model(tmp_path / "ends.gguf", settings)
    words = "The bank"
    plain = loaded.tokenizer(words, add_special_tokens=False)["input_ids"]
    assert plain
    assert tokenizer.decode(plain) == words
    expected = [BEGIN] * first + plain + [0] * last
    assert loaded.tokenizer(words)["input_ids"] == expected
    assert [token.id for token in capture_run(loaded, words).tokens] == expected
    assert loaded.tokenizer(words, words)["input_ids"] == expected + expected


def test_a_whole_piece_is_split_or_not_as_its_rule_has_it(settings: Settings, tmp_path: Path) -> None:
    for rule, whole in (("llama-bpe", True), ("smaug-bpe", False), ("gpt-2", False)):
        write_gguf(tmp_path / f"{rule}.gguf", "llama", rule, {ADD_BOS: False}, more=("Mary", "\u0120Mary"))
        tokens = capture_run(load_model(tmp_path / f"{rule}.gguf", settings), "Mary Mary").tokens
        assert ([token.text for token in tokens] == ["Mary", " Mary"]) == whole, rule
        assert "".join(token.text for token in tokens) == "Mary Mary"


SCALING, FACTOR, OLD_FACTOR = "llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.scale_linear"


@pytest.mark.parametrize(
    ("said", "factor"),
    [
        ({SCALING: "linear", FACTOR: 4.0}, 4.0),
        ({FACTOR: 4.0}, 4.0),  # llama.cpp takes a factor without a type as linear
        ({OLD_FACTOR: 4.0}, 4.0),
        ({SCALING: "none", FACTOR: 4.0}, None),
        ({SCALING: "linear"}, None),
        ({OLD_FACTOR: 1.0}, None),
    ],
)
def test_linear_scaling_of_positions_is_applied(
    settings: Settings, tmp_path: Path, said: dict[str, Any], factor: float | None
) -> None:
    model, tokenizer = write_gguf(tmp_path / "scaled.gguf", "llama", said=said)
    ids = torch.tensor([tokenizer.encode(TEXT).ids])
    unscaled = model(ids).logits
    if factor is not None:
        rope = {"rope_type": "linear", "rope_theta": 5000.0, "factor": factor}
        scaled = hf.LlamaForCausalLM(hf.LlamaConfig(**{**model.config.to_dict(), "rope_parameters": rope})).eval()
        scaled.load_state_dict(model.state_dict())
        model = scaled
        assert not torch.allclose(model(ids).logits, unscaled)
    assert torch.equal(load_model(tmp_path / "scaled.gguf", settings).model(ids).logits, model(ids).logits)


def test_a_mask_that_is_not_causal_is_refused_by_the_keys_name(settings: Settings, tmp_path: Path) -> None:
    write_gguf(tmp_path / "both.gguf", "qwen2", "qwen2", {"qwen2.attention.causal": False})
    with pytest.raises(UnsupportedModelError, match=r"qwen2\.attention\.causal = false"):
        load_model(tmp_path / "both.gguf", settings)


def test_a_rule_that_the_header_does_not_name_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "unnamed.gguf"
    write_gguf(path, "llama")
    path.write_bytes(path.read_bytes().replace(b"tokenizer.ggml.pre", b"general.something."))
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.ggml\.pre is missing"):
        load_model(path, settings)


def test_a_tokenizer_that_its_family_would_overrule_is_refused(settings: Settings, tmp_path: Path) -> None:
    write_gguf(tmp_path / "odd.gguf", "qwen2", "gpt-2")
    with pytest.raises(UnsupportedModelError, match="does not split texts as its family qwen2 does"):
        load_model(tmp_path / "odd.gguf", settings)


def test_a_conversion_that_is_stopped_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "weights" / "tiny.gguf"
    write_gguf(path, "llama")

    class Stop(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.done == 3:
            raise Stop

    with pytest.raises(Stop):
        load_model("folder:weights/tiny.gguf", settings, progress=stop)
    left = [found.name for found in (settings.models_folder / "gguf").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_a_token_beyond_the_embeddings_of_a_gguf_file_is_named_while_it_is_typed(settings: Settings) -> None:
    """No header makes one: a file with more tokens than embeddings is refused. Its converted folder may be changed."""
    model, _tokenizer = write_gguf(settings.model_folders[0] / "tiny.gguf", "llama", "gpt-2")
    rows, name = model.get_input_embeddings().num_embeddings, "folder:weights/tiny.gguf"
    load_model(name, settings)
    catalog = Catalog(settings, patience=60)
    entry = catalog.admit(name)
    assert entry.vocabulary == rows
    assert catalog.count(name, TEXT).beyond is None
    assert entry.folder is not None
    made = Tokenizer.from_file(str(entry.folder / "tokenizer.json"))
    made.add_tokens(["<new>"])
    made.save(str(entry.folder / "tokenizer.json"))
    beyond = catalog.count(name, "The <new> bank").beyond
    assert beyond is not None
    assert (beyond.id, beyond.text) == (rows, "<new>")
    with pytest.raises(BadRequestError) as refused:
        capture_run(load_model(name, settings), "The <new> bank")
    assert str(refused.value) == beyond.sentence(entry.title, entry.vocabulary)


def test_a_conversion_stays_while_its_model_is_in_memory(settings: Settings) -> None:
    """A budget for nothing at all, and all of it used long ago: the folder leaves once the last to hold it lets go."""
    write_gguf(settings.model_folders[0] / "tiny.gguf", "llama", "gpt-2")
    loaded = load_model("folder:weights/tiny.gguf", settings)
    [folder] = [path for path in (settings.models_folder / "gguf").iterdir() if path.is_dir()]
    for path in (*folder.iterdir(), folder):
        os.utime(path, (1, 1))
    budget = replace(Budget.from_settings(settings), most_bytes=0)
    assert budget.make_room().gone == 0
    assert (folder / "model.safetensors").is_file()
    del loaded
    gc.collect()
    assert budget.make_room().gone > 0
    assert not folder.exists()
    assert load_model("folder:weights/tiny.gguf", settings).info.layers == 2  # converted again


def test_a_conversion_without_room_is_refused_before_it_is_written(settings: Settings) -> None:
    write_gguf(settings.model_folders[0] / "tiny.gguf", "llama", "gpt-2")
    settings = replace(settings, cache_gigabytes=1e-6)
    with pytest.raises(ModelError, match=r"tiny\.gguf needs 0 MB on the disk, and too little of the 1e-06 GB"):
        load_model("folder:weights/tiny.gguf", settings)
    assert [path.name for path in (settings.models_folder / "gguf").iterdir() if path.is_dir()] == []


def test_a_file_that_changed_is_converted_anew_and_nothing_of_before_stays(settings: Settings, tmp_path: Path) -> None:
    path, converted = tmp_path / "weights" / "tiny.gguf", settings.models_folder / "gguf"
    write_gguf(path, "llama")
    load_model("folder:weights/tiny.gguf", settings)
    [before] = [folder for folder in converted.iterdir() if folder.is_dir()]
    killed, running = converted / ".converting-killed", converted / ".converting-running"
    killed.mkdir()
    running.mkdir()
    os.utime(killed, (1e9, 1e9))
    os.utime(path, (1.5e9, 1.5e9))
    load_model("folder:weights/tiny.gguf", settings)
    after = {folder for folder in converted.iterdir() if folder.is_dir()}
    assert running in after
    assert len(after) == 2
    assert not {before, killed} & after


def test_a_conversion_of_before_stays_while_its_model_is_in_memory(settings: Settings, tmp_path: Path) -> None:
    path, converted = tmp_path / "weights" / "tiny.gguf", settings.models_folder / "gguf"
    write_gguf(path, "llama")
    loaded = load_model("folder:weights/tiny.gguf", settings)
    [before] = [folder for folder in converted.iterdir() if folder.is_dir()]
    os.utime(path, (1.5e9, 1.5e9))
    after = load_model("folder:weights/tiny.gguf", settings)
    assert (before / "model.safetensors").is_file()
    assert loaded.fingerprint == after.fingerprint
    del loaded
    gc.collect()
    os.utime(path, (1.6e9, 1.6e9))
    load_model("folder:weights/tiny.gguf", settings)
    assert not before.exists()


def test_the_model_of_a_gguf_file_is_only_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and shapes are: its values would take as much memory again, and what a header says may be far more than it
    holds."""
    write_gguf(tmp_path / "tiny.gguf", "llama")
    devices: set[str] = set()
    made = hf.LlamaForCausalLM.__init__

    def noting(model: Any, config: Any) -> None:
        made(model, config)
        devices.update(value.device.type for value in model.parameters())

    monkeypatch.setattr(hf.LlamaForCausalLM, "__init__", noting)
    (tmp_path / "made").mkdir()
    from_gguf.convert(tmp_path / "tiny.gguf", tmp_path / "made", lambda progress: None)
    assert devices == {"meta"}


def with_size(path: Path, key: str, before: int, value: int) -> None:
    """Let the header of a GGUF file say another number, below 2³²."""
    said = f"llama.{key}".encode() + (4).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(said + before.to_bytes(4, "little")) == 1
    path.write_bytes(content.replace(said + before.to_bytes(4, "little"), said + value.to_bytes(4, "little")))


@pytest.mark.parametrize(
    ("key", "before", "value"),
    [("embedding_length", 32, 8192), ("feed_forward_length", 48, 10_000_000), ("block_count", 2, 1000)],
)
def test_a_header_that_says_more_than_the_file_holds_is_refused(
    settings: Settings, tmp_path: Path, key: str, before: int, value: int
) -> None:
    path = tmp_path / "weights" / "tiny.gguf"
    write_gguf(path, "llama")
    with_size(path, key, before, value)
    with pytest.raises(ModelError, match=r"LlamaForCausalLM: the checkpoint"):
        load_model("folder:weights/tiny.gguf", settings)


@pytest.mark.parametrize(
    ("key", "before", "name"),
    [
        ("embedding_length", 32, "hidden_size"),
        ("feed_forward_length", 48, "intermediate_size"),
        ("attention.head_count_kv", 2, "num_key_value_heads"),
    ],
)
def test_a_header_with_sizes_that_no_model_has_is_refused_at_the_click(
    settings: Settings, tmp_path: Path, key: str, before: int, name: str
) -> None:
    path = tmp_path / "weights" / "tiny.gguf"
    write_gguf(path, "llama")
    with_size(path, key, before, 2**31)
    with pytest.raises(UnsupportedModelError, match=rf"cannot be run: .* says 2,147,483,648 for {name}; at most"):
        Catalog(settings).admit("folder:weights/tiny.gguf")
    with pytest.raises(UnsupportedModelError, match=rf"cannot be run: .* says 2,147,483,648 for {name}; at most"):
        load_model(path, settings)


def test_a_conversion_asks_for_room_in_memory_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All weights are in memory at once while they are converted, in full precision."""
    write_gguf(settings.model_folders[0] / "tiny.gguf", "llama")
    monkeypatch.setattr(memory, "free_gigabytes", lambda: 1e-6)
    with pytest.raises(NoRoomError, match=r"tiny\.gguf needs about 0\.0 GB of memory, and 0\.0 GB are free"):
        load_model("folder:weights/tiny.gguf", settings)
    assert [path.name for path in (settings.models_folder / "gguf").iterdir() if path.is_dir()] == []


def test_every_known_rule_and_architecture_can_be_converted() -> None:
    """What the header's check takes, the conversion takes: a rule or a family that only one of them knew would fail
    halfway."""
    assert set(from_gguf.FAMILIES) == set(ARCHITECTURES)
    for rule in SPLITTING.values():
        assert expression(rule.words) is None or isinstance(expression(rule.words), str)


def test_a_family_that_is_not_known_is_refused_by_name(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "weights" / "other.gguf"
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_block_count(2)
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedModelError, match="family gemma3"):
        load_model(path, settings)
