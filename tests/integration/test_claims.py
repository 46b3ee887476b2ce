"""Every sentence about a model in the examples and the README's tour, computed with plain Hugging Face in float32
eager.

The removal of a head is its output set to zero before the layer's output projection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from dashboard import capture_run, load_model
from dashboard.analysis.head_patterns import head_tags
from dashboard.analysis.projection import project_stream
from dashboard.catalog.examples import EXAMPLES, Example
from dashboard.contracts.run import ModelRun
from dashboard.web import tour
from tests.support.bundled_models import bundled_model

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
TOUR = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split("## Five minutes")[1].split("\n## ")[0].split())
NAME, ECHO, BANK, ATOM = EXAMPLES


def said(text: str) -> None:
    assert text in TOUR, f"the tour does not say {text!r}"


class Reading:
    """One text in a plain Hugging Face model.

    Attributes:
        ids: (token,). attentions: (layer, head, query, key). hidden_states: (layer + 1, token, hidden).
        logits: (token, vocabulary), or None.
    """

    def __init__(self, name: str, ids: torch.Tensor) -> None:
        self.model = plain_model(name)
        self.ids = ids
        with torch.no_grad():
            found = self.model(ids[None], output_attentions=True, output_hidden_states=True)
        self.attentions = torch.stack(found.attentions)[:, 0].numpy()
        self.hidden_states = torch.stack(found.hidden_states)[:, 0].numpy()
        self.logits = found.logits[0] if hasattr(found, "logits") else None

    def weights(self, layer: int, head: int, query: int) -> np.ndarray:
        return self.attentions[layer, head, query]

    def probability(self, position: int, token: int) -> float:
        return float(self.logits[position].softmax(-1)[token])

    def without(self, layer: int, head: int, position: int, token: int) -> float:
        """The probability of `token` at `position` with one head's output set to zero."""
        with silenced(self.model, layer, head), torch.no_grad():
            return float(self.model(self.ids[None]).logits[0, position].softmax(-1)[token])

    def without_each(self, position: int, token: int) -> np.ndarray:
        """(layer, head): the same for every head; each layer's heads are the sequences of one batch."""
        layers, heads = self.attentions.shape[:2]
        keep = len(self.ids) - position  # logits of the last so many positions
        found = np.empty((layers, heads))
        for layer in range(layers):
            with silenced_each(self.model, layer), torch.no_grad():
                logits = self.model(self.ids.expand(heads, -1), logits_to_keep=keep).logits[:, 0]
            found[layer] = logits.softmax(-1)[:, token].numpy()
        return found


@cache
def plain_model(name: str) -> torch.nn.Module:
    model = load_model(name).model
    model.set_attn_implementation("eager")
    return model


@cache
def reading(index: int) -> Reading:
    example = EXAMPLES[index]
    tokenizer = bundled_model(example.model).tokenizer
    return Reading(example.model, tokenizer(example.text, return_tensors="pt").input_ids[0])


@cache
def run_of(index: int) -> ModelRun:
    return capture_run(bundled_model(EXAMPLES[index].model), EXAMPLES[index].text)


def silenced(model: torch.nn.Module, layer: int, head: int) -> AbstractContextManager[None]:
    """A Llama model one of whose heads hands on nothing."""
    return changed(model, layer, lambda mixed: mixed[:, :, head].zero_())


def silenced_each(model: torch.nn.Module, layer: int) -> AbstractContextManager[None]:
    """A Llama model in which sequence h of a batch reads nothing of head h."""

    def silence(mixed: torch.Tensor) -> None:
        for head, sequence in enumerate(mixed):
            sequence[:, head] = 0

    return changed(model, layer, silence)


@contextmanager
def changed(model: torch.nn.Module, layer: int, change: Callable[[torch.Tensor], object]) -> Iterator[None]:
    """`change` is given what a layer's heads hand on, (sequence, token, head, width), to write into."""
    heads = model.config.num_attention_heads

    def apply(_module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        mixed = arguments[0].clone()
        change(mixed.unflatten(-1, (heads, -1)))
        return (mixed,)

    hook = model.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(apply)
    try:
        yield
    finally:
        hook.remove()


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def place_of(example: Example) -> tuple[int, int, int, int | None]:
    return example.layer, example.head, example.token, example.second


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_the_lines_of_the_examples_name_the_head_that_is_opened(index: int) -> None:
    example = EXAMPLES[index]
    named = re.match(r"Layer (\d+), head (\d+): ", example.look_for)
    assert named is None or (int(named[1]), int(named[2])) == (example.layer, example.head)
    assert not re.search(r"\b(causes?|because|makes?)\b", example.look_for)


def test_a_name_comes_again() -> None:
    plain, run = reading(0), run_of(0)
    assert place_of(NAME) == (23, 0, 15, 1)
    assert (run.tokens[1].text, run.tokens[15].text, run.tokens[16].text) == (" Mary", " to", " Mary")
    assert int(plain.ids[1]) == int(plain.ids[16])
    said(f"SmolLM2 reads {len(plain.ids)} tokens. Layer 23, head 0 and the token `·to` (15) are selected")
    weights = plain.weights(23, 0, 15)
    said(f"`·to` attends to `·Mary` with weight {weights[1]:.3f}, more than to any other token")
    assert weights.argmax() == 1

    name = int(plain.ids[16])
    before = plain.probability(15, name)
    assert int(plain.logits[15].argmax()) == name
    said(f'after "… a bottle of milk to": `·Mary`, {percent(before)}')
    said(
        "(the page cannot do this; the number was computed in Python), that probability falls to "
        + percent(plain.without(23, 0, 15, name))
    )
    assert plain.without(23, 0, 15, name) < before


def test_the_largest_weight_is_not_the_largest_effect() -> None:
    plain = reading(0)
    name = int(plain.ids[16])
    to_mary = plain.attentions[:, :, 15, 1]
    assert np.unravel_index(to_mary.argmax(), to_mary.shape) == (24, 4)
    said(f"head 4 of layer 24 attends to `·Mary` with weight {to_mary[24, 4]:.3f}, more than any other head")
    without = plain.without(24, 4, 15, name)
    said(f"without it the probability *rises* to {percent(without)}")
    assert without > plain.probability(15, name)


def test_what_the_tour_says_of_tokens_and_states() -> None:
    plain, run = reading(0), run_of(0)
    logprobs = plain.logits.log_softmax(-1)
    assert (run.tokens[7].text, run.tokens[16].text) == (" shops", " Mary")
    surprisal = [-float(logprobs[i - 1, plain.ids[i]]) for i in (7, 16)]
    said(f"`·shops` has {surprisal[0]:.2f} nats, the second `·Mary` {surprisal[1]:.2f}")
    said("(`·Mary` cannot attend to `·to`, which comes later)")
    assert plain.attentions[:, :, 1, 15].max() == 0
    said(f"*Hidden states* the cosine of their states, {cosine(plain.hidden_states[24], 15, 1):.3f}")


def test_what_the_steps_of_the_tour_say() -> None:
    """Every number and every comparison of the page's tour."""
    plain, run = reading(0), run_of(0)
    assert (tour.EXAMPLE, place_of(tour.EXAMPLE)) == (NAME, (23, 0, 15, 1))
    text, strip, attention, hidden, predictions = tour.STEPS
    texts = [token.text for token in run.tokens]
    assert (texts[1], texts[7], texts[15], texts[16]) == (" Mary", " shops", " to", " Mary")
    assert f"splits this sentence into {len(plain.ids)} *tokens" in text.first

    logprobs = plain.logits.log_softmax(-1)
    shops, mary = (-float(logprobs[i - 1, plain.ids[i]]) for i in (7, 16))
    assert (
        f"`·shops` was hard to predict ({shops:.1f} nats), the second `·Mary` was not ({mary:.1f} nats)" in strip.first
    )
    assert "`·to` (15) is selected" in strip.second

    weights = plain.weights(23, 0, 15)
    assert weights.argmax() == 1
    heads = plain.attentions.shape[0] * plain.attentions.shape[1]
    assert attention.first == (
        f"This is one of {heads} *heads|head*. In it, `·to` (15) attends to `·Mary` (1) with weight {weights[1]:.3f}, "
        f"more than to any other token."
    )
    states = plain.hidden_states[24]
    assert f"After layer 23, each token is a list of {states.shape[1]} numbers" in hidden.first
    alike = cosine(states, 15, 1)
    assert (
        f"Across all {states.shape[1]} numbers, `·to` (15) and `·Mary` (1) have a *cosine* of {alike:.3f}."
        in hidden.second
    )

    name, before = int(plain.ids[16]), plain.probability(15, int(plain.ids[16]))
    assert int(plain.logits[15].argmax()) == name
    assert run.text[: run.tokens[15].end].endswith(" a bottle of milk to")
    assert f"`·Mary` a *probability* of {percent(before)}, and `·Mary` is what comes next." in predictions.first
    said_there = " ".join(f"{step.title} {step.first} {step.second}" for step in tour.STEPS)
    assert not re.search(r"\b(causes?|because|makes?|thinks|knows|reads which)\b", said_there)


def test_what_the_notebook_says_of_the_lens() -> None:
    plain, run = reading(0), run_of(0)
    notebook = (ROOT / "notebooks" / "tour.ipynb").read_text(encoding="utf-8")
    with torch.no_grad():
        # the last is past the norm, and is the model's own prediction
        states = torch.tensor(plain.hidden_states[:-1, 15])
        best = [
            *plain.model.lm_head(plain.model.model.norm(states)).argmax(-1).tolist(),
            int(plain.logits[15].argmax()),
        ]
    names = {int(plain.ids[6]): "·the", int(plain.ids[16]): "·Mary"}
    assert (run.tokens[6].text, run.tokens[16].text) == (" the", " Mary")
    assert [names.get(token) for token in best[29:]] == ["·the", "·Mary"]
    assert int(plain.ids[16]) not in best[:-1]
    text = " ".join(notebook.replace('\\n",', "").replace('"', "").split())
    assert "After layer 28 the model still expects `·the`; only the last layer makes it `·Mary`." in text


def test_what_followed_last_time() -> None:
    plain, run = reading(1), run_of(1)
    assert place_of(ECHO) == (18, 6, 11, 4)
    texts = [token.text for token in run.tokens]
    assert (texts[3], texts[4], texts[11], texts[12]) == (" Oh", " dear", " Oh", " dear")
    assert int(plain.ids[4]) == int(plain.ids[12])
    weights = plain.weights(18, 6, 11)
    assert weights.argmax() == 4
    said(f"head 6 of layer 18 attends to `·dear` (4), which followed the previous `·Oh`, with weight {weights[4]:.3f}")

    dear = int(plain.ids[12])
    assert int(plain.logits[11].argmax()) == dear
    said("the model predicts `·dear` with a probability of " + percent(plain.probability(11, dear)))
    assert (plain.attentions[:, :, 11, 4] > 0.4).sum() > 5
    said("Several heads do the same here")
    said(
        "so removing this one alone changes little: the probability is then " + percent(plain.without(18, 6, 11, dear))
    )

    logprobs = plain.logits.log_softmax(-1)
    places = [i for i, text in enumerate(texts) if text == " dear"]
    said("falls from " + " to ".join(f"{-float(logprobs[i - 1, plain.ids[i]]):.2f}" for i in places) + " nats")


def test_an_induction_head_by_repeated_random_tokens() -> None:
    """Olsson et al. 2022: in a random sequence repeated once, an induction head attends to what followed the first
    time."""
    model, length = plain_model(ECHO.model), 50
    generator = torch.Generator().manual_seed(7)
    scores = []
    for _ in range(3):
        once = torch.randint(1000, 40_000, (length,), generator=generator)
        attentions = Reading(ECHO.model, torch.cat([once, once])).attentions
        queries = np.arange(length, 2 * length)
        scores.append(attentions[:, :, queries, queries - length + 1].mean(-1))
    mean = np.mean(scores, axis=0)
    assert mean.size == model.config.num_hidden_layers * model.config.num_attention_heads
    assert np.unravel_index(mean.argmax(), mean.shape) == (ECHO.layer, ECHO.head)
    assert mean.max() > 0.8
    said(
        "this head's mean weight on the token that followed the first time is over 0.8, "
        f"the highest of all {mean.size} heads"
    )


def test_what_the_tour_says_of_the_first_token() -> None:
    plain, run = reading(1), run_of(1)
    on_first = plain.attentions[:, :, 1:, 0].mean(-1)
    said(f"{100 * on_first[18, 6]:.0f} % on the first token")
    tag = head_tags(run.attention_of())[18][6]
    assert tag.pattern == "induction"
    said(f"{100 * tag.score:.0f} % of the rest on what followed the same token before")
    assert (on_first >= 0.4).sum() > on_first.size / 2
    said("most of the small squares have a dark first column")
    norms = np.linalg.norm(plain.hidden_states[19], axis=-1)
    said(f"its norm is {norms[0] / np.median(norms):.0f} times the median")


def test_three_banks() -> None:
    plain, run = reading(2), run_of(2)
    assert [i for i, token in enumerate(run.tokens) if token.text == "bank"] == [2, 8, 18]
    assert place_of(BANK) == (2, 0, 8, 18)
    money, second, river = 2, 8, 18

    def apart(layer: int, one: int, other: int) -> float:
        points = project_stream(run.main, layer, "layer", "auto", "centred").coordinates[:, :2]
        return float(np.linalg.norm(points[one] - points[other]))

    def spread(layer: int) -> float:
        points = project_stream(run.main, layer, "layer", "auto", "centred").coordinates[:, :2]
        return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))

    assert apart(2, money, second) < 0.1 * spread(2)
    assert apart(2, second, river) > 0.5 * spread(2)
    said("ten times as far away")
    assert apart(2, second, river) / apart(2, money, second) > 10
    assert max(apart(-1, a, b) for a, b in ((2, 8), (2, 18), (8, 18))) < 0.06 * spread(-1)
    said("all three almost coincide")

    ends = (plain.hidden_states[0], plain.hidden_states[3], plain.hidden_states[-1])
    selected, alike = (
        [f"{cosine(states, *pair):.3f}" for states in ends] for pair in ((second, river), (money, second))
    )
    said(f"is {selected[0]} at the embeddings, {selected[1]} after layer 2 and {selected[2]} at the end")
    said(f"for the two `bank` tokens that mean money it is {alike[0]}, {alike[1]} and {alike[2]}")
    said(f"In all {run.model.hidden_size} dimensions")
    assert plain.logits is None
    said("this model produces embeddings and predicts no tokens")


def test_the_projection_of_the_banks_is_the_textbooks() -> None:
    """The plane that the distances above are measured in, by a singular value decomposition of our own."""
    plain, run = reading(2), run_of(2)
    centred = plain.hidden_states[3] - plain.hidden_states[3].mean(0)
    left, sizes, _right = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(left[:, :2] * sizes[:2])
    found = np.abs(project_stream(run.main, 2, "layer", "auto", "centred").coordinates[:, :2])
    assert np.allclose(found, expected, atol=1e-3)


def test_atoms_find_their_origin() -> None:
    plain, run = reading(3), run_of(3)
    assert place_of(ATOM) == (10, 5, 45, 6)
    texts = [token.text for token in run.tokens]
    assert texts[45] == texts[6] == "S"
    said(f"the product's `S` (45) attends to the reactant's `S` (6) with weight {plain.weights(10, 5, 45)[6]:.3f}")
    arrow = texts.index(">>")
    atoms = [i for i in range(arrow + 1, len(texts) - 1) if texts[i].isalpha()]
    said(f"each of the product's {len(atoms)} atoms attends most to a reactant atom of its own element")
    for atom in atoms:
        assert texts[plain.weights(10, 5, atom).argmax()] == texts[atom]
        assert plain.weights(10, 5, atom).argmax() < arrow


def test_the_masked_atom() -> None:
    plain = reading(3)
    sulphur, mask = int(plain.ids[45]), bundled_model(ATOM.model).tokenizer.mask_token_id
    masked = Reading(ATOM.model, torch.where(torch.arange(len(plain.ids)) == 45, mask, plain.ids))
    assert int(masked.logits[45].argmax()) == int(plain.logits[45].argmax()) == sulphur
    said(
        f"With that `S` masked, the model predicts `S` with a probability of {percent(masked.probability(45, sulphur))}"
    )
    said(f"when it reads the text as it stands ({percent(plain.probability(45, sulphur))})")


def cosine(states: np.ndarray, one: int, other: int) -> float:
    first, second = states[one], states[other]
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
