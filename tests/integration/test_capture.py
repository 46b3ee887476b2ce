"""Capture as a whole: what it refuses, what it leaves behind, and the bundled models against plain Hugging Face."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from dashboard.capture import predictions, tiles
from dashboard.capture.attention import IMPLEMENTATION, captured_attention, read_mask, refuse_unknown
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, wrap_model
from dashboard.capture.predictions import likeliest, masked_fill
from dashboard.capture.tokens import tokenize
from dashboard.contracts.job import Progress
from dashboard.contracts.request import CaptureOptions, RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.errors import (
    BadRequestError,
    BadSelectionError,
    MissingArrayError,
    TextTooLongError,
    UnsupportedModelError,
)
from dashboard.settings import Settings
from dashboard.store.upgrades import NUMBERS, SCHEMA
from tests.support.bundled_models import bundled_model
from tests.support.tiny_models import HEADS, NAMES, OWN, VOCABULARY, randomised, spec, tiny, tokenizer, words

pytestmark = pytest.mark.integration
BUNDLED = {
    "smollm2-135m": "When Mary and John went to the shops, John gave a drink to Mary. Naïve 🙂 emoji.",
    "minilm-l6": "The animal didn't cross the street because it was too tired.",
    "rxnmapper": "CC(=O)O.OCC>>CC(=O)OCC",
}


def same(one: ModelRun, other: ModelRun) -> bool:
    """Whether two runs hold the same arrays, bit for bit."""
    return set(one.arrays) == set(other.arrays) and all(
        np.array_equal(values, other.arrays[name], equal_nan=values.dtype.kind == "f")
        for name, values in one.arrays.items()
    )


def test_two_captures_are_bit_identical_and_leave_the_model_as_it_was() -> None:
    loaded = tiny("llama")
    before = copy.deepcopy(loaded.model.state_dict())
    inputs, _ = tokenize(loaded.tokenizer, words(20))
    logits = loaded.model(**inputs).logits
    one, other = capture_run(loaded, words(20)), capture_run(loaded, words(20))
    assert same(one, other)
    assert one.key == other.key
    assert loaded.model.config._attn_implementation == "sdpa"
    assert torch.equal(loaded.model(**inputs).logits, logits)
    assert all(torch.equal(values, before[name]) for name, values in loaded.model.state_dict().items())


@pytest.mark.parametrize("name", ["llama", "albert", "modernbert", "bert", "gptj", "deberta_v2"])
@pytest.mark.parametrize("phase", ["layers", "predictions"])
def test_a_capture_that_is_stopped_leaves_the_model_usable(name: str, phase: str) -> None:
    loaded = tiny(name)
    loaded.model.train()
    whole = capture_run(loaded, words(20))

    def stop(progress: Progress) -> None:
        if progress.phase == phase and (phase == "predictions" or progress.done == 2):
            raise KeyboardInterrupt

    before = loaded.model.config._attn_implementation
    with pytest.raises(KeyboardInterrupt):
        capture_run(loaded, words(20), progress=stop)
    assert loaded.model.config._attn_implementation == before
    assert all(module.training for module in loaded.model.modules())
    assert not any(module._forward_pre_hooks for module in loaded.model.modules())
    assert name not in OWN or not any(module._forward_hooks for module in loaded.model.modules())
    assert same(whole, capture_run(loaded, words(20)))


@pytest.mark.parametrize("name", ["llama", "gptj"])
def test_a_long_layer_can_be_stopped_in_its_middle(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(name)
    whole = capture_run(loaded, words(40))
    monkeypatch.setattr(tiles, "TILE_FLOATS", 700)
    heard: list[int] = []

    def stop(progress: Progress) -> None:
        heard.append(progress.done)
        if heard.count(2) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture_run(loaded, words(40), progress=stop)
    assert heard[-3:] == [2, 2, 2]
    monkeypatch.undo()
    assert same(whole, capture_run(loaded, words(40)))


def test_progress_names_every_layer_and_the_predictions() -> None:
    heard: list[Progress] = []
    capture_run(tiny("albert"), words(20), progress=heard.append)
    layers = [(step.done, step.total, step.message) for step in heard if step.phase == "layers"]
    assert layers == [(1, 3, "Layer 1 of 3"), (2, 3, "Layer 2 of 3"), (3, 3, "Layer 3 of 3")]
    assert {step.phase for step in heard} == {"layers", "predictions"}
    assert all(step.done < step.total for step in heard if step.phase == "predictions")


def test_arrays_are_plain_and_cannot_be_written() -> None:
    run = capture_run(tiny("gpt2"), words(20))
    for name, values in run.arrays.items():
        assert values.flags.c_contiguous, name
        assert not values.flags.writeable, name
        assert values.dtype in (np.float32, np.int32, np.uint8), name


@pytest.mark.parametrize(
    "name", ["llama", "mistral", "gemma2", "bert", "modernbert", "gpt_oss", "gptj", "deberta", "gpt_neo"]
)
def test_small_tiles_give_the_same_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(name)
    whole = capture_run(loaded, words(40))
    for floats in (1, 97, 700):
        monkeypatch.setattr(tiles, "TILE_FLOATS", floats)
        pieces = capture_run(loaded, words(40))
        assert np.abs(pieces.attention_of().thumbnails.astype(int) - whole.attention_of().thumbnails).max() <= 1
        for array, values in whole.arrays.items():
            if values.dtype == np.float32:
                np.testing.assert_allclose(
                    pieces.arrays[array], values, atol=2e-4 if "logprob" in array else 5e-5, err_msg=array
                )


def test_chunks_of_predictions_give_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("gpt2")
    whole = capture_run(loaded, words(40))
    monkeypatch.setattr(predictions, "CHUNK_BYTES", 4 * VOCABULARY * 7)
    monkeypatch.setattr(predictions, "BLOCK_FLOATS", VOCABULARY)
    heard: list[Progress] = []
    pieces = capture_run(loaded, words(40), progress=heard.append)
    assert {step.done for step in heard if step.phase == "predictions"} >= {0, 7, 14, 21, 28, 35}
    np.testing.assert_array_equal(whole.arrays["given/top_ids"], pieces.arrays["given/top_ids"])
    np.testing.assert_allclose(whole.arrays["given/top_logprobs"], pieces.arrays["given/top_logprobs"], atol=1e-5)
    np.testing.assert_allclose(whole.arrays["given/entropy"], pieces.arrays["given/entropy"], atol=1e-5)


@pytest.mark.parametrize("size", [300, 6400, 6431])
def test_the_likeliest_of_a_large_vocabulary(size: int) -> None:
    logits = torch.randn(5, size, generator=torch.Generator().manual_seed(3))
    logits[0, -1] = 99.0
    values, ids = likeliest(logits, 20)
    expected = logits.topk(20, dim=1)
    assert torch.equal(values, expected.values)
    assert torch.equal(ids, expected.indices)


def test_top_k_is_capped_and_ties_share_a_rank() -> None:
    loaded = tiny("llama")
    with torch.no_grad():
        loaded.model.lm_head.weight[10:20] = loaded.model.lm_head.weight[10]
    run = capture_run(loaded, words(20), top_k=200)
    assert run.arrays["given/top_ids"].shape == (20, VOCABULARY)
    np.testing.assert_allclose(np.exp(run.arrays["given/top_logprobs"]).sum(axis=1), 1, atol=1e-5)
    for position in range(19):
        token = run.tokens[position + 1].id
        row = dict(
            zip(run.arrays["given/top_ids"][position].tolist(), run.arrays["given/top_logprobs"][position], strict=True)
        )
        greater = sum(value > row[token] for value in row.values())
        assert run.arrays["given/actual_rank"][position] == 1 + greater
    texts = json.loads(bytes(run.arrays["vocabulary"]))
    assert texts["5"] == "w0"
    assert len(texts) == VOCABULARY


def test_predictions_read_well_through_the_run() -> None:
    run = capture_run(tiny("bert"), words(20), top_k=5)
    assert len(run.top_k(3)) == 5
    prediction = run.prediction(3, "masked")
    assert prediction.actual is not None
    assert prediction.actual.text == run.tokens[3].text
    assert run.prediction(0, "masked").actual is None


def test_masked_fill_is_the_row_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("electra")
    run = capture_run(loaded, words(20), top_k=7)
    filled = masked_fill(loaded, words(20), 4, 7)
    for name in ("top_logprobs", "entropy", "actual_logprob", "actual_rank"):
        assert filled[f"masked/{name}"].shape[0] == 1
        np.testing.assert_allclose(filled[f"masked/{name}"][0], run.arrays[f"masked/{name}"][4], atol=5e-5)
    assert run.prediction_beside(filled, 4).actual is not None
    monkeypatch.setattr(predictions, "MASKED_FLOP", 0.0)
    assert "masked/top_ids" not in capture_run(loaded, words(20)).arrays


def test_masked_fill_refuses_what_it_cannot_fill() -> None:
    with pytest.raises(MissingArrayError, match="does not predict masked tokens"):
        masked_fill(tiny("llama"), words(5), 0)
    with pytest.raises(BadSelectionError, match="no token 9"):
        masked_fill(tiny("bert"), words(5), 9)


def test_a_text_pair_is_one_run() -> None:
    run = capture_run(tiny("bert"), words(5), words(4, seed=2))
    assert len(run) == 12
    assert run.request.text_pair == words(4, seed=2)


def test_an_encoder_without_head_has_no_predictions() -> None:
    model = randomised(tiny("bert").model).bert
    run = capture_run(wrap_model(model, tokenizer(True), "encoder"), words(20))
    assert not [name for name in run.arrays if name.startswith(("given", "masked", "vocabulary"))]
    assert run.attention_of().query_and_key(0)[0].shape[0] == HEADS


def test_a_masked_model_without_a_mask_token_is_an_encoder_and_says_why() -> None:
    loaded = wrap_model(tiny("bert").model, tokenizer(False), "no-mask")
    assert loaded.info.kind == "masked"
    run = capture_run(loaded, words(20))
    assert not run.has_predictions
    assert run.model.kind == "encoder"
    assert "has no mask token" in run.header["no_predictions"]
    assert run.surprisal is None


def test_a_header_says_its_schema_and_why_there_are_no_predictions() -> None:
    encoder = wrap_model(randomised(tiny("bert").model).bert, tokenizer(True), "encoder")
    assert (
        "produces embeddings; it has no token predictions" in capture_run(encoder, words(20)).header["no_predictions"]
    )
    header = capture_run(tiny("bert"), words(20)).header
    assert (header["schema"], header["numbers"]) == (SCHEMA, NUMBERS)
    assert "outdated" not in header
    assert "no_predictions" not in header


MASKED = [name for name in NAMES if spec(name).masked]


@pytest.mark.parametrize("name", MASKED)
def test_masked_predictions_can_be_stopped_at_every_layer_of_every_batch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tiny(name)
    monkeypatch.setattr(predictions, "BATCH_FLOP", 1.0)  # one position for each batch
    heard: list[Progress] = []
    whole = capture_run(loaded, words(6), progress=heard.append)
    masking = [step.done for step in heard if step.message.startswith("Masking")]
    assert masking == sorted(masking)
    assert {masking.count(done) for done in range(8)} == {loaded.info.layers + 1}, "each layer, and the reduction"
    for stop_at in (1, 2, len(masking) - 1):
        left = iter(range(stop_at))

        def stop(step: Progress, left: Iterator[int] = left) -> None:
            if step.message.startswith("Masking") and next(left, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            capture_run(loaded, words(6), progress=stop)
        assert not any(module._forward_pre_hooks for module in loaded.model.modules())
    assert same(whole, capture_run(loaded, words(6)))


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_fill_can_be_stopped_at_every_layer(name: str) -> None:
    loaded = tiny(name)
    heard: list[Progress] = []
    whole = masked_fill(loaded, words(6), 3, progress=heard.append)
    assert len(heard) == 1 + loaded.info.layers + 1
    left = iter(range(2))

    def stop(_step: Progress) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        masked_fill(loaded, words(6), 3, progress=stop)
    assert not any(module._forward_pre_hooks for module in loaded.model.modules())
    again = masked_fill(loaded, words(6), 3)
    assert all(np.array_equal(values, again[label]) for label, values in whole.items())


def test_batches_of_masked_copies_are_sized_by_their_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("bert")
    batches: list[int] = []
    loaded.model.bert.register_forward_pre_hook(
        lambda _module, _args, given: batches.append(len(given["attention_mask"])), with_kwargs=True
    )
    capture_run(loaded, words(8))
    assert 10 in batches, "so small a model does all at once"
    each = predictions.masked_cost(loaded.model, 10) / 10
    monkeypatch.setattr(predictions, "BATCH_FLOP", 3.5 * each)
    batches.clear()
    capture_run(loaded, words(8))
    assert batches == [1, 3, 3, 3, 1]


def test_logits_can_be_refused_at_every_block_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("gpt2")
    monkeypatch.setattr(predictions, "BLOCK_FLOATS", VOCABULARY)
    heard: list[int] = []
    capture_run(
        loaded, words(40), progress=lambda step: heard.append(step.done) if step.phase == "predictions" else None
    )
    assert heard == [0, *range(0, 40, torch.get_num_threads())]


def test_bfloat16_models_are_captured_as_float32() -> None:
    loaded = tiny("llama")
    loaded.model.to(torch.bfloat16)
    run = capture_run(loaded, words(20))
    assert run.attention_of().query_and_key(0)[0].dtype == run.hidden_states[0].dtype == np.float32
    np.testing.assert_allclose(run.attention(1, 2).sum(axis=1), 1, atol=1e-5)


def test_a_position_bias_is_kept_once() -> None:
    config = hf.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        is_encoder_decoder=False,
        attn_implementation="eager",
    )
    model = randomised(hf.T5EncoderModel(config))
    run = capture_run(wrap_model(model, tokenizer(False), "t5"), words(20))
    inputs, _ = tokenize(tokenizer(False), words(20))
    attentions = model(**inputs, output_attentions=True).attentions
    assert [run.recipe(layer).bias for layer in range(2)] == ["bias/0", "bias/0"]
    for layer in range(2):
        for head in range(4):
            np.testing.assert_allclose(run.attention(layer, head), attentions[layer][0, head].detach(), atol=1e-5)


def test_too_long_a_text_is_refused_before_the_forward() -> None:
    loaded = tiny("bert")
    calls: list[Progress] = []
    with pytest.raises(TextTooLongError, match=r"82 tokens; Tiny bert takes at most 64\. Shorten the text\."):
        capture_run(loaded, words(80), progress=calls.append)
    with pytest.raises(TextTooLongError, match="32 tokens; this server takes at most 16"):
        capture_run(loaded, words(30), max_tokens=16, progress=calls.append)
    assert calls == []


def test_requests_and_options() -> None:
    loaded = tiny("llama")
    request = RunRequest(loaded.info.name, words(6), options=CaptureOptions(top_k=3))
    run = capture_run(loaded, words(6), request=request)
    assert run.key == request.key(loaded.fingerprint) == capture_run(loaded, words(6), top_k=3).key
    assert run.arrays["given/top_ids"].shape[1] == 3
    with pytest.raises(BadRequestError, match="differ"):
        capture_run(loaded, words(5), request=request)
    with pytest.raises(BadRequestError, match="Unknown capture option"):
        capture_run(loaded, words(5), top_p=0.5)


def refused(model: Any, name: str) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        capture_run(wrap_model(model, tokenizer(False), name, fingerprint="x"), words(8))
    assert model.config._attn_implementation != IMPLEMENTATION
    return str(caught.value)


def test_an_unknown_score_keyword_is_refused_by_name() -> None:
    refuse_unknown("Model", {"position_ids": torch.ones(3), "tau": None, "beta": False, "gamma": torch.zeros(0)})
    for value in (0.5, torch.ones(2), "yes", [1]):
        with pytest.raises(UnsupportedModelError, match="Model makes its attention scores with “tau”"):
            refuse_unknown("Model", {"tau": value})
    with pytest.raises(UnsupportedModelError, match="dropout"):
        refuse_unknown("Model", {}, dropout=0.1)


def test_a_keyword_that_reaches_the_attention_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("llama")
    whole = capture_run(loaded, words(8))
    forward = loaded.model.model.layers[1].self_attn.forward
    monkeypatch.setattr(loaded.model.model.layers[1].self_attn, "forward", lambda *a, **k: forward(*a, **k, alibi=2.0))
    with pytest.raises(UnsupportedModelError, match="Tiny llama makes its attention scores with “alibi”"):
        capture_run(loaded, words(8))
    monkeypatch.undo()
    assert loaded.model.config._attn_implementation == "sdpa"
    assert same(whole, capture_run(loaded, words(8)))


def test_the_attention_function_refuses_to_run_outside_a_capture() -> None:
    states = torch.zeros(1, 1, 2, 4)
    with pytest.raises(UnsupportedModelError, match="outside a capture"):
        captured_attention(torch.nn.Identity(), states, states, states)


def test_masks_are_read_and_verified() -> None:
    lowest = torch.finfo(torch.float32).min

    def additive(allowed: torch.Tensor) -> torch.Tensor:
        return torch.where(allowed, 0.0, lowest)[None, None]

    ones = torch.ones(6, 6, dtype=torch.bool)
    assert read_mask(additive(ones), 6, causal=True) == ("full", None)
    assert read_mask(additive(ones.tril()), 6, causal=False) == ("causal", None)
    assert read_mask(additive(ones.tril().triu(-2)), 6, causal=False) == ("causal", 3)
    assert read_mask(additive(ones.tril(2).triu(-2)), 6, causal=False) == ("full", 2)
    assert read_mask(torch.where(ones.tril(), 0.0, -torch.inf)[None, None], 6, causal=True) == ("causal", None)
    assert read_mask(torch.zeros(1, 1, 1, 1), 1, causal=True) == ("causal", None)
    assert read_mask(torch.zeros(1, 1, 1, 1), 1, causal=False) == ("full", None)
    holed = ones.tril()
    holed[4, 2] = False
    padded = ones.clone()
    padded[:, 0] = False
    chunked = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)).bool().tril()
    sloped = additive(ones.tril())
    sloped[0, 0, 3, 1] = -0.5
    for wrong in (
        additive(holed),
        additive(padded),
        additive(chunked),
        sloped,
        torch.zeros(1, 2, 6, 6),
        torch.zeros(1, 1, 6, 5),
    ):
        with pytest.raises(UnsupportedModelError, match="This model uses an attention mask"):
            read_mask(wrong, 6, causal=True)


@pytest.fixture(scope="module", params=list(BUNDLED))
def bundled(request: pytest.FixtureRequest) -> LoadedModel:
    if not (Settings.from_env().models_folder / request.param / "config.json").is_file():
        pytest.skip(f"{request.param} is not here yet; `make setup` fetches it")
    return bundled_model(request.param)


def test_bundled_models_equal_plain_hugging_face(bundled: LoadedModel) -> None:
    text = BUNDLED[bundled.info.name]
    run = capture_run(bundled, text, top_k=20)
    inputs, _ = tokenize(bundled.tokenizer, text)
    before = bundled.model.config._attn_implementation
    bundled.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            outputs = bundled.model(**inputs, output_attentions=True, output_hidden_states=True)
    finally:
        bundled.model.set_attn_implementation(before)
    for layer in range(run.model.layers):
        for head in range(run.model.heads):
            theirs = outputs.attentions[layer][0, head].numpy()
            np.testing.assert_allclose(run.attention(layer, head), theirs, atol=1e-5, rtol=0)
    for ours, states in zip(run.hidden_states, outputs.hidden_states, strict=True):
        theirs = states[0].numpy()
        # SmolLM2's stream has entries in the thousands, so the bound is relative to the largest norm of a token
        assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, float(np.linalg.norm(theirs, axis=1).max()))
    assert run.has_predictions == (bundled.info.kind != "encoder")
    if run.has_predictions:
        row = torch.log_softmax(outputs.logits[0], dim=-1).numpy()
        theirs = np.take_along_axis(row, run.arrays["given/top_ids"].astype(int), axis=1)
        # log-probabilities down to −20 of logits up to 30: float32 keeps about five digits after thirty layers
        np.testing.assert_allclose(run.arrays["given/top_logprobs"], theirs, atol=2e-4)
