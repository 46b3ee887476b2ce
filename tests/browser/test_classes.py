"""The tab Classes: it opens with a classifier, follows the tokens, and gives way to another model's predictions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import transformers as hf
from playwright.sync_api import expect

from dashboard.contracts.classes import ClassHead
from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.server import Server
from tests.support.synthetic import head, make_parts
from tests.support.tiny_classifiers import classifier, named, save
from tests.support.tiny_models import adapter_of, spec, tokenizer

pytestmark = pytest.mark.browser
LABELS = [0, 1, 2, 3, 2, 0]  # of each token: O B-PER I-PER B-LOC I-PER O


def saved(server: Server, classes: ClassHead, logits: np.ndarray, model: str, **changes: object) -> ModelRun:
    header, arrays = make_parts("encoder", classes=classes, model=f"folder:gone/{model}")
    arrays["encoder/class_logits"] = logits.astype(np.float32)
    server.store.save(header["key"], {**header, **changes}, arrays)
    return server.store.open(header["key"])


def test_classes_of_tokens_follow_the_strip_and_colour_it(person: Person) -> None:
    run = saved(person.server, head("tokens"), 5 * np.eye(4)[LABELS], "ner")
    person.open_run(run, token=1, layer=0, head=0)
    expect(person.at("prediction-tab-classes")).to_have_attribute("aria-selected", "true")
    expect(person.title("classes")).to_have_text("·cat: most likely B-PER, 98.0 %")
    expect(person.page.locator("#classes-graph .bars path")).to_have_count(4)
    expect(person.page.locator("#classes-figure .over .value").first).to_have_text("98.0 %")
    assert person.page.locator("#tokens .value").all_text_contents() == [
        *("O", "B-PER", "I-PER", "B-LOC", "I-PER", "O")
    ]
    assert person.page.locator("#strip-classes").inner_text().split() == ["PER", "LOC"]
    for token, colour in ((0, None), (2, "class-0"), (3, "class-1")):
        classes = person.token(token).locator(".chip").get_attribute("class") or ""
        assert re.findall(r"class-\w+", classes) == ([] if colour is None else [colour])
    person.token(3).click()
    person.selects(token=3)
    expect(person.title("classes")).to_have_text("·on: most likely B-LOC, 98.0 %")
    person.token(1).click(modifiers=["Shift"])
    person.selects(second=1)
    expect(person.page.locator("#classes-graph .bars path")).to_have_count(8)
    assert person.address()["prediction"] == "classes"


def test_an_answer_s_bars_select_their_token_and_an_earlier_run_offers_to_be_run_again(person: Person) -> None:
    logits = np.full((6, 2), -9.0)
    logits[2, 0] = logits[4, 1] = 0
    run = saved(person.server, head("answer"), logits, "squad")
    person.open_run(run, token=0, layer=0, head=0)
    expect(person.title("classes")).to_contain_text("Most likely answer: “sat on it”")
    person.click_at(person._place("classes-graph", 4, 50))
    person.selects(token=4)
    expect(person.page.locator("#classes-figure .over .row")).to_have_count(1)
    said = "Tiny model is a classifier; its classes are not shown yet. It has no token predictions."
    header, arrays = make_parts("encoder", model="folder:gone/old")
    person.server.store.save(header["key"], {**header, "schema": 2, "no_predictions": said}, arrays)
    person.go(f"?run={header['key']}&token=1&layer=0&head=0")
    expect(person.at("prediction-tab-classes")).to_have_attribute("aria-selected", "true")
    expect(person.at("prediction-card")).to_contain_text("Run its text again to compute them.")


@pytest.mark.fresh
def test_a_classifier_that_is_run_opens_its_classes_in_one_step_and_another_model_closes_them(
    person: Person, server: Server
) -> None:
    (root,) = server.settings.model_folders
    save(classifier("Bert", "text"), Path(root) / "sentiment")
    person.load()
    person.run("Ducks sat on the bank.", "minilm-l6")
    index = person.page.evaluate("() => history.state.index")
    person.run("w1 w2 w3", "folder:weights/sentiment")
    expect(person.title("classes")).to_contain_text("Most likely: ")
    assert person.page.evaluate("() => history.state.index") == index + 1
    person.at("undo").click()
    expect(person.at("prediction-tab-prediction")).to_have_attribute("aria-selected", "true")
    person.at("redo").click()
    expect(person.title("classes")).to_contain_text("Most likely: ")
    person.settled()
    person.open_tab("prediction", "prediction")
    person.page.reload()
    person.settled()
    expect(person.at("prediction-tab-prediction")).to_have_attribute("aria-selected", "true")
    person.open_tab("prediction", "classes")
    person.run("Ducks sat on the grassy bank.", "minilm-l6")
    expect(person.at("prediction-tab-prediction")).to_have_attribute("aria-selected", "true")


@pytest.mark.fresh
def test_a_classifiers_adapter_opens_on_its_own_classes(person: Person, server: Server) -> None:
    """Its base predicts the next token; the head and its labels are the adapter's."""
    (root,) = map(Path, server.settings.model_folders)
    base, tuned = root / "adapted-base", root / "adapted-tuned"
    hf.LlamaForCausalLM(spec("llama").config).save_pretrained(base)
    tokenizer(False).save_pretrained(base)
    model = hf.LlamaForSequenceClassification.from_pretrained(base, num_labels=3, pad_token_id=0)
    adapter_of(model, tuned, "someone/adapted-base", target_modules=["q_proj"], task_type="SEQ_CLS")
    (tuned / "config.json").write_text(json.dumps(named("calm", "cross", "kind")))
    person.load()
    run = person.run("w1 w2 w3", "folder:weights/adapted-tuned")
    best = run.classes()[0]
    assert best.label in ("calm", "cross", "kind")
    expect(person.at("prediction-tab-classes")).to_have_attribute("aria-selected", "true")
    expect(person.title("classes")).to_contain_text(f"Most likely: {best.label}, {100 * best.probability:.1f}")
