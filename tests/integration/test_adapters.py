"""Adapters merged at load: hidden states, attention and predictions equal those of peft's own unmerged model."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers as hf
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from torch import nn

from dashboard.capture.capture import capture_run
from dashboard.capture.loader import load_model, wrap_model
from dashboard.catalog.catalog import Catalog
from dashboard.contracts.request import ModelRequest
from dashboard.errors import DashboardError, ModelError, ModelTooLargeError, UnsupportedModelError
from dashboard.settings import Settings
from tests.support.tiny_models import adapter_of, randomised, spec, tokenizer, words

pytestmark = pytest.mark.integration
TEXT = words(9)
NAME = "base"  # of the base's folder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "bundled", model_folders=(tmp_path / "models",))


def made(name: str, **more: Any) -> Any:
    """A tiny random model of a family; `more` goes into its configuration."""
    config = copy.deepcopy(spec(name).config)
    for key, value in more.items():
        setattr(config, key, value)
    return randomised(spec(name).build(config))


def save(model: Any, folder: Path, around: bool = False, tokens: bool = True) -> Path:
    model.save_pretrained(folder)
    if tokens:
        tokenizer(around).save_pretrained(folder)
    return folder


def wrapped(model: Any, config: peft.PeftConfig) -> Any:
    """peft's model; what it warns of is no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(model, config)


def adapt(model: Any, folder: Path, base: str = f"somewhere/{NAME}", **config: Any) -> Path:
    """Save a random adapter of a model, which this changes."""
    return adapter_of(model, folder, base, **config)


def unmerged(base: Any, folder: Path) -> Any:
    """peft's own model, read from the same folder onto the same base; eager."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(base, folder).eval()
    model.get_base_model().set_attn_implementation("eager")
    return model


def same(loaded: Any, model: Any, text: str = TEXT) -> None:
    """Compare a capture with plain outputs of `model`: hidden states, attention of each head, log-probabilities."""
    run = capture_run(loaded, text)
    with torch.no_grad():
        expected = model(
            **loaded.tokenizer(text, return_tensors="pt"), output_attentions=True, output_hidden_states=True
        )
    for ours, theirs in zip(run.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=1e-5, atol=1e-5)
    for layer, attention in enumerate(expected.attentions):
        for head in range(attention.shape[1]):
            np.testing.assert_allclose(run.attention(layer, head), attention[0, head].numpy(), rtol=1e-5, atol=1e-5)
    if getattr(expected, "logits", None) is not None and run.model.kind != "encoder":
        likely = expected.logits[0].log_softmax(-1)
        for position in range(len(run)):
            for candidate in run.top_k(position, k=5):
                assert abs(candidate.logprob - float(likely[position, candidate.id])) < 1e-5


LINEAR = {"target_modules": ["q_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("llama", LINEAR),
    "rslora": ("llama", {**LINEAR, "use_rslora": True}),
    "dora": ("llama", {**LINEAR, "use_dora": True}),
    "dora of Conv1D": ("gpt2", {"target_modules": ["c_attn", "c_fc"], "use_dora": True, "fan_in_fan_out": True}),
    "Conv1D": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "task_type": "CAUSAL_LM", "fan_in_fan_out": True}),
    "biases": ("gpt2", {"target_modules": ["c_attn"], "bias": "all", "lora_bias": True}),
    "biases of its modules": ("gpt2", {"target_modules": ["c_attn"], "bias": "lora_only"}),
    "all linear": ("qwen3", {"target_modules": "all-linear"}),
    "patterns": (
        "llama",
        {**LINEAR, "rank_pattern": {"down_proj": 2}, "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 3}},
    ),
    "masked": ("bert", {"target_modules": ["query", "value", "dense"]}),
    "modules to save": ("llama", {**LINEAR, "modules_to_save": ["embed_tokens", "lm_head"]}),
    "a norm to save": ("llama", {**LINEAR, "modules_to_save": ["norm"]}),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "lm_head", "q_proj"], "task_type": "CAUSAL_LM"}),
    "rows": ("llama", {**LINEAR, "trainable_token_indices": [7, 12]}),
}
TIED: dict[str, dict[str, Any]] = {
    "plain": LINEAR,
    "embedding to save": {**LINEAR, "modules_to_save": ["embed_tokens"]},
    "head to save": {**LINEAR, "modules_to_save": ["lm_head"]},
    "both, tied": {**LINEAR, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "head": {"target_modules": ["lm_head"], "task_type": "CAUSAL_LM"},
    "embedding": {"target_modules": ["embed_tokens"], "task_type": "CAUSAL_LM"},
    "rows": {**LINEAR, "trainable_token_indices": [7, 12]},
}


@pytest.mark.parametrize("case", CASES)
def test_a_merged_adapter_equals_the_unmerged_one(settings: Settings, tmp_path: Path, case: str) -> None:
    family, config = CASES[case]
    model = made(family)
    save(model, tmp_path / "models" / NAME, around=spec(family).masked)
    adapt(copy.deepcopy(model), tmp_path / "models" / "tuned", **config)
    loaded = load_model("folder:models/tuned", settings, folders=False)
    same(loaded, unmerged(model, tmp_path / "models" / "tuned"))
    assert type(loaded.model) is type(model)


@pytest.mark.parametrize("case", TIED)
def test_what_is_tied_in_the_base_stays_as_peft_has_it(settings: Settings, tmp_path: Path, case: str) -> None:
    model = made("llama", tie_word_embeddings=True)
    save(model, tmp_path / "models" / NAME)
    adapt(copy.deepcopy(model), tmp_path / "models" / "tuned", **TIED[case])
    same(load_model("folder:models/tuned", settings), unmerged(model, tmp_path / "models" / "tuned"))


@pytest.mark.parametrize(("family", "tied"), [("llama", False), ("llama", True), ("bert", True), ("gpt2", True)])
def test_added_tokens_come_with_the_adapter(settings: Settings, tmp_path: Path, family: str, tied: bool) -> None:
    model = made(family, tie_word_embeddings=tied)
    around = spec(family).masked
    save(model, tmp_path / "models" / NAME, around)
    more = tokenizer(around)
    more.add_tokens(["<one>", "<two>"])
    for resized in (model, copy.deepcopy(model)):
        torch.manual_seed(5)
        resized.resize_token_embeddings(len(more), mean_resizing=False)
    targets = {"llama": ["q_proj"], "bert": ["query"], "gpt2": ["c_attn"]}[family]
    adapt(copy.deepcopy(model), tmp_path / "models" / "tuned", target_modules=targets)
    more.save_pretrained(tmp_path / "models" / "tuned")
    loaded = load_model("folder:models/tuned", settings)
    assert loaded.info.vocabulary == len(more) == Catalog(settings).get("folder:models/tuned").vocabulary
    same(loaded, unmerged(model, tmp_path / "models" / "tuned"), f"w1 <one> {words(5)} <two>")


def test_an_adapter_with_classes_brings_them_to_a_masked_base(settings: Settings, tmp_path: Path) -> None:
    save(made("bert"), tmp_path / "models" / NAME, around=True)
    classes = hf.BertForSequenceClassification.from_pretrained(tmp_path / "models" / NAME, num_labels=3)
    folder = adapt(copy.deepcopy(classes), tmp_path / "models" / "tuned", target_modules=["query"], task_type="SEQ_CLS")
    assert "base_model.model.classifier.weight" in load_file(folder / "adapter_model.safetensors")
    loaded = load_model("folder:models/tuned", settings)
    same(loaded, unmerged(classes, folder))
    card = Catalog(settings).get("folder:models/tuned")
    assert (card.kind, card.without) == (loaded.info.kind, loaded.without) == ("encoder", "classifier")


@pytest.mark.parametrize("task", ["FEATURE_EXTRACTION", None])
def test_an_adapter_of_the_bare_model_finds_its_places_below_the_head(
    settings: Settings, tmp_path: Path, task: str | None
) -> None:
    save(made("gpt2"), tmp_path / "models" / NAME)
    bare = hf.GPT2Model.from_pretrained(tmp_path / "models" / NAME)
    folder = adapt(
        copy.deepcopy(bare), tmp_path / "models" / "tuned", target_modules=["c_attn"], bias="all", task_type=task
    )
    loaded = load_model("folder:models/tuned", settings)
    same(loaded, unmerged(bare, folder)) if task else None
    card = Catalog(settings).get("folder:models/tuned")
    assert card.kind == loaded.info.kind == ("encoder" if task else "causal")
    run, expected = capture_run(loaded, TEXT), unmerged(bare, folder)
    with torch.no_grad():
        states = expected(**loaded.tokenizer(TEXT, return_tensors="pt")).last_hidden_state[0]
    np.testing.assert_allclose(run.hidden_states[-1], states.numpy(), rtol=1e-5, atol=1e-5)


def test_an_adapter_of_a_model_with_a_head_fits_a_checkpoint_without_the_familys_prefix(
    settings: Settings, tmp_path: Path
) -> None:
    save(made("bert").bert, tmp_path / "models" / NAME, around=True)
    classes = hf.BertForSequenceClassification.from_pretrained(tmp_path / "models" / NAME)
    folder = adapt(copy.deepcopy(classes), tmp_path / "models" / "tuned", target_modules=["query"], task_type="SEQ_CLS")
    same(load_model("folder:models/tuned", settings), unmerged(classes, folder))


def test_the_run_of_an_adapter_names_its_base_and_its_fingerprint_covers_both(
    settings: Settings, tmp_path: Path
) -> None:
    base = save(made("llama"), tmp_path / "models" / NAME)
    adapt(made("llama"), tmp_path / "models" / "tuned", **LINEAR)
    catalog = Catalog(settings)
    loaded = load_model("folder:models/tuned", settings)
    assert capture_run(loaded, TEXT).header["source"] == f"adapter of {NAME}"
    first = catalog.fingerprint(ModelRequest("folder:models/tuned"))
    assert first == loaded.fingerprint == catalog.readiness(ModelRequest("folder:models/tuned")).fingerprint
    assert first != catalog.fingerprint(ModelRequest(f"folder:models/{NAME}"))
    assert catalog.count_tokens("folder:models/tuned", TEXT) == 9
    randomised_again = load_file(base / "model.safetensors")
    save_file(
        {name: value + 1 for name, value in randomised_again.items()}, base / "model.safetensors", {"format": "pt"}
    )
    second = catalog.fingerprint(ModelRequest("folder:models/tuned"))
    assert second != first
    weights = tmp_path / "models" / "tuned" / "adapter_model.safetensors"
    save_file({name: value + 1 for name, value in load_file(weights).items()}, weights)
    assert catalog.fingerprint(ModelRequest("folder:models/tuned")) not in (first, second)


@pytest.mark.parametrize("where", ["folder", "nested", "cache", "bundled path"])
def test_a_base_is_found_by_its_name_and_never_at_a_path(settings: Settings, tmp_path: Path, where: str) -> None:
    model = made("llama")
    snapshot = tmp_path / "hub" / f"models--somewhere--{NAME}" / "snapshots" / "abc"
    place = {
        "folder": tmp_path / "models" / NAME,
        "nested": tmp_path / "models" / "some" / NAME,
        "cache": snapshot,
        "bundled path": tmp_path / "elsewhere" / NAME,
    }[where]
    save(model, place)
    if where == "cache":
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("abc")
    folder = adapt(copy.deepcopy(model), tmp_path / "models" / "tuned", base=str(place), **LINEAR)
    if where == "bundled path":
        with pytest.raises(UnsupportedModelError, match=rf"its base {NAME} is not here.*DASHBOARD_MODEL_FOLDERS"):
            load_model(folder, settings)
        return
    same(load_model(folder, settings), unmerged(model, folder))
    card = Catalog(settings).get("folder:models/tuned")
    assert card.base_folder == place
    assert f"adapter of {NAME}" in card.note


def changed(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"peft_type": "IA3"}, "IA3 for base.*only LoRA and DoRA are applied"),
    "no type": ({"peft_type": None}, "unknown kind.*only LoRA and DoRA"),
    "no base": ({"base_model_name_or_path": None}, "name no base model"),
    "code": ({"auto_mapping": {"base_model_class": "X", "parent_library": "mine"}}, r"needs its own code \(mine\)"),
    "start": ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16.*path_initial_model"),
    "start of another type": ({"init_lora_weights": [1]}, "init_lora_weights"),
    "unknown": ({"use_something_new": True}, "use_something_new is a setting"),
    "activated": ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
    "layers": ({"layer_replication": [[0, 2]]}, "layer_replication"),
    "parameters": ({"target_parameters": ["x"]}, "target_parameters"),
    "pattern": ({"alpha_pattern": {"(a+)+$": 3}}, "not a module's name"),
    "alpha": ({"lora_alpha": "NaN"}, "lora_alpha is not a number"),
    "infinite": ({"lora_alpha": 1e400}, "lora_alpha is not a number"),
    "rank": ({"r": True}, "r is not a rank"),
    "another rank": ({"r": 5}, "not of the rank 5"),
    "dora": ({"use_dora": True}, "lora_magnitude_vector"),
    "flag": ({"use_rslora": "yes"}, "use_rslora is neither true nor false"),
    "missing": ({"base_model_name_or_path": "/home/somebody/models/other"}, "its base other is not here"),
    "a hub id": ({"base_model_name_or_path": "who/what"}, "its base who/what is not here.*models fetch who/what"),
    "out": ({"base_model_name_or_path": "../../etc"}, "its base etc is not here"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_applied_is_refused_by_name(settings: Settings, tmp_path: Path, case: str) -> None:
    config, said = REFUSED[case]
    save(made("llama"), tmp_path / "models" / NAME)
    folder = adapt(made("llama"), tmp_path / "models" / "tuned", **LINEAR)
    changed(folder, **config)
    with pytest.raises(UnsupportedModelError, match=said):
        load_model(folder, settings)
    card = Catalog(settings).get("folder:models/tuned")
    assert card.refusal or case in ("another rank", "dora")  # which the weights show, when they are read


def test_only_safetensors_are_read(settings: Settings, tmp_path: Path) -> None:
    save(made("llama"), tmp_path / "models" / NAME)
    folder = adapt(made("llama"), tmp_path / "models" / "tuned", **LINEAR)
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    assert load_model(folder, settings)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match=r"no adapter_model\.safetensors.*save it again as safetensors"):
        load_model(folder, settings)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"hidden_size": 64}, "down_proj takes 48 and gives 64 numbers there, not 48 and 32"),
        ({"num_hidden_layers": 1}, r"it has no model\.layers\.1"),
        ({"vocab_size": 40}, None),
    ],
)
def test_another_base_of_the_same_name_is_refused(
    settings: Settings, tmp_path: Path, sizes: dict[str, Any], said: str | None
) -> None:
    save(made("llama", **sizes), tmp_path / "models" / NAME)
    folder = adapt(made("llama"), tmp_path / "models" / "tuned", **LINEAR)
    if said is None:  # a smaller vocabulary takes part in none of its modules
        assert load_model(folder, settings)
        return
    with pytest.raises(UnsupportedModelError, match=rf"does not fit its base {NAME}: .*{said}.*another model"):
        load_model(folder, settings)


def replaced(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({name: value.contiguous() for name, value in change(load_file(path)).items()}, path)


Q = "base_model.model.model.layers.0.self_attn.q_proj"
HOSTILE: dict[str, tuple[Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], type[ModelError], str]] = {
    "not finite": (lambda w: {**w, f"{Q}.lora_A.weight": torch.full((4, 32), torch.nan)}, ModelError, "finite"),
    "whole numbers": (lambda w: {**w, f"{Q}.lora_A.weight": torch.ones(4, 32).int()}, ModelError, "finite"),
    "half": (lambda w: {n: v for n, v in w.items() if n != f"{Q}.lora_B.weight"}, UnsupportedModelError, "lora_A"),
    "unknown": (
        lambda w: {**w, f"{Q}.lora_C.weight": torch.ones(4, 32)},
        UnsupportedModelError,
        "not part of any LoRA",
    ),
    "elsewhere": (lambda w: {**w, "nowhere.weight": torch.ones(4)}, UnsupportedModelError, "no place"),
    "another shape": (
        lambda w: {**w, "base_model.model.model.norm.weight": torch.ones(4)},
        UnsupportedModelError,
        r"model\.norm\.weight would have the shape",
    ),
    "flat": (lambda w: {**w, f"{Q}.lora_A.weight": torch.ones(32)}, UnsupportedModelError, "not of the rank 4"),
    "a norm": (
        lambda w: {
            **w,
            "base_model.model.model.norm.lora_A.weight": torch.ones(4, 32),
            "base_model.model.model.norm.lora_B.weight": torch.ones(32, 4),
        },
        UnsupportedModelError,
        "is a LlamaRMSNorm there",
    ),
    "twice": (
        lambda w: {**w, "model.norm.weight": torch.ones(32), "model.norm.base_layer.weight": torch.ones(32)},
        UnsupportedModelError,
        "not part of any LoRA",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_weights_that_are_no_adapter_are_one_sentence(settings: Settings, tmp_path: Path, case: str) -> None:
    change, error, said = HOSTILE[case]
    save(made("llama"), tmp_path / "models" / NAME)
    folder = adapt(made("llama"), tmp_path / "models" / "tuned", **LINEAR)
    replaced(folder, change)
    with pytest.raises(error, match=said):
        load_model(folder, settings)


def test_a_damaged_file_is_one_sentence_in_the_list_and_at_load(settings: Settings, tmp_path: Path) -> None:
    save(made("llama"), tmp_path / "models" / NAME)
    folder = adapt(made("llama"), tmp_path / "models" / "tuned", **LINEAR)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "damaged" in Catalog(settings).get("folder:models/tuned").refusal
    with pytest.raises(ModelError, match="damaged"):
        load_model(folder, settings)


def test_an_adapter_counts_in_what_fits_and_is_read_only_when_prepared(settings: Settings, tmp_path: Path) -> None:
    save(made("llama"), tmp_path / "models" / NAME)
    folder = adapt(made("llama"), tmp_path / "models" / "tuned", **LINEAR)
    with pytest.raises(ModelTooLargeError):
        load_model(folder, Settings(**{**vars(settings), "model_gigabytes": 1e-6}))
    assert load_model("folder:models/tuned", settings, brings=False).info.title == "tuned"
    (tmp_path / "models" / NAME / "model.safetensors").rename(tmp_path / "models" / NAME / "gone.safetensors")
    with pytest.raises(DashboardError, match="is not here"):
        load_model("folder:models/tuned", settings, brings=False)


# what a notebook hands over


def adapted(family: str = "llama", **config: Any) -> Any:
    """peft's model of a tiny one, with random factors."""
    model = wrapped(made(family), LoraConfig(r=4, **{**LINEAR, **config}))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def eager(model: Any) -> Any:
    model.get_base_model().set_attn_implementation("eager")
    return model


AROUND: dict[str, Callable[[Any], Any]] = {
    "itself": lambda model: model,
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "injected": lambda model: model.get_base_model(),
}


@pytest.mark.parametrize("wrap", ["itself", "compiled", "parallel", "injected"])
@pytest.mark.parametrize("config", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}])
def test_a_peft_model_is_captured_as_it_is_and_stays_so(wrap: str, config: dict[str, Any]) -> None:
    torch.manual_seed(1)
    model = adapted(**config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loaded = wrap_model(AROUND[wrap](model), tokenizer(False), "mine")
    same(loaded, eager(model))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any(parameter.requires_grad for parameter in model.parameters())
    other = loaded.model.model.layers[0].mlp.up_proj.weight
    assert other.data_ptr() == model.get_base_model().model.layers[0].mlp.up_proj.weight.data_ptr()


def test_the_active_adapter_counts_and_the_fingerprint_says_which(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = adapted()
    model.add_adapter("second", LoraConfig(r=2, **{**LINEAR, "init_lora_weights": False}))
    first = wrap_model(model, tokenizer(False), "mine")
    model.set_adapter("second")
    second = wrap_model(model, tokenizer(False), "mine")
    assert first.fingerprint != second.fingerprint
    same(second, eager(model))
    with model.disable_adapter():
        plain = wrap_model(model, tokenizer(False), "mine")
        same(plain, eager(model))
    assert plain.fingerprint not in (first.fingerprint, second.fingerprint)


def test_a_tied_head_with_an_adapter_leaves_the_embedding_alone() -> None:
    model = wrapped(
        made("llama", tie_word_embeddings=True),
        LoraConfig(r=4, target_modules=["lm_head"], init_lora_weights=False, task_type="CAUSAL_LM"),
    ).eval()
    same(wrap_model(model, tokenizer(False), "mine"), eager(model))


def test_other_types_are_refused_by_name() -> None:
    prompt = wrapped(made("llama"), peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    scaled = wrapped(
        made("llama"), peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[], task_type="CAUSAL_LM")
    )
    for model, said in ((prompt, "PROMPT_TUNING"), (scaled, "IA3")):
        with pytest.raises(UnsupportedModelError, match=f"{said}.*only LoRA and DoRA.*merge_and_unload"):
            wrap_model(model, tokenizer(False), "mine")


class Own(hf.LlamaForCausalLM):
    """A subclass, as a training script has it."""


def test_a_subclass_is_captured_with_and_without_an_adapter() -> None:
    model = randomised(Own(copy.deepcopy(spec("llama").config)))
    reference = copy.deepcopy(model)
    reference.set_attn_implementation("eager")
    same(wrap_model(model, tokenizer(False), "mine"), reference)
    tuned = wrapped(model, LoraConfig(r=4, init_lora_weights=False, **LINEAR)).eval()
    same(wrap_model(tuned, tokenizer(False), "mine"), eager(tuned))
