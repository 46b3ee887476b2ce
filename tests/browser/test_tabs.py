"""Tabs of the cards, and the place of each card: by hand and by key, in the address and in history."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from dashboard.views import all_views
from dashboard.views.cards import cards_of
from tests.support.person import Person

pytestmark = pytest.mark.browser


def width(person: Person, card: str) -> float:
    box = person.at(f"{card}-card").bounding_box()
    assert box is not None
    return box["width"]


def test_every_tab_of_every_card_opens_its_view(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4)
    for card in cards_of(all_views()):
        for view in [*card.views[1:], card.views[0]]:
            person.open_tab(card.name, view.name)
            expect(person.at(f"{view.name}-panel")).to_be_visible()
            for other in card.views:
                expect(person.at(f"{other.name}-panel")).to_be_visible(visible=other is view)
            expected = None if view is card.views[0] else view.name
            assert person.address().get(card.name) == expected


def test_tabs_are_gone_through_by_key(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4)
    row = person.page.locator("#hidden-card").get_by_role("tab")
    row.first.focus()
    person.page.keyboard.press("ArrowRight")
    expect(person.at("path-panel")).to_be_visible()
    expect(row.nth(1)).to_be_focused()
    expect(row.nth(1)).to_have_attribute("aria-selected", "true")
    assert person.selection()["token"] == 15, "arrows in the row of tabs move no token"
    person.page.keyboard.press("ArrowLeft")
    expect(person.at("hidden-panel")).to_be_visible()
    assert person.selection()["token"] == 15


def test_a_tab_and_a_place_are_steps_of_the_history(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4)
    person.open_tab("hidden", "path")
    person.page.wait_for_timeout(150)  # what comes within a tenth of a second is one step
    person.page.get_by_role("button", name="Enlarge Hidden states").click()
    person.page.wait_for_function("() => new URLSearchParams(location.search).get('large') === 'hidden'")
    person.settled()
    assert width(person, "hidden") > 1.2 * width(person, "attention")
    person.at("undo").click()
    person.page.wait_for_function("() => !new URLSearchParams(location.search).has('large')")
    person.settled()
    assert width(person, "hidden") < width(person, "attention")
    expect(person.at("path-panel")).to_be_visible()
    person.at("undo").click()
    expect(person.at("hidden-panel")).to_be_visible()
    person.at("redo").click()
    expect(person.at("path-panel")).to_be_visible()


@pytest.mark.fresh
def test_only_open_tabs_ask_for_anything(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4, hidden="path")
    asked = {url.split("/show/")[1].split("?")[0] for url in person.requests if "/show/" in url}
    assert {name.split("/")[1] for name in asked} == {"attention", "path", "prediction"}


def test_a_place_takes_the_figures_with_it(person: Person, causal: ModelRun) -> None:
    """What is enlarged is drawn for its new size, and what became small leaves out what it has no room for."""
    person.open_run(causal, token=15, layer=24, head=4)
    expect(person.page.locator("#attention-heads")).to_be_visible()
    person.page.get_by_role("button", name="Enlarge Predictions").click()
    expect(person.page.locator("#attention-heads")).not_to_be_visible()
    expect(person.at("attention-panel").locator(".about > summary")).to_be_visible()
    person.settled()
    assert width(person, "prediction") > 1.2 * width(person, "attention")
    person.at("attention-panel").locator(".about > summary").click()
    caption = person.page.locator("#attention-panel .about-caption")
    expect(caption).to_be_visible()  # a small card has it here alone
    expect(caption).to_contain_text("a row adds up to 100")
    person.at("prediction-panel").locator(".about > summary").click()
    expect(person.page.locator("#prediction-panel .about-text p").first).to_be_visible()
    expect(person.page.locator("#prediction-panel .about-caption")).to_be_hidden()
    person.page.keyboard.press("Escape")
    expect(person.page.get_by_role("button", name="Enlarge Predictions")).not_to_be_visible()


def test_a_link_opens_tabs_and_places(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(1440, 900)
    person.open_run(causal, token=15, layer=24, head=4, hidden="path", large="hidden")
    expect(person.at("path-panel")).to_be_visible()
    assert width(person, "hidden") > 1.2 * width(person, "attention")


def test_on_a_phone_the_large_card_comes_first(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(390, 844)
    person.open_run(causal, token=15, layer=24, head=4, large="prediction")
    tops = {}
    for card in ("attention", "hidden", "prediction"):
        box = person.at(f"{card}-card").bounding_box()
        assert box is not None
        tops[card] = box["y"]
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert sorted(tops, key=lambda card: tops[card])[0] == "prediction"


SEEN = """
() => {
    const within = (node) => {
        const { top, bottom } = node.getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight;
    };
    const part = (selector) => [...document.querySelectorAll(selector)].filter((node) => node.checkVisibility());
    return {
        row: part("#attention-figure svg.over rect.row").every(within),
        numbers: part("#attention-footer .number").every(within),
        prediction: part("#prediction-heading h2").every(within),
        counts: [part("#attention-figure svg.over rect.row").length, part("#attention-footer .number").length],
    };
}
"""


@pytest.mark.parametrize("token", [1, 15])
def test_a_low_window_shows_the_selected_row_its_numbers_and_the_leading_prediction(
    open_page: Callable[..., Person], causal: ModelRun, token: int
) -> None:
    person = open_page(1280, 720)
    person.open_run(causal, token=token, layer=24, head=4)
    assert person.page.evaluate(SEEN) == {
        "row": True,
        "numbers": True,
        "prediction": True,
        "counts": [1, 5 if token > 4 else 2],
    }


@pytest.mark.parametrize(
    "place", [{}, {"large": "hidden"}, {"large": "prediction", "prediction": "lens"}, {"hidden": "path"}]
)
def test_everything_about_two_tokens_fits_into_a_usual_window(
    person: Person, causal: ModelRun, place: dict[str, str]
) -> None:
    person.open_run(causal, token=15, second=1, layer=24, head=4, **place)
    assert person.page.evaluate("() => document.documentElement.scrollHeight - innerHeight") <= 0
