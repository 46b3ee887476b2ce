"""Every family on a tiny random model: what capture keeps equals what Hugging Face gives eagerly, in float32."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dashboard.capture.capture import capture_run
from dashboard.capture.families import Family, families, generic, register
from dashboard.capture.loader import LoadedModel
from dashboard.capture.model_probe import base_of, model_probe, norm_module
from dashboard.capture.tokens import tokenize
from dashboard.contracts.attention_recipe import allowed_keys
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError
from tests.support.tiny_models import HEADS, NAMES, OWN, VOCABULARY, eager_twin, spec, tiny, words

pytestmark = pytest.mark.integration
WORDS, TOP_K = 22, 10
WITH_SINKS = {"gpt_oss"}


@dataclass(frozen=True)
class Reference:
    """One run, and the same text read eagerly by the same weights: attentions (layer, head, query, key), …"""

    loaded: LoadedModel
    run: ModelRun
    attentions: np.ndarray
    hidden_states: list[np.ndarray]
    logits: torch.Tensor


@cache
def reference(name: str, count: int = WORDS) -> Reference:
    loaded = tiny(name)
    text = words(count)
    run = capture_run(loaded, text, top_k=TOP_K)
    inputs, _ = tokenize(loaded.tokenizer, text)
    with torch.no_grad():
        outputs: Any = eager_twin(name, loaded)(**inputs, output_attentions=True, output_hidden_states=True)
    attentions = np.stack([weights[0].float().numpy() for weights in outputs.attentions])
    return Reference(
        loaded, run, attentions, [states[0].numpy() for states in outputs.hidden_states], outputs.logits[0]
    )


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def attentions(run: ModelRun) -> np.ndarray:
    return np.array([[run.attention(layer, head) for head in range(HEADS)] for layer in range(run.model.layers)])


def test_the_random_attention_is_far_from_uniform(name: str) -> None:
    largest = reference(name).attentions.max(axis=-1)
    assert np.median(largest) > 4 / WORDS


def test_attention_equals_eager(name: str) -> None:
    found = reference(name)
    np.testing.assert_allclose(attentions(found.run), found.attentions, atol=1e-5, rtol=0)


def test_rows_sum_to_one_and_forbidden_pairs_are_zero(name: str) -> None:
    run = reference(name).run
    weights = attentions(run)
    if name in WITH_SINKS:
        assert (weights.sum(axis=-1) < 0.999).mean() > 0.1
    else:
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    for layer in range(run.model.layers):
        allowed = allowed_keys(run.recipe(layer), len(run), len(run))
        assert (weights[layer][:, ~allowed] == 0).all()
    if run.model.kind == "causal":
        assert (np.triu(weights, 1) == 0).all()


def test_recipes_say_the_mask(name: str) -> None:
    run = reference(name).run
    assert tuple(run.recipe(layer).window for layer in range(run.model.layers)) == spec(name).windows
    assert {run.recipe(layer).mask for layer in range(run.model.layers)} == {"full" if spec(name).masked else "causal"}
    if name in OWN:
        assert [run.recipe(layer).stored for layer in range(run.model.layers)] == ["attention/0", "attention/1"]
        with pytest.raises(MissingArrayError, match="queries and keys are not available"):
            run.attention_of().query_and_key(0)
        return
    assert run.recipe(0).stored is None
    query, key = run.attention_of().query_and_key(0)
    assert key.shape == (spec(name).key_heads, len(run), query.shape[-1])


def test_hidden_states_equal_eager(name: str) -> None:
    found = reference(name)
    assert len(found.run.hidden_states) == spec(name).layers + 1
    for ours, theirs in zip(found.run.hidden_states, found.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


def test_predictions_equal_eager(name: str) -> None:
    found = reference(name)
    arrays, logits = found.run.arrays, found.logits
    expected = torch.log_softmax(logits, dim=-1)
    best = expected.topk(TOP_K, dim=-1)
    np.testing.assert_array_equal(arrays["given/top_ids"], best.indices.numpy())
    np.testing.assert_allclose(arrays["given/top_logprobs"], best.values.numpy(), atol=1e-5, rtol=0)
    entropy = -(expected.exp() * expected).sum(dim=-1)
    np.testing.assert_allclose(arrays["given/entropy"], entropy.numpy(), atol=1e-5, rtol=0)


def test_actual_token_and_its_rank(name: str) -> None:
    found = reference(name)
    expected = torch.log_softmax(found.logits, dim=-1).numpy()
    run = found.run
    causal = run.model.kind == "causal"
    for position in range(len(run)):
        actual = position + 1 if causal else position
        if actual == len(run):
            assert np.isnan(run.arrays["given/actual_logprob"][position])
            assert run.arrays["given/actual_rank"][position] == 0
            continue
        row, token = expected[position], run.tokens[actual].id
        assert run.arrays["given/actual_logprob"][position] == pytest.approx(row[token], abs=1e-5)
        # tokens whose logits differ by a rounding may stand on either side (gemma2: two by 8e-7)
        above, beside = (row > row[token] + 2e-6).sum(), (abs(row - row[token]) <= 2e-6).sum()
        assert 1 + above <= run.arrays["given/actual_rank"][position] <= above + beside


def test_residual_before_the_final_norm(name: str) -> None:
    found = reference(name)
    run, model = found.run, found.loaded.model
    assert run.model.final_norm == spec(name).final_norm
    assert run.main.has("residual_final") == spec(name).final_norm
    known = model_probe(model, found.loaded.info)
    assert known.has_head
    assert known.family is families()[found.loaded.info.family]
    if not spec(name).final_norm:
        return
    norm = norm_module(base_of(model), known.final_norm)
    assert norm is not None
    assert known.family.head is not None
    with torch.no_grad():
        logits = known.family.head(model, norm(torch.tensor(run.residual_final)))
    theirs = torch.log_softmax(found.logits, dim=-1).numpy()
    np.testing.assert_allclose(torch.log_softmax(logits, dim=-1).numpy(), theirs, atol=1e-5)


def test_scores_equal_naive_ones(name: str) -> None:
    found = reference(name)
    run, weights = found.run, found.attentions.astype(np.float64)
    tokens = len(run)
    i = np.arange(tokens)
    logs = np.log(weights, where=weights > 0, out=np.zeros_like(weights))
    entropy = -(weights * logs).sum(axis=-1)
    expected = {
        "previous": weights[..., i[1:], i[1:] - 1].mean(axis=-1),
        "next": weights[..., i[:-1], i[:-1] + 1].mean(axis=-1),
        "self": weights[..., i, i].mean(axis=-1),
        "first": weights[..., 1:, 0].mean(axis=-1),
        "entropy": entropy.mean(axis=-1),
        "distance": (weights * np.abs(i[:, None] - i)).sum(axis=-1).mean(axis=-1),
    }
    for score, values in expected.items():
        np.testing.assert_allclose(run.attention_of().score(score), values, atol=2e-5, err_msg=score)
    np.testing.assert_allclose(run.attention_of().received, weights.mean(axis=-2), atol=1e-5)
    for layer in range(run.model.layers):
        counts = allowed_keys(run.recipe(layer), tokens, tokens).sum(axis=1)
        share = (entropy[layer][:, counts > 1] / np.log(counts[counts > 1])).mean(axis=-1)
        np.testing.assert_allclose(run.attention_of().score("entropy_share")[layer], share, atol=2e-5)


@pytest.mark.parametrize("count", [WORDS, 42])
def test_thumbnails_equal_naive_ones(name: str, count: int) -> None:
    found = reference(name, count)
    tokens = len(found.run)
    size = min(tokens, 32)
    assert tokens != 32
    bins = np.arange(tokens) * size // tokens
    pooled = np.zeros((*found.attentions.shape[:2], size, size))
    np.maximum.at(pooled, (slice(None), slice(None), bins[:, None], bins[None, :]), found.attentions)
    expected = np.clip(np.round(255 * np.sqrt(pooled)), pooled > 0, 255)
    thumbnails = found.run.attention_of().thumbnails
    assert thumbnails.dtype == np.uint8
    assert thumbnails.shape == expected.shape
    differ = np.abs(thumbnails.astype(int) - expected)
    assert differ.max() <= 1  # a rounding step apart, where two float32 sums differ in their last digit
    assert (differ > 0).mean() < 1e-3


@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_texts(name: str, count: int) -> None:
    found = reference(name, count)
    np.testing.assert_allclose(attentions(found.run), found.attentions, atol=1e-5, rtol=0)
    assert len(found.run) == (count + 2 if spec(name).masked else count)
    assert np.isnan(found.run.attention_of().score("previous")).all() == (len(found.run) == 1)
    assert np.isfinite(found.run.attention_of().score("entropy")).all()


def test_the_softcap_matters() -> None:
    run = reference("gemma2").run
    capped = run.attention(1, 0)
    query, key = (values[0] for values in run.attention_of().query_and_key(1))
    scores = np.where(np.tril(np.ones_like(capped)) > 0, query @ key.T * run.recipe(1).scaling, -np.inf)
    plain = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert np.abs(capped - plain / plain.sum(axis=1, keepdims=True)).max() > 0.05


@pytest.mark.parametrize("masked", [name for name in NAMES if spec(name).masked])
def test_masked_predictions_equal_masking_by_hand(masked: str) -> None:
    found = reference(masked)
    run, loaded = found.run, found.loaded
    inputs, tokens = tokenize(loaded.tokenizer, words(WORDS))
    twin = eager_twin(masked, loaded)
    for position in (0, 1, 7, len(run) - 1):
        ids = inputs["input_ids"].clone()
        ids[0, position] = loaded.tokenizer.mask_token_id
        with torch.no_grad():
            row = torch.log_softmax(twin(input_ids=ids).logits[0, position], dim=-1).numpy()
        top = run.arrays["masked/top_ids"][position]
        np.testing.assert_allclose(run.arrays["masked/top_logprobs"][position], row[top], atol=1e-5)
        assert (np.diff(run.arrays["masked/top_logprobs"][position]) <= 0).all()
        logprob, rank = run.arrays["masked/actual_logprob"][position], run.arrays["masked/actual_rank"][position]
        if tokens[position].special:
            assert np.isnan(logprob)
            assert rank == 0
        else:
            assert logprob == pytest.approx(row[tokens[position].id], abs=1e-5)
            assert rank == 1 + (row > row[tokens[position].id]).sum()


def test_the_fallback_finds_norm_and_head(name: str) -> None:
    loaded = reference(name).loaded
    inputs, _ = tokenize(loaded.tokenizer, words(5))
    base = base_of(loaded.model)
    with torch.no_grad():
        found = generic.find_final_norm(base, lambda: base(**inputs).last_hidden_state)
    if name != "opt":  # its base model projects after the norm
        assert found == (families()[loaded.info.family].final_norm if spec(name).final_norm else None)


def test_a_wrong_family_file_costs_residual_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reference("llama")
    wrong = Family(("llama",), "norm", lambda model, hidden: model.lm_head(hidden) * 2)
    monkeypatch.setattr("dashboard.capture.model_probe.families", lambda: {"llama": wrong})
    loaded = tiny("llama")
    run = capture_run(loaded, words(WORDS), top_k=TOP_K)
    assert not model_probe(loaded.model, loaded.info).has_head
    np.testing.assert_array_equal(run.arrays["given/top_ids"], found.run.arrays["given/top_ids"])
    expected = found.run.arrays["given/top_logprobs"]
    np.testing.assert_allclose(run.arrays["given/top_logprobs"], expected, atol=1e-5)


def test_an_unknown_family_is_captured_through_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reference("mistral")
    monkeypatch.setattr("dashboard.capture.model_probe.families", dict)
    run = capture_run(tiny("mistral"), words(WORDS), top_k=TOP_K)
    np.testing.assert_array_equal(run.residual_final, found.run.residual_final)
    np.testing.assert_array_equal(run.arrays["given/top_logprobs"], found.run.arrays["given/top_logprobs"])


def test_two_files_for_one_model_type_are_refused() -> None:
    one = SimpleNamespace(FAMILY=Family(("llama",), None, None))
    with pytest.raises(ValueError, match=r"b\.py and families/a\.py both claim 'llama'"):
        register([("a", one), ("b", one)])
    with pytest.raises(ValueError, match="defines no FAMILY"):
        register([("c", SimpleNamespace())])


def test_the_vocabulary_is_as_small_as_it_says() -> None:
    assert reference("bert").run.model.vocabulary == VOCABULARY < 100
