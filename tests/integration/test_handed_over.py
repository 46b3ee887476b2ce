"""What is handed over beside the weights: wrappers, adapters, configurations that choose code, tokens without
embeddings."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
import transformers
from tokenizers import AddedToken, processors
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from dashboard.capture.capture import capture_run
from dashboard.capture.configuration import load_config, plain
from dashboard.capture.loader import load_model, wrap_model
from dashboard.capture.predictions import masked_fill
from dashboard.catalog.catalog import Catalog
from dashboard.errors import BadRequestError, UnsafeModelError, UnsupportedModelError
from dashboard.settings import Settings
from tests.support.tiny_models import randomised, tokenizer, words

pytestmark = pytest.mark.integration
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 64}
TEXT = words(9)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return Settings(cache_dir=tmp_path / "cache", model_folders=(tmp_path / "models",))


def llama(**more: Any) -> LlamaForCausalLM:
    model: LlamaForCausalLM = randomised(
        LlamaForCausalLM(LlamaConfig(**{**SIZES, "max_position_embeddings": 64, **more}))
    )
    return model


def save(model: PreTrainedModel, folder: Path, around: bool = False, **config: Any) -> Path:
    model.save_pretrained(folder)
    tokenizer(around).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    described = {"peft_type": "LORA", "base_model_name_or_path": "somebody/base-1b", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    (folder / "adapter_model.safetensors").write_bytes(b"\0" * 8)
    return folder


def logits(model: Any, text: str = TEXT) -> torch.Tensor:
    """Plain Hugging Face, eagerly."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found: torch.Tensor = model(**tokenizer(False)(text, return_tensors="pt")).logits[0].log_softmax(-1)
    return found


def test_an_adapter_beside_whole_weights_is_refused_by_name_and_listed(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tuned"
    save(llama(), folder)
    adapter(folder)
    with pytest.raises(
        UnsupportedModelError,
        match=r"tuned cannot be run: an adapter \(LoRA for base-1b\) is in the same folder.*: move",
    ):
        load_model(folder, settings)
    entry = next(entry for entry in Catalog(settings).entries() if entry.name == "folder:models/tuned")
    assert "in the same folder" in entry.refusal
    with pytest.raises(UnsupportedModelError, match="adapter"):
        load_model("folder:models/tuned", settings, folders=False)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(UnsupportedModelError, match="adapter"):
        load_model(folder, settings)


def test_a_folder_runs_again_once_its_adapter_is_gone(settings: Settings, tmp_path: Path) -> None:
    folder = adapter(save(llama(), tmp_path / "models" / "tuned"))
    assert Catalog(settings).get("folder:models/tuned").refusal
    for path in folder.glob("adapter*"):
        path.unlink()
    assert not Catalog(settings).get("folder:models/tuned").refusal
    assert load_model(folder, settings).info.kind == "causal"


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda model: nn.DataParallel(torch.compile(model))])
def test_a_wrapped_model_is_unwrapped(wrap: Any) -> None:
    model = llama()
    loaded = wrap_model(wrap(model), tokenizer(False), "mine")
    assert loaded.model is model
    assert loaded.info.kind == "causal"
    run = capture_run(loaded, TEXT)
    assert abs(run.top_k(8, k=1)[0].logprob - float(logits(model)[8].max())) < 1e-5


@pytest.mark.parametrize("thing", [nn.Linear(2, 2), "gpt2", None])
def test_what_is_no_model_is_one_sentence(thing: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="not a transformers model"):
        wrap_model(thing, tokenizer(False), "mine")


@pytest.mark.parametrize("more", [{}, {"no_rope_layers": [0, 0], "floor_scale": 2}, {"use_qk_norm": False}])
def test_the_text_part_of_llama_4_equals_eager(more: dict[str, Any]) -> None:
    config = Llama4TextConfig(
        **SIZES,
        **more,
        intermediate_size_mlp=24,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    model = randomised(Llama4ForCausalLM(config))
    run = capture_run(wrap_model(model, tokenizer(False), "llama4"), TEXT)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(
            **tokenizer(False)(TEXT, return_tensors="pt"), output_attentions=True, output_hidden_states=True
        )
    for layer, weights in enumerate(expected.attentions):
        for head in range(2):
            np.testing.assert_allclose(run.attention(layer, head), weights[0, head].numpy(), atol=1e-5)
    for ours, theirs in zip(run.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-4)
    best = expected.logits[0].log_softmax(-1).max(-1)
    assert [run.top_k(i, k=1)[0].id for i in range(len(run))] == best.indices.tolist()
    np.testing.assert_allclose([run.top_k(i, k=1)[0].logprob for i in range(len(run))], best.values.numpy(), atol=1e-5)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
@pytest.mark.parametrize(
    "value", ["flash_attention_2", "somebody/kernel", "kernels-community/flash-attn2@v1:x", {"": "no"}, 5]
)
def test_an_implementation_that_a_configuration_names_is_not_followed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: Any
) -> None:
    def never(*_args: Any, **_keywords: Any) -> Any:
        raise AssertionError("A kernel was asked for.")

    monkeypatch.setattr(transformers.modeling_utils, "lazy_import_flash_attention", never)
    model = llama()
    folder = save(model, tmp_path / "mine", **{key: value, "experts_implementation": value, "return_dict": False})
    run = capture_run(load_model(folder, settings), TEXT)
    expected = logits(model)
    got = {candidate.id: candidate.logprob for candidate in run.top_k(8, k=10)}
    np.testing.assert_allclose(list(got.values()), expected[8, list(got)].numpy(), atol=1e-5)


def test_what_is_not_followed_is_left_out_at_any_depth() -> None:
    nested = {
        "text_config": {"attn_implementation": "a/b", "layers": 2},
        "parts": [{"_attn_implementation": "x", "y": 1}],
    }
    assert plain(nested) == {"text_config": {"layers": 2}, "parts": [{"y": 1}]}


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": "two"},
        {"rope_parameters": {"rope_type": "no such"}},
        {"hidden_size": None},
        {"text_config": 3, "model_type": "gemma3"},
        {"model_type": ["llama"]},
        {"position_embedding_type": "relative_key_query", "model_type": "bert"},
    ],
)
def test_a_configuration_that_makes_no_model_is_one_sentence(
    settings: Settings, tmp_path: Path, config: dict[str, Any]
) -> None:
    folder = save(llama(), tmp_path / "odd", **config)
    with pytest.raises(UnsupportedModelError, match="odd"):
        load_model(folder, settings)


def test_code_of_an_unknown_family_is_never_run(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path / "odd", model_type="made-up", auto_map={"AutoConfig": "code.Config"})
    with pytest.raises(UnsafeModelError, match="running code"):
        load_config(folder, "odd")


def with_token(around: bool, special: bool = False) -> Any:
    made = tokenizer(around)
    made.add_tokens([AddedToken("<new>", special=special)])
    return made


@pytest.mark.parametrize("special", [False, True])
def test_a_token_beyond_the_embedding_is_one_sentence_that_names_it(special: bool) -> None:
    loaded = wrap_model(llama(), with_token(False, special), "mine")
    assert len(capture_run(loaded, TEXT)) == 9
    with pytest.raises(BadRequestError, match=r"“<new>” \(id 64\).*only 64 embeddings.*token 1"):
        capture_run(loaded, "w1 <new> w2")


@pytest.mark.parametrize("special", [False, True])
def test_the_count_while_typing_says_the_sentence_of_the_run(tmp_path: Path, special: bool) -> None:
    folder = tmp_path / "root" / "mine"
    llama().save_pretrained(folder)
    with_token(False, special).save_pretrained(folder)
    settings = Settings(cache_dir=tmp_path / "cache", model_folders=(tmp_path / "root",))
    catalog = Catalog(settings, patience=60)
    entry = catalog.admit("folder:root/mine")
    assert catalog.count(entry.name, "w1 w2").beyond is None
    beyond = catalog.count(entry.name, "w1 <new> w2").beyond
    assert beyond is not None
    with pytest.raises(BadRequestError) as refused:
        capture_run(load_model(entry.name, settings), "w1 <new> w2")
    assert str(refused.value) == beyond.sentence(entry.title, entry.vocabulary)


def test_a_token_beyond_the_embedding_is_refused_where_a_position_is_masked() -> None:
    bert = randomised(BertForMaskedLM(BertConfig(**SIZES)))
    loaded = wrap_model(bert, with_token(True), "mine")
    with pytest.raises(BadRequestError, match="“<new>”"):
        masked_fill(loaded, "w1 <new> w2", 1)


def test_a_mask_token_beyond_the_embedding_is_said_and_nothing_is_masked() -> None:
    made = with_token(True, special=True)
    made.mask_token = "<new>"
    loaded = wrap_model(randomised(BertForMaskedLM(BertConfig(**SIZES))), made, "mine")
    run = capture_run(loaded, TEXT)
    assert "no embedding for its tokenizer's mask token" in run.header["no_predictions"]
    with pytest.raises(UnsupportedModelError, match="mask token"):
        masked_fill(loaded, TEXT, 1)


def test_a_second_text_that_the_model_cannot_mark_is_one_sentence() -> None:
    made = tokenizer(True)
    made.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    raw = made.backend_tokenizer
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    loaded = wrap_model(randomised(BertForMaskedLM(BertConfig(**SIZES, type_vocab_size=1))), made, "mine")
    assert len(capture_run(loaded, TEXT)) == 11
    with pytest.raises(BadRequestError, match="second text"):
        capture_run(loaded, "w1 w2", "w3")


# tokenizers that are a SentencePiece model only


def pieces(folder: Path, **more: Any) -> Any:
    """A folder's tokenizer.model, trained on a few words, and SentencePiece's own tokenizer of it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(
        "\n".join(["the cat sat on the mat", "Mary met Mary and the cat", "a bottle of milk for the cat"] * 20)
    )
    with (folder / "tokenizer.model").open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=text,
            model_writer=stream,
            vocab_size=300,
            model_type="bpe",
            byte_fallback=True,
            minloglevel=2,
            **more,
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


LIKE_LLAMA = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
SENTENCES = ("the cat sat", "你好 cat", "  two  spaces ", "a\nb\tc", "café ﬁne ①", "Mary. Mary")


@pytest.mark.parametrize("rules", [{}, LIKE_LLAMA, {**LIKE_LLAMA, "add_dummy_prefix": False}, {"split_digits": True}])
@pytest.mark.parametrize("tokenizer_class", ["LlamaTokenizer", "LlamaTokenizerFast", None])
def test_a_sentencepiece_model_alone_splits_as_sentencepiece_does(
    settings: Settings, tmp_path: Path, rules: dict[str, Any], tokenizer_class: str | None
) -> None:
    own = pieces(tmp_path / "spm", **rules)
    llama(vocab_size=300).save_pretrained(tmp_path / "spm")
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    named = names if tokenizer_class is None else {**names, "tokenizer_class": tokenizer_class}
    (tmp_path / "spm" / "tokenizer_config.json").write_text(json.dumps(named))
    loaded = load_model(tmp_path / "spm", settings)
    for text in SENTENCES:
        assert [token.id for token in capture_run(loaded, text).tokens] == [1, *own.encode(text)], text


def test_a_tokenizer_class_that_does_not_fit_its_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    pieces(tmp_path / "spm")
    llama(vocab_size=300).save_pretrained(tmp_path / "spm")
    (tmp_path / "spm" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    with pytest.raises(UnsupportedModelError, match=r"T5Tokenizer split this text differently.*tokenizer\.json"):
        load_model(tmp_path / "spm", settings)


def test_a_tiktoken_file_alone_is_refused_with_what_helps(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "tik"
    llama().save_pretrained(folder)
    lines = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
    (folder / "tokenizer.model").write_text("\n".join(lines))
    with pytest.raises(UnsupportedModelError, match=r"not a SentencePiece model.*Save its tokenizer\.json"):
        load_model(folder, settings)


class Odd(LlamaForCausalLM):
    """A class whose outputs are not what capture expects."""

    def forward(self, *args: Any, **keywords: Any) -> Any:
        return SimpleNamespace(logits=super().forward(*args, **keywords).logits)

    @property
    def base_model(self) -> Any:
        return self


def test_a_class_whose_parts_cannot_be_found_is_one_sentence() -> None:
    odd = Odd(LlamaConfig(**SIZES))
    odd.get_output_embeddings = lambda: None  # type: ignore[method-assign]
    loaded = wrap_model(odd, tokenizer(False), "mine")
    with pytest.raises(UnsupportedModelError, match=r"mine \(Odd\) is built in a way that capture does not know"):
        capture_run(loaded, TEXT)
