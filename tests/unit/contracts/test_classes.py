"""Classes of a run: probabilities worked by hand, answers against every span, and headers that say nothing sensible."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.classes import ClassHead, best_answer, probabilities, ranked, scale_of
from dashboard.contracts.finite import first_not_finite
from dashboard.contracts.run import ModelRun
from dashboard.contracts.token import Token
from dashboard.errors import BadRequestError, BadSelectionError, MissingArrayError, RunShapeError
from dashboard.exports.run_files import open_run, save_run
from tests.support.synthetic import CLASSIFIERS, head, make_classifier, make_parts, make_run, tokens_of

LN3 = math.log(3)


def test_softmax_sigmoid_and_values_by_hand() -> None:
    one = ClassHead("text", "softmax", ("a", "b"))
    assert probabilities(np.array([LN3, 0.0]), one) == pytest.approx([0.75, 0.25])
    each = ClassHead("text", "sigmoid", ("a", "b"))
    assert probabilities(np.array([LN3, -LN3]), each) == pytest.approx([0.75, 0.25])
    assert probabilities(np.array([2.5]), ClassHead("text", "none", ("a",))) is None
    tokens = ClassHead("tokens", "softmax", ("a", "b"))
    assert probabilities(np.array([[LN3, 0], [0, 0]]), tokens) == pytest.approx(np.array([[0.75, 0.25], [0.5, 0.5]]))
    ends = head("answer")
    shares = probabilities(np.array([[LN3, 0], [0, 0], [0, math.log(2)]]), ends)  # over the tokens
    assert shares == pytest.approx(np.array([[0.6, 0.25], [0.2, 0.25], [0.2, 0.5]]))


def test_large_logits_and_labels_that_are_ruled_out() -> None:
    assert probabilities(np.array([1000.0, -1000.0]), ClassHead("text", "sigmoid", ("a", "b"))) == pytest.approx([1, 0])
    assert probabilities(np.array([1000.0, 1000.0, -np.inf]), ClassHead("text", "softmax", ("a", "b", "c"))) == (
        pytest.approx([0.5, 0.5, 0])
    )


def test_labels_are_ranked_by_their_logits_and_equal_ones_stay_in_order() -> None:
    found = ranked(np.array([1.0, 2.0, 1.0], dtype=np.float32), ClassHead("text", "softmax", ("a", "b", "c")))
    assert [(score.index, score.label) for score in found] == [(1, "b"), (0, "a"), (2, "c")]
    total = 2 + math.e
    assert [score.probability for score in found] == pytest.approx([math.e / total, 1 / total, 1 / total])


@pytest.mark.parametrize(
    ("of", "problem", "labels", "scale"),
    [
        ("text", None, 3, "softmax"),
        ("text", "single_label_classification", 2, "softmax"),
        ("text", "multi_label_classification", 3, "sigmoid"),
        ("text", "multi_label_classification", 1, "sigmoid"),
        ("text", "regression", 3, "none"),
        ("text", None, 1, "none"),
        ("tokens", "multi_label_classification", 3, "softmax"),
        ("tokens", None, 1, "none"),
    ],
)
def test_how_logits_become_probabilities(of: Any, problem: str | None, labels: int, scale: str) -> None:
    assert scale_of(of, problem, labels) == scale


def test_the_best_answer_is_the_best_of_all_spans() -> None:
    rng = np.random.default_rng(5)
    words = [f" w{i}" for i in range(9)]
    for _round in range(20):
        shares = rng.dirichlet(np.ones(9), size=2).T
        tokens = tokens_of(words)
        found = best_answer(shares, tokens, "".join(words), None)
        spans = [(i, j) for i in range(9) for j in range(i, 9)]
        i, j = max(spans, key=lambda span: shares[span[0], 0] * shares[span[1], 1])
        assert found is not None
        assert (found.first, found.last, found.nothing) == (i, j, None)
        assert found.probability == pytest.approx(shares[i, 0] * shares[j, 1])
        assert found.text == "".join(words[i : j + 1]).strip()


def test_an_answer_stands_in_the_second_text_and_in_no_special_token() -> None:
    tokens = [
        Token(0, "[CLS]", 0, 0, special=True),
        Token(1, "who", 0, 3),
        Token(2, "[SEP]", 3, 3, special=True),
        Token(3, "me", 3, 5),
        Token(4, "[SEP]", 5, 5, special=True),
    ]
    shares = np.array([[0.5, 0.4], [0.3, 0.1], [0.1, 0.1], [0.05, 0.2], [0.05, 0.2]])
    found = best_answer(shares, tokens, "who", "me")
    assert found is not None
    assert (found.first, found.last, found.text) == (3, 3, "me")
    assert (found.probability, found.nothing) == (pytest.approx(0.01), pytest.approx(0.2))
    alone = best_answer(shares[:3], tokens[:3], "who", None)
    assert alone is not None
    assert (alone.first, alone.last) == (1, 1)
    assert best_answer(shares[:1], tokens[:1], "", None) is None, "nothing but a special token"
    assert best_answer(np.where(shares == 0.5, np.nan, shares), tokens, "who", "me") is None


@pytest.mark.parametrize("of", CLASSIFIERS)
def test_a_header_holds_the_head(of: Any) -> None:
    assert ClassHead.from_json(head(of).to_json()) == head(of)
    run = make_classifier(of)
    assert (run.class_head, run.is_classifier) == (head(of), True)


@pytest.mark.parametrize(
    "raw",
    [
        "text",
        {},
        {"of": "words", "scale": "softmax", "labels": ["a"]},
        {"of": "text", "scale": "hard", "labels": ["a"]},
        {"of": "text", "scale": "softmax", "labels": []},
        {"of": "text", "scale": "softmax", "labels": "ab"},
        {"of": "text", "scale": "softmax", "labels": [1]},
    ],
)
def test_a_head_that_is_none_is_refused(raw: object) -> None:
    with pytest.raises(RunShapeError, match="Run its text again"):
        ClassHead.from_json(raw)


def test_what_a_run_says_of_classes_that_it_does_not_have() -> None:
    for kind, said in (("causal", "predicts the next token"), ("encoder", "produces embeddings")):
        with pytest.raises(MissingArrayError, match=f"{said}; it is not a classifier"):
            make_run(kind).classes()  # type: ignore[arg-type]
    with pytest.raises(MissingArrayError, match=r"Ask for run\.classes"):
        make_classifier("text").answer()
    with pytest.raises(BadSelectionError, match=r"Ask for run\.answer"):
        make_classifier("answer").classes()
    with pytest.raises(BadSelectionError, match="There is no token 6"):
        make_classifier("tokens").classes(6)


def test_classes_of_another_shape_are_refused(tmp_path: Path) -> None:
    header, arrays = make_parts("encoder", classes=head("tokens"))
    run = ModelRun(header, {**arrays, "encoder/class_logits": np.zeros((3, 4), dtype=np.float32)})
    with pytest.raises(RunShapeError, match="Run its text again"):
        run.classes(0)
    with pytest.raises(BadRequestError, match="is not a run of this program"):
        open_run(save_run(run, tmp_path / "run.npz"))


def test_where_classes_stop_being_finite() -> None:
    _header, arrays = make_parts("encoder", classes=head("tokens"))
    logits = arrays["encoder/class_logits"]
    logits[2, 1] = -np.inf
    assert first_not_finite(arrays, 2, "encoder") is None, "a label is ruled out"
    logits[3, 0] = np.nan
    found = first_not_finite(arrays, 2, "encoder")
    assert found is not None
    assert found.begins == "in the classes (NaN, at 1 of 6 tokens)"
