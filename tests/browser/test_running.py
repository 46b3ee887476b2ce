"""From an empty page to a run: examples, keys, counts, notices, cancel, a worker that dies."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.catalog.examples import EXAMPLES, MODEL_WORDS
from dashboard.contracts.run import ModelRun
from dashboard.views import all_views
from tests.support.person import Person, first_examples
from tests.support.server import Server

pytestmark = pytest.mark.browser

LONG = " ".join(f"Item {i} is a small red box." for i in range(360))  # about 3,000 tokens: seconds of work


@pytest.mark.fresh
def test_the_empty_page_invites(person: Person) -> None:
    person.go()
    expect(person.at("examples-card")).to_be_visible()
    expect(person.page.locator("#examples-card [data-example]")).to_have_count(len(EXAMPLES))
    for view in all_views():
        person.page.locator(f"#{view.card}-tab-{view.name}").click()
        expect(person.at(f"{view.name}-panel").get_by_text(view.invitation[0])).to_be_visible()
        expect(person.at(f"{view.name}-panel").locator(".about")).to_be_hidden()
    expect(person.at("token-count")).to_contain_text("0 of")
    expect(person.at("model-state")).to_contain_text("Ready")
    assert person.address() == {}
    assert person.page.title() == "Transformer dashboard"


@pytest.mark.parametrize("model", first_examples())
def test_an_example_of_every_model_gives_four_linked_views(person: Person, model: str) -> None:
    example = first_examples()[model]
    person.go()
    person.page.locator(f'#examples-card [data-example="{EXAMPLES.index(example)}"]').click()
    person.drawn(example.text).selects(token=example.token, layer=example.layer, head=example.head)
    run = person.server.run_of(model, example.text)
    expect(person.at("examples-card")).to_be_hidden()
    expect(person.at("text")).to_have_value(example.text)
    assert len(person.labels()) == len(run)
    expect(person.token(example.token)).to_have_attribute("aria-pressed", "true")
    expect(person.page.locator('#tokens [aria-pressed="true"]')).to_have_count(1)
    expect(person.title("attention")).to_contain_text(f"Layer {example.layer}, head {example.head}")
    expect(person.title("hidden")).to_contain_text(f"After layer {example.layer}")
    assert person.page.locator("#attention-heads button").count() == run.model.layers * run.model.heads
    assert person.framed_row() == person.ringed_point() == example.token
    if run.has_predictions:
        positions = 1 if example.second is None else 2  # a bar of each for every token
        expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(10 * positions)
    else:
        expect(person.at("prediction-card")).to_contain_text("produces embeddings; it has no token predictions")
        expect(person.at("prediction-card")).to_contain_text("Attention and hidden states are available")
    assert person.address() == {
        "run": run.key,
        "token": str(example.token),
        "layer": str(example.layer),
        "head": str(example.head),
        **({} if example.second is None else {"second": str(example.second)}),
    }


@pytest.mark.parametrize("name", ["minilm-l6", "rxnmapper", "smollm2-135m"])
def test_a_model_is_picked_from_the_list(person: Person, name: str) -> None:
    entry = person.server.catalog.get(name)
    person.go()
    person.at("model").click()
    option = person.page.locator(".model-option").filter(has_text=entry.title).last
    expect(option).to_contain_text(f"{entry.kind} · {entry.layers} layers × {entry.heads} heads")
    option.click()
    expect(person.at("model")).to_contain_text(entry.title)
    expect(person.at("token-count")).to_contain_text("0 of ")
    assert entry.kind in MODEL_WORDS


def test_ctrl_enter_runs(person: Person) -> None:
    person.go().type_text("Ctrl and Enter run this.")
    person.at("text").press("Control+Enter")
    person.drawn("Ctrl and Enter run this.")


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("smollm2-135m", "Count these: 👩‍👩‍👧 漢字 שלום\nand\ttabs"),
        ("minilm-l6", "Count these, with the special ones: naïve café"),
        ("rxnmapper", "CCO.CC(=O)O>>CC(=O)OCC"),
    ],
)
def test_the_live_token_count_is_the_runs(person: Person, model: str, text: str) -> None:
    person.go().choose_model(model)
    person.type_text(text)
    expect(person.at("token-count")).to_have_text(re.compile(r"^[1-9]\d* of [\d,]+ tokens$"))
    counted = int((person.at("token-count").text_content() or "").split(" ")[0])
    run = person.run(text)
    assert counted == len(run) == len(person.labels())


def test_pieces_stand_in_the_strip_as_they_stand_in_the_text(person: Person) -> None:
    text = "A naïve café,\n漢字 and 👋🏽!"
    run = person.go().run(text, "smollm2-135m")
    shown = "".join(person.labels()).replace("·", " ").replace("↵", "\n")
    whole = [token for token in run.tokens if not token.partial]
    assert all(token.text in text for token in whole)
    assert shown.startswith("A naïve café,\n")
    expect(person.page.locator("#tokens .line-break")).to_have_count(1)
    if len(whole) < len(run):
        assert re.search(r"⟨[0-9A-F]{2}( [0-9A-F]{2})*⟩", shown)


# texts that cannot be run


def refused(person: Person, *words: str) -> None:
    for word in words:
        expect(person.notice()).to_contain_text(word)
    expect(person.at("run")).to_be_visible()


@pytest.mark.parametrize("text", ["", "   \n "])
def test_an_empty_text_is_a_notice_and_nothing_breaks(person: Person, text: str) -> None:
    person.go().type_text(text)
    person.press_run()
    refused(person, "There is no text to run")
    person.run("But this one runs.")
    expect(person.notice()).to_be_empty()


def test_a_text_over_the_models_limit_is_a_notice(person: Person, encoder: ModelRun) -> None:
    person.open_run(encoder, token=2, layer=3, head=1)
    text = "word " * 600
    person.type_text(text)
    expect(person.at("token-count")).to_have_class(re.compile(r"\bover\b"))
    person.press_run()
    refused(person, "602", "512")
    assert person.selection()["run"] == encoder.key
    expect(person.at("strip-title")).to_have_text("Tokens of the previous run")
    expect(person.at("text")).to_have_value(text)


@pytest.mark.parametrize("code", [0x00, 0x07, 0x1B, 0x7F])
def test_a_control_character_is_a_notice_that_names_it(person: Person, code: int) -> None:
    person.go()
    person.page.evaluate("(value) => dash_clientside.set_props('text', {value})", f"one{chr(code)}two")
    person.press_run()
    refused(person, "control character", f"U+{code:04X}")


def test_a_notice_can_be_closed(person: Person) -> None:
    person.go().press_run()
    refused(person, "no text")
    person.notice().get_by_role("button", name="Close").click()
    expect(person.notice()).to_be_empty()


def test_the_same_error_twice_is_two_notices(person: Person) -> None:
    person.go().press_run()
    refused(person, "no text")
    person.notice().get_by_role("button", name="Close").click()
    person.press_run()
    refused(person, "no text")


# while a run is under way


def start_long_run(person: Person, text: str) -> None:
    """Run a text that is held, or that takes long; until some of its layers are computed."""
    person.choose_model("smollm2-135m")
    person.type_text(text)
    person.press_run()
    expect(person.at("progress")).to_contain_text(re.compile(r"Layer \d+ of 30"), timeout=60_000)


def test_cancel_keeps_the_previous_run_and_frees_the_worker(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    labels = person.labels()
    start_long_run(person, "Cancel me. " + LONG)
    expect(person.at("progress")).to_contain_text("the previous run")
    expect(person.at("run")).to_be_hidden()
    assert person.labels() == labels
    person.at("cancel").click()
    expect(person.notice()).to_contain_text("Cancelled.")
    expect(person.at("run")).to_be_visible()
    assert person.labels() == labels
    assert person.selection()["run"] == causal.key
    run = person.run("A short text after a cancel.")
    assert run.text == "A short text after a cancel."
    assert not person.server.store.has(person.server.key_of("smollm2-135m", "Cancel me. " + LONG))


def test_escape_cancels_too(person: Person, server: Server) -> None:
    person.go()
    with server.holding("Escape me."):
        start_long_run(person, "Escape me.")
        person.page.keyboard.press("Escape")
        expect(person.notice()).to_contain_text("Cancelled.")


@pytest.mark.alone
def test_a_worker_that_is_killed_is_an_error_and_the_next_run_works(
    person: Person, causal: ModelRun, server: Server
) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    with server.holding("Kill me."):
        start_long_run(person, "Kill me.")
        [worker] = server.worker_processes()
        os.kill(worker.pid, signal.SIGKILL)
        expect(person.notice()).to_contain_text("Error.", timeout=8_000)
    expect(person.notice()).to_contain_text("Your text is still in the box")
    expect(person.at("strip-title")).to_have_text("Tokens of the previous run")
    assert person.selection()["run"] == causal.key
    expect(person.at("run")).to_be_visible()
    run = person.run("A short text after a death.")
    assert len(run) > 4
    server.wait_until_ready()


def test_a_long_run_can_be_left_by_closing_the_page(open_page: Callable[..., Person], server: Server) -> None:
    leaver = open_page().go()
    with server.holding("Leave me."):
        start_long_run(leaver, "Leave me.")
        leaver.page.close()
        stayer = open_page().go()
        stayer.run("Someone else's short text.", "smollm2-135m")
        assert not server.store.has(server.key_of("smollm2-135m", "Leave me."))
