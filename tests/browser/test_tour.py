"""The tour: by keyboard, left and found again, beside what it points at, in every width, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.web.tour import EXAMPLE, STEPS
from tests.browser.test_access import COLOURS, RULES, focus, found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser
PLACE = {"token": EXAMPLE.token, "second": EXAMPLE.second, "layer": EXAMPLE.layer, "head": EXAMPLE.head}


def at_step(person: Person, number: int) -> None:
    """That this step is shown, from 1, and that it points at its part alone."""
    step = STEPS[number - 1]
    shown = person.page.locator("#tour [data-step]:visible")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text(f"Step {number} of 5")
    expect(shown.locator("h2")).to_have_text(step.title)
    expect(person.page.locator(".tour-here")).to_have_count(1)
    assert person.page.locator(step.points_at).evaluate("(node) => node.classList.contains('tour-here')")


def begin(person: Person) -> None:
    person.go()
    person.page.locator(".tour-offer").click()
    person.drawn(EXAMPLE.text)


@pytest.mark.fresh
def test_by_keyboard_from_the_empty_page_and_back_to_where_one_left(person: Person) -> None:
    press = person.page.keyboard.press
    person.go()
    person.page.locator(".tour-offer").focus()
    press("Enter")
    at_step(person, 1)
    person.drawn(EXAMPLE.text)
    person.selects(**PLACE)
    next_button, back = (person.page.locator(f"#tour [data-tour={name}]") for name in ("next", "back"))
    expect(next_button).to_be_focused()
    expect(back).to_be_disabled()
    for number in (2, 3):
        press("Enter")
        at_step(person, number)
        expect(next_button).to_be_focused()
    press("Shift+Tab")
    press("Enter")
    at_step(person, 2)
    press("Tab")
    press("Enter")
    at_step(person, 3)
    press("Escape")
    expect(person.at("tour")).to_be_hidden()
    expect(person.page.locator(".tour-here")).to_have_count(0)
    assert focus(person) == "tour-start"  # the empty page's button is gone
    person.selects(**PLACE)

    person.page.reload()
    person.settled()
    expect(person.at("tour")).to_be_hidden()
    person.at("tour-start").focus()
    press("Enter")
    at_step(person, 3)
    for number in (4, 5):
        press("Enter")
        at_step(person, number)
    expect(next_button).to_have_text("Done")
    press("Enter")
    expect(person.at("tour")).to_be_hidden()
    assert focus(person) == "tour-start"
    press("Enter")
    at_step(person, 1)  # it has been seen: it begins again
    press("Escape")


@pytest.mark.fresh
def test_the_page_can_be_used_and_each_step_shows_what_it_speaks_of(person: Person) -> None:
    begin(person)
    person.selects(**PLACE)
    person.token(9).click()
    person.selects(token=9)
    expect(person.at("tour")).to_be_visible()
    person.open_tab("attention", "heads")
    for number in (2, 3):
        person.page.locator("#tour [data-tour=next]").click()
        at_step(person, number)
    person.selects(**PLACE)
    expect(person.at("attention-tab-attention")).to_have_attribute("aria-selected", "true")
    expect(person.title("attention")).to_have_text("Layer 23, head 0: what ·to (15) attends to")

    person.page.locator("#tour .term:visible").first.focus()
    expect(person.at("tooltip")).to_be_visible()
    person.page.keyboard.press("Escape")  # one thing at a time
    expect(person.at("tooltip")).to_be_hidden()
    at_step(person, 3)
    person.page.locator("#hidden-panel .about > summary").click()
    person.page.keyboard.press("Escape")
    at_step(person, 3)
    person.page.locator("#tour [data-tour=leave]").click()
    expect(person.at("tour")).to_be_hidden()


@pytest.mark.fresh
def test_another_text_gives_way_to_the_example(person: Person) -> None:
    person.go()
    person.run("A small red box.")
    person.at("tour-start").click()
    at_step(person, 1)
    person.drawn(EXAMPLE.text)
    person.selects(**PLACE)
    person.page.locator("#tour [data-tour=next]").click()
    person.run("Another small red box.")  # of which the steps say nothing
    expect(person.at("tour")).to_be_hidden()
    person.at("tour-start").click()
    at_step(person, 2)
    person.drawn(EXAMPLE.text)
    person.page.locator("#tour [data-tour=leave]").click()


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [
        (1440, 900, "light"),
        (1280, 720, "dark"),
        (1000, 800, "light"),
        (768, 800, "light"),
        (390, 844, "dark"),
        (320, 640, "light"),
    ],
)
def test_it_stands_beside_its_part_and_axe_finds_nothing(
    open_page: Callable[..., Person], width: int, height: int, scheme: str
) -> None:
    person = open_page(width, height, color_scheme=scheme, reduced_motion="reduce", has_touch=width < 768)
    begin(person)
    for number in range(1, 6):
        at_step(person, number)
        person.still()
        box = person.at("tour").bounding_box()
        seen = person.page.locator(STEPS[number - 1].points_at).bounding_box()
        assert box is not None
        assert seen is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
        assert seen["y"] < height - (box["height"] if width < 768 else 0), "its part is out of sight"
        assert person.page.evaluate("() => document.documentElement.scrollWidth") <= width
        if width >= 1200:
            apart = (
                box["x"] >= seen["x"] + seen["width"]
                or box["x"] + box["width"] <= seen["x"]
                or box["y"] >= seen["y"] + seen["height"]
                or box["y"] + box["height"] <= seen["y"]
            )
            assert apart, f"step {number} covers what it points at"
        if number == 3:
            row = person.page.locator("#attention-figure svg.over rect.row").bounding_box()
            assert row is not None
            assert 0 <= row["y"] < row["y"] + row["height"] <= height
            assert row["y"] + row["height"] <= box["y"] or row["y"] >= box["y"] + box["height"], "the row is covered"
        if number in (1, 5):
            assert found_by_axe(person, rules=RULES if scheme == "light" else COLOURS) == []
        person.page.locator("#tour [data-tour=next]").click()
    expect(person.at("tour")).to_be_hidden()


def test_a_text_that_was_not_run_comes_back_with_its_model(person: Person) -> None:
    person.go()
    person.choose_model("minilm-l6")
    person.type_text("a draft of one's own")
    person.page.locator("#tour-start, .tour-offer").locator("visible=true").first.click()
    person.drawn(EXAMPLE.text)
    person.page.locator("#tour [data-tour=leave]").click()
    expect(person.at("text")).to_have_value("a draft of one's own")
    expect(person.at("model")).to_contain_text("MiniLM")
