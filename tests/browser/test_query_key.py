"""Query · key: the bars follow the selected tokens, the order is chosen in Options, and the numbers add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.browser.test_access import found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser
BARS = """
() => {
    const [bars, line] = document.querySelector("#query-key-graph .js-plotly-plot")._fullData;
    return [Array.from(bars.y), Array.from(line.y)];
}
"""
TICKS = """
() => [...document.querySelectorAll("#query-key-graph .xtick text")].map((text) => text.textContent)
"""


def open_bars(person: Person, run: ModelRun, **more: Any) -> Person:
    places = {"token": 15, "second": 1, "layer": 23, "head": 0} | more
    person.open_run(run, **places).open_tab("attention", "query-key")
    expect(person.page.locator("#query-key-graph .barlayer .point").first).to_be_visible()
    return person.settled()


def products(run: ModelRun, key: int) -> np.ndarray:
    """(d_head,) of token 15 and `key` in layer 23, head 0: three query heads share a key head."""
    query, keys = (run.arrays[f"decoder/{name}/23"].astype(np.float64) for name in ("query", "key"))
    return np.array(query[0, 15] * keys[0, key])


def test_bars_follow_the_tokens_that_are_clicked(person: Person, causal: ModelRun) -> None:
    open_bars(person, causal)
    expect(person.title("query-key")).to_have_text("Layer 23, head 0: the score of ·to (15) for ·Mary (1)")
    bars, sums = person.page.evaluate(BARS)
    wanted = sorted(products(causal, 1), key=lambda value: -abs(value))
    assert bars == pytest.approx(wanted)
    assert sums == pytest.approx(np.cumsum(wanted))
    dot, weight = sum(wanted), float(causal.attention(23, 0)[15, 1])
    footer = person.at("query-key-footer")
    expect(footer).to_contain_text(f"q·k {dot:.4g}scaling (× 0.125) −{dot - dot / 8:.4g}= score {dot / 8:.4g}")
    expect(footer).to_contain_text(f"weight {weight:.4g}")
    person.token(9).click(modifiers=["Shift"])
    expect(person.title("query-key")).to_contain_text("for ·John (9)")
    person.settled()
    assert sorted(person.page.evaluate(BARS)[0]) == pytest.approx(sorted(products(causal, 9)))
    person.page.get_by_role("button", name="Clear", exact=True).click()
    expect(person.title("query-key")).to_contain_text("for ·Mary (1), which it attends to most")


def test_the_order_is_chosen_in_the_options(person: Person, causal: ModelRun) -> None:
    open_bars(person, causal)
    person.page.locator("#query-key-panel .options-box > summary").click()
    person.page.locator('#query-key-order input[value="frequency"]').click()
    person.settled()
    found = products(causal, 1)
    assert person.page.evaluate(BARS)[0] == pytest.approx(found[:32] + found[32:])  # fastest first: Llama's own order
    assert person.page.evaluate(TICKS)[0] == "6.3"
    assert person.address()["query-key-order"] == "frequency"


def test_the_table_ends_with_the_score_and_its_weight(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, second=1, layer=23, head=0, **{"query-key-show": "table"})
    person.open_tab("attention", "query-key")
    grid = person.at("query-key-rows")
    expect(grid.locator("[role=grid], [role=treegrid]").first).to_have_attribute("aria-rowcount", str(64 + 3 + 1))
    grid.locator(".ag-body-viewport").evaluate("(box) => box.scrollTo(0, box.scrollHeight)")
    for index, text in ((64, "Scaling (× 0.125)"), (65, "Score"), (66, "Weight after the softmax")):
        expect(grid.locator(f'.ag-row[row-id="{index}"]')).to_contain_text(text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    assert found_by_axe(open_bars(open_page(color_scheme=scheme), causal)) == []
