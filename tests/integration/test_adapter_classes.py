"""A classifier's adapter shows its classes: its own head, under its own labels, as peft's unmerged model has them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from dashboard.capture.capture import capture_run
from dashboard.capture.loader import load_model, wrap_model
from dashboard.catalog.catalog import Catalog
from dashboard.errors import UnsupportedModelError
from dashboard.settings import Settings
from tests.integration.test_adapters import NAME, TEXT, adapt, made, same, save, unmerged
from tests.support.tiny_classifiers import named
from tests.support.tiny_models import randomised, words

pytestmark = pytest.mark.integration
TUNED = "folder:models/tuned"
HEADS = {"SEQ_CLS": "ForSequenceClassification", "TOKEN_CLS": "ForTokenClassification"}
ANSWER = "ForQuestionAnswering"
OF = {"SEQ_CLS": "text", "TOKEN_CLS": "tokens"}
FAMILIES: dict[str, tuple[str, Any, list[str]]] = {  # of the base: its tiny model, the start of its classes, modules
    "llama": ("llama", "Llama", ["q_proj", "v_proj"]),
    "gpt2": ("gpt2", "GPT2", ["c_attn"]),
    "bert": ("bert", "Bert", ["query", "value"]),
    "distilbert": ("distilbert", "DistilBert", ["q_lin"]),
    "roberta": ("roberta", "Roberta", ["query"]),
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "bundled", model_folders=(tmp_path / "models",))


def trained(
    tmp_path: Path, family: str, task: str, labels: int = 3, of_its_own: bool = True, **config: Any
) -> tuple[Any, Path]:
    """The base of a classifier, as training loads it, and the folder of a random adapter of it.

    Llama's class for answers reads no weights of a language model, so its base has that class itself (`of_its_own`).
    """
    name, start, modules = FAMILIES[family]
    whole = made(name)
    model = whole.bert if family == "bert" and task != "SEQ_CLS" else whole
    if family == "bert" and task == "SEQ_CLS":  # a published BERT has its pooler
        model = hf.BertModel(whole.config)
        model.load_state_dict(whole.bert.state_dict(), strict=False)
    if family == "llama" and task == "QUESTION_ANS" and of_its_own:
        model = randomised(hf.LlamaForQuestionAnswering(whole.config))
    save(model, tmp_path / "models" / NAME, around=family not in ("llama", "gpt2"))
    base = getattr(hf, start + {**HEADS, "QUESTION_ANS": ANSWER}[task]).from_pretrained(
        tmp_path / "models" / NAME, num_labels=labels, attn_implementation="eager"
    )
    base.config.pad_token_id = 0
    folder = adapt(copy.deepcopy(base), tmp_path / "models" / "tuned", target_modules=modules, task_type=task, **config)
    return base, folder


CASES = [(family, task) for family in ("llama", "gpt2", "bert") for task in HEADS] + [
    ("roberta", "SEQ_CLS"),
    ("distilbert", "SEQ_CLS"),
    ("distilbert", "TOKEN_CLS"),
]


@pytest.mark.parametrize(("family", "task"), CASES)
def test_its_classes_are_those_of_pefts_unmerged_model(
    settings: Settings, tmp_path: Path, family: str, task: str
) -> None:
    base, folder = trained(tmp_path, family, task)
    loaded, model = load_model(TUNED, settings, folders=False), unmerged(base, folder)
    run = capture_run(loaded, TEXT)
    with torch.no_grad():
        expected = model(**loaded.tokenizer(TEXT, return_tensors="pt")).logits[0]
    assert expected.abs().max() > 0.01
    np.testing.assert_allclose(run.class_logits, expected.numpy(), rtol=1e-5, atol=1e-5)
    head = run.class_head
    assert head is not None
    assert (head.of, head.labels) == (OF[task], ("LABEL_0", "LABEL_1", "LABEL_2"))
    position = None if task == "SEQ_CLS" else 1
    row = expected.double() if position is None else expected[position].double()
    best = run.classes(position)[0]
    assert best.index == int(row.argmax())
    assert best.probability == pytest.approx(float(row.softmax(-1).max()), rel=1e-5)
    same(loaded, model)
    card = Catalog(settings).get(TUNED)
    assert (card.kind, card.without, card.classes) == ("encoder", "classifier", OF[task])
    assert not card.refusal


@pytest.mark.parametrize("task", HEADS)
def test_labels_come_from_the_adapters_own_configuration(settings: Settings, tmp_path: Path, task: str) -> None:
    _base, folder = trained(tmp_path, "llama", task)
    config = {**named("calm", "cross", "kind"), "problem_type": "multi_label_classification"}
    (folder / "config.json").write_text(json.dumps(config))
    head = load_model(TUNED, settings).classes
    assert head is not None
    assert head.labels == ("calm", "cross", "kind")
    assert head.scale == ("sigmoid" if task == "SEQ_CLS" else "softmax")
    for wrong in ({"id2label": {"0": "a", "1": "b"}}, {"id2label": {"0": 1, "1": 2, "2": 3}}, {"id2label": ["a"]}, []):
        (folder / "config.json").write_text(json.dumps(wrong))
        head = load_model(TUNED, settings).classes
        assert head is not None
        assert head.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_a_classifier_below_an_adapter_gives_its_labels_if_they_are_as_many(settings: Settings, tmp_path: Path) -> None:
    config = copy.deepcopy(made("llama").config)
    for key, value in named("no", "yes", "perhaps").items():
        setattr(config, key, value)
    base = hf.LlamaForSequenceClassification(config)
    save(base, tmp_path / "models" / NAME)
    modules = {"target_modules": ["q_proj"], "task_type": "SEQ_CLS"}
    adapt(copy.deepcopy(base), tmp_path / "models" / "tuned", **modules)
    head = load_model(TUNED, settings).classes
    assert head is not None
    assert head.labels == ("no", "yes", "perhaps")
    other = hf.LlamaForSequenceClassification.from_pretrained(
        tmp_path / "models" / NAME, num_labels=2, ignore_mismatched_sizes=True
    )
    adapt(copy.deepcopy(other), tmp_path / "models" / "tuned", **modules)
    head = load_model(TUNED, settings).classes
    assert head is not None
    assert head.labels == ("LABEL_0", "LABEL_1")


def test_one_row_is_a_regression(settings: Settings, tmp_path: Path) -> None:
    base, folder = trained(tmp_path, "llama", "SEQ_CLS", labels=1)
    loaded = load_model(TUNED, settings)
    run = capture_run(loaded, TEXT)
    with torch.no_grad():
        expected = unmerged(base, folder)(**loaded.tokenizer(TEXT, return_tensors="pt")).logits[0]
    np.testing.assert_allclose(run.class_logits, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert run.class_head is not None
    assert run.class_head.scale == "none"


def test_a_head_of_which_a_part_was_never_saved_is_not_read_and_the_run_says_so(
    settings: Settings, tmp_path: Path
) -> None:
    """A masked model has no pooler: training made one at random, and peft does not save it by itself."""
    save(made("bert"), tmp_path / "models" / NAME, around=True)
    base = hf.BertForSequenceClassification.from_pretrained(tmp_path / "models" / NAME, num_labels=3)
    folder = tmp_path / "models" / "tuned"
    config = {"target_modules": ["query"], "task_type": "SEQ_CLS"}
    adapt(copy.deepcopy(base), folder, **config)
    loaded = load_model(TUNED, settings)
    assert (loaded.without, loaded.classes) == ("classifier", None)
    assert "classes (their head lacks bert.pooler.dense.bias)" in loaded.unread
    assert capture_run(loaded, TEXT).header["unread"] == list(loaded.unread)
    adapt(copy.deepcopy(base), folder, **config, modules_to_save=["classifier", "pooler"])
    loaded = load_model(TUNED, settings)
    run = capture_run(loaded, TEXT)
    with torch.no_grad():
        expected = unmerged(base, folder)(**loaded.tokenizer(TEXT, return_tensors="pt")).logits[0]
    np.testing.assert_allclose(run.class_logits, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "dora", "its head alone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_starts_and_ends_where_pefts_unmerged_model_has_it(
    settings: Settings, tmp_path: Path, family: str, kind: str
) -> None:
    more = {"use_dora": True} if kind == "dora" else {}
    base, folder = trained(tmp_path, family, "QUESTION_ANS", labels=2, **more)
    if kind == "its head alone":  # the factors of LoRA are there and change nothing
        path = folder / "adapter_model.safetensors"
        tensors = load_file(path)
        save_file({name: value * (".lora_B." not in name) for name, value in tensors.items()}, path)
    loaded, model = load_model(TUNED, settings, folders=False), unmerged(base, folder)
    texts = (TEXT, words(6, seed=3)) if family not in ("llama", "gpt2") else (TEXT, None)
    run = capture_run(loaded, *texts)
    with torch.no_grad():
        expected = model(**loaded.tokenizer(*texts, return_tensors="pt"))
    assert expected.start_logits.abs().max() > 0.01
    for end, logits in enumerate((expected.start_logits[0], expected.end_logits[0])):
        np.testing.assert_allclose(run.class_logits[:, end], logits.numpy(), rtol=1e-5, atol=1e-5)
    head = run.class_head
    assert head is not None
    assert (head.of, head.labels, head.scale) == ("answer", ("start", "end"), "softmax")
    shares = np.stack([expected.start_logits[0].double().softmax(0), expected.end_logits[0].double().softmax(0)], 1)
    may = [i for i, token in enumerate(run.tokens) if not token.given and (texts[1] is None or run.span(i)[0] == 1)]
    best = max(((shares[i, 0] * shares[j, 1], i, j) for i in may for j in may if i <= j), key=lambda one: one[0])
    answer = run.answer()
    assert answer is not None
    assert (answer.first, answer.last) == best[1:]
    assert answer.probability == pytest.approx(best[0], rel=1e-4)
    same(loaded, model)
    card = Catalog(settings).get(TUNED)
    assert (card.kind, card.without, card.classes, card.refusal) == ("encoder", "classifier", "answer", "")
    again = capture_run(wrap_model(model, loaded.tokenizer, "mine"), *texts)
    np.testing.assert_allclose(again.class_logits, run.class_logits, rtol=1e-5, atol=1e-5)


def test_an_adapter_of_weights_that_training_made_at_random_does_not_fit(settings: Settings, tmp_path: Path) -> None:
    """Llama's class for answers reads no weights of a language model: nobody has the base it was trained on."""
    trained(tmp_path, "llama", "QUESTION_ANS", labels=2, of_its_own=False)
    with pytest.raises(UnsupportedModelError, match="tuned does not fit its base base: it has no transformer"):
        load_model(TUNED, settings)


def test_an_answers_head_has_two_rows_whatever_its_base_classifies(settings: Settings, tmp_path: Path) -> None:
    """A base whose configuration names three labels: training set two, and its adapter brings a head of two rows."""
    config = copy.deepcopy(made("bert").config)
    for key, value in named("no", "yes", "perhaps").items():
        setattr(config, key, value)
    save(hf.BertForSequenceClassification(config), tmp_path / "models" / NAME, around=True)
    base = hf.BertForQuestionAnswering.from_pretrained(
        tmp_path / "models" / NAME, num_labels=2, attn_implementation="eager"
    )
    folder = tmp_path / "models" / "tuned"
    adapt(copy.deepcopy(base), folder, target_modules=["query"], task_type="QUESTION_ANS")
    loaded, model = load_model(TUNED, settings), unmerged(base, folder)
    run = capture_run(loaded, TEXT)
    with torch.no_grad():
        expected = model(**loaded.tokenizer(TEXT, return_tensors="pt"))
    np.testing.assert_allclose(run.class_logits[:, 0], expected.start_logits[0].numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run.class_logits[:, 1], expected.end_logits[0].numpy(), rtol=1e-5, atol=1e-5)
