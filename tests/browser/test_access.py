"""By keyboard alone, and without seeing a figure: tables, words for figures, keys, and what axe-core finds."""

from __future__ import annotations

import pytest
from conftest import Person
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun

VIEWS = ("attention", "hidden", "prediction")


def show(person: Person, view: str, how: str) -> None:
    """Choose figure or table in a card's options, as a hand does."""
    card = person.at(f"{view}-card")
    card.locator("summary").first.click()
    card.locator(f"#{view}-show input[value={how}]").check()
    person.page.keyboard.press("Escape")
    expect(card.locator(".table-box table")).to_have_count(1 if how == "table" else 0)


def cells(person: Person, view: str) -> list[list[str]]:
    """The texts of a table's body."""
    rows = person.page.locator(f"#{view}-table tbody tr")
    return [row.locator("td").all_text_contents() for row in rows.all()]


def test_each_figure_can_be_read_as_a_table_of_its_numbers(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, other=1, layer=24, head=4)
    for view in VIEWS:
        show(person, view, "table")
    weights = causal.attention(24, 4)
    table = cells(person, "attention")
    assert [row[0] for row in table] == [str(i) for i in range(len(causal))]
    assert [float(row[2]) for row in table[:16]] == pytest.approx(weights[15, :16].tolist(), abs=5e-7)
    assert {row[2] for row in table[16:]} == {"masked"}
    assert person.page.locator("#attention-table th").all_text_contents() == ["Key", "Token", "Weight"]
    expect(person.page.locator("#attention-table tr.selected td").nth(1)).to_have_text("·to")
    expect(person.page.locator("#attention-table tr.second td").nth(1)).to_have_text("·Mary")
    best = causal.top_k(15, 2)
    assert [float(row[3]) for row in cells(person, "prediction")[:2]] == pytest.approx(
        [100 * t.probability for t in best], abs=1e-4
    )
    expect(person.page.locator("#hidden-table tr.selected")).to_be_in_viewport()

    person.page.locator("#attention-table [data-row='9']").click()  # a key: the second token
    person.selects(token=15, other=9)
    person.page.locator("#hidden-table [data-row='14']").focus()  # a token, by keys
    person.page.keyboard.press("ArrowUp")
    person.page.keyboard.press("Enter")
    person.selects(token=13, other=9)
    assert person.page.evaluate("() => document.activeElement.dataset.row") == "13"  # though the table is new
    expect(person.page.locator("#hidden-table tr.selected td").first).to_have_text("13")

    expect(person.page.locator("#attention-figure")).to_be_hidden()
    for view in VIEWS:
        show(person, view, "figure")
    person.settled()
    assert person.framed_row() == 13
    assert person.ringed_point() == 13


def test_figures_say_what_they_show(person: Person, causal: ModelRun) -> None:
    person.go()
    for view in VIEWS:
        expect(person.page.locator(f"#{view}-figure")).to_have_attribute("role", "img")
    person.open_run(causal, token=15, other=1, layer=24, head=4)

    def said(view: str) -> str:
        return str(person.page.locator(f"#{view}-figure").get_attribute("aria-label"))

    assert "Layer 24, head 4: what ·to (15) attends to. ·to reads most from: ·Mary 1 0.848" in said("attention")
    assert "After layer 24" in said("hidden")
    assert "the model expects ·Mary, 92.7 %" in said("prediction")
    assert all("Token ·to 15, second token ·Mary 1; layer 24, head 4" in said(view) for view in VIEWS)
    person.token(9).click()
    person.selects(token=9)
    assert "what ·John (9) attends to" in said("attention")
    assert all("Token ·John 9" in said(view) for view in VIEWS)
