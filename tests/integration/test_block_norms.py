"""Norms with residual connection and LayerNorm, against plain Hugging Face with hooks on its own layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dashboard import derive
from dashboard.analysis.attention_norms import layer_norms, layernorm_norms, residual_norms
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, wrap_model
from dashboard.capture.tokens import tokenize
from dashboard.contracts.passed_on import BlockNorms, Stage
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError
from dashboard.figures.attention_norms import plot_attention_norms
from tests.integration.test_attention_norms import TEXTS, of_gpt2, of_llama
from tests.support.bundled_models import bundled_model
from tests.support.tiny_models import eager_twin, tiny, tokenizer, words

pytestmark = pytest.mark.integration


@dataclass
class Parts:
    """A layer's own modules: the one that makes values, the output projection, and the LayerNorm after the sum."""

    value: nn.Linear
    projection: nn.Linear
    norm: nn.LayerNorm


def of_bert(model: Any, layer: int) -> Parts:
    base = next(getattr(model, name) for name in ("bert", "roberta", "electra", "base_model") if hasattr(model, name))
    part = base.encoder.layer[layer].attention
    return Parts(part.self.value, part.output.dense, part.output.LayerNorm)


def of_albert(model: Any, _layer: int) -> Parts:
    part = getattr(model, "albert", model).encoder.albert_layer_groups[0].albert_layers[0].attention
    return Parts(part.value, part.dense, part.LayerNorm)


def of_distilbert(model: Any, layer: int) -> Parts:
    part = model.distilbert.transformer.layer[layer]
    return Parts(part.attention.v_lin, part.attention.out_lin, part.sa_layer_norm)


def of_opt(model: Any, layer: int) -> Parts:
    part = model.model.decoder.layers[layer]
    return Parts(part.self_attn.v_proj, part.self_attn.out_proj, part.self_attn_layer_norm)


@dataclass
class Direct:
    """One layer as the model itself computed it, float64.

    Attributes:
        heads, residual, normed: (query, key, hidden), what each token gets: from all heads, with its own state, and
            past LayerNorm. rest: (query, hidden), what biases and β add. output: (query, hidden), the LayerNorm's.
        parts: weights (head, query, key), values (head, key, d_value) and states (token, hidden), for a figure.
    """

    heads: np.ndarray
    residual: np.ndarray
    normed: np.ndarray
    deviation: np.ndarray
    rest: np.ndarray
    output: np.ndarray
    parts: tuple[np.ndarray, np.ndarray, np.ndarray]


def double(values: torch.Tensor | None) -> Any:
    return 0.0 if values is None else values.detach().double().numpy()


def direct(model: Any, parts: Callable[[Any, int], Parts], inputs: Any, layers: int, heads: int) -> list[Direct]:
    kept: dict[int, list[Any]] = {}
    hooks = []
    for one in {id(part): part for layer in range(layers) for part in vars(parts(model, layer)).values()}.values():
        kept[id(one)] = []
        hook = lambda m, args, out: kept[id(m)].append((double(args[0]), double(out)))  # noqa: E731
        hooks.append(one.register_forward_hook(hook))
    with torch.no_grad():
        outputs = model(**inputs, output_attentions=True)
    for hook in hooks:
        hook.remove()
    found = []
    for layer in range(layers):
        part, alpha = parts(model, layer), outputs.attentions[layer][0].double().numpy()
        states = kept[id(part.value)].pop(0)[0][0]
        output = kept[id(part.norm)].pop(0)[1].reshape(states.shape)
        value = states @ double(part.value.weight).T + double(part.value.bias)
        by_head = value.reshape(len(states), heads, -1).transpose(1, 0, 2)
        matrix = double(part.projection.weight).T.reshape(heads, by_head.shape[2], -1)
        together = np.einsum("hqk,hkd,hdo->qko", alpha, by_head, matrix)
        residual = together.copy()
        residual[np.arange(len(states)), np.arange(len(states))] += states
        bias = double(part.projection.bias)
        deviation = np.sqrt((residual.sum(axis=1) + bias).var(axis=1) + part.norm.eps)
        gain = double(part.norm.weight)
        normed = gain * (residual - residual.mean(axis=-1, keepdims=True)) / deviation[:, None, None]
        rest = gain * (bias - bias.mean()) / deviation[:, None] + double(part.norm.bias)
        found.append(Direct(together, residual, normed, deviation, rest, output, (alpha, by_head, states)))
    return found


def agree(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max(), rtol=0)


def check(loaded: LoadedModel, model: Any, parts: Callable[[Any, int], Parts], text: str) -> None:
    run = capture_run(loaded, text)
    passed, block = derive(loaded, run, "attention-norms"), derive(loaded, run, "block-norms")
    inputs, _ = tokenize(loaded.tokenizer, text)
    attention, count, places = run.attention_of(), len(run), np.arange(len(run))
    for layer, wanted in enumerate(direct(model, parts, inputs, loaded.info.layers, loaded.info.heads)):
        agree(wanted.normed.sum(axis=1) + wanted.rest, wanted.output)  # so these are contributions to the output
        agree(layer_norms(attention, passed, layer, 0, count), np.linalg.norm(wanted.heads, axis=-1))
        found = residual_norms(attention, passed, block, layer, 0, count)
        agree(found, np.linalg.norm(wanted.residual, axis=-1))
        found = layernorm_norms(attention, block, layer, 0, count)
        agree(found, np.linalg.norm(wanted.normed, axis=-1))
        np.testing.assert_allclose(layernorm_norms(attention, block, layer, 3, 5), found[3:5], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(block.deviation[layer], wanted.deviation, rtol=1e-4)
        stages: tuple[tuple[Stage, np.ndarray], ...] = (("residual", wanted.residual), ("layernorm", wanted.normed))
        for stage, vectors in stages:
            own = vectors[places, places]
            others = np.linalg.norm(vectors.sum(axis=1) - own, axis=-1)
            ratio = others / (others + np.linalg.norm(own, axis=-1))
            np.testing.assert_allclose(block.mixing_ratio(stage, layer), ratio, atol=1e-4)


POST_NORM = [("bert", of_bert), ("roberta", of_bert), ("electra", of_bert), ("albert", of_albert)]
POST_NORM += [("distilbert", of_distilbert), ("opt_post_norm", of_opt)]


@pytest.mark.parametrize(("name", "parts"), POST_NORM)
def test_norms_of_post_norm_families_are_those_of_their_own_sums(name: str, parts: Callable[[Any, int], Parts]) -> None:
    loaded = tiny(name)
    check(loaded, eager_twin(name, loaded), parts, words(14))


@pytest.mark.parametrize(("name", "parts"), [("minilm-l6", of_bert), ("rxnmapper", of_albert)])
def test_norms_of_the_bundled_models_are_those_of_their_own_sums(name: str, parts: Callable[[Any, int], Parts]) -> None:
    loaded = bundled_model(name)
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        check(loaded, loaded.model, parts, TEXTS[name])
    finally:
        loaded.model.set_attn_implementation(before)


@pytest.mark.parametrize(
    ("name", "passed_on"),
    [
        ("gpt2", lambda model, layer: of_gpt2(model, layer)[3]),
        ("llama", lambda model, layer: of_llama(model, layer)[3]),
    ],
)
def test_a_pre_norm_model_has_the_residual_connection_alone(
    name: str, passed_on: Callable[[Any, int], torch.Tensor]
) -> None:
    """What all tokens give a token, and the projection's bias, is what the model's second norm reads."""
    loaded, text = tiny(name), words(14)
    run = capture_run(loaded, text)
    block: BlockNorms = derive(loaded, run, "block-norms")
    twin, read = eager_twin(name, loaded), []
    layers = twin.transformer.h if name == "gpt2" else twin.model.layers
    for layer in layers:
        norm = layer.ln_2 if name == "gpt2" else layer.post_attention_layernorm
        norm.register_forward_pre_hook(lambda _m, args: read.append(double(args[0][0])))
    with torch.no_grad():
        outputs = twin(**tokenize(loaded.tokenizer, text)[0], output_hidden_states=True, output_attentions=True)
    for layer, total in enumerate(read):
        states, heads = double(outputs.hidden_states[layer][0]), loaded.info.heads
        made = layers[layer].attn if name == "gpt2" else layers[layer].self_attn
        given = layers[layer].ln_1 if name == "gpt2" else layers[layer].input_layernorm
        with torch.no_grad():
            normed = given(outputs.hidden_states[layer])
            value = made.c_attn(normed)[0, :, -states.shape[1] :] if name == "gpt2" else made.v_proj(normed)[0]
        bias = double(made.c_proj.bias) if name == "gpt2" else 0.0
        by_head = double(value).reshape(len(run), -1, states.shape[1] // heads)
        shared = by_head.repeat(heads // by_head.shape[1], axis=1)
        matrix = double(passed_on(twin, layer)).reshape(heads, shared.shape[2], -1)
        own = np.einsum("hqq,qhd,hdo->qo", double(outputs.attentions[layer][0]), shared, matrix) + states
        assert block.has("residual", layer)
        assert not block.has("layernorm", layer)
        agree(block.own[0, layer], np.linalg.norm(own, axis=-1))
        agree(block.others[0, layer], np.linalg.norm(total - bias - own, axis=-1))
    assert block.grams == (None,) * loaded.info.layers


@pytest.mark.parametrize("name", ["opt", "mistral", "qwen3", "granite", "gpt_oss", "modernbert"])
def test_other_pre_norm_families_are_not_taken_for_post_norm(name: str) -> None:
    """ModernBERT's first layer attends to its input as it is, and an MLP's LayerNorm reads the sum."""
    loaded = tiny(name)
    block: BlockNorms = derive(loaded, capture_run(loaded, words(14)), "block-norms")
    assert [block.has("residual", layer) for layer in range(2)] == [True, True]
    assert [block.has("layernorm", layer) for layer in range(2)] == [False, False]


@pytest.mark.parametrize("name", ["gpt_neox", "phi", "cohere", "gemma2"])
def test_families_that_add_otherwise_have_neither(name: str) -> None:
    """Attention and MLP in one step, or a norm before the sum."""
    loaded = tiny(name)
    block: BlockNorms = derive(loaded, capture_run(loaded, words(14)), "block-norms")
    assert not any(block.has(stage, layer) for stage in ("residual", "layernorm") for layer in range(2))  # type: ignore[arg-type]


class Louder(nn.LayerNorm):
    """A LayerNorm that does more than its weights say."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return super().forward(states) * 1.01


def test_a_layernorm_that_does_more_than_its_weights_say_is_not_taken() -> None:
    model = eager_twin("bert", tiny("bert"))
    for layer in model.bert.encoder.layer:
        other = Louder(model.config.hidden_size, eps=model.config.layer_norm_eps)
        other.load_state_dict(layer.attention.output.LayerNorm.state_dict())
        layer.attention.output.LayerNorm = other
    loaded = wrap_model(model.eval(), tokenizer(True), "louder", title="Louder", fingerprint="louder" * 3)
    block: BlockNorms = derive(loaded, capture_run(loaded, words(8)), "block-norms")
    assert block.has("residual", 0)
    assert not block.has("layernorm", 0)


def test_a_family_with_its_own_attention_says_so() -> None:
    loaded = tiny("mpnet")
    with pytest.raises(MissingArrayError, match="has its own attention code"):
        derive(loaded, capture_run(loaded, words(8)), "block-norms")


def test_without_room_for_the_inner_products_what_is_small_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.compute.attention_norms.MOST_BYTES", 100)
    loaded = tiny("bert")
    block: BlockNorms = derive(loaded, capture_run(loaded, words(8)), "block-norms")
    assert block.has("layernorm", 1)
    assert block.grams == (None, None)


def test_a_run_is_as_it_was_afterwards() -> None:
    loaded = tiny("bert")
    run: ModelRun = capture_run(loaded, words(8))
    before = [len(module._forward_hooks) for module in loaded.model.modules()]
    derive(loaded, run, "block-norms")
    assert [len(module._forward_hooks) for module in loaded.model.modules()] == before
    again = capture_run(loaded, words(8))
    np.testing.assert_array_equal(run.hidden_states[-1], again.hidden_states[-1])


def test_the_figure_from_plain_tensors_has_the_same_numbers() -> None:
    loaded, text = tiny("bert"), words(9)
    model = eager_twin("bert", loaded)
    inputs, tokens = tokenize(loaded.tokenizer, text)
    wanted = direct(model, of_bert, inputs, loaded.info.layers, loaded.info.heads)[1]
    part, (weights, values, states) = of_bert(model, 1), wanted.parts
    figure = plot_attention_norms(
        *(weights, values, part.projection.weight, [token.text for token in tokens]),
        residual=states,
        layer_norm=(part.norm.weight, part.norm.eps),
        bias=part.projection.bias,
    )
    told = np.asarray(figure.data[0].customdata)[..., 2].astype(float)  # type: ignore[attr-defined]
    agree(told, np.linalg.norm(wanted.normed, axis=-1))
