"""The logit lens beside plain Hugging Face: the model's own norm and head on its own hidden states, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dashboard.capture.capture import capture_run
from dashboard.compute import logit_lens
from dashboard.compute.deriving import derive
from dashboard.compute.logit_lens import LogitLens
from dashboard.contracts.job import Progress
from dashboard.errors import BadSelectionError, MissingArrayError
from tests.integration.test_families import NAMES, reference
from tests.support.synthetic import make_run
from tests.support.tiny_models import eager_twin, tiny, words

pytestmark = pytest.mark.integration

HEADS: dict[str, Any] = {  # what comes between a residual stream and the logits, by name in Hugging Face's own classes
    "llama": lambda model, states: model.lm_head(model.model.norm(states)),
    "gpt2": lambda model, states: model.lm_head(model.transformer.ln_f(states)),
    "bert": lambda model, states: model.cls(states),
    "deberta": lambda model, states: model.cls(states),
    "deberta_own_head": lambda model, states: model.lm_predictions(states, model.deberta.embeddings.word_embeddings),
    "deberta_v2": lambda model, states: model.lm_predictions(states, model.deberta.embeddings.word_embeddings),
    "mpnet": lambda model, states: model.lm_head(states),
    "roformer": lambda model, states: model.cls(states),
    "rembert": lambda model, states: model.cls(states),
    "megatron_bert": lambda model, states: model.cls(model.bert.encoder.ln(states)),
    "mpt": lambda model, states: model.lm_head(model.transformer.norm_f(states)),
    "xglm": lambda model, states: model.lm_head(model.model.layer_norm(states)),
    **dict.fromkeys(
        ("gpt_neo", "gptj", "codegen", "bloom", "falcon", "falcon_alibi"),
        lambda model, states: model.lm_head(model.transformer.ln_f(states)),
    ),
}


def lens_of(name: str, **more: Any) -> LogitLens:
    loaded = tiny(name)
    return derive(loaded, capture_run(loaded, words(9)), "logit-lens", **more)


@pytest.mark.parametrize("name", list(HEADS))
def test_every_layer_is_hugging_faces_own_head_on_its_own_states(name: str) -> None:
    loaded = tiny(name)
    run, lens = capture_run(loaded, words(9)), lens_of(name)
    model = eager_twin(name, loaded)
    ids = torch.tensor([[token.id for token in run.tokens]])
    causal = run.model.kind == "causal"
    with torch.inference_mode():
        outputs = model(input_ids=ids, output_hidden_states=True)
        rows = [HEADS[name](model, states[0]) for states in outputs.hidden_states[:-1]]
        logprobs = torch.log_softmax(torch.stack([*rows, outputs.logits[0]]).double(), dim=-1).numpy()
    final = logprobs[-1].argmax(axis=-1)
    for place in range(run.model.layers + 1):
        for position in range(len(run)):
            row = logprobs[place, position]
            best = np.argsort(-row)[: lens.top_ids.shape[2]]
            np.testing.assert_array_equal(lens.top_ids[place, position], best)
            np.testing.assert_allclose(lens.top_logprobs[place, position], row[best], atol=1e-4)
            assert lens.entropy[place, position] == pytest.approx(-(np.exp(row) * row).sum(), abs=1e-4)
            assert lens.final_logprob[place, position] == pytest.approx(row[final[position]], abs=1e-4)
            assert lens.final_rank[place, position] == 1 + (row > row[final[position]]).sum()
            last = logprobs[-1, position]
            assert lens.kl[place, position] == pytest.approx((np.exp(last) * (last - row)).sum(), abs=1e-4)
            at = position + 1 if causal else position
            if at == len(run):
                assert np.isnan(lens.actual_logprob[place, position])
                assert lens.actual_rank[place, position] == 0
            else:
                assert lens.actual_logprob[place, position] == pytest.approx(row[run.tokens[at].id], abs=1e-4)
                assert lens.actual_rank[place, position] == 1 + (row > row[run.tokens[at].id]).sum()


@pytest.mark.parametrize("name", NAMES)
def test_the_last_layer_is_the_models_own_prediction(name: str) -> None:
    found = reference(name)
    run = found.run
    if not run.has_predictions:
        pytest.skip("predicts nothing")
    lens = derive(found.loaded, run, "logit-lens")
    k = min(lens.top_ids.shape[2], run.arrays["given/top_ids"].shape[1])
    np.testing.assert_array_equal(lens.top_ids[-1, :, :k], run.arrays["given/top_ids"][:, :k])
    np.testing.assert_allclose(lens.top_logprobs[-1, :, :k], run.arrays["given/top_logprobs"][:, :k], atol=1e-4)
    np.testing.assert_allclose(lens.kl[-1], 0, atol=1e-5)
    assert (lens.final_rank[-1] == 1).all()
    assert lens.top_ids.shape[:2] == (run.model.layers + 1, len(run))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lens_of("llama")
    monkeypatch.setattr(logit_lens, "BLOCK_FLOATS", 1)  # a place at a time, once its logits are there
    blocks = lens_of("llama")
    for name in logit_lens.NAMES:
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name), atol=1e-5)
    monkeypatch.setattr(logit_lens, "CHUNK_BYTES", 1)  # a place of a position at a time
    said: list[Progress] = []
    pieces = lens_of("llama", progress=said.append)
    for name in logit_lens.NAMES:
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), atol=1e-5)
    assert len(said) == whole.top_ids.shape[0] * whole.top_ids.shape[1]
    assert said[0].message == "Lens: 1 to 1 of 9 tokens, layer 1 of 3"


def test_the_likeliest_tokens_have_their_text() -> None:
    loaded = tiny("llama")
    run, lens = capture_run(loaded, words(9)), lens_of("llama")
    best = lens.top(run.model.layers - 1, 3)
    assert [(token.id, token.text) for token in best[:5]] == [(token.id, token.text) for token in run.top_k(3, 5)]
    assert best[0].probability == pytest.approx(run.top_k(3)[0].probability, abs=1e-5)
    assert lens.top(-1, 0)[0].id == int(lens.top_ids[0, 0, 0])
    with pytest.raises(BadSelectionError, match="no layer"):
        lens.top(run.model.layers, 0)
    with pytest.raises(BadSelectionError, match="no token 9"):
        lens.top(0, 9)


def test_impossible_tokens_count_nothing() -> None:
    """Logits of −∞, in the last layer, in this one and in both."""
    rng = np.random.default_rng(4)
    raw, final = rng.normal(size=(3, 60)), rng.normal(size=(3, 60))
    raw[0, :5] = final[0, :5] = -np.inf
    final[1, 7] = -np.inf
    raw[2, 9] = -np.inf  # which the last layer allows: infinitely far
    kept = [
        logit_lens._reduced(
            torch.tensor(row[None], dtype=torch.float32),
            logit_lens.Last.of(torch.tensor(last, dtype=torch.float32)),
            actual,
        )
        for row, last, actual in zip(raw, final, (0, 1, -1), strict=True)
    ]
    found = dict(zip(logit_lens.NAMES, map(torch.cat, zip(*kept, strict=True)), strict=True))
    p, q = (np.exp(values) / np.exp(values).sum(axis=1, keepdims=True) for values in (raw, final))
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(p > 0, p * np.log(p), 0).sum(axis=1)
        kl = np.where(q > 0, q * (np.log(q) - np.log(p)), 0).sum(axis=1)
    np.testing.assert_allclose(found["entropy"].numpy(), entropy, atol=1e-5)
    np.testing.assert_allclose(found["kl"].numpy(), kl, atol=1e-5)
    assert np.isinf(kl[2])
    assert found["actual_logprob"][0] == -np.inf
    assert torch.isnan(found["actual_logprob"][2])
    assert found["actual_rank"].tolist()[2] == 0


def test_a_model_that_predicts_nothing_says_so() -> None:
    with pytest.raises(MissingArrayError, match="predicts no tokens here"):
        logit_lens.check(make_run("encoder"), {})
