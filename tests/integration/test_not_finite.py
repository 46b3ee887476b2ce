"""Values that are not finite, planted in each place of small models: said once with the layer, and everything else is
shown."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dashboard import plot_attention_heads, plot_attention_heatmap, plot_hidden_pca, plot_token_probabilities
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, load_model, wrap_model
from dashboard.capture.predictions import Reduction
from dashboard.compute import kind_named
from dashboard.compute.deriving import compute
from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import MissingArrayError
from dashboard.exports.report import report
from dashboard.exports.token_table import head_of, rows_of
from dashboard.views import all_views
from dashboard.views.run_info import describe_run
from dashboard.views.shown import alternative, shown_table
from dashboard.views.state import ViewState
from tests.support.synthetic import OneRun, make_parts, words_in
from tests.support.tiny_models import tiny

TEXT = "w1 w2 w3 w1 w5 w6"
WRONG = re.compile(r".{0,30}\b(?:nan|inf|our fault)\b.{0,30}", re.IGNORECASE)


def planted(name: str, plant: Callable[[Any], None]) -> ModelRun:
    return capture_run(broken(name, plant), TEXT)


def broken(name: str, plant: Callable[[Any], None]) -> LoadedModel:
    """A tiny model, handed over after the values were planted in it."""
    loaded = tiny(name)
    with torch.no_grad():
        plant(loaded.model)
    return wrap_model(loaded.model, loaded.tokenizer, loaded.info.name, loaded.info.title, loaded.fingerprint)


def set_at(path: str, index: Any, value: float) -> Callable[[Any], None]:
    def plant(model: Any) -> None:
        model.get_parameter(path)[index] = value

    return plant


NAN, INF = math.nan, math.inf
DOWN = "model.layers.1.mlp.down_proj.weight"
PLACES = {
    "layer 1's MLP": (set_at(DOWN, (0, 0), NAN), ("layer", 1, "NaN")),
    "layer 0's MLP": (set_at("model.layers.0.mlp.down_proj.weight", (0, 0), NAN), ("layer", 0, "NaN")),
    "an infinite bias of the stream": (set_at(DOWN, (0, 0), INF), ("layer", 1, None)),
    "layer 1's queries": (set_at("model.layers.1.self_attn.q_proj.weight", (0, 0), NAN), ("layer", 1, "NaN")),
    "one embedding": (set_at("model.embed_tokens.weight", (7, 3), NAN), ("embeddings", -1, "NaN")),
    "every embedding": (set_at("model.embed_tokens.weight", slice(None), INF), ("embeddings", -1, "∞")),
    "the final norm": (set_at("model.norm.weight", 0, NAN), ("layer", 1, "NaN")),  # the last states are past it
    "the head": (set_at("lm_head.weight", (3, 0), NAN), ("predictions", 2, "NaN")),
}


def everything(run: ModelRun, layer: int, token: int, other: int | None) -> list[str]:
    """All that the cards, files and the browser are given, as text."""
    selection = Selection(run.key, token, layer, 0, other)
    found = []
    for view in all_views():
        for changed in ({}, {"fit": "all", "axes": "3"}):
            options = view.options(tuple(None for _control in view.controls)) | {
                name: value for name, value in changed.items() if name in {control.name for control in view.controls}
            }
            words = view.text(Context(run, selection, options))
            found += [words_in(part) for part in (words.title, words.caption, words.body, words.footer, words.message)]
            found.append(alternative(words))
            view.draw(Context(run, selection, options))
            for whole in (False, True):
                table = view.table(Context(run, selection, options, whole=whole)) if view.table else None
                found += [] if table is None else [words_in(shown_table(table))]
    found.append(json.dumps(describe_run(run), allow_nan=False))
    state = ViewState(selection, {view.name: view.options(tuple(None for _c in view.controls)) for view in all_views()})
    page = report(state, all_views(), OneRun(run))
    found.append(page[page.index("<header>") : page.index('<script type="application/json"')])
    return found


@pytest.mark.parametrize("place", PLACES)
def test_where_values_stop_being_finite_is_found(place: str) -> None:
    plant, (part, layer, values) = PLACES[place]
    run = planted("llama", plant)
    broken = run.not_finite
    assert broken is not None
    assert (broken.part, broken.layer) == (part, layer)
    assert values is None or broken.values == values
    states = [run.hidden_states[0], *(run.after_layer(i) for i in range(run.model.layers))]
    finite = [bool(np.isfinite(one).all()) for one in states]
    assert finite == [index < layer + 1 for index in range(len(states))]
    again = ModelRun({name: value for name, value in run.header.items() if name != "not_finite"}, run.arrays)
    assert again.not_finite == broken, "a run of before says the same"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("layer", "token", "other"), [(0, 5, None), (1, 2, 4)])
def test_everything_is_shown_or_says_why_not(place: str, layer: int, token: int, other: int | None) -> None:
    run = planted("llama", PLACES[place][0])
    assert run.not_finite is not None
    text = "\n".join(everything(run, layer, token, other))
    assert WRONG.findall(text.replace(run.not_finite.values, "")) == [], (
        "say in words what is not finite (views/not_finite.py)"
    )
    assert run.not_finite.sentence in text
    prediction = next(view for view in all_views() if view.name == "prediction")
    options = prediction.options(tuple(None for _control in prediction.controls))
    words = prediction.text(Context(run, Selection(run.key, 2, layer, 0, None), options))
    assert run.not_finite.begins in words_in(words.message), "and the card says where"
    assert "text ends here" not in text or token == 5


def test_layers_before_are_drawn_as_in_any_run() -> None:
    run, whole = planted("llama", PLACES["layer 1's MLP"][0]), capture_run(tiny("llama"), TEXT)
    for name in ("attention", "hidden"):
        view = next(view for view in all_views() if view.name == name)
        options = view.options(tuple(None for _control in view.controls))
        for one in (run, whole):
            words = view.text(Context(one, Selection(one.key, 3, 0, 1, None), options))
            assert words.message is None
    np.testing.assert_array_equal(run.attention(0, 1), whole.attention(0, 1))
    np.testing.assert_array_equal(run.after_layer(0), whole.after_layer(0))


def test_finite_models_say_nothing() -> None:
    for name in ("llama", "bert"):
        run = capture_run(tiny(name), TEXT)
        assert run.header["not_finite"] is None
        assert run.not_finite is None


def test_a_masked_model_says_it_too() -> None:
    run = planted("bert", set_at("cls.predictions.transform.LayerNorm.weight", 0, NAN))
    assert run.not_finite is not None
    assert run.not_finite.part == "predictions"
    text = "\n".join(everything(run, 1, 2, 3))
    assert run.not_finite.sentence in text
    assert "nan %" not in text


# impossible tokens


def by_hand(row: np.ndarray) -> tuple[np.ndarray, float]:
    """Log-probabilities and entropy of one row of logits, with 0 · log 0 = 0."""
    shifted = row.astype(np.float64) - row.max()
    logprobs = shifted - math.log(sum(math.exp(v) for v in shifted))
    return logprobs, -sum(math.exp(p) * p for p in logprobs if p > -math.inf)


@pytest.mark.parametrize("vocabulary", [12, 5000])
def test_logits_of_minus_infinity_are_impossible_tokens(vocabulary: int) -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(4, vocabulary)).astype(np.float32)
    logits[0, 3:9] = -INF
    logits[1, 1:] = -INF
    logits[2, :] = -INF
    logits[3, 2] = INF
    reduction = Reduction(torch.tensor([4, 0, 1, 2]), 5)
    reduction.add(torch.tensor(logits))
    found = reduction.arrays("given")
    for position in (0, 1):
        logprobs, entropy = by_hand(logits[position])
        assert found["given/entropy"][position] == pytest.approx(entropy, abs=1e-5)
        actual = [4, 0][position]
        assert found["given/actual_logprob"][position] == pytest.approx(logprobs[actual], abs=1e-6)
        assert found["given/actual_rank"][position] == 1 + (logits[position] > logits[position, actual]).sum()
        best = np.sort(logprobs)[::-1][:5]
        np.testing.assert_allclose(found["given/top_logprobs"][position], best, atol=1e-5)
    assert np.isnan(found["given/entropy"][2:]).all()


def impossible_run() -> ModelRun:
    """Token 3, which is read after token 2, has probability 0 there."""
    loaded = tiny("llama")
    identifier = loaded.tokenizer(TEXT)["input_ids"][3]
    bias = torch.zeros(loaded.model.config.vocab_size)
    bias[identifier] = -INF
    loaded.model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return capture_run(loaded, TEXT)


def test_an_impossible_token_is_said_in_words_everywhere() -> None:
    run = impossible_run()
    assert run.not_finite is None
    found = run.prediction(2)
    assert found.actual is not None
    assert (found.actual.probability, found.actual_rank) == (0.0, run.model.vocabulary)
    assert math.isfinite(found.entropy)
    assert found.entropy > 0
    text = "\n".join(everything(run, 1, 2, None))
    assert "∞ nats (impossible)" in text
    assert "impossible" in text
    assert 3 in describe_run(run)["impossible"]
    rows = list(csv.reader(io.StringIO(rows_of(run, 1))))
    assert rows[3][6] == "inf"
    assert "inf: impossible" in head_of(run)


def test_rows_of_values_that_are_not_finite_are_empty_in_the_table() -> None:
    run = planted("llama", PLACES["the head"][0])
    rows = list(csv.reader(io.StringIO(rows_of(run, 1))))
    assert all(row[6:11] == [""] * 5 for row in rows)


# plots of plain arrays


def test_plots_of_plain_arrays_say_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = np.tril(rng.dirichlet(np.ones(5), size=5)).astype(np.float32)
    weights[3] = NAN
    figure = plot_attention_heatmap(weights, list("abcde"))
    assert "1 of 5 rows" in figure.layout.title.text
    assert np.asarray(figure.data[0].z)[3].tolist() == [0] * 5
    assert np.asarray(figure.data[0].z)[2, 3] == 0, "what the mask forbids stays empty"
    plot_attention_heatmap(np.full((4, 4), NAN), list("abcd"))
    plot_attention_heads([np.full((2, 4, 4), NAN)])
    layers = [rng.normal(size=(6, 8)) for _layer in range(3)]
    layers[2][:] = NAN
    layers[1][4] = INF
    found = plot_hidden_pca(layers, token_idx=1)
    assert "7 of 18 states are not finite" in found.layout.title.text
    nothing = plot_hidden_pca([np.full((1, 4, 8), NAN)] * 2, token_idx=1)
    assert "not finite" not in nothing.layout.annotations[0].text or nothing.data == ()
    tokenizer = tiny("llama").tokenizer
    logits = rng.normal(size=(2, 60))
    logits[0, 5] = NAN
    assert "not" in plot_token_probabilities(logits, tokenizer, position=0).layout.annotations[0].text
    logits[1, 5:] = -INF
    bars = plot_token_probabilities(logits, tokenizer, position=1)
    assert sum(bars.data[0].x) == pytest.approx(100)


def test_a_row_alone_that_is_not_finite_stays_empty() -> None:
    header, arrays = make_parts("causal")
    query = arrays["decoder/query/0"].copy()
    query[0, 3] = NAN
    run = ModelRun(header, {**arrays, "decoder/query/0": query})
    weights = run.attention(0, 0)
    assert np.isnan(weights[3, :4]).all()
    assert weights[3, 4:].tolist() == [0, 0]
    assert np.isfinite(np.delete(weights, 3, axis=0)).all()
    view = next(view for view in all_views() if view.name == "attention")
    options = view.options(tuple(None for _control in view.controls))
    words = view.text(Context(run, Selection(run.key, 3, 0, 0, None), options))
    assert "Row 3 is empty: the weights are not finite." in words_in(words.caption)
    assert "weights are not finite" in words_in(words.footer)


@pytest.mark.parametrize("place", PLACES)
def test_values_that_are_not_finite_do_not_change_what_a_model_is(place: str, tmp_path: Path) -> None:
    """Whether a model reads ahead is tried on it: one whose weights overflowed reads as little ahead as it did
    before."""
    loaded = broken("llama", PLACES[place][0])
    assert loaded.info.kind == "causal"
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert (again.info.kind, again.without) == ("causal", "")


@pytest.mark.parametrize("layer", [0, 1])
def test_a_broken_masked_model_is_still_one(layer: int) -> None:
    plant = set_at(f"bert.encoder.layer.{layer}.output.dense.weight", (0, 0), NAN)
    assert broken("bert", plant).info.kind == "masked"


def test_impossible_tokens_do_not_make_a_causal_model_read_ahead() -> None:
    def plant(model: Any) -> None:
        bias = torch.zeros(model.config.vocab_size)
        bias[-5:] = -INF
        model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)

    assert broken("llama", plant).info.kind == "causal"


def computed_or_why(loaded: LoadedModel, run: ModelRun, request: DerivedRequest) -> Derived | str:
    try:
        return compute(loaded, run, request)
    except MissingArrayError as error:
        return str(error)


@pytest.mark.parametrize("place", list(PLACES))
def test_the_lens_of_a_broken_model_says_where_it_breaks(place: str) -> None:
    loaded = broken("llama", PLACES[place][0])
    run, views = capture_run(loaded, TEXT), {view.name: view for view in all_views()}
    asked = {"lens": ("logit-lens", {}), "through": ("position-lens", {"position": 2, "mode": "given", "words": "w3"})}
    for name, (kind, parameters) in asked.items():
        request = kind_named(kind).request(run, **parameters)  # type: ignore[arg-type]
        result = computed_or_why(loaded, run, request)
        if isinstance(result, str):
            assert run.not_finite is not None
            assert result.endswith(run.not_finite.sentence.replace("\u00a0", " "))
            continue
        view = views[name]
        options = {control.name: control.default for control in view.controls} | (
            {"words": "w3"} if name == "through" else {}
        )
        for layer in range(run.model.layers):
            context = Context(run, Selection(run.key, 2, layer, 0), options, results={request.name: result})
            said = view.text(context)
            told = alternative(said) + words_in(said.message)
            assert "not finite" in told
            assert not WRONG.search(told)
            view.draw(context)
