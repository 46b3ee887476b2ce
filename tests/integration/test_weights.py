"""Checkpoints are read whole or refused by name; what a model predicts is judged by its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForPreTraining,
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    GPTJConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaModel,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from dashboard.capture import weights as weights_module
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import load_model, wrap_model
from dashboard.catalog.description import describe_folder
from dashboard.contracts.run import ModelRun
from dashboard.errors import ModelError, ModelTooLargeError, UnsupportedModelError
from dashboard.exports.provenance import of_run
from dashboard.settings import Settings
from tests.support.tiny_models import NAMES, eager_twin, randomised, tiny, tokenizer, words

pytestmark = pytest.mark.integration
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 64}
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 64, "n_positions": 32}
TEXT = words(9)
Weights = dict[str, torch.Tensor]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return Settings(cache_dir=tmp_path / "cache")


def llama(**more: Any) -> LlamaForCausalLM:
    model: LlamaForCausalLM = randomised(
        LlamaForCausalLM(LlamaConfig(**{**SIZES, "max_position_embeddings": 64, **more}))
    )
    return model


def gpt2() -> GPT2LMHeadModel:
    model: GPT2LMHeadModel = randomised(GPT2LMHeadModel(GPT2Config(**GPT2)))
    return model


def bert(cls: Any = BertForMaskedLM, **more: Any) -> Any:
    return randomised(cls(BertConfig(**SIZES, **more)))


def save(
    model: PreTrainedModel,
    folder: Path,
    change: Callable[[Weights], object] | None = None,
    around: bool = False,
    **config: Any,
) -> Path:
    """A folder with the model's weights, changed by `change`, and its configuration with these values (None: without
    the key)."""
    model.save_pretrained(folder)
    tokenizer(around).save_pretrained(folder)
    path = folder / "config.json"
    whole = {**json.loads(path.read_text()), **config}
    path.write_text(json.dumps({name: value for name, value in whole.items() if value is not None}))
    if change is not None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(
            {name: value.clone() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"}
        )
    return folder


def adding(**more: torch.Tensor) -> Callable[[Weights], object]:
    return lambda weights: weights.update({name.replace("__", "."): value for name, value in more.items()})


def without(*names: str) -> Callable[[Weights], object]:
    return lambda weights: [weights.pop(name) for name in names]


def check(run: ModelRun, model: PreTrainedModel, around: bool) -> None:
    """Attention, hidden states and predictions of `run` are those of plain Hugging Face, eagerly."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        inputs = tokenizer(around)(TEXT, return_tensors="pt")
        found: Any = model(**inputs, output_attentions=True, output_hidden_states=True)
    for layer, weights in enumerate(found.attentions):
        for head in range(weights.shape[1]):
            np.testing.assert_allclose(run.attention(layer, head), weights[0, head].numpy(), atol=1e-5)
    for ours, theirs in zip(run.hidden_states, found.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-4)
    if "logits" in found and run.has_predictions:
        best = found.logits[0].log_softmax(-1).max(-1)
        assert [run.top_k(i, k=1)[0].id for i in range(len(run))] == best.indices.tolist()
        got = [run.top_k(i, k=1)[0].logprob for i in range(len(run))]
        np.testing.assert_allclose(got, best.values.numpy(), atol=1e-5)


# pretraining checkpoints, with the real names of their weights


def pretrained_bert() -> tuple[Any, Any]:
    whole = bert(BertForPreTraining)
    plain = BertForMaskedLM(whole.config).eval()
    plain.load_state_dict(whole.state_dict(), strict=False)
    return whole, plain


def pretrained_albert() -> tuple[Any, Any]:
    whole = randomised(AlbertForPreTraining(AlbertConfig(**SIZES, embedding_size=8)))
    plain = AlbertForMaskedLM(whole.config).eval()
    plain.load_state_dict(whole.state_dict(), strict=False)
    return whole, plain


def pretrained_roberta() -> tuple[Any, Any]:
    whole = randomised(RobertaForMaskedLM(RobertaConfig(**SIZES, max_position_embeddings=40, pad_token_id=1)))
    return whole, whole


OLD_BERT = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def renamed(pairs: dict[str, str], more: Weights) -> Callable[[Weights], object]:
    def change(weights: Weights) -> None:
        for name in list(weights):
            new = name
            for old, other in pairs.items():
                new = new.replace(old, other)
            weights[new] = weights.pop(name)
        weights.update(more)

    return change


@pytest.mark.parametrize(
    ("make", "change", "unread"),
    [
        (
            pretrained_bert,
            renamed(OLD_BERT, {"bert.embeddings.position_ids": torch.arange(512)[None]}),
            ["next-sentence head (cls.seq_relationship)", "pooler (bert.pooler.dense)", "position numbers"],
        ),
        (
            pretrained_roberta,
            renamed(
                {},
                {
                    "roberta.embeddings.position_ids": torch.arange(40)[None],
                    "roberta.pooler.dense.weight": torch.ones(16, 16),
                    "roberta.pooler.dense.bias": torch.ones(16),
                },
            ),
            ["pooler (roberta.pooler.dense)", "position numbers"],
        ),
        (
            pretrained_albert,
            renamed({}, {"albert.embeddings.position_ids": torch.arange(512)[None]}),
            ["pooler (albert.pooler)", "sentence-order head (sop_classifier.classifier)"],
        ),
    ],
)
def test_a_pretraining_checkpoint_is_its_masked_model(
    settings: Settings, tmp_path: Path, make: Any, change: Any, unread: list[str]
) -> None:
    whole, plain = make()
    folder = save(whole, tmp_path / "published", change, around=True, architectures=None)
    loaded = load_model(folder, settings)
    run = capture_run(loaded, TEXT)
    assert loaded.info.kind == describe_folder(folder).kind == "masked"
    assert all(any(line.startswith(words) for line in run.header["unread"]) for words in unread), run.header["unread"]
    assert tuple(run.header["unread"]) == describe_folder(folder).unread
    assert dict(of_run(run).entries)["Weights not read"] == "; ".join(run.header["unread"])
    check(run, plain, around=True)


def electra(cls: Any) -> Any:
    return randomised(cls(ElectraConfig(**SIZES, embedding_size=8)))


def test_an_electra_discriminator_is_a_classifier_with_its_encoders_numbers(settings: Settings, tmp_path: Path) -> None:
    whole = electra(ElectraForPreTraining)
    folder = save(whole, tmp_path / "discriminator", around=True)
    run = capture_run(load_model(folder, settings), TEXT)
    assert "is a classifier" in run.header["no_predictions"]
    assert describe_folder(folder).without == "classifier"
    assert run.header["unread"] == [
        "replaced-token head (discriminator_predictions.dense, discriminator_predictions.dense_prediction)"
    ]
    plain = ElectraModel(whole.config).eval()
    plain.load_state_dict(
        {name.removeprefix("electra."): value for name, value in whole.state_dict().items()}, strict=False
    )
    check(run, plain, around=True)


def test_an_electra_generator_is_masked_also_with_the_discriminators_head_beside(
    settings: Settings, tmp_path: Path
) -> None:
    generator = electra(ElectraForMaskedLM)
    more = {f"discriminator_predictions.dense.{part}": torch.ones(16) for part in ("weight", "bias")}
    folder = save(
        generator, tmp_path / "generator", renamed({}, more), around=True, architectures=["ElectraForPreTraining"]
    )
    run = capture_run(load_model(folder, settings), TEXT)
    assert run.model.kind == describe_folder(folder).kind == "masked"
    assert run.header["unread"] == ["replaced-token head (discriminator_predictions.dense)"]
    check(run, generator, around=True)


def triangle(layers: int, name: str) -> Weights:
    mask = torch.ones(32, 32).tril().bool()[None, None]
    masks = {f"h.{layer}.{name}.bias": mask for layer in range(layers)}
    return masks | {f"h.{layer}.{name}.masked_bias": torch.tensor(-1e4) for layer in range(layers)}


def test_an_old_gpt2_with_its_masks_equals_eager(settings: Settings, tmp_path: Path) -> None:
    model = gpt2()
    folder = save(model, tmp_path / "gpt2", renamed({"transformer.": ""}, triangle(2, "attn")), architectures=None)
    run = capture_run(load_model(folder, settings), TEXT)
    assert run.header["unread"] == ["causal mask (h.*.attn.bias)", "value of masked scores (h.*.attn.masked_bias)"]
    check(run, model, around=False)


@pytest.mark.parametrize("scaled", [None, {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}])
def test_an_old_llama_with_rotary_frequencies_equals_eager(settings: Settings, tmp_path: Path, scaled: Any) -> None:
    model = llama() if scaled is None else llama(rope_parameters=scaled)
    plain = 10_000.0 ** (-torch.arange(4) / 4)
    old = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": plain.half() for layer in range(2)}
    run = capture_run(load_model(save(model, tmp_path / "old", renamed({}, old)), settings), TEXT)
    assert run.header["unread"] == ["rotary frequencies (model.layers.*.self_attn.rotary_emb.inv_freq)"]
    check(run, model, around=False)


# what is refused

BIAS = torch.ones(16)


@pytest.mark.parametrize(
    ("make", "change", "config", "named"),
    [
        (llama, None, {"num_hidden_layers": 1}, r"model\.layers\.1"),
        (lambda: llama(attention_bias=True), None, {"attention_bias": False}, r"self_attn\.k_proj\.bias"),
        (lambda: llama(mlp_bias=True), None, {"mlp_bias": False}, r"mlp\.down_proj\.bias"),
        (llama, adding(lm_head__bias=torch.ones(64)), {}, r"lm_head\.bias"),
        (llama, adding(model__norm__bias=BIAS), {}, r"model\.norm\.bias"),
        (llama, adding(model__embed_positions__weight=torch.ones(64, 16)), {}, r"model\.embed_positions"),
        (llama, adding(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(4)), {}, "computes differently"),
        (llama, adding(model__layers__0__self_attn__q_norm__weight=torch.ones(8)), {}, r"q_norm"),
        (llama, adding(model__layers__0__self_attn__q_proj__lora_A__weight=torch.ones(2, 16)), {}, r"lora_A"),
        (llama, adding(model__layers__0__self_attn__q_proj__weight_scale=torch.ones(1)), {}, r"weight_scale"),
        (llama, adding(state=torch.ones(1)), {}, "state"),
        (gpt2, adding(transformer__h__0__attn__c_attn__gate=torch.ones(4)), {}, r"c_attn\.gate"),
        (gpt2, adding(transformer__h__0__attn__bias=torch.ones(16)), {}, "computes differently.*attn.bias"),
        (gpt2, adding(transformer__h__0__attn__bias=torch.ones(1, 1, 32, 32)), {}, "computes differently.*attn.bias"),
        (gpt2, adding(transformer__h__0__attn__masked_bias=torch.tensor(0.0)), {}, "masked_bias"),
        (gpt2, adding(h__0__ln_1__weight=torch.ones(16)), {}, "two weights for one place.*h.0.ln_1"),
        (
            bert,
            adding(bert__encoder__layer__0__attention__self__distance_embedding__weight=torch.ones(9, 8)),
            {},
            "distance_emb",
        ),
        (
            bert,
            adding(bert__embeddings__position_ids=torch.arange(512).flip(0)),
            {},
            "computes differently.*position_ids",
        ),
        (bert, adding(cls__predictions__extra__weight=BIAS), {}, r"cls\.predictions\.extra"),
        (bert, adding(bert__embeddings__LayerNorm__gamma=BIAS), {}, "two weights for one place"),
        (
            lambda: bert(is_decoder=True, add_cross_attention=True, cls=BertLMHeadModel),
            None,
            {"add_cross_attention": False},
            "cross",
        ),
    ],
)
def test_a_weight_that_has_no_place_is_refused_by_name(
    settings: Settings, tmp_path: Path, make: Any, change: Any, config: dict[str, Any], named: str
) -> None:
    folder = save(make(), tmp_path / "odd", change, around=True, **config)
    with pytest.raises(UnsupportedModelError, match=f"^odd holds.*{named}"):
        load_model(folder, settings)


@pytest.mark.parametrize(
    ("make", "change", "config", "named"),
    [
        (llama, None, {"num_hidden_layers": 3}, r"lacks model\.layers\.2"),
        (llama, None, {"attention_bias": True}, r"lacks .*proj\.bias"),
        (llama, without("model.norm.weight"), {}, r"lacks model\.norm\.weight"),
        (llama, without("model.embed_tokens.weight"), {}, r"lacks model\.embed_tokens\.weight"),
        (bert, without("cls.predictions.transform.dense.weight"), {}, r"lacks cls\.predictions\.transform"),
        (bert, without("cls.predictions.bias"), {}, r"lacks cls\.predictions"),
        (gpt2, None, {"n_positions": 16}, r"wpe\.weight of shape \(32, 16\), .* asks for \(16, 16\)"),
        (llama, None, {"vocab_size": 60}, "of shape"),
        (llama, None, {"num_key_value_heads": 1}, "of shape"),
    ],
)
def test_a_missing_weight_and_another_shape_are_refused_by_name(
    settings: Settings, tmp_path: Path, make: Any, change: Any, config: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelError, match=named):
        load_model(save(make(), tmp_path / "odd", change, **config), settings)


def test_whole_numbers_in_place_of_weights_are_refused(settings: Settings, tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        weights["model.layers.0.self_attn.q_proj.weight"] = torch.ones(16, 16, dtype=torch.int8)

    with pytest.raises(UnsupportedModelError, match=r"q_proj\.weight as whole numbers"):
        load_model(save(llama(), tmp_path / "odd", change), settings)
    other = save(llama(), tmp_path / "quantised", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(UnsupportedModelError, match="quantised"):
        load_model(other, settings)


@pytest.mark.parametrize("same", [True, False])
def test_a_weight_in_two_files(settings: Settings, tmp_path: Path, same: bool) -> None:
    model = gpt2()
    model.save_pretrained(tmp_path / "split", max_shard_size="8KB")
    tokenizer(False).save_pretrained(tmp_path / "split")
    first, second = sorted((tmp_path / "split").glob("model-*.safetensors"))[:2]
    name, value = next(iter(load_file(first).items()))
    save_file({**load_file(second), name: value if same else value + 1}, second, {"format": "pt"})
    if same:
        check(capture_run(load_model(tmp_path / "split", settings), TEXT), model, around=False)
        return
    with pytest.raises(ModelError, match=f"Two files of split hold different weights {name}"):
        load_model(tmp_path / "split", settings)


def test_a_pickled_checkpoint_is_checked_alike(settings: Settings, tmp_path: Path) -> None:
    model = llama()
    folder = save(model, tmp_path / "pickled", num_hidden_layers=1)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedModelError, match=r"model\.layers\.1"):
        load_model(folder, settings)
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds “state_dict”, which is not a weight"):
        load_model(folder, settings)


def test_an_untied_head_is_read_where_the_configuration_says_tied(settings: Settings, tmp_path: Path) -> None:
    model = llama(tie_word_embeddings=False)
    run = capture_run(load_model(save(model, tmp_path / "untied", tie_word_embeddings=True), settings), TEXT)
    check(run, model, around=False)


def test_declared_further_layers_are_left_out_and_named(settings: Settings, tmp_path: Path) -> None:
    model = llama()
    more = {
        name.replace("layers.1", "layers.2"): value for name, value in model.state_dict().items() if "layers.1" in name
    }
    folder = save(model, tmp_path / "further", renamed({}, more), num_nextn_predict_layers=1)
    run = capture_run(load_model(folder, settings), TEXT)
    assert run.header["unread"][0].startswith("head for further tokens")
    check(run, model, around=False)


@pytest.mark.parametrize("name", NAMES)
def test_each_familys_own_checkpoint_is_read_whole(settings: Settings, tmp_path: Path, name: str) -> None:
    made = tiny(name)
    loaded = load_model(save(made.model, tmp_path / name, architectures=None), settings)
    assert loaded.info.kind == made.info.kind == describe_folder(tmp_path / name).kind
    twin = eager_twin(name, made).state_dict()
    for place, values in loaded.model.state_dict().items():
        assert torch.equal(values, twin[place]), place
    assert loaded.unread == ()


# what a model predicts


@pytest.mark.parametrize("architectures", [None, ["LLaMAForCausalLM"], ["Whatever"], [], ["LlamaModel"]])
def test_a_head_in_the_file_is_used_whatever_the_class_is_called(
    settings: Settings, tmp_path: Path, architectures: list[str] | None
) -> None:
    model = llama(tie_word_embeddings=False)
    folder = save(model, tmp_path / "mine", architectures=architectures)
    run = capture_run(load_model(folder, settings), TEXT)
    assert run.model.kind == describe_folder(folder).kind == "causal"
    check(run, model, around=False)


@pytest.mark.parametrize(
    ("make", "kind", "what"),
    [
        (lambda: randomised(LlamaModel(LlamaConfig(**SIZES))), "encoder", "embeddings"),
        (lambda: randomised(GPT2Model(GPT2Config(**GPT2))), "causal", ""),
        (lambda: randomised(GPT2ForSequenceClassification(GPT2Config(**GPT2))), "encoder", "classifier"),
        (lambda: randomised(LlamaForSequenceClassification(LlamaConfig(**SIZES))), "encoder", "classifier"),
        (lambda: randomised(GPT2DoubleHeadsModel(GPT2Config(**GPT2, num_labels=1))), "causal", ""),
        (lambda: bert(BertModel), "encoder", "embeddings"),
        (lambda: bert(BertForSequenceClassification), "encoder", "classifier"),
        (lambda: bert(BertForNextSentencePrediction), "encoder", "classifier"),
        (lambda: bert(BertLMHeadModel, is_decoder=True), "causal", ""),
        (lambda: bert(BertLMHeadModel, is_decoder=False), "masked", ""),
    ],
)
@pytest.mark.parametrize("architectures", [None, ["BertForMaskedLM"], ["GPT2LMHeadModel"]])
def test_the_kind_is_what_the_weights_make(
    settings: Settings, tmp_path: Path, make: Any, kind: str, what: str, architectures: list[str] | None
) -> None:
    folder = save(make(), tmp_path / "mine", around=True, architectures=architectures)
    described, loaded = describe_folder(folder), load_model(folder, settings)
    assert (loaded.info.kind, loaded.without) == (described.kind, described.without) == (kind, what)
    run = capture_run(loaded, TEXT)
    sentence = {
        "": None,
        "embeddings": "produces embeddings; it has no token predictions",
        "classifier": "is a classifier",
    }[what]
    assert (
        (run.header.get("no_predictions") is None) if sentence is None else (sentence in run.header["no_predictions"])
    )


def test_a_pickled_checkpoint_is_described_by_its_weights_names(settings: Settings, tmp_path: Path) -> None:
    model = llama(tie_word_embeddings=False)
    folder = save(model, tmp_path / "mine", architectures=None)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert describe_folder(folder).kind == load_model(folder, settings).info.kind == "causal"
    torch.save(bert(BertForSequenceClassification).state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({**SIZES, "model_type": "bert"}))
    assert (describe_folder(folder).kind, describe_folder(folder).without) == ("encoder", "classifier")


class Mine(LlamaForCausalLM):
    """A class whose name is nowhere listed."""


BOTH_WAYS = {"head_dim": 8, "num_key_value_heads": 1, "use_bidirectional_attention": True}


class Headless(LlamaModel):
    pass


@pytest.mark.parametrize(
    ("make", "kind", "what"),
    [
        (lambda: Mine(LlamaConfig(**SIZES)), "causal", ""),
        (lambda: nn.DataParallel(Mine(LlamaConfig(**SIZES))), "causal", ""),
        (lambda: Headless(LlamaConfig(**SIZES)), "encoder", "embeddings"),
        (lambda: bert(BertLMHeadModel, is_decoder=True), "causal", ""),
        (lambda: bert(BertLMHeadModel), "masked", ""),
        (lambda: bert(BertForPreTraining), "masked", ""),
        (lambda: bert(BertForSequenceClassification), "encoder", "classifier"),
        (lambda: GPT2Model(GPT2Config(**GPT2)), "encoder", "embeddings"),
        (lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **BOTH_WAYS)), "masked", ""),
    ],
)
def test_a_model_in_memory_is_judged_by_what_it_gives(make: Any, kind: str, what: str) -> None:
    loaded = wrap_model(make(), tokenizer(True), "mine")
    assert (loaded.info.kind, loaded.without) == (kind, what)


# what the configuration names and the files do not hold


def harmful(folder: Path, config: PretrainedConfig, model: PreTrainedModel | None = None, **sizes: int) -> Path:
    """A small checkpoint with a configuration of other sizes."""
    save(model or AutoModelForCausalLM.from_config(config), folder, **sizes)
    return folder


LLAMA = {**SIZES, "max_position_embeddings": 64, "tie_word_embeddings": False}
HARMFUL: dict[str, tuple[dict[str, int], str]] = {  # each below the limits of what a configuration may say
    "layers": (
        {"num_hidden_layers": 1000},
        r"^The checkpoint of model lacks model\.layers\.10\.\S+ and 8,\d\d\d more\. ",
    ),
    "layers-and-width": (
        {"num_hidden_layers": 1000, "hidden_size": 8192, "head_dim": 4096},
        "but its configuration asks for",
    ),
    "words": (
        {"vocab_size": 20_000_000},
        r"holds lm_head\.weight of shape \(64, 16\), but .* asks for \(20000000, 16\)",
    ),
    "width": (
        {"intermediate_size": 10_000_000},
        r"of shape \(16, 24\), but its configuration asks for \(16, 10000000\)",
    ),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_a_checkpoint_lacks_takes_no_room(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sizes, sentence = HARMFUL[name]
    folder = harmful(tmp_path / "model", LlamaConfig(**LLAMA), **sizes)
    monkeypatch.setattr(weights_module, "_load", None)  # where room is taken
    with pytest.raises(ModelError, match=sentence):
        load_model(folder, settings)


def test_weights_that_a_file_repeats_must_have_room(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PyTorch checkpoint may say that one number is a whole table: the file has 1 kB, the model 4 GB."""
    folder = harmful(tmp_path / "model", LlamaConfig(**LLAMA), vocab_size=20_000_000)
    found = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        found[name] = torch.zeros(1, 1).expand(20_000_000, 16)
    torch.save(found, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert (folder / "pytorch_model.bin").stat().st_size < 100_000
    monkeypatch.setattr(weights_module, "_load", None)
    with pytest.raises(
        ModelTooLargeError, match=r"model has 640 M parameters and needs about 3\.1 GB of memory; .* at most 1 GB"
    ):
        load_model(folder, replace(settings, model_gigabytes=1.0))


def test_what_a_model_computes_by_itself_must_have_room(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPT-J keeps a table of all its positions, of which its files hold nothing."""
    sizes = {**GPT2, "n_positions": 64, "rotary_dim": 8}
    folder = harmful(tmp_path / "model", GPTJConfig(**sizes), n_positions=100_000_000)
    monkeypatch.setattr(weights_module, "_load", None)
    with pytest.raises(ModelTooLargeError, match=r"model has 0 M parameters and needs about 7\.7 GB of memory"):
        load_model(folder, replace(settings, model_gigabytes=1.0))


@pytest.mark.parametrize(
    "config",
    [
        {"num_labels": 10**9},
        {"num_audio_layers": 10**9},
        {"attention_types": [[["global", "local"], 10**9]]},
    ],
)
def test_sizes_of_lists_are_bounded_too(settings: Settings, tmp_path: Path, config: dict[str, Any]) -> None:
    folder = save(llama(), tmp_path / "model", **config)
    with pytest.raises(UnsupportedModelError, match=r"cannot be loaded: its configuration says 1,000,000,000 (for|in)"):
        load_model(folder, settings)
    assert "1,000,000,000" in describe_folder(folder).refusal
