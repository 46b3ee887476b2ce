"""Lines of attention: a line and a label select, the legend switches heads, a narrow screen has arcs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.browser.test_access import found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser
PATHS = "#lines-figure svg.over path.weight-line"
MIDDLE = """
(index) => {
    const path = document.querySelectorAll("#lines-figure svg.over path.weight-line")[index];
    const { x, y } = path.getPointAtLength(path.getTotalLength() * 0.9);
    const { left, top } = path.ownerSVGElement.getBoundingClientRect();
    return [left + x, top + y];
}
"""


def open_lines(person: Person, run: ModelRun, **more: int | str) -> Person:
    person.open_run(run, **({"token": 15, "layer": 24, "head": 4} | more)).open_tab("attention", "lines")
    return person.settled()


def test_heads_of_the_grid_are_drawn_and_a_line_selects_both_ends(person: Person, causal: ModelRun) -> None:
    attention = causal.attention_of()
    open_lines(person, causal)
    one = person.page.locator(PATHS).count()
    assert one == int((attention.weights(24, 4)[15, :16] >= 0.02).sum())
    person.page.locator('#attention-heads button[data-layer="24"][data-head="1"]').click(modifiers=["Control"])
    person.settled()
    expect(person.title("lines")).to_have_text("What ·to (15) attends to, heads 24.4 and 24.1")
    assert person.page.locator(PATHS).count() == one + int((attention.weights(24, 1)[15, :16] >= 0.02).sum())
    strongest = max((float(attention.weights(24, head)[15, key]), key) for head in (4, 1) for key in range(16))
    expect(person.at("lines-footer")).to_contain_text(f"{strongest[0]:.3f}")
    person.page.mouse.click(*person.page.evaluate(MIDDLE, person.page.locator(PATHS).count() - 1))
    person.selects(token=15, second=strongest[1], layer=24, head=4)
    label = person.page.locator("#lines-figure svg.over text.selected").first.bounding_box()
    assert label is not None
    person.page.locator("#lines-figure svg.over text", has_text="·shops").first.click(force=True)
    person.selects(token=7, second=strongest[1])


def test_the_legend_switches_a_head(person: Person, causal: ModelRun) -> None:
    open_lines(person, causal, heads="24.1,24.7")
    both = person.page.locator(PATHS).count()
    button = person.page.locator('#lines-legend button[data-head="24.1"]')
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(person.title("lines")).to_have_text("What ·to (15) attends to, heads 24.4 and 24.7")
    expect(button).to_have_attribute("aria-pressed", "false")
    person.settled()
    assert person.page.locator(PATHS).count() < both
    assert "lines-off=24.1" in person.page.url
    button.focus()
    person.page.keyboard.press("Enter")
    expect(person.title("lines")).to_contain_text("heads 24.4, 24.1 and 24.7")
    expect(button).to_be_focused()


def test_the_other_way_a_line_selects_who_attends(person: Person, causal: ModelRun) -> None:
    open_lines(person, causal, token=1, **{"lines-way": "from"})
    expect(person.title("lines")).to_have_text("What attends to ·Mary (1), head 24.4")
    person.settled()
    person.page.mouse.click(*person.page.evaluate(MIDDLE, person.page.locator(PATHS).count() - 1))
    attention = causal.attention_of().weights(24, 4)[:, 1]
    best = int(attention.argmax())
    person.selects(token=1, second=best)


def test_a_narrow_screen_has_arcs(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_lines(open_page(390, 844), causal)
    assert person.page.locator("#lines-figure svg.over circle.key-end").count() == person.page.locator(PATHS).count()
    width = "() => document.documentElement.scrollWidth"
    assert person.page.evaluate(width) <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    assert found_by_axe(open_lines(open_page(color_scheme=scheme), causal, heads="24.1", second=1)) == []
