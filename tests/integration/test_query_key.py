"""The terms of every score, and the rotary pairs, against plain Hugging Face in float32 and the models' settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from dashboard.analysis.query_key import ScoreTerms, rotary_pairs, score_terms
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, wrap_model
from dashboard.capture.tokens import tokenize
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError
from tests.support.bundled_models import bundled_model
from tests.support.tiny_models import ROPE, _grouped, eager_twin, randomised, tiny, tokenizer, words

pytestmark = pytest.mark.integration
TEXTS = {
    "smollm2-135m": "When Mary and John went to the shops, John gave a bottle of milk to",
    "minilm-l6": "The bank charged a fee. Ducks sat on the grassy bank of the river.",
    "rxnmapper": "CC(C)S.Fc1cccnc1F>>CC(C)Sc1ncccc1F",
}
# pairs of dimensions and the base of their frequencies: (i, i + r/2) in most, (2i, 2i + 1) in Cohere
HALVES = {"llama", "mistral", "qwen3", "granite", "gemma2", "gpt_oss", "gpt_neox", "phi", "modernbert"}
TURNED = {"gpt_neox": 4, "phi": 4}  # of 8 dimensions
WITHOUT = ("gpt2", "opt", "bert", "roberta", "distilbert", "albert", "electra")
FAMILIES = ("gpt2", "llama", "mistral", "qwen3", "phi", "cohere", "granite", "gemma2", "gpt_oss", "bert", "modernbert")


def eager_attentions(model: Any, loaded: LoadedModel, text: str) -> list[np.ndarray]:
    inputs, _ = tokenize(loaded.tokenizer, text)
    with torch.no_grad():
        return [weights[0].numpy() for weights in model(**inputs, output_attentions=True).attentions]


def softmax_of(terms: list[ScoreTerms], sink: float | None) -> np.ndarray:
    """(key,) in float64, from the scores that the terms add up to."""
    scores = [one.products.sum() + sum(amount for _name, amount in one.others()) for one in terms]
    powers = np.exp(np.array([*scores, *([] if sink is None else [sink])], dtype=np.float64))
    return powers[: len(terms)] / powers.sum()


def check_rows(run: ModelRun, attentions: list[np.ndarray], heads: range, model: Any = None) -> None:
    attention = run.attention_of()
    for layer in range(attention.layers):
        sinks = None if attention.recipe(layer).sinks is None else model.model.layers[layer].self_attn.sinks.tolist()
        for head in heads:
            for query in (0, len(run) // 2, len(run) - 1):
                terms = [score_terms(attention, layer, head, query, key) for key in range(len(run))]
                found = softmax_of(terms, None if sinks is None else sinks[head])
                np.testing.assert_allclose(found, attentions[layer][head, query], atol=1e-5, rtol=0)
                np.testing.assert_allclose([one.weight for one in terms], found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_terms_of_the_bundled_models_give_their_attentions(name: str) -> None:
    loaded, text = bundled_model(name), TEXTS[name]
    run = capture_run(loaded, text)
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        attentions = eager_attentions(loaded.model, loaded, text)
    finally:
        loaded.model.set_attn_implementation(before)
    check_rows(run, attentions, range(min(3, loaded.info.heads)))


@pytest.mark.parametrize("name", FAMILIES)
def test_terms_of_every_family_give_its_attentions(name: str) -> None:
    loaded, text = tiny(name), words(14)
    twin = eager_twin(name, loaded)
    check_rows(capture_run(loaded, text), eager_attentions(twin, loaded, text), range(loaded.info.heads), twin)


def test_softcap_and_sinks_are_rows_of_their_own() -> None:
    capped = capture_run(tiny("gemma2"), words(14)).attention_of()
    assert [name for name, _amount in score_terms(capped, 0, 0, 3, 1).others()] == [
        "Scaling (× 0.353553)",
        "Softcap (2)",
    ]
    sink = score_terms(capture_run(tiny("gpt_oss"), words(14)).attention_of(), 0, 0, 3, 1).sink
    assert sink is not None
    assert 0 < sink < 1


@pytest.mark.parametrize("name", ["bloom", "mpt"])
def test_a_family_whose_weights_are_stored_says_so(name: str) -> None:
    attention = capture_run(tiny(name), words(8)).attention_of()
    with pytest.raises(MissingArrayError, match="queries and keys are not available"):
        score_terms(attention, 0, 0, 3, 1)


@pytest.mark.parametrize("name", [*sorted(HALVES), "cohere"])
def test_rotary_pairs_are_those_of_the_settings(name: str) -> None:
    """θ^(−2i/r), Su et al. 2021; the base of ModernBERT's sliding layers is its own."""
    loaded = tiny(name)
    attention, width = capture_run(loaded, words(8)).attention_of(), TURNED.get(name, 8)
    for layer in range(attention.layers):
        pairs = rotary_pairs(attention, layer)
        assert pairs is not None
        index = np.arange(width // 2)
        first, second = (index, index + width // 2) if name in HALVES else (2 * index, 2 * index + 1)
        rope = loaded.model.config.rope_parameters
        rope = rope[loaded.model.config.layer_types[layer]] if "rope_theta" not in rope else rope
        np.testing.assert_array_equal(pairs[:, :2], np.stack([first, second], axis=1))
        np.testing.assert_allclose(pairs[:, 2], rope["rope_theta"] ** (-2 * index / width), rtol=1e-5)


def test_rotary_pairs_of_smollm() -> None:
    loaded = bundled_model("smollm2-135m")
    pairs = rotary_pairs(capture_run(loaded, TEXTS["smollm2-135m"]).attention_of(), 17)
    assert pairs is not None
    np.testing.assert_array_equal(pairs[:, :2], [[i, i + 32] for i in range(32)])
    np.testing.assert_allclose(pairs[:, 2], loaded.model.model.rotary_emb.inv_freq, rtol=1e-6)


@pytest.mark.parametrize("name", WITHOUT)
def test_models_without_rotary_embedding_have_no_pairs(name: str) -> None:
    attention = capture_run(tiny(name), words(8)).attention_of()
    assert [rotary_pairs(attention, layer) for layer in range(attention.layers)] == [None] * attention.layers


def test_a_rotation_by_these_pairs_undoes_the_models_own() -> None:
    """Two equal words have equal queries in layer 0 once each is turned back by its position."""
    loaded = tiny("llama")
    run = capture_run(loaded, "w3 w9 w1 w3 w9")
    pairs, query = rotary_pairs(run.attention_of(), 0), run.arrays["decoder/query/0"].astype(np.float64)
    assert pairs is not None
    for position in range(5):
        angles = -position * pairs[:, 2]
        first, second = (query[:, position, pairs[:, i].astype(int)].copy() for i in (0, 1))
        query[:, position, pairs[:, 0].astype(int)] = first * np.cos(angles) - second * np.sin(angles)
        query[:, position, pairs[:, 1].astype(int)] = second * np.cos(angles) + first * np.sin(angles)
    np.testing.assert_allclose(query[:, 0], query[:, 3], atol=1e-5)
    np.testing.assert_allclose(query[:, 1], query[:, 4], atol=1e-5)


def test_layers_without_rotary_embedding_among_others_and_growing_angles() -> None:
    mixed = hf.SmolLM3Config(**_grouped(no_rope_layers=[1, 0], rope_parameters=ROPE))
    grows = hf.LlamaConfig(**_grouped(rope_parameters={**ROPE, "rope_type": "dynamic", "factor": 2.0}))
    found = []
    for build, config in ((hf.SmolLM3ForCausalLM, mixed), (hf.LlamaForCausalLM, grows)):
        loaded = wrap_model(randomised(build(config)), tokenizer(False), "made", title="Made", fingerprint="made" * 3)
        attention = capture_run(loaded, words(8)).attention_of()
        found.append([rotary_pairs(attention, layer) is not None for layer in range(2)])
    assert found == [[True, False], [False, False]]


def test_half_precision_keeps_the_models_own_frequencies() -> None:
    loaded = tiny("llama")
    model = eager_twin("llama", loaded).to(torch.bfloat16)
    half = wrap_model(model, loaded.tokenizer, "half", title="Half", fingerprint="half" * 3)
    pairs = rotary_pairs(capture_run(half, words(8)).attention_of(), 0)
    assert pairs is not None
    assert pairs[:, 2].tolist() == pytest.approx([10_000 ** (-i / 4) for i in range(4)], rel=4e-3)
    assert math.isclose(pairs[0, 2], 1)
