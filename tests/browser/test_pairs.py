"""Two texts: entered in a second box, shown with a divider, and kept wherever one text is."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser
FIRST, SECOND = "A cat sat on the mat.", "It purred and fell asleep."


def begin(person: Person) -> None:
    """Open the second box and fill both."""
    person.choose_model("minilm-l6")
    person.at("add-pair").click()
    expect(person.at("text-pair")).to_be_focused()
    person.type_text(FIRST)
    person.at("text-pair").fill(SECOND)


def run_of(person: Person) -> ModelRun:
    return person.server.store.open(person.selection()["run"])


@pytest.mark.fresh
def test_a_pair_is_entered_run_listed_and_comes_back(person: Person) -> None:
    person.go()
    expect(person.at("add-pair")).to_be_hidden()  # SmolLM2 takes one text
    begin(person)
    expect(person.at("token-count")).to_have_text("17 of 512 tokens")
    person.at("text-pair").press("Control+Enter")
    person.drawn(FIRST)
    run = run_of(person)
    assert run.texts == (FIRST, SECOND)
    assert person.page.title().startswith(f"{FIRST} | It purred and fell asle…")
    divider = person.at("tokens").get_by_role("separator", name="Second text")
    expect(divider).to_have_count(1)
    after = divider.evaluate("(node) => Number(node.nextElementSibling.dataset.token)")
    assert after == run.main.second_begins == 9

    person.at("remove-pair").click()
    expect(person.at("second-composer")).to_be_hidden()
    expect(person.at("text")).to_be_focused()
    expect(person.at("not-run")).to_contain_text("Press Run to read the new text")
    person.at("shown-text").click()
    expect(person.at("text-pair")).to_have_value(SECOND)
    expect(person.at("not-run")).not_to_contain_text("Press Run")

    person.at("text-pair").fill(SECOND + " It dreamt.")  # a draft
    expect(person.at("not-run")).to_contain_text("Press Run")
    person.page.wait_for_timeout(500)
    person.page.reload()
    expect(person.at("text-pair")).to_have_value(SECOND + " It dreamt.")
    person.settled()
    person.at("text-pair").fill("")
    person.press_run()
    person.page.wait_for_function("() => dashboardApp.state.info.pair === null")
    assert run_of(person).texts == (FIRST,)
    person.page.go_back()
    expect(person.at("text-pair")).to_have_value(SECOND)
    person.page.wait_for_function("(key) => dashboardApp.state.selection.run === key", arg=run.key)
    assert run_of(person).key == run.key

    person.at("recent").click()
    row = person.page.locator(f'#recent-dialog .ag-row[row-id="{run.key}"]')
    expect(row).to_contain_text(f"{FIRST} | {SECOND}")


def test_a_typed_separator_leads_to_the_second_box(person: Person) -> None:
    person.go()
    person.choose_model("minilm-l6")
    person.type_text("A cat sat. [SEP] It purred.")
    expect(person.at("add-pair")).to_have_attribute("title", re.compile(r"“\[SEP\]” makes no pair"))
    person.press_run()
    person.drawn("A cat sat. [SEP] It purred.")
    expect(person.at("notice")).to_contain_text("For a pair, press Add a second text")
    person.choose_model("smollm2-135m")
    expect(person.at("add-pair")).to_be_hidden()
    person.choose_model("minilm-l6")
    begin(person)
    person.press_run()
    person.drawn(FIRST)
    expect(person.at("notice")).to_be_empty()
    person.choose_model("smollm2-135m")
    expect(person.at("second-composer")).to_be_hidden()
    person.choose_model("minilm-l6")
    expect(person.at("text-pair")).to_have_value(SECOND)
    person.page.evaluate("dashboardApp.chooseExample(2)")
    person.page.wait_for_function("() => dashboardApp.state.info.pair === null")
    expect(person.at("second-composer")).to_be_hidden()


@pytest.mark.fresh
def test_undo_to_a_pair_fills_both_boxes_after_a_model_of_one_text(person: Person) -> None:
    person.load()
    begin(person)
    person.press_run()
    person.drawn(FIRST)
    person.run("One text.", "smollm2-135m")
    person.at("undo").click()
    person.drawn(FIRST)
    expect(person.at("text")).to_have_value(FIRST)
    expect(person.at("text-pair")).to_have_value(SECOND)
    expect(person.at("second-composer")).to_be_visible()
    person.type_text("A draft.")  # it is said, and a reload would not run it
    expect(person.at("not-run")).to_contain_text("Press Run to read the new text")
    person.page.wait_for_function("() => JSON.parse(sessionStorage.written || '{}').runs === false")
