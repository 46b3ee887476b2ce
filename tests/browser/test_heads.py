"""The Heads tab: a table of all heads, linked both ways with the selection and the grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import LOOK, Person
from playwright.sync_api import expect
from test_access import found_by_axe

from dashboard.contracts.run import ModelRun

ROWS = "#heads-rows .ag-row"


def open_heads(person: Person, run: ModelRun, **more: str | int) -> Person:
    """The tab as a link has it, once the selected head's row is there."""
    person.open_run(run, **({"token": 15, "layer": 24, "head": 4, "attention": "heads"} | more))
    expect(person.page.locator(ROWS).first).to_be_visible()
    return person


def column(person: Person, name: str) -> list[str]:
    """The texts of a column, from the top, of the rows that are drawn."""
    found = person.page.evaluate(
        """(name) => [...document.querySelectorAll("#heads-rows .ag-row")]
            .sort((a, b) => Number(a.getAttribute("row-index")) - Number(b.getAttribute("row-index")))
            .map((row) => row.querySelector(`[col-id="${name}"]`)?.textContent ?? "")""",
        name,
    )
    return [str(text) for text in found]


def marked(person: Person, head: str) -> None:
    expect(person.page.locator(f"{ROWS}[aria-current]")).to_have_attribute("row-id", head)
    expect(person.page.locator(f"{ROWS}[aria-current]")).to_be_in_viewport()


def ranked(run: ModelRun, score: str) -> list[str]:
    """Heads by a score, the most first."""
    values = np.asarray(run.attention_of().score(score))
    return [f"{i // values.shape[1]}.{i % values.shape[1]}" for i in np.argsort(-values.ravel(), kind="stable")]


def test_the_table_and_the_grid_are_linked_both_ways(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    marked(person, "24.4")
    person.head_button(3, 2).click()
    person.selects(layer=3, head=2)
    marked(person, "3.2")
    other = person.page.locator(f"{ROWS}:not([aria-current])").first
    place = str(other.get_attribute("row-id"))
    other.locator('[col-id="pattern"]').click()
    layer, head = map(int, place.split("."))
    person.selects(layer=layer, head=head)
    marked(person, place)
    expect(person.page.locator("#heads-footer")).to_contain_text(f"selected {place}")
    person.page.keyboard.press("ArrowDown")
    person.selects(layer=layer, head=head)  # the arrow goes about in the table
    next_place = str(person.page.evaluate("() => document.activeElement.closest('[row-id]').getAttribute('row-id')"))
    assert next_place != place
    person.page.keyboard.press("Enter")
    marked(person, next_place)
    person.at("attention-tab-attention").click()
    expect(person.page.locator("#attention-panel #attention-heads")).to_be_visible()  # there is one grid


def test_a_heading_sorts_and_the_address_says_so(person: Person, causal: ModelRun) -> None:
    best = ranked(causal, "first")
    open_heads(person, causal, layer=int(best[0].split(".")[0]), head=int(best[0].split(".")[1]))
    person.page.locator('#heads-rows .ag-header-cell[col-id="first"]').click()
    expect(person.page.locator("#heads-heading h2")).to_have_text("All 270 heads by what they do: which read the first token")
    assert person.address()["heads-sort"] == "first"
    marked(person, best[0])
    assert column(person, "head")[:10] == best[:10]
    values = causal.attention_of().score("first").ravel()
    assert column(person, "first")[:5] == [f"{value:.2f}" for value in np.sort(values)[::-1][:5]]
    person.page.locator('#heads-rows .ag-header-cell[col-id="first"]').click()
    expect(person.page.locator("#heads-heading h2")).to_contain_text("least")
    assert person.address()["heads-order"] == "least"


def test_a_filter_leaves_heads_out(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    box = person.page.locator(".head-line input")
    box.fill("layer 2")
    expect(person.at("heads-count")).to_have_text("9 of 270 heads")
    box.press("Enter")
    person.page.wait_for_function("() => window.location.search.includes('heads-filter=layer')", polling=LOOK)
    assert sorted(column(person, "head")) == [f"2.{head}" for head in range(9)]
    box.fill("no such head")
    expect(person.page.locator("#heads-rows .ag-overlay")).to_contain_text("No head fits the filter.")


def test_a_score_colours_the_grid(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    expect(person.at("attention-heads-legend")).to_be_hidden()
    person.at("heads-colour-box").select_option("entropy")
    most = float(causal.attention_of().score("entropy").max())
    expect(person.at("attention-heads-legend")).to_contain_text(f"Entropy, nats: 0{most:.1f}")
    expect(person.page.locator('#attention-heads canvas[data-colour="entropy"]')).to_be_visible()
    assert person.address()["heads-colour"] == "entropy"
    person.at("attention-tab-attention").click()
    expect(person.at("attention-heads-legend")).to_be_hidden()  # beside the heatmap: pictures


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_table(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    person = open_page(color_scheme=scheme)
    open_heads(person, causal, **{"heads-colour": "next"})
    marked(person, "24.4")
    assert found_by_axe(person) == []
