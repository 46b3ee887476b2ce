"""The lens of one position beside plain Hugging Face: as the text stands, with it masked, and for words that are
typed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dashboard.capture.capture import capture_run
from dashboard.capture.words import as_token
from dashboard.compute import position_lens
from dashboard.compute.deriving import derive
from dashboard.compute.position_lens import PositionLens
from dashboard.contracts.job import Progress
from dashboard.errors import BadRequestError, MissingArrayError
from tests.integration.test_logit_lens import HEADS
from tests.support.synthetic import make_run
from tests.support.tiny_models import WORDS, eager_twin, tiny, words

pytestmark = pytest.mark.integration
POSITION = 4


def reference(name: str, masked: bool) -> tuple[PositionLens, np.ndarray, Any]:
    """(the lens, with two words, (place, vocabulary) log-probabilities by Hugging Face alone, the run)."""
    loaded = tiny(name)
    run = capture_run(loaded, words(9))
    lens = derive(
        loaded,
        run,
        "position-lens",
        position=POSITION,
        mode="masked" if masked else "given",
        words=f"{WORDS[3]} {WORDS[7]}",
    )
    ids = torch.tensor([[token.id for token in run.tokens]])
    if masked:
        ids[0, POSITION] = loaded.tokenizer.mask_token_id
    with torch.inference_mode():
        model = eager_twin(name, loaded)
        outputs = model(input_ids=ids, output_hidden_states=True)
        rows = [HEADS[name](model, states[0, POSITION]) for states in outputs.hidden_states[:-1]]
        logprobs = torch.log_softmax(torch.stack([*rows, outputs.logits[0, POSITION]]).double(), dim=-1).numpy()
    return lens, logprobs, run


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        *(("llama", False), ("gpt2", False), ("bert", False), ("bert", True)),
        *(("gptj", False), ("bloom", False), ("deberta_v2", True), ("mpnet", True)),
    ],
)
def test_every_layer_is_hugging_faces_own_head(name: str, masked: bool) -> None:
    found, logprobs, run = reference(name, masked)
    lens, final = found.lens, int(logprobs[-1].argmax())
    actual = run.tokens[POSITION + 1 if run.model.kind == "causal" else POSITION].id
    assert (lens.places, lens.positions) == (run.model.layers + 1, 1)
    for place, row in enumerate(logprobs):
        best = np.argsort(-row)[: lens.top_ids.shape[2]]
        np.testing.assert_array_equal(lens.top_ids[place, 0], best)
        np.testing.assert_allclose(lens.top_logprobs[place, 0], row[best], atol=1e-4)
        assert lens.entropy[place, 0] == pytest.approx(-(np.exp(row) * row).sum(), abs=1e-4)
        assert lens.kl[place, 0] == pytest.approx((np.exp(logprobs[-1]) * (logprobs[-1] - row)).sum(), abs=1e-4)
        for logprob, rank, which in (
            (lens.final_logprob[place, 0], lens.final_rank[place, 0], final),
            (lens.actual_logprob[place, 0], lens.actual_rank[place, 0], actual),
        ):
            assert logprob == pytest.approx(row[which], abs=1e-4)
            assert rank == 1 + (row > row[which]).sum()


@pytest.mark.parametrize(("name", "masked"), [("llama", False), ("bert", True)])
def test_typed_words_are_followed_through_the_layers(name: str, masked: bool) -> None:
    found, logprobs, _run = reference(name, masked)
    assert [(word.typed, word.text, word.pieces) for word in found.words] == [
        (WORDS[3], WORDS[3], (WORDS[3],)),
        (WORDS[7], WORDS[7], (WORDS[7],)),
    ]
    for word in found.words:
        for place, row in enumerate(logprobs):
            assert word.logprob[place] == pytest.approx(row[word.id], abs=1e-4)
            assert word.rank[place] == 1 + (row > row[word.id]).sum()


def test_a_word_that_the_vocabulary_lacks_has_no_curve() -> None:
    loaded = tiny("llama")
    run = capture_run(loaded, words(9))
    lens = derive(loaded, run, "position-lens", position=0, mode="given", words=f"nothere {WORDS[1]}")
    lost, there = lens.words
    assert (lost.id, lost.text, lost.pieces) == (-1, "", ())
    assert np.isnan(lost.logprob).all()
    assert (lost.rank == 0).all()
    assert there.text == WORDS[1]
    assert np.isfinite(there.logprob).all()


def test_a_run_without_words_has_none_and_reports_its_steps() -> None:
    loaded, said = tiny("bert"), list[Progress]()
    run = capture_run(loaded, words(9))
    lens = derive(loaded, run, "position-lens", progress=said.append, position=2, mode="masked", words="")
    assert lens.words == ()
    assert len(said) > 2, "it must be possible to stop it"


PIECES = ("Ġ", "Mary", "ĠMary", "ing", "w", "Ġw", "Ċ")
READINGS = {" Mary": [2], "Mary": [1], " wing": [5, 3], "wing": [4, 3], "ing": [3], " ing": [0, 3], "\n": [6], " ": [0]}


class Byte:
    """A byte-level tokenizer of a few pieces, as far as `as_token` asks it."""

    unk_token_id = unk_token = None
    is_fast = False

    def __call__(self, text: str, **_more: Any) -> dict[str, list[int]]:
        return {"input_ids": READINGS.get(text, [])}

    def convert_ids_to_tokens(self, identifier: int) -> str:
        return PIECES[identifier]


@pytest.mark.parametrize(
    ("typed", "identifier", "pieces"),
    [
        ("Mary", 2, 1),  # after a space, as within a text
        ("·Mary", 2, 1),
        ('"Mary"', 1, 1),
        ("wing", 5, 2),  # the first piece is followed
        ("ing", 3, 1),  # fewer pieces without a space
        ("↵", 6, 1),
        ("zzz", -1, 0),
    ],
)
def test_a_word_is_read_as_within_a_text(typed: str, identifier: int, pieces: int) -> None:
    found = as_token(Byte(), typed, 100)
    assert (found.id, len(found.pieces)) == (identifier, pieces)


def test_an_id_beyond_the_vocabulary_is_none() -> None:
    assert as_token(Byte(), "Mary", 2).id == -1


def test_what_cannot_be_asked_is_refused_with_a_sentence() -> None:
    with pytest.raises(MissingArrayError, match="predicts no tokens here"):
        position_lens.check(make_run("encoder"), {"position": 0, "mode": "given", "words": ""})
    with pytest.raises(MissingArrayError, match="does not predict masked tokens"):
        position_lens.check(make_run("causal"), {"position": 0, "mode": "masked", "words": ""})
    with pytest.raises(BadRequestError, match="At most 8 words"):
        position_lens.check(make_run("causal"), {"position": 0, "mode": "given", "words": "a b c d e f g h i"})
    with pytest.raises(BadRequestError, match="at most 200 characters"):
        position_lens.KIND.request(make_run(), position=0, mode="given", words="x" * 201)
    with pytest.raises(BadRequestError, match="must be text"):
        position_lens.KIND.request(make_run(), position=0, mode="given", words=3)
