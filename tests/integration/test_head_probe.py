"""Repeated random tokens, beside plain Hugging Face on the same tokens; and whose result that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from dashboard.capture.capture import capture_run
from dashboard.capture.head_probe import frame_of, length_of
from dashboard.capture.loader import LoadedModel, wrap_model
from dashboard.catalog.catalog import Catalog
from dashboard.compute.deriving import compute, derive
from dashboard.compute.head_probe import KIND, SEEDS, HeadProbe
from dashboard.contracts.job import Progress
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, JobCancelledError, UnsupportedModelError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support.bundled_models import bundled_model
from tests.support.tiny_models import OWN, eager_twin, tiny, tokenizer, words

pytestmark = pytest.mark.integration
FAMILIES = ("llama", "gpt2", "gemma2", "gpt_oss", "bert", "modernbert", *OWN)


def attentions(model: Any, ids: np.ndarray) -> np.ndarray:
    """(layer, head, query, key) by Hugging Face alone, eagerly."""
    with torch.inference_mode():
        tokens = torch.from_numpy(ids.astype(np.int64))[None]
        outputs = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), output_attentions=True)
    return torch.stack([one[0].float() for one in outputs.attentions]).numpy()


def by_hand(weights: np.ndarray, before: int, length: int, causal: bool) -> dict[str, np.ndarray]:
    """(layer, head) of each score, from where the tokens are: `before` others, `length` tokens, the same once more."""
    size = weights.shape[-1]
    second = np.arange(before + length, before + 2 * length)
    found = {
        "previous": np.mean([weights[:, :, i, i - 1] for i in range(1, size)], axis=0),
        "self": np.mean([weights[:, :, i, i] for i in range(size)], axis=0),
        "first": weights[:, :, 1:, 0].mean(-1),
        "duplicate": weights[:, :, second, second - length].mean(-1),
    }
    if causal:
        return found | {"induction": weights[:, :, second, second - length + 1].mean(-1)}
    back = weights[:, :, second - length, second].mean(-1)
    return found | {"duplicate": (found["duplicate"] + back) / 2}


def probe_of(loaded: LoadedModel, text: str) -> HeadProbe:
    found = derive(loaded, capture_run(loaded, text), "head-probe")
    assert isinstance(found, HeadProbe)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_familys_scores_are_those_of_hugging_face(name: str) -> None:
    loaded = tiny(name)
    probe, frame = probe_of(loaded, words(5)), frame_of(loaded)
    model, causal = eager_twin(name, loaded), loaded.info.kind == "causal"
    assert probe.ids.shape == (len(SEEDS), len(frame.before) + 2 * probe.length + len(frame.after))
    for seed, ids in enumerate(probe.ids):
        weights = attentions(model, ids)
        for score, values in by_hand(weights, len(frame.before), probe.length, causal).items():
            np.testing.assert_allclose(probe.scores[score][seed], values, atol=1e-4, err_msg=f"{name} {score}")
    assert bool(np.isnan(probe.scores["induction"]).all()) != causal


def test_smollm2_has_eight_induction_heads_and_five_come_first_with_every_seed() -> None:
    loaded = bundled_model("smollm2-135m")
    probe = probe_of(loaded, "Two words")
    assert (probe.length, probe.ids.shape) == (50, (3, 101))
    assert (probe.mean("induction") > 0.4).sum() >= 8
    firsts = [frozenset(np.argsort(-one.ravel())[:5].tolist()) for one in probe.scores["induction"]]
    assert len(set(firsts)) == 1
    assert np.unravel_index(int(probe.mean("induction").argmax()), (30, 9)) == (18, 6)
    np.testing.assert_allclose(probe.spread("induction"), np.std(probe.scores["induction"], axis=0, ddof=1), rtol=1e-6)
    folder = Catalog(Settings.from_env()).get("smollm2-135m").folder
    model = hf.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    for seed, ids in enumerate(probe.ids):
        assert ids[0] == loaded.tokenizer.bos_token_id
        assert (ids[1:51] == ids[51:]).all()
        assert len(set(ids.tolist())) == 51
        for score, values in by_hand(attentions(model, ids), 1, 50, causal=True).items():
            np.testing.assert_allclose(probe.scores[score][seed], values, atol=1e-4, err_msg=score)


@pytest.mark.parametrize(("name", "text"), [("minilm-l6", "Two words"), ("rxnmapper", "CCO")])
def test_an_encoder_reads_its_own_frame_and_has_no_induction(name: str, text: str) -> None:
    loaded = bundled_model(name)
    probe, tokenizer = probe_of(loaded, text), loaded.tokenizer
    assert (probe.ids[:, 0] == tokenizer.cls_token_id).all()
    assert (probe.ids[:, -1] == tokenizer.sep_token_id).all()
    assert np.isnan(probe.scores["induction"]).all()
    assert np.isfinite(probe.scores["duplicate"]).all()


def test_the_runs_own_scores_are_those_of_hugging_face() -> None:
    """The same statistics over a text, whose words come again here and there."""
    for name in ("llama", "bert", "bloom", "gemma2"):
        loaded = tiny(name)
        run = capture_run(loaded, words(30))
        ids = np.array([token.id for token in run.tokens])
        weights, causal = attentions(eager_twin(name, loaded), ids), loaded.info.kind == "causal"
        same = ids[:, None] == ids
        places = np.arange(len(ids))
        same &= places < places[:, None] if causal else ~np.eye(len(ids), dtype=bool)
        asks = same.any(axis=1)
        duplicate = (weights * same)[:, :, asks].sum(-1)
        np.testing.assert_allclose(run.attention_of().score("duplicate"), duplicate.mean(-1), atol=1e-4)
        left = weights[:, :, asks, 1:].sum((-2, -1))
        beyond = run.attention_of().array("beyond_first/duplicate", "shares")
        np.testing.assert_allclose(beyond, (weights * same)[:, :, asks, 1:].sum((-2, -1)) / left, atol=1e-4)


def test_the_model_is_left_as_it_was_and_a_report_can_stop_it() -> None:
    loaded = tiny("llama")
    run = capture_run(loaded, words(5))
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 1:
            raise JobCancelledError("enough")

    with pytest.raises(JobCancelledError):
        derive(loaded, run, "head-probe", progress=stop)
    assert [one.done for one in seen][-1] == 1
    assert len(seen) > 2, "also within a forward"
    again = capture_run(loaded, words(5))
    assert all(np.array_equal(run.arrays[name], again.arrays[name], equal_nan=True) for name in run.arrays)


def test_runs_of_a_model_share_it_and_it_outlives_them(tmp_path: Path) -> None:
    loaded, store = tiny("llama"), RunStore(tmp_path / "runs", 10**9)
    one, second = (capture_run(loaded, text) for text in (words(5), words(6)))
    other = capture_run(tiny("gpt2"), words(5))
    for run in (one, second, other):
        store.save(run.key, run.header, run.arrays)
    asked, likewise = (KIND.request(run) for run in (one, second))
    assert asked.name == likewise.name != KIND.request(other).name
    store.save_derived(compute(loaded, one, asked), one.stamp)
    found = store.derived(likewise, second.stamp)
    assert found is not None
    assert found.request == likewise
    assert store.derived(KIND.request(other), other.stamp) is None
    store.delete(one.key)
    assert [result.request for result in store.all_derived(store.open(second.key))] == [likewise]
    exported = second.with_derived(store.all_derived(second))
    assert exported.derived(likewise) is not None, "a file of the run has it, too"
    assert store.all_derived(store.open(other.key)) == []
    with pytest.raises(BadRequestError, match="another run or model"):
        compute(tiny("gpt2"), other, type(asked)(other.key, asked.kind, model=asked.model))


def test_models_that_differ_in_their_tokenizer_alone_do_not_share_it(tmp_path: Path) -> None:
    """The tokenizer decides which tokens are ordinary, and what stands around them."""
    store, model = RunStore(tmp_path / "runs", 10**9), tiny("bert").model
    framed, bare = (wrap_model(model, tokenizer(around), "mine") for around in (True, False))
    one, other = (capture_run(loaded, words(5)) for loaded in (framed, bare))
    for run in (one, other):
        store.save(run.key, run.header, run.arrays)
    found = compute(framed, one, KIND.request(one))
    store.save_derived(found, one.stamp)
    assert one.model_key != other.model_key
    assert store.derived(KIND.request(one), one.stamp) is not None
    assert store.derived(KIND.request(other), other.stamp) is None
    firsts = (compute(bare, other, KIND.request(other)).arrays["ids"][:, 0], found.arrays["ids"][:, 0])
    cls = tokenizer(True).cls_token_id
    assert [bool((ids == cls).all()) for ids in firsts] == [False, True], "and it would be another result"


def test_a_model_without_room_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("llama")
    run: ModelRun = capture_run(loaded, words(3))
    monkeypatch.setattr("dashboard.capture.head_probe.FEWEST", 40)
    with pytest.raises(UnsupportedModelError, match="no room for 40 random tokens"):
        derive(loaded, run, "head-probe")


def test_random_tokens_are_ordinary_ones_and_the_same_for_a_seed() -> None:
    loaded = tiny("bert")
    frame = frame_of(loaded)
    assert not set(frame.ordinary.tolist()) & set(loaded.tokenizer.all_special_ids)
    length = length_of(loaded, frame)
    assert (frame.text(length, 1) == frame.text(length, 1)).all()
    assert (frame.text(length, 1) != frame.text(length, 2)).any()
