"""What stands behind each card's `?`: three sentences, true of every run, whose numbers are computed here once more."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from dashboard.components.glossary import GLOSSARY
from dashboard.contracts.context import Context
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.views import all_views
from dashboard.views.controls import SHOW
from dashboard.views.declaration import Explanation, View
from tests.support.synthetic import (
    CLASSIFIERS,
    WORDS,
    lens_logprobs,
    make_classifier,
    make_parts,
    make_run,
    make_two_streams,
    make_whole_run,
    values_of,
    words_in,
)

KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")
VIEWS = {view.name: view for view in all_views()}
whole_of = functools.cache(make_whole_run)


def said(view: str, run: ModelRun, token: int = 3, layer: int = 1, head: int = 0, **more: Any) -> list[str]:
    """The sentences of a view, with ordinary spaces; `more`: options, and a second token."""
    second = more.pop("second", None)
    declared = VIEWS[view]
    options = {control.name: control.default for control in declared.controls} | more
    context = Context(run, Selection(run.key, token, layer, head, second), options)
    return [words_in(sentence).replace("\u00a0", " ") for sentence in declared.explanation(context)]


def contexts(view: View) -> Iterator[Context]:
    """Runs of every kind, with and without derived results, of one token and of several; every option by itself."""
    standard = {control.name: control.default for control in view.controls}
    changes = [{}, *({c.name: value} for c in view.controls if c is not SHOW for value in values_of(c)[1:])]
    made = [(kind, texts, whole) for kind in KINDS for texts in (WORDS, WORDS[:1]) for whole in (True, False)]
    runs = [whole_of(kind, texts) if whole else make_run(kind, texts, masked=False) for kind, texts, whole in made]
    runs += [make_classifier(of, texts) for of in CLASSIFIERS for texts in (WORDS, WORDS[:1])]
    for run, change in itertools.product([*runs, make_two_streams()], changes):
        for token, second in {(0, None), (len(run) - 1, 0), (len(run) // 2, len(run) - 1)}:
            yield Context(run, Selection(run.key, token, 1, 1, second), standard | change)


def terms_in(component: Any) -> Iterator[Any]:
    if isinstance(component, (list, tuple)):
        for child in component:
            yield from terms_in(child)
    elif not isinstance(component, (str, int, float)) and component is not None:
        if component._type == "Dfn":
            yield component
        yield from terms_in(getattr(component, "children", None))


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_every_view_has_three_short_sentences_of_every_run(view: View) -> None:
    count = 0
    for context in contexts(view):
        sentences = [words_in(sentence) for sentence in view.explanation(context)]
        assert len(sentences) == 3
        for sentence in sentences:
            count += 1
            assert re.fullmatch(r"[^\n]*\.", sentence), sentence
            assert sentence[0].isupper() or not sentence[0].isalpha(), sentence
            assert len(sentence.split()) <= 30, sentence
            assert not re.search(r"\b(nan|inf|None)\b|  |\.\.", sentence), sentence
            assert not re.search(r"\b(causes?|because of|thinks|wants|decides)\b", sentence), sentence
    assert count > 50


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_their_terms_are_the_glossarys(view: View) -> None:
    met = [one for context in contexts(view) for part in view.explanation(context) for one in terms_in(part)]
    names = {getattr(one, "data-term") for one in met}
    assert names
    assert names <= set(GLOSSARY)
    for one in met:  # the words are the entry's own, at most in the plural
        assert one.children.lower().rstrip("s") == getattr(one, "data-term").lower().rstrip("s")


def test_a_view_without_an_explanation_is_refused() -> None:
    given = {f.name: getattr(VIEWS["attention"], f.name) for f in fields(View) if f.name != "explain"}
    with pytest.raises(TypeError, match="explain"):
        View(**given)


def test_an_explanation_has_three_sentences() -> None:
    def two(_context: Context) -> Explanation:
        return ["One."], ["Two."]  # type: ignore[return-value]

    run = whole_of("causal")
    view = replace(VIEWS["attention"], explain=two)
    with pytest.raises(ValueError, match="attention is explained in 2 sentences"):
        view.explanation(Context(run, Selection(run.key, 0, 0, 0), {}))


def test_what_a_run_lacks_is_not_explained() -> None:
    header, arrays = make_parts()
    kept = {name: array for name, array in arrays.items() if "/query/" not in name and "/scores/" not in name}
    run = ModelRun(header, kept)
    assert said("attention", run) == said("heads", run) == []
    assert len(said("hidden", run)) == 3


def written(word: str) -> str:
    """A word as it stands in a sentence."""
    return "“.”" if word == "." else word.replace(" ", "·")


# attention


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("token", "layer", "head"), [(0, 0, 0), (3, 1, 0), (5, 0, 1)])
def test_the_heatmaps_row(kind: ModelKind, token: int, layer: int, head: int) -> None:
    run = whole_of(kind)
    stream = "decoder" if kind == "causal" else "encoder"
    query, key = run.arrays[f"{stream}/query/{layer}"][head], run.arrays[f"{stream}/key/{layer}"][0]
    scores = (query[token] @ key.T) / math.sqrt(query.shape[1])
    scores = scores[: token + 1] if kind == "causal" else scores
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    first, second, third = said("attention", run, token, layer, head)
    assert (
        first
        == "The model has 2 layers of 2 heads, and each head spreads its attention over the tokens in its own way."
    )
    best = int(weights.argmax())
    whom = "itself" if best == token else f"{written(WORDS[best])} ({best})"
    who = f"{written(WORDS[token])} ({token})"
    lead = f"In layer {layer}, head {head}, {who} attends most to {whom}: weight "
    assert second == f"{lead}{weights[best]:.3f}, where 1 would be all of its attention."
    assert third.startswith("Each of the 6 rows is a token that looks (query), each of the 6 columns a token that is")
    assert third.endswith("a row adds up to 100 %.")


def test_the_row_of_a_model_with_an_attention_sink() -> None:
    header, arrays = make_parts()
    for recipe in header["recipes"]["decoder"]:
        recipe["sinks"] = "sinks/0"
    run = ModelRun(header, {**arrays, "decoder/sinks/0": np.zeros(2, dtype=np.float32)})
    assert run.attention(0, 0).sum(axis=1).max() < 1
    assert said("attention", run)[2].endswith("a row adds up to less than 100 %; the rest goes to the attention sink.")


def test_a_row_in_which_no_token_leads() -> None:
    header, arrays = make_parts("encoder")
    run = ModelRun(header, {**arrays, "encoder/query/0": np.zeros_like(arrays["encoder/query/0"])})
    assert said("attention", run, token=3, layer=0)[1] == (
        "In layer 0, head 0, no token gets more attention from ·on (3) than The (0): weight 0.167, where 1 would be "
        "all of its attention."
    )


def test_a_row_that_is_not_finite() -> None:
    header, arrays = make_parts("encoder")
    arrays["encoder/query/0"][0, 3] = np.nan
    run = ModelRun(header, arrays)
    assert said("attention", run, token=3, layer=0)[1].endswith("·on (3) are not finite, so its row is empty.")
    assert "attends most to" in said("attention", run, token=2, layer=0)[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_heads_means(kind: ModelKind) -> None:
    run = whole_of(kind)
    stream = "decoder" if kind == "causal" else "encoder"
    first, previous = (float(run.arrays[f"{stream}/scores/{name}"][1, 0]) for name in ("first", "previous"))
    even = np.mean([1 / (i + 1) if kind == "causal" else 1 / 6 for i in range(1, 6)])
    assert said("heads", run) == [
        "Each row is one of the model’s 4 heads, with averages over the 6 tokens of this text.",
        f"Averaged over the tokens after the first, head 0 of layer 1 gives {100 * first:.1f} % of its "
        f"attention to the first token and {100 * previous:.1f} % to the token before.",
        "A head that spread its attention evenly over the tokens that it may read would give the first one "
        f"{100 * even:.1f} %.",
    ]


# hidden states


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layer", "axes"), [(0, "2"), (1, "2"), (0, "3")])
def test_the_share_of_variance(kind: ModelKind, layer: int, axes: str) -> None:
    run = whole_of(kind, outlier=True)
    states = run.after_layer(layer).astype(np.float64)
    norms = np.linalg.norm(states, axis=1)
    kept = states[norms <= 5 * np.median(norms)]
    values = np.linalg.svd(kept - kept.mean(axis=0), compute_uv=False) ** 2
    share = values[: int(axes)].sum() / values.sum()
    first, second, third = said("hidden", run, layer=layer, axes=axes)
    who = "Each of the 6 tokens of this text is a point, placed"
    if len(kept) < 6:
        who = f"{len(kept)} of the 6 tokens of this text are points, each placed"
    assert first == f"{who} by its hidden state after layer {layer}, a list of 8 numbers."
    assert second.endswith(f"the {'two' if axes == '2' else 'three'} shown hold {100 * share:.1f} % of the variance.")
    assert third.startswith(f"The other {100 * (1 - share):.1f} % cannot be seen here")


def test_the_embeddings_are_before_the_first_layer() -> None:
    assert "by its hidden state before layer 0, a list of 8" in said("hidden", whole_of("causal"), at="embeddings")[0]


def test_a_path_its_basis_and_a_token_that_is_left_out() -> None:
    run = whole_of("causal")
    states = np.concatenate([run.hidden_states[0], run.after_layer(0), run.after_layer(1)]).astype(np.float64)
    values = np.linalg.svd(states - states.mean(axis=0), compute_uv=False) ** 2
    share = values[:2].sum() / values.sum()
    first, second, _third = said("path", run)
    assert (
        first
        == "The path follows ·on (3) from the embeddings through 2 layers: each stop is a hidden state of 8 numbers."
    )
    assert second == (
        "PCA finds the directions in which the hidden states of all layers vary most: the two shown hold "
        f"{100 * share:.1f} % of the variance."
    )
    left = said("path", run, token=0, first="leave")
    assert left[0] == "The (0) has no path here, because it is left out; you can keep it in Options."


def test_states_that_are_not_finite() -> None:
    header, arrays = make_parts("encoder")
    for layer in (1, 2):
        arrays[f"encoder/hidden_states/{layer}"][:] = np.nan
    run = ModelRun(header, arrays)
    assert said("hidden", run, layer=0)[0] == "No hidden state after layer 0 is finite, so no token can be shown."
    assert said("path", run)[0] == (
        "The path follows ·on (3) through the stops at which its values are finite, 1 of 3: each stop is a hidden "
        "state of 8 numbers."
    )
    assert said("layers", run)[2].startswith("It is longest at the embeddings: ")
    assert "not defined after layer 1" in said("layers", run)[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 1])
def test_lines_over_layers(kind: ModelKind, layer: int) -> None:
    run = whole_of(kind)
    states = np.stack([run.hidden_states[0], run.after_layer(0), run.after_layer(1)]).astype(np.float64)
    norms = np.linalg.norm(states[:, 3], axis=1)
    names = ["at the embeddings", "after layer 0", "after layer 1"]
    first, second, third = said("layers", run, layer=layer)
    assert first == "The thick line follows ·on (3) at the embeddings (E) and after each of the 2 layers."
    assert second == f"The norm is the length of its hidden state: {norms[layer + 1]:.4g} after layer {layer}."
    assert third == f"It is longest {names[norms.argmax()]}: {norms.max():.4g}."

    turns = [cosine(states[i - 1, 3], states[i, 3]) for i in (1, 2)]
    _first, second, third = said("layers", run, layer=layer, value="turn")
    assert f"(1 means the same direction): {turns[layer]} for layer {layer}." in second
    least = int(np.argmin([float(turn.replace("−", "-")) for turn in turns]))
    assert third == f"Layer {least} turns it most: {turns[least]}."

    cosines = [cosine(state[3], state[5]) for state in states]
    first, second, third = said("layers", run, layer=layer, value="cosine", second=5)
    assert first == "The line compares ·on (3) with “.” (5) at the embeddings (E) and after each of the 2 layers."
    assert f": {cosines[layer + 1]} after layer {layer}, where 1 means" in second
    most = int(np.argmax([float(one.replace("−", "-")) for one in cosines]))
    assert third == f"They are most alike {names[most]}: {cosines[most]}."

    far = np.linalg.norm(states[:, 3] - states[:, 5], axis=1)
    _first, second, third = said("layers", run, layer=layer, value="distance", second=5)
    assert f": {far[layer + 1]:.4g} after layer {layer}; 0 would mean" in second
    assert third == f"They are closest {names[far.argmin()]}: {far.min():.4g}."
    assert said("layers", run, value="cosine")[2] == "Shift-click one of the 6 tokens to make it the second one."


def cosine(one: np.ndarray, other: np.ndarray) -> str:
    return f"{one @ other / np.linalg.norm(one) / np.linalg.norm(other):.3f}".replace("-", "−")


# predictions


def share(probability: float) -> str:
    return f"{100 * probability:.1f} %"


@pytest.mark.parametrize(("kind", "mode"), [("causal", "masked"), ("masked", "given"), ("masked", "masked")])
@pytest.mark.parametrize("token", [0, 3, 5])
def test_the_next_token(kind: ModelKind, mode: str, token: int) -> None:
    run = whole_of(kind)
    of = "given" if kind == "causal" else mode
    ids, logprobs = (run.arrays[f"{of}/top_{name}"][token] for name in ("ids", "logprobs"))
    who = f"{written(WORDS[token])} ({token})"
    lead = {"causal": f"After {who}", "given": f"Reading {who} as it stands", "masked": f"With {who} masked"}
    first, second, third = said("prediction", run, token, mode=mode)
    assert first == (
        f"{lead['causal' if kind == 'causal' else mode]}, the model gives each of the 20 tokens of its vocabulary a "
        f"probability."
    )
    names = [label_of(identifier) for identifier in ids[:2]]
    assert second == (
        f"The most likely one is {names[0]}, with {share(math.exp(logprobs[0]))}; the next, {names[1]}, has "
        f"{share(math.exp(logprobs[1]))}."
    )
    actual = token + 1 if kind == "causal" else token
    if actual == 6:
        assert third == "Nothing comes after the last token, so there is nothing to compare the prediction with."
        return
    logprob, rank = (run.arrays[f"{of}/actual_{name}"][token] for name in ("logprob", "rank"))
    which = "The token that really came next" if kind == "causal" else "The actual token here"
    assert third == (
        f"{which}, {label_of(actual)}, has rank {rank} and a surprisal of {-logprob:.2f} nats; 0 would mean that the "
        f"model was certain of it."
    )


def label_of(identifier: int) -> str:
    return written(WORDS[identifier]) if identifier < len(WORDS) else f"v{identifier}"


def test_an_impossible_token_has_no_surprisal() -> None:
    header, arrays = make_parts()
    arrays["given/actual_logprob"][3] = -np.inf
    third = said("prediction", ModelRun(header, arrays))[2]
    assert third.endswith("a probability of 0: the model ruled it out.")


@pytest.mark.parametrize("view", ["prediction", "lens", "through"])
def test_a_result_that_is_not_there_yet(view: str) -> None:
    run = make_run("masked", masked=False)
    assert said(view, run)[1] == "It has not been computed yet."


@pytest.mark.parametrize("view", ["prediction", "lens", "through"])
def test_a_model_that_predicts_nothing(view: str) -> None:
    first, _second, third = said(view, whole_of("encoder"))
    assert first == "Tiny model produces embeddings; it has no token predictions."
    assert (
        third == "This run has the hidden states of 6 tokens instead, 8 numbers each, and the attention between them."
    )


@pytest.mark.parametrize("kind", ["causal", "masked"])
@pytest.mark.parametrize(("token", "layer"), [(0, 0), (3, 0), (3, 1)])
def test_the_lens_and_its_lines(kind: ModelKind, token: int, layer: int) -> None:
    run = whole_of(kind)
    logprobs = lens_logprobs(run)[:, token]
    final, best = int(logprobs[-1].argmax()), int(logprobs[layer + 1].argmax())
    rank = int((logprobs[layer + 1] > logprobs[layer + 1][final]).sum()) + 1
    where = f"{'after' if kind == 'causal' else 'at'} {written(WORDS[token])} ({token})"
    where += "" if kind == "causal" else ", in the text as it stands,"
    first, second, _third = said("lens", run, token, layer)
    assert (
        first == f"The logit lens shows what the model would predict {where} if it stopped after one of its 2 layers."
    )
    likely = share(math.exp(logprobs[layer + 1][best]))
    assert second == (
        f"After layer {layer}, the most likely token is {label_of(best)}, with {likely}"
        f"; the final prediction, {label_of(final)}, has rank {rank} there."
    )
    first, second, third = said("through", run, token, layer)
    assert (
        first
        == f"Each line follows one token and shows how likely it would be {where} if the model stopped after a layer."
    )
    assert second == (
        f"After layer {layer}, the final prediction, {label_of(final)}, has rank {rank} of 20 and a probability of "
        f"{share(math.exp(logprobs[layer + 1][final]))}."
    )
    leads = [int(row.argmax()) == final for row in logprobs]
    since = next(place for place in range(3) if all(leads[place:]))
    end = share(math.exp(logprobs[-1][final]))
    assert third == f"It leads from {'the embeddings' if since == 0 else f'layer {since - 1}'} on, and ends with {end}."
