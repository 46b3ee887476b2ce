"""The text box: every line of it can be seen, or it is folded to its first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser

WIDTHS = [320, 360, 390, 500, 640, 767, 768, 800, *range(820, 921, 6), 1000, 1199, 1200, 1300, 1440, 1600]
CUT = """async () => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const area = document.getElementById("text");
    const folded = document.getElementById("composer").classList.contains("folded");
    const edit = document.getElementById("edit-text");
    const found = [];
    if (folded === edit.hidden) found.push("Edit is there where nothing is folded, or is not where something is");
    if (area.scrollTop) found.push(`scrolled by ${area.scrollTop}`);
    const [lines, seen] = [area.scrollHeight, area.clientHeight];
    if (!folded && lines > seen + 1 && seen < 178) found.push(`${lines} in ${seen}`);
    if (document.documentElement.scrollWidth > window.innerWidth) found.push("hangs out of the page");
    return found;
}"""


def cut(person: Person) -> list[str]:
    return list(person.page.evaluate(CUT))


@contextmanager
def without_cards(person: Person) -> Iterator[None]:
    """The page without its cards: they stand below the text, and would be drawn again at each width."""
    shown = "(shown) => { document.getElementById('cards').style.display = shown ? '' : 'none'; }"
    person.page.evaluate(shown, False)
    yield
    person.page.evaluate(shown, True)


@pytest.mark.parametrize("focused", [False, True])
def test_no_line_of_the_text_is_cut_at_any_width(person: Person, causal: ModelRun, focused: bool) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    texts = (causal.text, "Short.", f"{causal.text} And once more, with feeling: {causal.text}")
    found: dict[tuple[int, int], list[str]] = {}
    with without_cards(person):
        for index, text in enumerate(texts):
            person.type_text(text)
            expect(person.at("token-count")).to_contain_text(" of ")
            if not focused:
                person.at("text").blur()
            for width in WIDTHS:
                person.page.set_viewport_size({"width": width, "height": 844})
                wrong = cut(person)
                if wrong:
                    found[index, width] = wrong
    assert found == {}


def test_the_count_that_comes_later_cuts_nothing(person: Person, causal: ModelRun) -> None:
    """The number of tokens takes room from the text when it has been counted."""
    person.open_run(causal, token=6, layer=10, head=2)
    found: dict[tuple[int, str], list[str]] = {}
    with without_cards(person):
        for width in range(840, 901, 5):
            person.page.set_viewport_size({"width": width, "height": 844})
            for words in ("counting …", "18 of 4,096 tokens", "1", "counted when you press Run · limit 4,096 tokens"):
                person.page.evaluate(
                    "(words) => { document.getElementById('token-count').textContent = words; }", words
                )
                wrong = cut(person)
                if wrong:
                    found[width, words] = wrong
    assert found == {}


def test_a_count_that_takes_the_server_too_long_is_asked_for_again(person: Person) -> None:
    """A tokenizer's first count in its process may come too late for an answer."""
    answers = ['{"tokens": null}', '{"tokens": null}', '{"tokens": 7}']
    person.go()
    expect(person.at("token-count")).to_contain_text("0 of")
    person.page.route("**/count", lambda route: route.fulfill(content_type="application/json", body=answers.pop(0)))
    person.at("text").press_sequentially("x")
    expect(person.at("token-count")).to_have_text("counted when you press Run · limit 4,096 tokens")
    expect(person.at("token-count")).to_have_text("7 of 4,096 tokens")
    assert answers == []


def test_a_folded_text_shows_its_beginning_after_cancel(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    text = " ".join(f"Item {i} is a small red box." for i in range(300))
    person.type_text(text)
    person.page.keyboard.press("Control+End")
    person.page.keyboard.press("Control+Enter")
    expect(person.at("cancel")).to_be_visible()
    person.at("cancel").click()
    expect(person.notice()).to_contain_text("Cancelled.")
    expect(person.at("composer")).to_contain_class("folded")
    assert cut(person) == []
    for move in ("area.scrollTop = 400", "area.setSelectionRange(9000, 9000); area.scrollTop = area.scrollHeight"):
        person.page.evaluate(f"() => {{ const area = document.getElementById('text'); {move}; }}")
        assert cut(person) == [], move
    person.at("edit-text").click()
    expect(person.at("composer")).not_to_contain_class("folded")
    person.page.keyboard.press("Control+End")
    # who writes sees where they write
    person.page.wait_for_function("() => document.getElementById('text').scrollTop > 100")


@pytest.mark.fresh  # what was typed into a page before is announced a moment later
def test_a_token_that_the_model_does_not_have_is_said_while_it_is_typed(person: Person) -> None:
    why = "mine's tokenizer knows “<new>” (id 64), but the model has only 64 embeddings. Take it out of the text."
    answer = json.dumps({"tokens": 3, "unknown": {"token": 1, "why": why}})
    person.go()
    expect(person.at("token-count")).to_contain_text("0 of")
    person.page.route("**/count", lambda route: route.fulfill(content_type="application/json", body=answer))
    person.at("text").press_sequentially("x")
    expect(person.at("token-count")).to_have_text("the model does not know token 1")
    expect(person.at("token-count")).to_have_attribute("title", why)
    expect(person.at("announcer")).to_have_text(why)
    assert cut(person) == []
    person.page.unroute("**/count")
    person.at("text").press_sequentially("y")
    expect(person.at("token-count")).to_have_text("1 of 4,096 tokens")
    expect(person.at("token-count")).to_have_attribute("title", "")
