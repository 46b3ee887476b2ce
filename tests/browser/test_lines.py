"""Lines of attention: a line and a label select, the legend switches heads, a narrow screen has arcs."""

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


def test_lines_join_words_and_a_click_keeps_the_piece_that_is_selected(person: Person) -> None:
    run = person.run("The unbelievably tokenized house", "minilm-l6")
    groups = read_attention(run.attention_of(), 0, 0, aids=Aids(words=True)).rows
    [word, other, *_rest] = [group for group in groups if len(group) > 1]
    named = "".join(run.tokens[piece].text for piece in word)
    open_lines(person, run, token=word[1], layer=2, head=3, **{"lines-least": "0"})
    assert person.page.locator(PATHS).count() == len(run)
    person.page.locator("#lines-panel .options-box summary").click()
    person.at("attention-words").click()
    person.page.keyboard.press("Escape")
    expect(person.title("lines")).to_have_text(f"What {named} ({word[0]}–{word[-1]}) attends to, head 2.3")
    person.settled()
    assert person.page.locator(PATHS).count() == len(groups)
    plain = run.attention(2, 3).astype(np.float64)
    weights = {group: plain[np.ix_(word, group)].sum(axis=1).mean() for group in groups}
    strongest = max(groups, key=lambda group: weights[group])
    expect(person.at("lines-footer")).to_contain_text(f"{weights[strongest]:.3f}")
    label = person.page.locator("#lines-figure svg.over text", has_text="".join(run.tokens[i].text for i in other))
    box = label.last.bounding_box()
    assert box is not None
    at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    person.page.mouse.move(*at)
    expect(person.at("tooltip")).to_contain_text(f"{other[0]}–{other[-1]}")
    assert person.page.locator("#tokens .token.hovered").count() == len(other)
    person.page.mouse.click(*at)
    person.selects(token=other[0])
    person.page.keyboard.press("ArrowRight")
    person.selects(token=other[1]).settled()
    path = person.page.evaluate(MIDDLE, person.page.locator(PATHS).count() - 1)
    person.page.mouse.click(*path)
    assert person.selection()["token"] == other[1], "the piece stays"


def test_a_word_of_the_strip_is_named_on_hover(person: Person) -> None:
    run = person.run("The unbelievably tokenized house", "minilm-l6")
    groups = read_attention(run.attention_of(), 0, 0, aids=Aids(words=True)).rows
    word = next(group for group in groups if len(group) > 1)
    open_lines(person, run, token=1, layer=2, head=3)
    person.token(word[1]).hover()
    expect(person.at("tooltip")).not_to_contain_text("word:")
    person.page.locator("#lines-panel .options-box summary").click()
    person.at("attention-words").click()
    person.page.keyboard.press("Escape")
    person.settled()
    person.token(word[1]).hover()
    text = "".join(run.tokens[piece].text for piece in word)
    expect(person.at("tooltip")).to_contain_text(f"word: {text} ({word[0]}–{word[-1]})")
    expect(person.page.locator("#tokens .token.hovered")).to_have_count(len(word))


@pytest.mark.parametrize("heads", ["", "24.1", "24.1,10.8"])
def test_the_footer_of_three_heads_fits_two_lines(
    open_page: Callable[..., Person], causal: ModelRun, heads: str
) -> None:
    person = open_lines(open_page(1280, 720), causal, **({"heads": heads} if heads else {}))
    tops = """() => {
        const parts = [...document.querySelectorAll("#lines-footer > *")].filter((one) => one.offsetHeight);
        return new Set(parts.map((one) => Math.round(one.getBoundingClientRect().bottom / 6))).size;
    }"""
    assert person.page.evaluate(tops) <= 2


def test_a_narrow_screen_has_arcs(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_lines(open_page(390, 844), causal)
    assert person.page.locator("#lines-figure svg.over circle.key-end").count() == person.page.locator(PATHS).count()
    width = "() => document.documentElement.scrollWidth"
    assert person.page.evaluate(width) <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    assert found_by_axe(open_lines(open_page(color_scheme=scheme), causal, heads="24.1", second=1)) == []
