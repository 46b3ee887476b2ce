"""Which attention the heatmap shows and how it is read: chosen in Options, kept in the address, selected by clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.analysis.attention_reading import Aids, read_attention
from dashboard.contracts.run import ModelRun
from tests.browser.test_access import found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser
AT = """
([row, column]) => {
    const plot = document.querySelector("#attention-graph .js-plotly-plot");
    const { left, top } = plot.getBoundingClientRect();
    const { xaxis, yaxis } = plot._fullLayout;
    return [left + xaxis._offset + xaxis.l2p(column), top + yaxis._offset + yaxis.l2p(row)];
}
"""
SHOWS = "(said) => document.querySelector('#reading-line')?.textContent === said"


def options(person: Person) -> Person:
    person.page.locator("#attention-panel .options-box summary").click()
    expect(person.at("attention-of")).to_be_visible()
    return person


def shows(person: Person, said: str) -> None:
    person.page.wait_for_function(SHOWS, arg=said)
    person.settled()


def test_a_click_in_a_rollout_without_the_first_token_selects_the_tokens_of_its_cell(
    person: Person, causal: ModelRun
) -> None:
    person.open_run(causal, token=15, second=1, layer=23, head=0)
    options(person)
    expect(person.at("attention-share")).to_be_hidden()
    expect(person.at("attention-special")).to_be_hidden()  # this text has none
    person.page.locator("#attention-of label", has_text="rollout").click()
    expect(person.at("attention-share")).to_be_visible()
    person.at("attention-first").click()
    person.at("attention-sums").click()
    person.page.keyboard.press("Escape")
    shows(person, "Rollout · without the first token · rows add up to 1 again")
    aids = Aids(first=True, sums=True)
    reading = read_attention(causal.attention_of(), 23, None, "rollout", aids=aids)
    weights = reading.weights()
    at = person.page.evaluate(AT, [16 - 1, 2 - 1])
    person.page.mouse.move(*at)
    expect(person.at("tooltip")).to_contain_text(f"weight {weights[15, 1]:.4f}")
    expect(person.at("tooltip")).to_contain_text("·Mary (16) attends to ·and (2)")
    person.page.mouse.click(*at)
    person.selects(token=16, second=2, layer=23, head=0).settled()
    expect(person.title("attention")).to_have_text("Attention rollout, layers 0 to 23: what ·Mary (16) attends to")
    expect(person.at("attention-footer")).to_contain_text(f"{weights[15, 1]:.3f}")
    asks = dict(pair.split("=") for pair in person.page.url.split("?")[1].split("&"))
    assert {name: asks[name] for name in asks if name.startswith("attention-")} == {
        "attention-of": "rollout",
        "attention-first": "on",
        "attention-sums": "on",
    }
    person.page.reload()
    shows(person, "Rollout · without the first token · rows add up to 1 again")


def test_a_click_on_a_word_keeps_the_piece_that_is_selected(person: Person) -> None:
    run = person.run("The unbelievably tokenized house", "minilm-l6")
    groups = read_attention(run.attention_of(), 0, 0, aids=Aids(words=True)).rows
    [(row, group), *_rest] = [(at, group) for at, group in enumerate(groups) if len(group) > 1]
    person.open_run(run, token=group[1], layer=2, head=3)
    options(person)
    person.at("attention-words").click()
    person.page.keyboard.press("Escape")
    shows(person, "Words")
    person.page.mouse.click(*person.page.evaluate(AT, [row, 0]))
    person.selects(token=group[1], second=0)  # the piece stays
    person.page.mouse.click(*person.page.evaluate(AT, [0, row]))
    person.selects(token=0, second=group[1]).settled()  # so does the piece that was selected
    weights = read_attention(run.attention_of(), 2, 3, aids=Aids(words=True)).weights()
    wanted = run.attention(2, 3).astype(np.float64)[0, list(group)].sum()
    assert np.isclose(weights[0, row], wanted)
    expect(person.at("attention-footer")).to_contain_text(f"({group[0]}–{group[-1]}){wanted:.3f}")
    joined = person.page.locator("#tokens.words .token.continues")
    expect(joined).to_have_count(sum(len(one) - 1 for one in groups))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    person = open_page(color_scheme=scheme)
    person.open_run(causal, token=15, second=1, layer=23, head=0)
    options(person).page.locator("#attention-of label", has_text="rollout").click()
    person.settled()
    assert found_by_axe(person) == []
