"""A text as a chat message: switched on beside the box, read in the model's template, kept wherever the text is."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser
MESSAGE = "Who wrote Faust?"
READ = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    f"<|im_start|>user\n{MESSAGE}<|im_end|>\n<|im_start|>assistant\n"
)


def run_of(person: Person) -> ModelRun:
    return person.server.store.open(person.selection()["run"])


@pytest.mark.fresh
def test_a_message_is_switched_on_run_listed_and_comes_back(person: Person) -> None:
    person.load()
    switch, help_line = person.at("chat-box"), person.at("chat-help")
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(help_line).to_be_hidden()
    person.type_text(MESSAGE)
    expect(person.at("token-count")).to_have_text("4 of 4,096 tokens")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(help_line).to_contain_text("in its own chat template")
    expect(person.at("token-count")).to_have_text("34 of 4,096 tokens")
    person.press_run()
    person.drawn(MESSAGE)
    run = run_of(person)
    assert (run.request.text, run.text, len(run)) == (MESSAGE, READ, 34)
    expect(person.at("strip-title")).to_have_text("Tokens of the chat message")
    expect(person.at("text")).to_have_value(MESSAGE)
    assert person.page.title().startswith(MESSAGE)
    special = person.page.locator("#tokens .token.special")
    assert special.count() == 5
    expect(person.at("not-run")).not_to_contain_text("Press Run")

    switch.click()
    expect(person.at("not-run")).to_contain_text("Press Run to read it as it stands")
    person.press_run()
    person.page.wait_for_function("() => dashboardApp.state.info.chat === false")
    assert run_of(person).text == MESSAGE
    person.page.go_back()
    expect(switch).to_have_attribute("aria-checked", "true")
    person.settled()
    assert run_of(person).key == run.key

    person.type_text(MESSAGE + " A draft.")
    person.page.wait_for_timeout(500)
    person.page.reload()
    expect(person.at("text")).to_have_value(MESSAGE + " A draft.")
    expect(person.at("chat-box")).to_have_attribute("aria-checked", "true")
    person.settled()
    person.at("recent").click()
    row = person.page.locator(f'#recent-dialog .ag-row[row-id="{run.key}"]')
    expect(row).to_contain_text("chat message")


def test_a_model_without_a_template_has_no_switch(person: Person) -> None:
    person.go()
    person.at("chat-box").click()
    person.choose_model("minilm-l6")
    expect(person.at("chat-box")).to_be_hidden()
    expect(person.at("chat-help")).to_be_hidden()
    person.run("No message.")
    run = run_of(person)
    assert (run.request.chat, run.text) == (False, "No message.")
    person.choose_model("smollm2-135m")
    expect(person.at("chat-box")).to_have_attribute("aria-checked", "true")
    person.page.evaluate("dashboardApp.chooseExample(0)")
    person.page.wait_for_function("() => dashboardApp.state.info.model === 'smollm2-135m'")
    assert run_of(person).request.chat is False


@pytest.mark.fresh
def test_a_link_brings_the_message_back_where_its_run_is_gone(person: Person) -> None:
    person.load()
    person.at("chat-box").click()
    run = person.run(MESSAGE)
    link = person.page.evaluate("dashboardApp.withText(dashboardApp.address.link())")
    assert link.endswith("&chat=1")
    person.server.store.delete(run.key)
    person.page.goto("about:blank")
    person.page.goto(link)
    expect(person.notice()).to_contain_text("The text came with the link")
    expect(person.at("chat-box")).to_have_attribute("aria-checked", "true")
    person.press_run()
    person.drawn(MESSAGE)
    assert run_of(person).key == run.key
