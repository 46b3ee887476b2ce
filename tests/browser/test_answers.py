"""Figures and words that the page asks for by their address: kept, asked for again, and said where they do not come."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.synthetic import make_parts, masked_result

pytestmark = pytest.mark.browser

SHOWN = re.compile(r"/show/")
WORDS = ["words/attention", "words/hidden", "words/prediction"]
TRANSFERS = """() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/show/"))
    .map(({ transferSize }) => transferSize)"""


def asked(person: Person, since: int) -> list[str]:
    """What was asked of /show/ after so many requests: "words/hidden", "figure/attention" …"""
    return [url.split("/show/")[1].split("?")[0] for url in person.requests[since:] if "/show/" in url]


@pytest.mark.fresh
def test_a_token_asks_for_words_and_bars_once_and_never_again(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    before = len(person.requests)
    person.token(5).click()
    person.selects(token=5)
    assert sorted(asked(person, before)) == ["figure/prediction", *WORDS]
    first = person.title("prediction").inner_text()
    person.token(3).click()
    person.selects(token=3)
    person.page.evaluate("() => performance.clearResourceTimings()")
    person.token(5).click()
    person.selects(token=5)
    expect(person.title("prediction")).to_have_text(first)
    kept = person.page.evaluate(TRANSFERS)
    assert len(kept) == 4
    assert set(kept) == {0}, "the browser has kept them"


@pytest.mark.fresh
def test_another_head_asks_for_its_heatmap_and_another_layer_for_its_points(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    before = len(person.requests)
    person.head_button(2, 4).click()
    person.selects(layer=2, head=4)
    assert sorted(asked(person, before)) == ["figure/attention", *WORDS]
    before = len(person.requests)
    person.head_button(7, 4).click()
    person.selects(layer=7, head=4)
    assert sorted(asked(person, before)) == ["figure/attention", "figure/hidden", *WORDS]


@pytest.mark.fresh
def test_what_the_server_does_not_answer_is_said_and_comes_later(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    before = person.title("prediction").inner_text()
    person.expects_log("net::ERR_FAILED")
    person.page.route(SHOWN, lambda route: route.abort())
    person.token(5).click()
    expect(person.token(5)).to_have_attribute("aria-pressed", "true")
    expect(person.notice()).to_contain_text(
        "The server does not answer, so some of what you see belongs to the previous selection."
    )
    assert person.title("prediction").inner_text() == before, "what was shown stays"
    person.page.unroute(SHOWN)
    person.selects(token=5)  # by itself, when the server is reached
    expect(person.notice()).to_be_empty()
    assert person.title("prediction").inner_text() != before


@pytest.mark.fresh
def test_an_older_answer_does_not_take_a_newer_failure_for_its_own(person: Person, causal: ModelRun) -> None:
    """Token 5's words come after those of token 6 failed: it stays said that they are not of token 6, and they come
    later."""
    held: list[Route] = []

    def answer(route: Route) -> None:
        if "token=5" in route.request.url:
            held.append(route)
        else:
            route.abort()

    person.open_run(causal, token=3, layer=2, head=1)
    person.expects_log("net::ERR_FAILED")
    person.page.route(SHOWN, answer)
    person.token(5).click()
    person.token(6).click()
    expect(person.notice()).to_contain_text("The server does not answer")
    for route in held:
        route.continue_()
    expect(person.title("prediction")).to_contain_text("John")
    expect(person.notice()).to_contain_text("The server does not answer")
    person.page.unroute(SHOWN)
    person.selects(token=6)
    expect(person.notice()).to_be_empty()


@pytest.mark.fresh
def test_what_failed_is_forgotten_where_the_answer_is_kept_or_the_page_is_empty(
    person: Person, causal: ModelRun
) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    person.expects_log("net::ERR_FAILED")
    person.page.route(SHOWN, lambda route: route.abort())
    person.token(5).click()
    expect(person.notice()).to_contain_text("The server does not answer")
    person.token(3).click()
    expect(person.notice()).to_be_empty()
    person.token(6).click()
    expect(person.notice()).to_contain_text("The server does not answer")
    person.page.evaluate("() => dashboardApp.showNothing()")
    expect(person.notice()).to_be_empty()
    with person.page.expect_response(re.compile("/health")) as health:
        pass
    assert health.value.ok
    expect(person.at("model-state")).not_to_contain_text("No connection")


@pytest.mark.fresh
def test_a_path_is_asked_for_once(person: Person, causal: ModelRun) -> None:
    """The figure of all layers does not depend on token, layer or head, which the page learns from its first answer."""
    person.open_run(causal, token=3, layer=2, head=1, **{"hidden-draw": "path"})  # as an address of an earlier version
    before = len(person.requests)
    person.head_button(7, 4).click()
    person.selects(layer=7, head=4)
    assert sorted(asked(person, before)) == ["figure/attention", "words/attention", "words/path", "words/prediction"]
    assert person.address()["hidden"] == "path"


@pytest.mark.fresh
def test_a_refusal_is_said_in_the_servers_words(person: Person, causal: ModelRun) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=400, content_type="text/plain", body="There is no such figure here. Reload the page.")

    person.open_run(causal, token=3, layer=2, head=1)
    person.expects_log("400")
    person.page.route(re.compile(r"/show/figure/prediction"), refuse)
    person.token(6).click()
    expect(person.notice()).to_contain_text("There is no such figure here. Reload the page.")
    person.page.unroute(re.compile(r"/show/figure/prediction"))
    person.token(7).click()
    person.selects(token=7)
    expect(person.notice()).to_be_empty()


def test_the_last_of_many_quick_selections_is_what_is_shown(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=0, layer=2, head=1)
    for token in range(1, 8):
        person.page.evaluate("(token) => dashboardApp.propose({ token })", token)
    person.selects(token=7)
    plot = "document.querySelector('#prediction-graph .js-plotly-plot')"
    bars = person.page.evaluate(f"() => {plot}.data[0].customdata.map((c) => c.id)")
    assert bars == [candidate.id for candidate in causal.top_k(7)][: len(bars)]
    assert len(bars) == 10


def unfilled(person: Person, title: str) -> ModelRun:
    """A masked run that holds no prediction, of a model that this server does not have: its jobs fail."""
    header, arrays = make_parts("masked", masked=False, title=title, text=title, model="gone")
    person.server.store.save(header["key"], header, arrays)
    return person.server.store.open(header["key"])


def test_a_masked_position_that_fails_says_why_and_is_tried_again_by_hand(person: Person) -> None:
    run = unfilled(person, "The selected position fails")
    person.go(f"?run={run.key}&token=2&layer=0&head=0")
    card = person.at("prediction-card")
    again = card.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    expect(card).to_contain_text("gone")
    expect(person.at("prediction-panel").locator(".options-box > summary")).to_be_visible()
    told = again.evaluate(
        "(button) => { button.click(); return document.getElementById('prediction-card').textContent; }"
    )
    assert "Computing this position" in told
    expect(again).to_be_visible()  # it failed again
    person.server.store.save_derived(masked_result(run.key, 2))
    again.click()
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(5)
    expect(again).to_have_count(0)


def test_a_second_masked_position_that_fails_leaves_the_first_and_is_tried_again(person: Person) -> None:
    run = unfilled(person, "The second position fails")
    person.server.store.save_derived(masked_result(run.key, 2))
    person.go(f"?run={run.key}&token=2&second=4&layer=0&head=0")
    again = person.at("prediction-card").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(5)
    person.server.store.save_derived(masked_result(run.key, 4))
    again.click()
    expect(person.at("prediction-footer")).to_contain_text(re.compile("actual token.*actual token"))
    expect(again).to_have_count(0)
