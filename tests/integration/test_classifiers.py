"""Classifiers against plain Hugging Face: logits and probabilities of every kind of head, in families that differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertModel,
)

from dashboard import capture_run, load_model, open_run, plot_classes, save_run, wrap_model
from dashboard.catalog.description import describe_folder
from dashboard.errors import BadSelectionError, MissingArrayError, ModelError
from dashboard.settings import Settings
from tests.support.tiny_classifiers import CONFIGS, LABELS, classifier, named, plain, save
from tests.support.tiny_models import _common, randomised, tiny, tokenizer, words

TEXT = words(11)
FAMILIES = tuple(CONFIGS)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache")


def logits_of(outputs: Any, of: str) -> np.ndarray:
    if of == "answer":
        return torch.stack([outputs.start_logits[0], outputs.end_logits[0]], dim=-1).numpy()
    return outputs.logits[0].numpy()


@pytest.mark.parametrize("of", ["text", "tokens", "answer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_states_equal_plain_hugging_face(family: str, of: str, settings: Settings, tmp_path: Path) -> None:
    model = classifier(family, of)
    folder = save(model, tmp_path / "mine", family)
    described, loaded = describe_folder(folder), load_model(folder, settings)
    run, outputs = capture_run(loaded, TEXT), plain(model, family, TEXT)
    assert (described.without, described.classes, described.unread) == ("classifier", of, ())
    assert loaded.unread == ()
    assert run.class_head is not None
    assert (run.class_head.of, run.class_head.labels) == (of, ("start", "end") if of == "answer" else LABELS)
    np.testing.assert_allclose(run.class_logits, logits_of(outputs, of), atol=1e-5)
    for ours, theirs in zip(run.hidden_states, outputs.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-5)
    for layer, weights in enumerate(outputs.attentions):
        for head in range(run.model.heads):
            np.testing.assert_allclose(run.attention(layer, head), weights[0, head].numpy(), atol=1e-5)


def test_probabilities_of_one_label_that_applies(settings: Settings, tmp_path: Path) -> None:
    model = classifier("Roberta", "text")
    run = capture_run(load_model(save(model, tmp_path / "mine"), settings), TEXT)
    wanted = torch.softmax(plain(model, "Roberta", TEXT).logits[0].double(), dim=-1).tolist()
    found = run.classes()
    assert [score.label for score in found] == [label for _p, label in sorted(zip(wanted, LABELS, strict=True))[::-1]]
    assert {score.label: score.probability for score in found} == pytest.approx(
        dict(zip(LABELS, wanted, strict=True)), abs=1e-6
    )
    with pytest.raises(BadSelectionError, match="as a whole"):
        run.classes(3)
    with pytest.raises(MissingArrayError, match="answers no questions"):
        run.answer()


def test_labels_that_apply_each_by_itself(settings: Settings, tmp_path: Path) -> None:
    model = classifier("Electra", "text", problem_type="multi_label_classification")
    run = capture_run(load_model(save(model, tmp_path / "mine"), settings), TEXT)
    wanted = torch.sigmoid(plain(model, "Electra", TEXT).logits[0].double()).tolist()
    assert {score.label: score.probability for score in run.classes()} == pytest.approx(
        dict(zip(LABELS, wanted, strict=True)), abs=1e-6
    )


@pytest.mark.parametrize("problem", [{"num_labels": 1}, {"problem_type": "regression"}])
def test_a_regression_gives_its_value(settings: Settings, tmp_path: Path, problem: dict[str, Any]) -> None:
    model = classifier("DistilBert", "text", **problem)
    run = capture_run(load_model(save(model, tmp_path / "mine"), settings), TEXT)
    wanted = plain(model, "DistilBert", TEXT).logits[0].tolist()
    found = {score.index: score for score in run.classes()}
    assert [found[index].logit for index in range(len(wanted))] == pytest.approx(wanted, abs=1e-5)
    assert [score.probability for score in run.classes()] == [None] * len(wanted)
    assert run.class_probabilities is None


def test_each_token_has_classes(settings: Settings, tmp_path: Path) -> None:
    model = classifier("Albert", "tokens")
    run = capture_run(load_model(save(model, tmp_path / "mine"), settings), TEXT)
    wanted = torch.softmax(plain(model, "Albert", TEXT).logits[0].double(), dim=-1).numpy()
    np.testing.assert_allclose(run.class_probabilities, wanted, atol=1e-6)
    for position in range(len(run)):
        best = run.classes(position)[0]
        assert best.label == LABELS[int(wanted[position].argmax())]
        assert best.probability == pytest.approx(wanted[position].max(), abs=1e-6)
    with pytest.raises(BadSelectionError, match="each token"):
        run.classes()


@pytest.mark.parametrize("pair", [None, words(8, seed=4)])
def test_an_answer_is_the_best_pair_of_start_and_end(settings: Settings, tmp_path: Path, pair: str | None) -> None:
    model = classifier("Bert", "answer")
    run = capture_run(load_model(save(model, tmp_path / "mine"), settings), TEXT, pair)
    outputs = plain(model, "Bert", TEXT, pair)
    start, end = (
        torch.softmax(values[0].double(), dim=-1).tolist() for values in (outputs.start_logits, outputs.end_logits)
    )
    first = 1 if pair is None else 1 + len(TEXT.split()) + 1  # [CLS] text [SEP] pair [SEP]
    count = len((TEXT if pair is None else pair).split())
    spans = [(i, j) for i in range(first, first + count) for j in range(i, first + count)]
    i, j = max(spans, key=lambda span: start[span[0]] * end[span[1]])
    found = run.answer()
    assert found is not None
    assert (found.first, found.last) == (i, j)
    assert found.probability == pytest.approx(start[i] * end[j], abs=1e-7)
    assert found.nothing == pytest.approx(start[0] * end[0], abs=1e-7)
    assert found.text == " ".join((TEXT if pair is None else pair).split()[i - first : j - first + 1])


def test_the_last_token_that_is_no_padding_is_read(settings: Settings, tmp_path: Path) -> None:
    model = classifier("Llama", "text")
    folder = save(model, tmp_path / "mine", "Llama")
    run = capture_run(load_model(folder, settings), TEXT)
    score = model.score.weight.detach().numpy()
    np.testing.assert_allclose(run.class_logits, score @ run.hidden_states[-1][-1], atol=1e-5)
    without_padding = save(model, tmp_path / "without", "Llama", pad_token_id=None)
    again = capture_run(load_model(without_padding, settings), TEXT)
    np.testing.assert_allclose(again.class_logits, run.class_logits, atol=1e-6)


@pytest.mark.parametrize("of", ["text", "tokens", "answer"])
def test_a_model_in_memory_has_the_same_classes(of: str, settings: Settings, tmp_path: Path) -> None:
    model = classifier("Bert", of)
    loaded = load_model(save(model, tmp_path / "mine"), settings)
    wrapped = wrap_model(model, tokenizer(True), "mine")
    assert wrapped.classes == loaded.classes
    np.testing.assert_array_equal(capture_run(wrapped, TEXT).class_logits, capture_run(loaded, TEXT).class_logits)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_classes_are_part_of_a_run_s_file(settings: Settings, tmp_path: Path, suffix: str) -> None:
    run = capture_run(load_model(save(classifier("Bert", "tokens"), tmp_path / "mine"), settings), TEXT)
    again = open_run(save_run(run, tmp_path / f"run.{suffix}"))
    assert again.class_head == run.class_head
    assert again.classes(3) == run.classes(3)
    assert not again.outdated


# which head a checkpoint has, and damage


@pytest.mark.parametrize(
    ("family", "of"), [("DistilBert", "text"), ("Roberta", "text"), ("Electra", "text"), ("Bert", "answer")]
)
@pytest.mark.parametrize("architectures", [None, ["BertForMaskedLM"], ["BertForTokenClassification"]])
def test_weights_tell_the_head_whatever_the_class_is_called(
    family: str, of: str, architectures: Any, settings: Settings, tmp_path: Path
) -> None:
    model = classifier(family, of)
    folder = save(model, tmp_path / "mine", family, architectures=architectures)
    loaded = load_model(folder, settings)
    assert loaded.classes is not None
    assert loaded.classes.of == describe_folder(folder).classes == of
    np.testing.assert_allclose(
        capture_run(loaded, TEXT).class_logits, logits_of(plain(model, family, TEXT), of), atol=1e-5
    )


@pytest.mark.parametrize("of", ["text", "tokens"])
def test_a_head_of_which_nothing_says_what_it_classifies_is_not_read(
    of: str, settings: Settings, tmp_path: Path
) -> None:
    folder = save(classifier("Bert", of), tmp_path / "mine", architectures=None)
    loaded = load_model(folder, settings)
    run = capture_run(loaded, TEXT)
    assert (loaded.classes, describe_folder(folder).classes, type(loaded.model)) == (None, "", BertModel)
    assert any(line.startswith("classifier") for line in loaded.unread)
    assert run.is_classifier
    with pytest.raises(MissingArrayError, match="is a classifier of a kind that is not supported"):
        run.classes()


@pytest.mark.parametrize(
    "make",
    [
        lambda: BertForNextSentencePrediction(BertConfig(**_common())),
        lambda: BertForMultipleChoice(BertConfig(**_common())),
    ],
)
def test_heads_of_other_kinds_are_named_and_not_read(make: Any, settings: Settings, tmp_path: Path) -> None:
    loaded = load_model(save(randomised(make()), tmp_path / "mine"), settings)
    run = capture_run(loaded, TEXT)
    assert loaded.classes is None
    assert run.is_classifier
    assert run.class_head is None


def test_a_model_in_memory_that_predicts_the_next_sentence_has_no_classes() -> None:
    model = randomised(BertForNextSentencePrediction(BertConfig(**_common())))
    assert wrap_model(model, tokenizer(True), "mine").classes is None


@pytest.mark.parametrize(
    ("family", "of", "lost"),
    [
        ("Bert", "text", "classifier.bias"),
        ("Bert", "text", "bert.pooler.dense.weight"),
        ("Bert", "text", "bert.encoder.layer.1.output.dense.bias"),
        ("Bert", "tokens", "classifier.weight"),
        ("DistilBert", "text", "pre_classifier.bias"),
        ("Electra", "text", "classifier.out_proj.weight"),
        ("Albert", "answer", "qa_outputs.bias"),
        ("Albert", "text", "albert.pooler.weight"),
    ],
)
def test_a_checkpoint_that_lacks_a_part_of_its_head_is_refused(
    family: str, of: str, lost: str, settings: Settings, tmp_path: Path
) -> None:
    folder = save(classifier(family, of), tmp_path / "mine", family)
    weights = load_file(folder / "model.safetensors")
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"lacks {lost}"):
        load_model(folder, settings)


def test_another_number_of_labels_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = save(classifier("Bert", "text"), tmp_path / "mine", **named("no", "yes"))
    with pytest.raises(ModelError, match=r"classifier\.bias of shape \(3,\), .* asks for \(2,\)"):
        load_model(folder, settings)


def test_an_old_pooler_beside_a_head_for_tokens_is_not_read(settings: Settings, tmp_path: Path) -> None:
    model = classifier("Bert", "tokens")
    folder = save(model, tmp_path / "mine")
    weights = load_file(folder / "model.safetensors")
    weights |= {"bert.pooler.dense.weight": torch.ones(32, 32), "bert.pooler.dense.bias": torch.ones(32)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    loaded = load_model(folder, settings)
    assert loaded.unread == describe_folder(folder).unread == ("pooler (bert.pooler.dense)",)
    np.testing.assert_allclose(
        capture_run(loaded, TEXT).class_logits, plain(model, "Bert", TEXT).logits[0].numpy(), atol=1e-5
    )


def test_language_models_have_no_classes() -> None:
    for loaded, words_of in ((tiny("gpt2"), "predicts the next token"), (tiny("bert"), "predicts masked tokens")):
        run = capture_run(loaded, TEXT)
        assert (run.is_classifier, run.class_head) == (False, None)
        with pytest.raises(MissingArrayError, match=f"{words_of}; it is not a classifier"):
            run.classes()


def test_a_head_that_overflows_says_so(settings: Settings, tmp_path: Path) -> None:
    model = classifier("Bert", "text")
    with torch.no_grad():
        model.classifier.bias[1] = math.nan
    run = capture_run(load_model(save(model, tmp_path / "mine"), settings), TEXT)
    assert run.not_finite is not None
    assert run.not_finite.begins == "in the classes (NaN)"


def test_plain_outputs_are_drawn() -> None:
    model = classifier("Bert", "tokens")
    outputs = plain(model, "Bert", TEXT)
    figure = plot_classes(outputs.logits, model.config, position=2)
    wanted = torch.softmax(outputs.logits[0, 2].double(), dim=-1).sort(descending=True)
    assert list(figure.data[0].x) == pytest.approx([100 * value for value in wanted.values.tolist()])
    best, *rest = [LABELS[index] for index in wanted.indices.tolist()]
    assert list(figure.layout.yaxis.ticktext) == [f"<b>{best}</b>", *rest]
    with pytest.raises(Exception, match="Name one: position=3"):
        plot_classes(outputs.logits, model.config)
