"""Families with their own attention code: how their weights are taken, kept, limited and refused."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors import safe_open

from dashboard import open_run, plot_logit_lens, save_run
from dashboard.capture.attention import Recorder
from dashboard.capture.capture import capture_run
from dashboard.capture.families import Family, families
from dashboard.capture.loader import load_model, wrap_model
from dashboard.capture.model_probe import base_of, model_probe
from dashboard.capture.own_attention import taking
from dashboard.capture.predictions import masked_fill
from dashboard.capture.tokens import tokenize
from dashboard.catalog.description import describe_folder
from dashboard.catalog.refused_families import REFUSED
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.stored_weights import fitting_tokens
from dashboard.errors import MissingArrayError, TextTooLongError, UnsupportedModelError
from dashboard.jobs.work import ResidentModels, capture
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support import refused_families
from tests.support.tiny_models import HEADS, OWN, VOCABULARY, eager_twin, randomised, spec, tiny, tokenizer, words

pytestmark = pytest.mark.integration
TOKENS = 30


def same(one: ModelRun, other: ModelRun) -> bool:
    return set(one.arrays) == set(other.arrays) and all(
        np.array_equal(values, other.arrays[name], equal_nan=values.dtype.kind == "f")
        for name, values in one.arrays.items()
    )


# one layer at a time


def weights_in_memory(tokens: int) -> int:
    """How many layers' weights there are: tensors of (head, token, token) whose rows sum to 1."""
    found = {
        values.untyped_storage().data_ptr()
        for values in gc.get_objects()
        if type(values) is torch.Tensor
        and values.shape[-3:] == (HEADS, tokens, tokens)
        and bool(((values.sum(dim=-1) - 1).abs() < 1e-3).all())
    }
    return len(found)


@pytest.mark.parametrize("name", OWN)
def test_one_layers_weights_are_in_memory_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(name)
    known = model_probe(loaded.model, loaded.info)
    assert known.own is not None
    inputs, tokens = tokenize(loaded.tokenizer, words(TOKENS))
    base, counted = base_of(loaded.model), []
    recorder = Recorder(loaded.info.title, lambda _index: None)
    monkeypatch.setattr(recorder, "keep", lambda *_weights: recorder.calls.append(None))  # as if each were on disk
    layers = [path for path, module in base.named_modules() if type(module).__name__.endswith(("Layer", "Block"))]
    layers = [path for path in layers if path.split(".")[-1].isdigit()]
    assert len(layers) == loaded.info.layers

    def look(*_call: object) -> None:
        counted.append(weights_in_memory(len(tokens)))

    hooks = [base.get_submodule(path).register_forward_hook(look) for path in layers]
    try:
        assert weights_in_memory(len(tokens)) == 0
        with torch.inference_mode(), taking(loaded.model, base, recorder, known.own):
            outputs = base(**inputs, output_hidden_states=True, return_dict=True, **known.own.keywords)
        within = counted.copy()
        counted.clear()
        with torch.inference_mode():  # without the hooks, the weights of all layers stay
            plain = base(**inputs, output_attentions=True)
    finally:
        for hook in hooks:
            hook.remove()
    assert within == [0, 0], "no layer leaves its weights behind"
    assert max(counted) == 2 or name.startswith("falcon"), "this count sees them"
    assert all(weights is None or weights.numel() == 0 for weights in outputs.get("attentions") or ())
    assert all(weights.numel() for weights in plain.attentions)


def test_weights_are_kept_without_a_copy() -> None:
    loaded = tiny("gptj")
    given: list[int] = []
    attn = loaded.model.transformer.h[0].attn
    hook = attn.register_forward_hook(lambda _module, _inputs, output: given.append(output[1].numel()))
    run = capture_run(loaded, words(TOKENS))
    hook.remove()
    assert given[-1] == 0, "hooks that come later see an empty tensor"
    assert run.arrays["decoder/attention/0"].nbytes == 4 * HEADS * len(run) ** 2
    assert not [name for name in run.arrays if "/query/" in name or "/key/" in name]


# where the weights are


def test_the_places_are_the_attention_modules_themselves() -> None:
    found = {}
    for name in OWN:
        loaded = tiny(name)
        own = model_probe(loaded.model, loaded.info).own
        assert own is not None
        found[name] = (own.places[1].path, own.places[1].index, own.asks)
    assert found == {
        "deberta": ("encoder.layer.1.attention.self", 1, True),
        "deberta_own_head": ("encoder.layer.1.attention.self", 1, True),
        "deberta_v2": ("encoder.layer.1.attention.self", 1, True),
        "mpnet": ("encoder.layer.1.attention.attn", 1, True),
        "roformer": ("encoder.layer.1.attention.self", 1, False),
        "rembert": ("encoder.layer.1.attention.self", 1, False),
        "megatron_bert": ("encoder.layer.1.attention.self", 1, False),
        "gpt_neo": ("h.1.attn.attention", 1, False),
        "gptj": ("h.1.attn", 1, False),
        "codegen": ("h.1.attn", 1, False),
        "bloom": ("h.1.self_attention", 1, False),
        "falcon": ("h.1.self_attention", 1, False),
        "falcon_alibi": ("h.1.self_attention", 1, False),
        "mpt": ("blocks.1.attn", 1, False),
        "xglm": ("layers.1.self_attn", 1, False),
    }


def test_a_model_of_the_interface_has_no_such_places() -> None:
    loaded = tiny("llama")
    assert model_probe(loaded.model, loaded.info).own is None


@pytest.mark.parametrize("name", ["deberta", "deberta_v2"])
def test_every_term_of_disentangled_attention_matters(name: str) -> None:
    """Content to position, and position to content: without either, the weights are others."""
    whole = capture_run(tiny(name), words(TOKENS))
    for left in (["c2p"], ["p2c"]):
        loaded = tiny(name)
        for layer in loaded.model.deberta.encoder.layer:
            layer.attention.self.pos_att_type = left
        assert np.abs(capture_run(loaded, words(TOKENS)).attention(1, 0) - whole.attention(1, 0)).max() > 0.01


def test_positions_beyond_the_buckets_share_one() -> None:
    """`position_buckets`: distances up to 4 have one each, farther ones share; 60 tokens use all of them."""
    loaded = tiny("deberta_v2")
    text = words(60)
    inputs, _ = tokenize(loaded.tokenizer, text)
    run = capture_run(loaded, text)
    with torch.no_grad():
        theirs = eager_twin("deberta_v2", loaded)(**inputs, output_attentions=True).attentions
    for layer in range(2):
        np.testing.assert_allclose(
            np.stack([run.attention(layer, head) for head in range(HEADS)]), theirs[layer][0].numpy(), atol=1e-5
        )


# a slice of a layer


def test_one_head_is_read_without_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = capture_run(tiny("gptj"), words(TOKENS))
    store = RunStore(tmp_path / "runs", 10**9)
    store.save(run.key, run.header, run.arrays)
    opened = store.open(run.key)
    np.testing.assert_array_equal(opened.attention(1, 2), run.attention(1, 2))
    np.testing.assert_array_equal(opened.attention_rows(1, 2, 4, 6), run.attention(1, 2)[4:6])
    path = tmp_path / "runs" / f"{run.key}.safetensors"
    with safe_open(path, "np") as file:
        np.testing.assert_array_equal(file.get_slice("decoder/attention/1")[2], run.attention(1, 2))
    stored = opened.arrays["decoder/attention/1"]
    assert stored.dtype == np.float32
    assert not stored.flags.owndata, "mapped, so that only what is looked at is read"
    opened.attention(1, 2)[:] = 0  # a value of its own
    np.testing.assert_array_equal(opened.attention(1, 2), run.attention(1, 2))


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("attention", [False, True])
def test_an_exported_run_opens_as_it_was(tmp_path: Path, kind: str, attention: bool) -> None:
    run = capture_run(tiny("deberta"), words(TOKENS))
    opened = open_run(save_run(run, tmp_path / f"run.{kind}", attention=attention))
    assert same(opened, run), "the weights are in the file once, asked for or not"
    np.testing.assert_array_equal(opened.attention(0, 3), run.attention(0, 3))
    assert opened.recipe(0) == run.recipe(0)


# how long a text may be


def test_a_text_whose_weights_are_too_large_is_refused_before_the_forward() -> None:
    loaded = tiny("gptj")
    each = 4 * loaded.info.layers * loaded.info.heads
    fits = 20
    most = each * fits**2 / 1e6
    heard: list[object] = []
    assert len(capture_run(loaded, words(fits), weights_megabytes=most)) == fits
    with pytest.raises(TextTooLongError) as caught:
        capture_run(loaded, words(fits + 1), weights_megabytes=most, progress=heard.append)
    assert str(caught.value).startswith(
        "21 tokens; at most 20 fit. Tiny gptj has its own attention code, so a run stores all of its weights: "
    )
    assert "DASHBOARD_WEIGHTS_MEGABYTES" in str(caught.value)
    assert heard == []
    assert len(capture_run(tiny("llama"), words(fits + 1), weights_megabytes=most)) == fits + 1, "these store none"


def test_the_worker_keeps_to_the_setting(tmp_path: Path) -> None:
    loaded = tiny("gptj")

    class Models(ResidentModels):
        def get(self, *_asked: object) -> Any:  # type: ignore[override]
            return loaded

    class Context:
        store = RunStore(tmp_path / "runs", 10**9)

        def progress(self, _progress: object) -> None: ...

        def announce(self, **_fields: object) -> None: ...

    most = 4 * 2 * HEADS * 25**2 / 1e6
    models = Models(Settings(weights_megabytes=most, cache_dir=tmp_path))
    key = capture({"request": RunRequest("x", words(25)).to_json()}, Context(), models)  # type: ignore[arg-type]
    assert len(Context.store.open(key)) == 25
    with pytest.raises(TextTooLongError, match="26 tokens; at most 25 fit"):
        capture({"request": RunRequest("x", words(26)).to_json()}, Context(), models)  # type: ignore[arg-type]


def test_the_models_own_limit_is_that_of_its_tables() -> None:
    """MPT calls its positions `max_seq_len`; BLOOM has none."""
    assert tiny("mpt").info.limit == 64
    assert tiny("bloom").info.limit > 10**5
    assert tiny("mpnet").info.limit == 64
    with pytest.raises(TextTooLongError, match="at most 64"):
        capture_run(tiny("mpt"), words(65))


# from files


@pytest.mark.parametrize("name", OWN)
def test_a_saved_model_is_described_loaded_and_captured(name: str, tmp_path: Path) -> None:
    made = tiny(name)
    made.model.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    if name == "deberta_own_head":  # as published: the configuration does not say which head the file has
        config = tmp_path / "config.json"
        config.write_text(config.read_text().replace('"legacy": false,', ""))
    card = describe_folder(tmp_path)
    assert (card.refusal, card.stores_weights, card.layers, card.heads) == ("", True, 2, HEADS)
    assert card.kind == made.info.kind
    assert card.fitting_tokens(1.0) == fitting_tokens(2, HEADS, 1.0)
    loaded = load_model(tmp_path)
    assert (loaded.info.kind, loaded.info.limit, card.limit) == (made.info.kind, made.info.limit, made.info.limit)
    ours, theirs = capture_run(loaded, words(9)).arrays, capture_run(made, words(9)).arrays
    assert set(ours) == set(theirs)
    for array in (one for one in theirs if "attention/" in one or "top_logprobs" in one):
        np.testing.assert_allclose(ours[array], theirs[array], atol=1e-6)


def test_what_published_debertas_hold_beside_is_named_and_left(tmp_path: Path) -> None:
    """v3's files have the head of its discriminator, which no class of transformers reads."""
    made = tiny("deberta_v2")
    more = {f"mask_predictions.dense.{part}": torch.ones(32) for part in ("weight", "bias")}
    made.model.save_pretrained(tmp_path, state_dict={**made.model.state_dict(), **more})
    made.tokenizer.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.unread == ("replaced-token head (mask_predictions.dense)",)
    assert loaded.info.kind == "masked"


# what is refused


@pytest.fixture(scope="module")
def outcome() -> dict[str, tuple[str, str]]:
    return refused_families.refused()


def test_the_list_of_refused_families_is_what_a_trial_of_each_gives(outcome: dict[str, tuple[str, str]]) -> None:
    listed = {name: tuple(entry) for name, entry in REFUSED.items()}
    assert listed == outcome, "run: python -m tests.support.refused_families"
    module = refused_families.MODULE.read_text(encoding="utf-8")
    assert refused_families.module_text(outcome, module) == module
    assert {"longformer", "big_bird", "xlnet"} <= set(listed)
    asked = {"deberta", "deberta-v2", "mpnet", "gpt_neo", "gptj", "bloom", "falcon", "mpt", "xglm", "roformer"}
    assert not asked & set(listed)
    assert asked | {"megatron-bert", "rembert", "mpt"} <= {name for name, _made in refused_families.families()}


def test_the_page_on_models_lists_them(outcome: dict[str, tuple[str, str]]) -> None:
    page = refused_families.PAGE.read_text(encoding="utf-8")
    assert refused_families.page_text(outcome, page) == page, "run: python -m tests.support.refused_families"


def refusal(model: Any, name: str, tokens: int = 8) -> str:
    loaded = wrap_model(model, tokenizer(False), name, fingerprint=name)
    before = model.config._attn_implementation
    with pytest.raises(UnsupportedModelError) as caught:
        capture_run(loaded, words(tokens))
    assert model.config._attn_implementation == before
    assert not any(module._forward_hooks for module in model.modules())
    return str(caught.value)


def test_a_refused_family_is_named_with_the_reason() -> None:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    bird = hf.BigBirdForMaskedLM(hf.BigBirdConfig(**sizes, intermediate_size=48, max_position_embeddings=64)).eval()
    assert refusal(bird, "Bird") == (
        "Bird (BigBirdForMaskedLM) has its own attention code, and it attends differently in short texts than in "
        "long ones, so it cannot be captured. Choose another model."
    )
    long = hf.LongformerForMaskedLM(
        hf.LongformerConfig(**sizes, intermediate_size=48, max_position_embeddings=66, attention_window=8)
    ).eval()
    assert "Long (LongformerForMaskedLM) has its own attention code" in refusal(long, "Long")
    with pytest.raises(UnsupportedModelError, match=r"Snake \(mamba\) has no attention"):
        wrap_model(
            hf.MambaForCausalLM(
                hf.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4)
            ),
            tokenizer(False),
            "Snake",
        )


@pytest.fixture
def talking() -> Any:
    """DeBERTa whose heads are mixed after the softmax: its rows do not sum to 1."""
    config = spec("deberta").config
    config.talking_head = True
    return randomised(hf.DebertaForMaskedLM(config))


def test_weights_that_are_mixed_after_the_softmax_are_refused(talking: Any) -> None:
    assert "the rows of its weights do not sum to 1" in refusal(talking, "Talking")


@pytest.mark.parametrize("later", [False, True])
def test_weights_that_are_used_again(later: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Used again in the same layer, they are taken from the layer's own output; used in a later one, not at all."""
    model, seen = tiny("gptj").model, []
    for layer, block in enumerate(model.transformer.h):
        source, used = (block, layer == 1) if later else (block.attn, True)
        source.register_forward_hook(lambda _module, _inputs, output: seen.append(output[1]))
        if used:
            mlp = block.mlp.forward
            monkeypatch.setattr(block.mlp, "forward", lambda x, mlp=mlp: mlp(x) * (1 + seen[-1].square().sum()))
    loaded = wrap_model(model, tokenizer(False), "Nosy", fingerprint="nosy")
    if later:
        with pytest.raises(UnsupportedModelError, match="taking its weights out of its modules' outputs changes"):
            capture_run(loaded, words(8))
        return
    run = capture_run(loaded, words(8))
    own = model_probe(model, loaded.info).own
    assert own is not None
    assert [place.path for place in own.places] == ["h.0", "h.1"]
    inputs, _ = tokenize(loaded.tokenizer, words(8))
    with torch.no_grad():
        plain = model(**inputs, output_attentions=True)
    np.testing.assert_allclose(run.attention(1, 2), plain.attentions[1][0, 2].numpy(), atol=1e-5)


def test_rows_that_do_not_sum_to_one_in_a_run_are_refused() -> None:
    recorder = Recorder("Model", lambda _index: None)
    weights = torch.rand(2, 9, 9).softmax(dim=-1)
    recorder.keep(weights, "full", None)
    with pytest.raises(UnsupportedModelError, match="The weights in layer 1 of Model do not sum to 1"):
        recorder.keep(weights * 0.9, "full", None)
    for mask, window in (("causal", None), ("full", 2)):
        with pytest.raises(UnsupportedModelError, match="do not sum to 1 over the tokens that it may attend to"):
            recorder.keep(weights, mask, window)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["narrow", "thrice"])
def test_what_a_short_trial_did_not_show_is_refused(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In longer texts, some attention is given for blocks of tokens, or a layer is used again."""
    loaded = tiny("gptj")
    block = loaded.model.transformer.h[1]
    forward = block.attn.forward

    def longer(*given: Any, **more: Any) -> Any:
        output, weights = forward(*given, **more)
        return output, weights[..., :8] if weights.shape[-1] > 8 else weights

    def again(states: torch.Tensor, *given: Any, **more: Any) -> Any:
        if states.shape[1] > 8:
            layer(states, *given, **more)
        return layer(states, *given, **more)

    layer = block.forward
    monkeypatch.setattr(*((block.attn, "forward", longer) if form == "narrow" else (block, "forward", again)))
    assert len(capture_run(loaded, words(8))) == 8
    with pytest.raises(UnsupportedModelError, match="in a way that a short trial did not show"):
        capture_run(loaded, words(9))
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_a_family_file_with_wrong_windows_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = families()["gpt_neo"]
    wrong = Family(("gpt_neo",), right.final_norm, right.head, windows=lambda _config: (3, 7))
    monkeypatch.setattr("dashboard.capture.model_probe.families", lambda: {"gpt_neo": wrong})
    with pytest.raises(UnsupportedModelError, match="do not sum to 1"):
        capture_run(tiny("gpt_neo"), words(TOKENS))


# like all others


def test_the_lens_of_a_model_that_cannot_be_captured(outcome: dict[str, tuple[str, str]]) -> None:
    """It needs no attention: what a notebook draws from plain outputs is drawn of these, too."""
    made = dict(refused_families.families())["xlnet"]
    model = refused_families.small_model("xlnet", made)
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        outputs = model(input_ids=ids, output_hidden_states=True)
    figure = plot_logit_lens(outputs.hidden_states, model, tokenizer(False), ids)
    assert "xlnet" in outcome
    assert len(figure.data[0].z) == len(outputs.hidden_states)


def test_wrappers_and_types_of_numbers() -> None:
    whole = capture_run(tiny("deberta"), words(9))
    loaded = tiny("deberta")
    parallel = wrap_model(torch.nn.DataParallel(loaded.model), loaded.tokenizer, loaded.info.name, fingerprint="x")
    assert same(capture_run(parallel, words(9)), whole)
    half = tiny("gptj")
    half.model.to(torch.bfloat16)
    run = capture_run(half, words(9))
    assert run.arrays["decoder/attention/0"].dtype == np.float32
    np.testing.assert_allclose(run.attention(1, 2).sum(axis=1), 1, atol=2e-2)


def test_numbers_that_are_not_finite_are_kept_as_they_are() -> None:
    loaded = tiny("gptj")
    with torch.no_grad():
        loaded.model.transformer.h[1].ln_1.weight[0] = float("nan")
    run = capture_run(loaded, words(9))
    assert run.not_finite is not None
    assert run.not_finite.layer == 1
    weights = run.attention(1, 0)
    assert np.isnan(weights[np.tril_indices(9)]).all()
    assert (weights[np.triu_indices(9, 1)] == 0).all(), "forbidden pairs are 0 in any row"


def test_masked_predictions_of_one_position() -> None:
    loaded = tiny("deberta_v2")
    run = capture_run(loaded, words(12))
    row = masked_fill(loaded, words(12), 3)["masked/top_logprobs"][0]
    width = min(len(row), run.arrays["masked/top_logprobs"].shape[1])
    np.testing.assert_allclose(row[:width], run.arrays["masked/top_logprobs"][3][:width], atol=5e-5)


def test_what_needs_queries_and_keys_says_that_there_are_none() -> None:
    run = capture_run(tiny("gptj"), words(9))
    with pytest.raises(MissingArrayError) as caught:
        run.attention_of().query_and_key(0)
    assert str(caught.value) == (
        "Tiny gptj has its own attention code, so its weights are stored, and its queries and keys are not "
        "available. Choose another model to see them."
    )
    assert not caught.value.again
    assert DerivedRequest.of(run.key, "logit-lens").run == run.key
