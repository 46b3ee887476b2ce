"""The `?` of each card, and the terms of the field: by keyboard, by hand, in every width, light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.components.glossary import GLOSSARY
from dashboard.contracts.run import ModelRun
from dashboard.views import all_views
from tests.browser.test_access import COLOURS, RULES, found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser


def about(person: Person, view: str) -> list[str]:
    """The sentences behind an open `?`, with ordinary spaces."""
    sentences = person.page.locator(f"#{view}-panel .about-text p:not(.about-caption)")
    expect(sentences).to_have_count(3)
    found = sentences.all_text_contents()
    return [sentence.replace("\u00a0", " ") for sentence in found]


def test_the_question_mark_by_keyboard(person: Person, causal: ModelRun) -> None:
    press, tooltip = person.page.keyboard.press, person.at("tooltip")
    person.open_run(causal, token=15, second=1, layer=23, head=0)
    summary = person.page.locator("#attention-panel .about > summary")
    summary.focus()
    press("Enter")
    weights = causal.attention(23, 0)[15]
    assert about(person, "attention") == [
        "The model has 30 layers of 9 heads, and each head spreads its attention over the tokens in its own way.",
        f"In layer 23, head 0, ·to (15) attends most to ·Mary ({weights.argmax()}): weight {weights.max():.3f}, where "
        f"1 would be all of its attention.",
        "Each of the 18 rows is a token that looks (query), each of the 18 columns a token that is looked at (key); a "
        "row adds up to 100 %.",
    ]
    press("Tab")
    term = person.page.locator("#attention-panel .term").first
    expect(term).to_be_focused()
    expect(tooltip).to_have_text(GLOSSARY["layer"])
    expect(term).to_have_attribute("aria-describedby", "tooltip")
    press("Tab")
    expect(tooltip).to_have_text(GLOSSARY["head"])
    press("Escape")
    expect(tooltip).to_be_hidden()
    expect(person.page.locator("#attention-panel .about-text")).to_be_visible()  # one thing at a time
    press("Escape")
    expect(person.page.locator("#attention-panel .about-text")).to_be_hidden()
    expect(summary).to_be_focused()
    person.selects(token=15, second=1, layer=23, head=0)


def test_it_says_the_numbers_of_what_is_selected_now(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=23, head=0)
    for token in (15, 6):
        person.token(token).click()
        person.selects(token=token)
        person.page.locator("#prediction-panel .about > summary").click()
        [best, after] = causal.top_k(token, 2)
        likely = (
            f"The most likely one is {best.text.replace(' ', '·')}, with {100 * best.probability:.1f} %; the next, "
        )
        assert about(person, "prediction")[1].startswith(likely)
        surprisal = -math.log(causal.prediction(token).actual.probability)  # type: ignore[union-attr]
        assert (
            f"has rank {causal.prediction(token).actual_rank:,} and a surprisal of {surprisal:.2f} nats"
            in about(person, "prediction")[2]
        )
        assert after.probability < best.probability
    person.page.keyboard.press("Escape")


def test_every_tab_of_every_model_has_one(person: Person, example_runs: dict[str, ModelRun]) -> None:
    for run in example_runs.values():
        person.open_run(run, token=4, second=2, layer=3, head=1)
        for view in all_views():
            person.open_tab(view.card, view.name)
            person.page.locator(f"#{view.name}-panel .about > summary").click()
            expect(person.page.locator(f"#{view.name}-panel .about-text p:not(.about-caption)")).to_have_count(3)
            person.page.keyboard.press("Escape")


def test_a_term_under_the_pointer(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=23, head=0)
    for name in ("layer", "head"):
        label = person.page.locator(f"#selection-bar label[for={name}]")
        label.locator(".term").hover()
        expect(person.at("tooltip")).to_have_text(GLOSSARY[name])
        person.page.mouse.move(700, 2)
        expect(person.at("tooltip")).to_be_hidden()
        label.click()
        expect(person.at(name)).to_be_focused()  # it is the field's label as ever
        person.page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_it(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    person = open_page(color_scheme=scheme)
    person.open_run(causal, token=15, second=1, layer=23, head=0)
    for view in ("attention", "hidden", "prediction"):
        person.page.locator(f"#{view}-panel .about > summary").click()
        person.page.locator(f"#{view}-panel .term").first.focus()
        expect(person.at("tooltip")).to_be_visible()
        assert found_by_axe(person, rules=RULES if scheme == "light" else COLOURS) == []


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (768, 800), (390, 844), (320, 640)])
def test_it_fits_into_every_window(open_page: Callable[..., Person], causal: ModelRun, width: int, height: int) -> None:
    person = open_page(width, height, has_touch=width < 768)
    person.open_run(causal, token=15, second=1, layer=23, head=0)
    for view in ("attention", "hidden", "prediction"):
        summary = person.page.locator(f"#{view}-panel .about > summary")
        summary.scroll_into_view_if_needed()
        summary.click()
        box = person.page.locator(f"#{view}-panel .about-text").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
        assert box["width"] >= 260
        person.page.locator(f"#{view}-panel .term").last.hover()
        tip = person.at("tooltip").bounding_box()
        assert tip is not None
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= width
        assert person.page.evaluate("() => document.documentElement.scrollWidth") <= width
        # the row of tabs and the tools do not lie on each other
        tools = person.page.locator(f"#{view}-panel .card-tools").bounding_box()
        tabs = person.page.locator(f"#{view}-card .card-tabs").bounding_box()  # which scroll where they have no room
        assert tools is not None
        assert tabs is not None
        assert tabs["x"] + tabs["width"] <= tools["x"] or tabs["y"] >= tools["y"] + tools["height"]
        person.page.keyboard.press("Escape")
        person.page.keyboard.press("Escape")


def test_it_stays_while_another_token_is_chosen_and_closes_by_a_click_elsewhere(
    person: Person, causal: ModelRun
) -> None:
    person.open_run(causal, token=15, layer=23, head=0)
    person.page.locator("#attention-panel .about > summary").click()
    person.token(12).click()
    person.selects(token=12)
    best = int(causal.attention(23, 0)[12].argmax())
    expect(person.page.locator("#attention-panel .about-text")).to_contain_text(f"({best})")
    assert f"{causal.attention(23, 0)[12].max():.3f}" in about(person, "attention")[1]
    person.page.locator("h1").click()
    expect(person.page.locator("#attention-panel .about-text")).to_be_hidden()
