"""Figures stay in their cards, also while they are drawn for another size than they have."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = [pytest.mark.browser, pytest.mark.fresh]

SEEN = """(() => {
    const seen = (window.__seen = []);
    const look = () => {
        requestAnimationFrame(look);
        if (!document.documentElement) return; // not begun
        const { scrollWidth, scrollHeight } = document.documentElement;
        const cards = [...document.querySelectorAll(".view")];
        if (cards.length) {
            const bottom = Math.max(...cards.map((card) => card.getBoundingClientRect().bottom + window.scrollY));
            seen.push([scrollWidth - window.innerWidth, scrollHeight - Math.max(window.innerHeight, bottom)]);
        }
    };
    requestAnimationFrame(look);
})()"""


def size(person: Person) -> list[Any]:
    return list(
        person.page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"),
    )


def test_a_figure_of_another_size_stays_in_its_card(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4)
    before = size(person)
    for view in ("attention", "hidden", "prediction"):
        person.page.evaluate(
            """async (view) => {
                const plot = document.querySelector(`#${view}-graph .js-plotly-plot`);
                await Plotly.relayout(plot, { autosize: false, width: 2400, height: 1800 });
                await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            }""",
            view,
        )
        assert size(person) == before, view
        inside = person.page.evaluate(
            """(view) => {
                const { right, bottom } = document.getElementById(`${view}-card`).getBoundingClientRect();
                const [x, y] = [Math.min(right + 30, innerWidth - 1), Math.min(bottom + 30, innerHeight - 1)];
                return [...document.elementsFromPoint(x, Math.min(bottom - 30, innerHeight - 1)),
                    ...document.elementsFromPoint(right - 60, y)]
                        .filter((node) => node.closest(`#${view}-figure`)).length;
            }""",
            view,
        )
        assert inside == 0, view


def test_nothing_spills_while_the_page_opens_slowly(person: Person, causal: ModelRun) -> None:
    person.page.context.new_cdp_session(person.page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
    person.page.add_init_script(SEEN)
    person.page.set_default_timeout(180_000)
    person.open_run(causal, token=15, layer=24, head=4)
    seen = person.page.evaluate("() => window.__seen")
    assert seen
    assert [one for one in seen if one[0] > 0 or one[1] > 40] == []


def test_a_figure_that_zooms_says_so(person: Person, causal: ModelRun) -> None:
    hint = "Drag to zoom; double-click to show all again."
    person.open_run(causal, token=15, layer=24, head=4)
    expect(person.page.locator(".zoom-hint")).to_have_count(0)
    person.open_run(causal, token=15, layer=24, head=4, hidden="path")
    expect(person.page.locator("#path-panel .zoom-hint")).to_have_text(hint)
    person.run(" ".join(f"Box {i} is red." for i in range(20)), "smollm2-135m")
    for view in ("attention", "path"):
        expect(person.page.locator(f"#{view}-panel .zoom-hint")).to_have_text(hint)
    expect(person.page.locator("#prediction-card .zoom-hint")).to_have_count(0)
    person.at("keys").click()
    expect(person.page.locator("dialog")).to_contain_text("zoom; a double click resets it")
    person.page.keyboard.press("Escape")
