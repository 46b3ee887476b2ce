"""While the box holds another text than the figures show, or another model is chosen, the page says of which run they
are."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser


def boxes(person: Person) -> list[list[int]]:
    return list(
        person.page.evaluate(
            """() => [...document.querySelectorAll("#tokens, .card-box, .js-plotly-plot")]
                .map((node) => node.getBoundingClientRect())
                .map((r) => [r.x, r.y, r.width, r.height].map(Math.round))"""
        )
    )


def test_another_text_is_said_and_the_one_that_is_shown_comes_back(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    line = person.at("not-run")
    expect(line).to_be_hidden()
    before = boxes(person)
    person.type_text("A new text")
    expect(line).to_contain_text("The figures show the run of “When Mary and John went to the shops, J…”.")
    expect(line).to_contain_text("Press Run to read the new text.")
    assert boxes(person) == before, "nothing moves"
    expect(person.at("announcer")).to_contain_text("The figures show the run of")
    person.type_text("")
    expect(line).to_contain_text("The figures show the run of")
    expect(line).not_to_contain_text("Press Run")
    person.type_text("A new text")
    person.choose_model("minilm-l6")
    expect(line).to_contain_text(f"by {causal.model.title}. Press Run to read the new text.")
    person.page.get_by_role("button", name="Restore the run's text").click()
    expect(line).to_be_hidden()
    expect(person.at("text")).to_have_value(causal.text)
    assert person.page.evaluate("() => dashboardApp.written().model") == "smollm2-135m"
    person.choose_model("minilm-l6")
    expect(line).to_contain_text("Press Run to read it with")
    person.choose_model("smollm2-135m")
    expect(line).to_be_hidden()
    person.type_text(causal.text + "!")
    expect(line).to_be_visible()
    person.type_text(causal.text)
    expect(line).to_be_hidden()


def test_it_is_gone_when_the_text_is_run_and_back_after_an_error(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    line = person.at("not-run")
    person.type_text("Now it is run.")
    expect(line).to_be_visible()
    person.run("Now it is run.")
    expect(line).to_be_hidden()
    person.type_text("   ")
    person.press_run()
    expect(person.notice()).to_contain_text("There is no text to run")
    expect(line).to_contain_text("The figures show the run of “Now it is run.”")
    person.page.get_by_role("button", name="Restore the run's text").click()
    expect(person.notice()).to_be_empty()
    expect(person.at("strip-title")).to_have_text("Tokens")


@pytest.mark.fresh
def test_an_error_that_is_put_aside_at_once_is_no_lost_run(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    person.type_text("   ")
    person.page.clock.install()
    person.press_run()
    expect(person.notice()).to_contain_text("There is no text to run")
    person.page.get_by_role("button", name="Restore the run's text").click()
    expect(person.notice()).to_be_empty()
    person.page.clock.fast_forward(5000)
    expect(person.at("strip-title")).to_have_text("Tokens")
    expect(person.notice()).to_be_empty()


def test_while_it_computes_the_run_before_is_named(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    person.type_text("Name what is below. " + " ".join(f"Item {i} is a small red box." for i in range(300)))
    person.press_run()
    expect(person.at("progress")).to_contain_text(
        re.compile("the previous run, “When Mary and John .*”, until this one is done")
    )
    expect(person.at("not-run")).to_be_hidden()
    person.at("cancel").click()
    expect(person.at("not-run")).to_contain_text("Press Run to read the new text.")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1280, "dark"), (390, "light")])
def test_it_has_room(open_page: Callable[..., Person], causal: ModelRun, width: int, scheme: str) -> None:
    person = open_page(width, 844, color_scheme=scheme)
    person.open_run(causal, token=3, layer=2, head=1)
    person.choose_model("rxnmapper")
    person.type_text("W" * 200)
    expect(person.at("not-run")).to_be_visible()
    expect(person.at("shown-text")).to_be_in_viewport()
    assert person.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
