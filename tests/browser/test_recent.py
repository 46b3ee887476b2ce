"""Recent: a browser's own list of runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = [pytest.mark.browser, pytest.mark.fresh]

HOSTILE = "<img src=x onerror=window.__x=1> in a list"


def recent(person: Person) -> Locator:
    """Open the dialog and wait for its rows."""
    person.at("recent").click()
    dialog = person.at("recent-dialog")
    expect(person.at("recent-said")).not_to_have_text("Reading the list …")
    return dialog


def row(person: Person, key: str) -> Locator:
    return person.page.locator(f'#recent-dialog .ag-row[row-id="{key}"]')


def asked(person: Person) -> Locator:
    """What is asked before a run is deleted."""
    return person.at("recent-dialog").locator(".recent-form")


def listed(rows: Locator) -> list[str | None]:
    return [found.get_attribute("row-id") for found in rows.all()]


def test_nobody_sees_another_ones_list(open_page: Callable[..., Person]) -> None:
    ann, bob = open_page(), open_page(width=390, height=844)
    bob.go()
    expect(recent(bob)).to_contain_text("Runs that you make or open in this browser will be listed here")
    expect(bob.at("recent-search")).to_be_hidden()
    bob.page.keyboard.press("Escape")
    expect(bob.at("recent-dialog")).to_be_hidden()
    run = ann.go().run("Only Ann has made this run.", "minilm-l6")
    expect(recent(ann)).to_contain_text("Only Ann has made this run.")
    cells = [row(ann, run.key).locator(f'[col-id="{name}"]') for name in ("model", "tokens", "opened")]
    assert [cell.text_content() for cell in cells] == [run.model.title, str(len(run)), "just now"]
    assert recent(bob).locator(".ag-row").count() == 0
    bob.page.keyboard.press("Escape")
    cookies = {cookie["name"]: cookie for cookie in ann.page.context.cookies()}
    assert (cookies["dashboard-visitor"]["httpOnly"], cookies["dashboard-visitor"]["sameSite"]) == (True, "Strict")
    mine = bob.page.context.cookies()[0]["value"]
    assert mine != cookies["dashboard-visitor"]["value"]

    bob.open_run(run)  # whoever has the link can open it, and has it then
    expect(recent(bob)).to_contain_text("Only Ann has made this run.")
    for person, left in ((ann, True), (bob, False)):
        row(person, run.key).get_by_role("button", name="Delete").click()
        asked(person).get_by_role("button", name="Delete", exact=True).click()
        expect(row(person, run.key)).to_have_count(0)
        assert person.server.store.has(run.key) is left  # the file stays as long as someone has it


def test_a_list_can_be_searched_renamed_pinned_opened_and_deleted(person: Person) -> None:
    one = person.go().run("A list begins with one text about whales.", "minilm-l6")
    two = person.run(HOSTILE)
    other_tab = Person(person.page.context.new_page(), person.server).go()
    three = other_tab.run("Another tab has this one.", "minilm-l6")
    other_tab.page.close()
    dialog = recent(person)
    rows = dialog.locator(".ag-row")
    expect(rows).to_have_count(3)
    assert listed(rows) == [three.key, two.key, one.key]
    expect(row(person, two.key)).to_contain_text(HOSTILE)
    expect(row(person, two.key)).to_contain_text("shown now")

    row(person, one.key).get_by_role("button", name="Rename").click()
    person.page.keyboard.type("Moby <b>")
    person.page.keyboard.press("Enter")
    expect(row(person, one.key).locator(".recent-title")).to_have_text("Moby <b>")
    row(person, one.key).get_by_role("button", name="Pin").click()
    expect(rows.first).to_contain_text("Pinned")
    assert listed(rows)[0] == one.key
    row(person, two.key).get_by_role("button", name="Rename").click()
    person.page.keyboard.type("The one shown")
    person.page.keyboard.press("Enter")
    expect(person.page).to_have_title("The one shown · Transformer dashboard")

    for words, keys in (
        ("moby", [one.key]),
        ("WHALES text", [one.key]),
        ("minilm", [one.key, three.key, two.key]),
        ("onerror", [two.key]),
        ("no such words", []),
    ):
        person.at("recent-search").fill(words)
        expect(rows).to_have_count(len(keys))
        assert listed(rows) == keys
    expect(dialog).to_contain_text("nothing has “no such words”")
    person.at("recent-search").fill("")
    expect(rows).to_have_count(3)

    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("ArrowUp")
    person.page.keyboard.press("Enter")  # the first row
    expect(person.at("recent-dialog")).to_be_hidden()
    person.drawn(one.text)
    expect(person.page).to_have_title("Moby <b> · Transformer dashboard")
    expect(person.at("text")).to_have_value(one.text)
    person.at("undo").click()
    person.drawn(HOSTILE)
    person.page.reload()
    person.drawn(HOSTILE)
    expect(person.page).to_have_title("The one shown · Transformer dashboard")
    expect(recent(person).locator(".ag-row")).to_have_count(3)
    row(person, three.key).get_by_role("button", name="Delete").click()
    expect(asked(person)).to_contain_text("unless it is in someone else’s list")
    person.page.keyboard.press("Escape")  # no: keep it
    expect(row(person, three.key).get_by_role("button", name="Pin")).to_be_visible()
    row(person, three.key).get_by_role("button", name="Delete").click()
    asked(person).get_by_role("button", name="Delete", exact=True).click()
    expect(rows).to_have_count(2)
    assert not person.server.store.has(three.key)
    expect(person.notice()).to_be_empty()
    row(person, two.key).get_by_role("button", name="Delete").click()
    asked(person).get_by_role("button", name="Delete", exact=True).click()  # the one that is shown
    expect(rows).to_have_count(1)
    expect(person.notice()).to_contain_text("Deleted. The run shown below was removed from your list")
    assert person.page.evaluate("() => window.__x") is None


def test_opened_again_the_table_is_there_again_and_fits_a_narrower_window(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=23, head=0)
    rows, tokens = person.page.locator("#recent-rows .ag-row"), person.page.locator('#recent-rows [col-id="tokens"]')
    for _time in range(2):
        person.at("recent").click()
        expect(rows.first).to_be_visible()
        expect(person.at("recent-said")).to_contain_text("run")
        person.page.keyboard.press("Escape")
        expect(rows).to_have_count(0)
    person.at("recent").click()
    expect(tokens.first).to_be_visible()
    person.page.set_viewport_size({"width": 390, "height": 844})
    expect(tokens).to_have_count(0)
    expect(person.page.locator('#recent-rows [col-id="delete"]').first).to_be_in_viewport()
    person.page.set_viewport_size({"width": 1440, "height": 900})
    person.page.keyboard.press("Escape")
