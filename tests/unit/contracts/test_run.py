"""Requests, runs and scores: parsing, keys, bounds and attention by hand. Numpy only."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.attention_recipe import ScoreRecipe, allowed_keys, attention_weights
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.request import LONGEST_TEXT, CaptureOptions, RunRequest, check_length, is_run_key
from dashboard.contracts.run import ModelRun
from dashboard.errors import (
    BadRequestError,
    BadSelectionError,
    BadTextError,
    DashboardError,
    EmptyTextError,
    MissingArrayError,
    RunShapeError,
    TextTooLongError,
)
from dashboard.store.files import is_name
from tests.support.synthetic import WORDS, make_parts, make_run, masked_result

# requests


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u00a0\u2003", None])
def test_a_text_without_content_is_empty(text: Any) -> None:
    with pytest.raises(EmptyTextError, match="Write one and run again"):
        RunRequest("tiny", text)


@pytest.mark.parametrize("bad", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\ud800"])
def test_control_characters_and_half_surrogates_are_refused_with_their_place(bad: str) -> None:
    with pytest.raises(BadTextError, match=f"Character 3 .*U\\+{ord(bad):04X}"):
        RunRequest("tiny", "ab" + bad + "c")


def test_an_error_is_one_line_whatever_it_quotes() -> None:
    assert str(BadRequestError("There is no “a\x85b\u2028c\nd” here.")) == "There is no “a b c d” here."


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\r\nc",
        "👩\u200d👩\u200d👧",
        "שלום \u200fעולם",
        "e\u0301",
        "漢字",
        "\ufeffbom",
        "soft\u00adhyphen",
        "<script>",
    ],
)
def test_every_other_text_is_taken_as_it_is(text: str) -> None:
    assert RunRequest("tiny", text).text == text


@pytest.mark.parametrize("text", [3, ["a"], {"a": 1}, b"bytes"])
def test_a_text_of_another_type_is_a_bad_request(text: Any) -> None:
    with pytest.raises(BadRequestError, match="give it as text"):
        RunRequest("tiny", text)


def test_a_text_beyond_all_models_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadTextError, match="Shorten it"):
        RunRequest("tiny", "a" * (LONGEST_TEXT + 1))


@pytest.mark.parametrize("model", ["", None, 3, ["tiny"], "m" * 1001])
def test_a_model_that_is_no_name_is_a_bad_request(model: Any) -> None:
    with pytest.raises(BadRequestError, match="Choose one"):
        RunRequest(model, "text")


@pytest.mark.parametrize("name", ["revision", "text_pair"])
def test_other_fields_must_be_text(name: str) -> None:
    with pytest.raises(BadRequestError, match=name):
        RunRequest("tiny", "text", **{name: 3})  # type: ignore[arg-type]


def test_the_second_text_is_checked_like_the_first() -> None:
    with pytest.raises(EmptyTextError):
        RunRequest("tiny", "text", text_pair=" ")
    with pytest.raises(BadTextError):
        RunRequest("tiny", "text", text_pair="\x00")


@pytest.mark.parametrize("top_k", [0, -1, 201, 1.5, "5", None, True])
def test_top_k_is_a_whole_number_in_bounds(top_k: Any) -> None:
    with pytest.raises(BadRequestError, match="top_k"):
        CaptureOptions(top_k=top_k)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "text",
        {},
        {"model": "tiny"},
        {"text": "a"},
        {"model": "tiny", "text": "a", "options": {"code": "x"}},
        {"model": "tiny", "text": "a", "options": [1]},
        {"model": "tiny", "text": "a", "options": "top_k"},
        {"model": "tiny", "text": "a", "revision": 7},
        {"model": ["tiny"], "text": "a"},
        {"model": "tiny", "text": {"$": 1}},
    ],
)
def test_a_request_that_cannot_be_read_is_a_named_error(raw: object) -> None:
    with pytest.raises(BadRequestError):
        RunRequest.from_json(raw)


def test_a_request_survives_json() -> None:
    request = RunRequest("tiny", "a\nb 👋", "main", "pair", CaptureOptions(top_k=7))
    assert RunRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.parametrize(
    ("tokens", "limit", "most", "words"),
    [
        (513, 512, None, "513 tokens; Tiny takes at most 512. Shorten the text."),
        (5000, 512, 4096, "5,000 tokens; Tiny takes at most 512. Shorten the text."),
        (5000, 4096, 4096, "5,000 tokens; Tiny takes at most 4,096. Shorten the text."),
        (9000, 8192, 4096, "9,000 tokens; this server takes at most 4,096. Shorten the text."),
        (5000, 8192, 4096, "5,000 tokens; this server takes at most 4,096. Shorten the text."),
    ],
)
def test_a_text_that_is_too_long_names_the_limit_to_keep(tokens: int, limit: int, most: int | None, words: str) -> None:
    with pytest.raises(TextTooLongError) as caught:
        check_length(tokens, "Tiny", limit, most)
    assert str(caught.value) == words
    check_length(min(limit, most or limit), "Tiny", limit, most)


def test_a_derived_result_has_one_name() -> None:
    """sha256 of {"position": 45} and of {"a": 1, "b": "x"} by hand (`printf … | sha256sum`)."""
    one = DerivedRequest.of("f" * 64, "masked-prediction", position=45)
    assert one.name == "f" * 64 + ".masked-prediction-6cac5a20f9476711"
    two, same = DerivedRequest.of("f" * 64, "x", b="x", a=1), DerivedRequest("f" * 64, "x", (("a", 1), ("b", "x")))
    assert (two, two.suffix) == (same, "x-ce5c626fb4030742")
    assert DerivedRequest.from_json(json.loads(json.dumps(two.to_json()))) == two
    assert is_name(one.name)


@pytest.mark.parametrize(
    ("number", "browser"), [(1.0, "1"), (-0.0, "0"), (0.25, "0.25"), (1e15, "1000000000000000"), (1e-7, "1e-7")]
)
def test_a_number_that_went_through_a_browser_asks_for_the_same_result(number: float, browser: str) -> None:
    """`browser`: what JSON.stringify(JSON.parse(…)) makes of it; else a page waits for one name and gets another."""
    asked = DerivedRequest.of("f" * 64, "x", a=number, b=True)
    back = DerivedRequest.from_json({**asked.to_json(), "parameters": {"a": json.loads(browser), "b": True}})
    assert (back, back.name) == (asked, asked.name)
    assert asked.name != DerivedRequest.of("f" * 64, "x", a=number, b=1).name


@pytest.mark.parametrize(
    "raw",
    [
        *(None, [], "x", {}, {"run": "f" * 64}, {"run": "F" * 64, "kind": "x"}, {"run": "f" * 64, "kind": "../x"}),
        *(
            {"run": "f" * 64, "kind": "x", "parameters": wrong}
            for wrong in ([], {"a b": 1}, {"a": None}, {"a": [1]}, {"a": "x" * 2001})
        ),
        *(
            {"run": "f" * 64, "kind": "x", "parameters": {"a": wrong}}
            for wrong in (math.nan, math.inf, -math.inf, 2**53, -(2**53), 1e300, 10**5000)
        ),
        {"run": "f" * 64, "kind": "x", "parameters": {f"p{i}": i for i in range(13)}},
    ],
)
def test_a_derived_request_that_cannot_be_read_is_a_named_error(raw: object) -> None:
    with pytest.raises(BadRequestError, match="Reload the page"):
        DerivedRequest.from_json(raw)


# keys


def test_a_key_differs_by_everything_that_changes_a_run() -> None:
    requests = [
        RunRequest("tiny", "a"),
        RunRequest("tiny", "b"),
        RunRequest("tiny", "a "),
        RunRequest("other", "a"),
        RunRequest("tiny", "a", revision="main"),
        RunRequest("tiny", "a", text_pair="a"),
        RunRequest("tiny", "a", options=CaptureOptions(top_k=7)),
    ]
    keys = [request.key("weights") for request in requests] + [requests[0].key("other weights")]
    assert len(set(keys)) == len(keys)
    assert all(is_run_key(key) for key in keys)


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        (
            RunRequest("smollm2-135m", "When Mary and John went to the store,"),
            "e4914c9654314b299a5c7d0353978ba9ddb410e3acb9d474425f15ba688fb9af",
        ),
        (
            RunRequest("org/model", "a é 漢 \n", revision="main"),
            "6fcc6cfeb5702e1acd8ce3a0ab5dfd96f8f740396e747a0a4c28ac88d9aa00ae",
        ),
        (
            RunRequest("minilm-l6", "One.", text_pair="Two."),
            "cab2ed10391f4858f0f804b27943aeff988e06b09319e51062d5617461fe2e38",
        ),
        (
            RunRequest("/models/tiny", "a b", options=CaptureOptions(top_k=7)),
            "de455feaa0cb641aeb4fddadde29026a35519f3f5ad7fea7186bf2697032c8fe",
        ),
        (
            RunRequest("org/model", "a", revision="abc", text_pair="b", options=CaptureOptions(top_k=200)),
            "19c787ba6086e39059f0d1f7c499d5c5efef1e405ff8d3239624b852602778ef",
        ),
    ],
)
def test_keys_of_stored_runs_stay(request_: RunRequest, key: str) -> None:
    assert request_.key("weights") == key


@dataclass(frozen=True)
class LaterOptions(CaptureOptions):
    """Options with fields that the first stored runs did not have."""

    lens: bool = False
    heads: tuple[int, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class LaterRequest(RunRequest):
    """A request with fields that the first stored runs did not have."""

    later: str | None = None
    options: CaptureOptions = field(default_factory=LaterOptions)


def test_a_field_added_later_changes_a_key_only_where_it_says_something() -> None:
    first = RunRequest("tiny", "a", revision="main", options=CaptureOptions(top_k=7)).key("weights")
    same = LaterRequest("tiny", "a", revision="main", options=LaterOptions(top_k=7))
    others = [
        LaterRequest("tiny", "a", revision="main", options=LaterOptions(top_k=7), later="system"),
        LaterRequest("tiny", "a", revision="main", options=LaterOptions(top_k=7, lens=True)),
        LaterRequest("tiny", "a", revision="main", options=LaterOptions(top_k=7, heads=(3,))),
    ]
    assert same.key("weights") == first
    assert len({first, *(other.key("weights") for other in others)}) == 4


def test_a_key_is_the_same_in_another_process() -> None:
    code = "from dashboard.contracts.request import RunRequest; print(RunRequest('tiny', 'a é 漢').key('weights'))"
    environ = {**os.environ, "PYTHONHASHSEED": "12345"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == RunRequest("tiny", "a é 漢").key("weights")


@pytest.mark.parametrize(
    "value", [None, 3, "", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", ["a" * 64], "٣" * 64]
)
def test_only_64_hex_digits_name_a_run(value: object) -> None:
    assert not is_run_key(value)
    assert is_run_key("0123456789abcdef" * 4)


# scores


def test_attention_by_hand() -> None:
    query = np.array([[0.0], [math.log(3)]], dtype=np.float32)
    key = np.array([[1.0], [0.0]], dtype=np.float32)
    full = attention_weights(query, key, ScoreRecipe(1.0))
    np.testing.assert_allclose(full, [[0.5, 0.5], [0.75, 0.25]], atol=1e-7)
    causal = attention_weights(query, key, ScoreRecipe(1.0, "causal"))
    np.testing.assert_allclose(causal, [[1, 0], [0.75, 0.25]], atol=1e-7)
    assert causal[0, 1] == 0


def test_scaling_bias_softcap_and_sink_each_change_the_scores() -> None:
    query = key = np.array([[1.0], [2.0]], dtype=np.float32)
    scores = np.array([[1.0, 2.0], [2.0, 4.0]])
    bias = np.array([[0.0, 1.0], [0.5, 0.0]], dtype=np.float32)

    def softmax(values: np.ndarray, sink: float | None = None) -> np.ndarray:
        total = np.exp(values).sum(axis=1, keepdims=True)
        return np.exp(values) / (total if sink is None else total + math.exp(sink))

    np.testing.assert_allclose(attention_weights(query, key, ScoreRecipe(0.5)), softmax(scores / 2), atol=1e-6)
    np.testing.assert_allclose(
        attention_weights(query, key, ScoreRecipe(1.0), bias=bias), softmax(scores + bias), atol=1e-6
    )
    capped = attention_weights(query, key, ScoreRecipe(1.0, softcap=2.0))
    np.testing.assert_allclose(capped, softmax(2 * np.tanh(scores / 2)), atol=1e-6)
    sunk = attention_weights(query, key, ScoreRecipe(1.0), sink=1.5)
    np.testing.assert_allclose(sunk, softmax(scores, 1.5), atol=1e-6)
    assert (sunk.sum(axis=1) < 0.99).all()


def test_windows_count_as_documented() -> None:
    causal = allowed_keys(ScoreRecipe(1.0, "causal", window=2), 4, 4)
    assert causal.tolist() == [[i - j in (0, 1) for j in range(4)] for i in range(4)]
    both = allowed_keys(ScoreRecipe(1.0, "full", window=1), 4, 4)
    assert both.tolist() == [[abs(i - j) <= 1 for j in range(4)] for i in range(4)]


def test_large_scores_stay_finite() -> None:
    query = np.array([[1e4]], dtype=np.float32)
    weights = attention_weights(query, np.array([[1.0], [-1.0]], dtype=np.float32), ScoreRecipe(1.0))
    assert weights.tolist() == [[1.0, 0.0]]


def test_query_and_key_of_different_width_are_a_named_error() -> None:
    with pytest.raises(RunShapeError, match="one width"):
        attention_weights(np.zeros((2, 3)), np.zeros((2, 4)), ScoreRecipe(1.0))
    with pytest.raises(RunShapeError, match="mask kind"):
        ScoreRecipe(1.0, "upside down")  # type: ignore[arg-type]


# runs


def test_attention_of_a_run_is_that_of_its_head_and_shared_key_head() -> None:
    run = make_run("causal", heads=4)
    for head in range(4):
        query, key = run.arrays["decoder/query/1"][head], run.arrays["decoder/key/1"][head // 2]
        scores = query @ key.T / 2 + np.triu(np.full((6, 6), -np.inf), 1)
        expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        found = run.attention(1, head)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert not np.triu(found, 1).any()


def test_a_full_mask_reads_forward_too() -> None:
    assert (make_run("encoder").attention(0, 0) > 0).all()


@pytest.mark.parametrize(("layer", "head"), [(-1, 0), (2, 0), (0, -1), (0, 2), (10**9, 0)])
def test_attention_outside_the_model_is_a_named_error(layer: int, head: int) -> None:
    with pytest.raises(BadSelectionError, match="it has"):
        make_run().attention(layer, head)


def test_there_is_no_cross_attention_and_it_says_so() -> None:
    with pytest.raises(MissingArrayError, match="no cross attention"):
        make_run().attention(0, 0, kind="cross")


def test_arrays_that_do_not_fit_the_tokens_are_a_named_error() -> None:
    header, arrays = make_parts()
    with pytest.raises(RunShapeError, match="5 positions for 6 tokens"):
        ModelRun(header, {**arrays, "decoder/query/0": arrays["decoder/query/0"][:, :5]}).attention(0, 0)
    with pytest.raises(RunShapeError, match="score recipes"):
        ModelRun({**header, "recipes": {"decoder": header["recipes"]["decoder"][:1]}}, arrays)
    with pytest.raises(RunShapeError, match="without tokens"):
        ModelRun({**header, "tokens": {"decoder": []}}, arrays)


def test_hidden_states_are_a_sequence_with_the_embeddings_first() -> None:
    run = make_run(layers=3)
    assert len(run.hidden_states) == 4
    assert run.hidden_states[-1] is run.arrays["decoder/hidden_states/3"]
    assert [layer is run.arrays[f"decoder/hidden_states/{i}"] for i, layer in enumerate(run.hidden_states)] == [
        True
    ] * 4
    assert len(run.hidden_states[1:]) == 3
    for outside in (4, -5):
        with pytest.raises(IndexError):
            run.hidden_states[outside]


def test_after_the_last_layer_comes_the_stream_before_the_final_norm() -> None:
    run = make_run("causal")
    assert run.after_layer(0) is run.arrays["decoder/hidden_states/1"]
    assert run.after_layer(1) is run.arrays["decoder/residual_final"]
    assert run.residual_final is run.arrays["decoder/residual_final"]
    encoder = make_run("encoder")
    assert encoder.residual_final is encoder.hidden_states[-1]
    header, arrays = make_parts("causal")
    unknown = ModelRun(header, {name: array for name, array in arrays.items() if name != "decoder/residual_final"})
    with pytest.raises(MissingArrayError, match="final norm"):
        _ = unknown.residual_final


def test_a_causal_prediction_is_of_the_next_token() -> None:
    run = make_run("causal")
    prediction = run.prediction(1)
    assert prediction.actual is not None
    assert (prediction.actual.id, prediction.actual.text) == (2, WORDS[2])
    logprob = float(run.arrays["given/actual_logprob"][1])
    assert prediction.actual.probability == pytest.approx(math.exp(logprob))
    assert prediction.actual_rank == run.arrays["given/actual_rank"][1]
    assert [c.probability for c in prediction.candidates] == sorted(
        (c.probability for c in prediction.candidates), reverse=True
    )
    assert run.prediction(5).actual is None
    assert run.prediction(5).actual_rank is None


def test_a_masked_prediction_is_of_the_token_itself() -> None:
    run = make_run("masked")
    for mode in ("given", "masked"):
        actual = run.prediction(3, mode).actual
        assert actual is not None
        assert actual.id == 3
    assert run.prediction(3, "given").entropy != run.prediction(3, "masked").entropy


def test_top_k_gives_the_likeliest() -> None:
    run = make_run()
    assert [c.id for c in run.top_k(2, 3)] == run.arrays["given/top_ids"][2, :3].tolist()


def test_a_model_without_a_head_says_so() -> None:
    run = make_run("encoder")
    assert not run.has_predictions
    assert run.surprisal is None
    with pytest.raises(MissingArrayError, match="no token predictions"):
        run.prediction(0)


def test_predictions_that_are_not_stored_are_a_named_error() -> None:
    run = make_run("masked", masked=False)
    assert run.surprisal is None
    with pytest.raises(MissingArrayError, match="masked"):
        run.prediction(0, "masked")
    for position in (-1, 6):
        with pytest.raises(BadSelectionError):
            run.prediction(position)


def test_a_prediction_computed_later_is_read_beside_the_run() -> None:
    run = make_run("masked", masked=False)
    arrays = masked_result(run.key).arrays
    prediction = run.prediction_beside(arrays, 2)
    assert (prediction.position, prediction.mode) == (2, "masked")
    assert [c.id for c in prediction.candidates] == arrays["masked/top_ids"][0].tolist()
    assert prediction.actual is not None
    assert prediction.actual.id == 2


def test_surprisal_of_a_causal_model_is_that_of_each_token_given_what_came_before() -> None:
    run = make_run("causal")
    surprisal = run.surprisal
    assert surprisal is not None
    assert math.isnan(surprisal[0])
    np.testing.assert_allclose(surprisal[1:], -run.arrays["given/actual_logprob"][:-1])


def test_surprisal_of_a_masked_model_is_that_of_each_masked_token() -> None:
    run = make_run("masked")
    np.testing.assert_allclose(run.surprisal, -run.arrays["masked/actual_logprob"])  # type: ignore[arg-type]


def test_a_run_without_derived_results_stays_as_it_is() -> None:
    run = make_run()
    assert run.with_derived([]) is run
    assert "derived" not in run.header


def test_a_run_is_not_changed_by_what_is_added_to_it() -> None:
    run = make_run()
    more = run.with_arrays({"more/x": np.zeros(1)})
    assert "more/x" in more.arrays
    assert "more/x" not in run.arrays
    assert more.key == run.key


def test_a_run_remembers_what_is_computed_of_it() -> None:
    run, calls = make_run(), []
    assert [run.remember("a", lambda: calls.append(1) or len(calls)) for _ in range(3)] == [1, 1, 1]


def test_every_error_of_ours_has_one_root() -> None:
    from dashboard import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) > 10
    assert all(issubclass(value, DashboardError) for value in classes)
