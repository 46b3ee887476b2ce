"""One weight in every head: the map shows which head attends most from one token to another, and a click goes there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.browser.test_access import found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser
AT = """
([layer, head]) => {
    const plot = document.querySelector("#everywhere-graph .js-plotly-plot");
    const { left, top } = plot.getBoundingClientRect();
    const { xaxis, yaxis } = plot._fullLayout;
    return [left + xaxis._offset + xaxis.l2p(head), top + yaxis._offset + yaxis.l2p(layer)];
}
"""
FRAMED = """
() => {
    const plot = document.querySelector("#everywhere-graph .js-plotly-plot");
    const mark = document.querySelector("#everywhere-figure svg.over .row");
    if (!mark) return null;
    const { left, top } = plot.getBoundingClientRect();
    const { xaxis, yaxis } = plot._fullLayout;
    const box = mark.getBoundingClientRect();
    return [yaxis.p2l(box.y + box.height / 2 - top - yaxis._offset),
        xaxis.p2l(box.x + box.width / 2 - left - xaxis._offset)].map(Math.round);
}
"""


def open_map(person: Person, run: ModelRun, **more: int) -> Person:
    person.open_run(run, **({"token": 15, "second": 1, "layer": 3, "head": 2} | more)).open_tab(
        "attention", "everywhere"
    )
    expect(person.page.locator("#everywhere-graph .heatmaplayer image")).to_be_visible()
    return person.settled()


def test_a_click_goes_to_the_head_that_attends_most(person: Person, causal: ModelRun) -> None:
    attention = causal.attention_of()
    weights = np.array(
        [
            [attention.weights(layer, head)[15, 1] for head in range(attention.heads)]
            for layer in range(attention.layers)
        ]
    )
    layer, head = (int(i) for i in np.unravel_index(weights.argmax(), weights.shape))
    open_map(person, causal)
    expect(person.title("everywhere")).to_have_text("How much ·to (15) attends to ·Mary (1) in every head")
    assert person.page.evaluate(FRAMED) == [3, 2]
    expect(person.at("everywhere-footer")).to_contain_text(f"{layer}.{head} {weights.max():.3f}")
    person.page.mouse.click(*person.page.evaluate(AT, [layer, head]))
    person.selects(layer=layer, head=head, token=15, second=1).settled()
    assert person.page.evaluate(FRAMED) == [layer, head]
    expect(person.at("everywhere-footer")).to_contain_text(f"selected {layer}.{head} {weights.max():.3f}")
    person.open_tab("attention", "attention")
    expect(person.title("attention")).to_contain_text(f"Layer {layer}, head {head}")


def test_without_a_second_token_it_says_what_to_do_and_follows(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=3, head=2).open_tab("attention", "everywhere")
    expect(person.at("everywhere-body")).to_contain_text("Shift-click a second token.")
    person.token(1).click(modifiers=["Shift"])
    expect(person.title("everywhere")).to_contain_text("attends to ·Mary (1)")
    person.token(1).click()
    person.token(15).click(modifiers=["Shift"])
    expect(person.at("everywhere-body")).to_contain_text(
        "No head can attend from ·Mary (1) to ·to (15): it comes later."
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    assert found_by_axe(open_map(open_page(color_scheme=scheme), causal)) == []
