"""‖α f(x)‖ against a direct computation: plain Hugging Face with hooks on its own layers, and their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dashboard import derive
from dashboard.analysis.attention_norms import head_norms, layer_norms
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, wrap_model
from dashboard.capture.tokens import tokenize
from dashboard.contracts.passed_on import PassedOn
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError
from tests.integration.test_chat_messages import TEMPLATES, talker
from tests.support.bundled_models import bundled_model
from tests.support.tiny_models import eager_twin, tiny, tokenizer, words

pytestmark = pytest.mark.integration
Parts = tuple[nn.Module, torch.Tensor, torch.Tensor | None, torch.Tensor]
TEXTS = {
    "smollm2-135m": "When Mary and John went to the shops, John gave a bottle of milk to",
    "minilm-l6": "The bank charged a fee. Ducks sat on the grassy bank of the river.",
    "rxnmapper": "CC(C)S.Fc1cccnc1F>>CC(C)Sc1ncccc1F",
}


def of_gpt2(model: Any, layer: int) -> Parts:
    """(module whose input is x, W_V (in, out), b_V, W_O (in, out))"""
    part, width = model.transformer.h[layer].attn, model.config.n_embd
    return part.c_attn, part.c_attn.weight[:, 2 * width :], part.c_attn.bias[2 * width :], part.c_proj.weight


def of_llama(model: Any, layer: int) -> Parts:
    part = model.model.layers[layer].self_attn
    return part.v_proj, part.v_proj.weight.T, part.v_proj.bias, part.o_proj.weight.T


def of_bert(model: Any, layer: int) -> Parts:
    part = getattr(model, "bert", model).encoder.layer[layer].attention
    value = part.self.value
    return value, value.weight.T, value.bias, part.output.dense.weight.T


def of_albert(model: Any, _layer: int) -> Parts:
    part = getattr(model, "albert", model).encoder.albert_layer_groups[0].albert_layers[0].attention
    return part.value, part.value.weight.T, part.value.bias, part.dense.weight.T


def direct(model: Any, parts: Callable[[Any, int], Parts], inputs: Any, layers: int, heads: int) -> tuple[Any, Any]:
    """Attentions (layer, head, query, key), and f(x): (layer, head, token, hidden), both float64."""
    attentions, passed = [], []
    given: dict[int, list[torch.Tensor]] = {}
    hooks = []
    for module in {parts(model, layer)[0] for layer in range(layers)}:
        kept = given.setdefault(id(module), [])
        hooks.append(module.register_forward_hook(lambda _m, args, _o, kept=kept: kept.append(args[0][0].double())))
    with torch.no_grad():
        outputs = model(**inputs, output_attentions=True)
    for hook in hooks:
        hook.remove()
    for layer in range(layers):
        module, w_v, b_v, w_o = parts(model, layer)
        states = given[id(module)].pop(0)
        value = states @ w_v.double() + (0 if b_v is None else b_v.double())
        width = w_o.shape[0] // heads
        by_head = value.reshape(len(states), -1, width)
        shared = by_head.repeat_interleave(heads // by_head.shape[1], dim=1)
        projection = w_o.double().reshape(heads, width, -1)
        passed.append(torch.einsum("thd,hdo->hto", shared, projection).detach().numpy())
        attentions.append(outputs.attentions[layer][0].double().numpy())
    return np.stack(attentions), np.stack(passed)


def check(loaded: LoadedModel, model: Any, parts: Callable[[Any, int], Parts], text: str) -> PassedOn:
    run = capture_run(loaded, text)
    passed = derive(loaded, run, "attention-norms")
    inputs, _ = tokenize(loaded.tokenizer, text)
    layers, heads = loaded.info.layers, loaded.info.heads
    alpha, f = direct(model, parts, inputs, layers, heads)
    attention, count = run.attention_of(), len(run)
    for layer in range(layers):
        wanted = alpha[layer][..., None] * f[layer][:, None]  # (head, query, key, hidden)
        one = np.linalg.norm(wanted, axis=-1)
        scale = one.max()
        for head in range(heads):
            found = head_norms(attention, passed, layer, head, 0, count)
            np.testing.assert_allclose(found, one[head], atol=2e-5 * scale, rtol=0)
        together = np.linalg.norm(wanted.sum(axis=0), axis=-1)
        found = layer_norms(attention, passed, layer, 0, count)
        np.testing.assert_allclose(found, together, atol=1e-3 * scale, rtol=0)  # squares that cancel
        np.testing.assert_allclose(found, together, atol=2e-5 * scale, rtol=1e-3)
        np.testing.assert_allclose(
            layer_norms(attention, passed, layer, 3, 5), found[3:5], rtol=1e-4, atol=1e-5 * scale
        )
    return passed


@pytest.mark.parametrize(
    ("name", "parts"), [("gpt2", of_gpt2), ("llama", of_llama), ("bert", of_bert), ("albert", of_albert)]
)
def test_norms_of_every_layout_are_those_of_the_weights(name: str, parts: Callable[[Any, int], Parts]) -> None:
    loaded = tiny(name)
    check(loaded, eager_twin(name, loaded), parts, words(14))


@pytest.mark.parametrize(
    ("name", "parts"), [("smollm2-135m", of_llama), ("minilm-l6", of_bert), ("rxnmapper", of_albert)]
)
def test_norms_of_the_bundled_models_are_those_of_their_weights(name: str, parts: Callable[[Any, int], Parts]) -> None:
    loaded = bundled_model(name)
    before = loaded.model.config._attn_implementation
    run = capture_run(loaded, TEXTS[name])
    passed = derive(loaded, run, "attention-norms")
    loaded.model.set_attn_implementation("eager")
    try:
        again = check(loaded, loaded.model, parts, TEXTS[name])
    finally:
        loaded.model.set_attn_implementation(before)
    np.testing.assert_allclose(again.norms, passed.norms, rtol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "mistral",
        "qwen3",
        "phi",
        "cohere",
        "granite",
        "gemma2",
        "gpt_oss",
        "gpt_neox",
        "opt",
        "roberta",
        "distilbert",
        "electra",
        "modernbert",
    ],
)
def test_the_output_projection_of_these_families_is_found(name: str) -> None:
    """What all heads add at a query is what the projection puts out, less its bias."""
    loaded = tiny(name)
    run = capture_run(loaded, words(14))
    passed = derive(loaded, run, "attention-norms")
    assert np.isfinite(passed.norms).all()
    assert all(gram is not None for gram in passed.grams)
    assert passed.norms.shape == (loaded.info.layers, loaded.info.heads, len(run))


def test_a_family_with_its_own_attention_says_so() -> None:
    loaded = tiny("bloom")
    with pytest.raises(MissingArrayError, match="has its own attention code"):
        derive(loaded, capture_run(loaded, words(8)), "attention-norms")


class Gated(nn.Linear):
    """A projection that multiplies its output, as no plain projection does."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return super().forward(states) * 2


def test_a_projection_that_does_more_than_its_weights_say_is_not_taken() -> None:
    model = eager_twin("llama", tiny("llama"))
    for layer in model.model.layers:
        gated = Gated(layer.self_attn.o_proj.in_features, layer.self_attn.o_proj.out_features, bias=False)
        gated.load_state_dict(layer.self_attn.o_proj.state_dict())
        layer.self_attn.o_proj = gated
    loaded = wrap_model(model.eval(), tokenizer(False), "gated", title="Gated", fingerprint="gated" * 3)
    with pytest.raises(MissingArrayError, match="The output projection of Gated is not known"):
        derive(loaded, capture_run(loaded, words(8)), "attention-norms")


def test_without_room_for_the_inner_products_the_norms_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.compute.attention_norms.MOST_BYTES", 100)
    loaded = tiny("gpt2")
    passed = derive(loaded, capture_run(loaded, words(8)), "attention-norms")
    assert np.isfinite(passed.norms).all()
    assert passed.grams == (None, None)


def test_a_run_is_as_it_was_afterwards() -> None:
    loaded = tiny("llama")
    run: ModelRun = capture_run(loaded, words(8))
    before = [len(module._forward_hooks) for module in loaded.model.modules()]
    derive(loaded, run, "attention-norms")
    assert [len(module._forward_hooks) for module in loaded.model.modules()] == before
    again = capture_run(loaded, words(8))
    np.testing.assert_array_equal(run.arrays["decoder/query/1"], again.arrays["decoder/query/1"])


def test_norms_of_a_chat_message_are_those_of_what_was_read() -> None:
    """The message has other tokens than its rendered text, which the template has given its special tokens."""
    loaded = talker(TEMPLATES["zephyr"])
    run = capture_run(loaded, "Who wrote Faust?", chat=True)
    passed = derive(loaded, run, "attention-norms")
    assert len(run) > len(capture_run(loaded, "Who wrote Faust?"))
    ids = torch.tensor([[token.id for token in run.tokens]])
    loaded.model.set_attn_implementation("eager")
    alpha, f = direct(loaded.model, of_llama, {"input_ids": ids}, loaded.info.layers, loaded.info.heads)
    wanted = alpha[1][0] * np.linalg.norm(f[1][0], axis=-1)
    found = head_norms(run.attention_of(), passed, 1, 0, 0, len(run))
    np.testing.assert_allclose(found, wanted, atol=2e-5 * wanted.max(), rtol=0)
