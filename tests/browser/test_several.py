"""Several heads and tokens at once: Ctrl-click adds them, every view shows them, links and history hold them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.browser.test_access import found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser


def added(person: Person) -> list[str | None]:
    return person.page.evaluate("() => ['heads', 'tokens'].map((f) => window.dashboardApp.state.selection[f])")


def head(person: Person, layer: int, head: int) -> None:
    person.page.locator(f'#attention-heads button[data-layer="{layer}"][data-head="{head}"]').click(
        modifiers=["Control"]
    )


def test_ctrl_click_adds_heads_and_tokens_and_one_click_clears_them(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=3, head=2).settled()
    expect(person.at("added")).to_be_hidden()
    head(person, 10, 8)
    head(person, 4, 1)
    person.token(3).click(modifiers=["Control"])
    person.selects(layer=3, head=2, token=15).settled()
    assert added(person) == ["10.8,4.1", "3"]
    expect(person.at("added")).to_be_visible()
    expect(person.at("added-items")).to_have_text("10.8 4.1·John3")
    assert person.page.locator(".head-frame.added").count() == 2
    expect(person.page.locator("#tokens .token.added")).to_have_attribute("aria-description", "added")
    assert "heads=10.8%2C4.1&tokens=3" in person.page.url
    head(person, 10, 8)
    person.settled()
    assert added(person) == ["4.1", "3"]
    person.at("undo").click()
    expect(person.at("added-items")).to_have_text("10.8 4.1·John3")
    person.at("clear-added").click()
    person.settled()
    assert added(person) == [None, None]
    expect(person.at("added")).to_be_hidden()
    assert "heads" not in person.page.url
    assert person.page.locator(".head-frame.added, #tokens .token.added").count() == 0


def test_every_view_shows_what_was_added(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, second=1, layer=24, head=4).settled()
    head(person, 10, 8)
    person.token(3).click(modifiers=["Control"])
    person.settled()
    expect(person.title("attention")).to_have_text("Mean of 2 heads (24.4, 10.8): what ·to (15) attends to")
    attention = causal.attention_of()
    mean = (attention.weights(24, 4)[15, 1] + attention.weights(10, 8)[15, 1]) / 2
    expect(person.at("attention-footer")).to_contain_text(f"·Mary (1){mean:.3f}")
    person.hover_at(person.cell(15, 1))
    expect(person.at("tooltip")).to_contain_text(f"mean weight of 2 heads {mean:.4f}")
    assert person.page.locator("#hidden-figure svg.over circle.added-ring").count() == 1
    person.open_tab("attention", "heads").settled()
    expect(person.page.locator("#heads-rows .ag-row").first).to_be_visible()


def test_tables_mark_the_rows_of_what_was_added(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, second=1, **{"hidden-show": "table"}).settled()
    person.token(3).click(modifiers=["Control"])
    person.settled()
    rows = person.page.locator("#hidden-table tbody tr")
    expect(rows.nth(3)).to_have_class("added")
    expect(rows.nth(15)).to_have_class("selected")
    expect(rows.nth(1)).to_have_class("second")
    assert rows.nth(3).evaluate("(row) => getComputedStyle(row.cells[1]).color") == rows.nth(15).evaluate(
        "(row) => getComputedStyle(row.cells[1]).color"
    )
    person.at("clear-added").click()
    expect(rows.nth(3)).not_to_have_class("added")


def test_keys_add_what_is_selected_and_clear_it(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=3, head=2).settled()
    person.token(15).focus()
    for key in ("h", "t", "ArrowLeft", "Shift+ArrowDown"):
        person.page.keyboard.press(key)
    person.selects(layer=4, head=2, token=14).settled()
    assert added(person) == ["3.2", "15"]
    expect(person.at("announcer")).to_contain_text("added head 3.2; added token ·to 15")
    person.page.keyboard.press("Shift+X")
    person.settled()
    assert added(person) == [None, None]


def test_a_link_adds_what_fits_and_says_that_the_rest_was_ignored(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=3, head=2, heads="4.1,99.0", tokens="3,1").settled()
    assert added(person) == ["4.1", "3,1"]
    expect(person.at("notice")).to_contain_text("Part of this link was ignored")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    person = open_page(color_scheme=scheme).open_run(causal, token=15, layer=3, head=2, heads="4.1,5.0", tokens="3,1")
    assert found_by_axe(person.settled()) == []
