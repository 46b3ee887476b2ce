"""A page whose run gets lost on the way says so, and the next run works: no spinner turns for ever."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from dashboard.contracts.run import ModelRun
from tests.browser.test_running import start_long_run
from tests.support.person import Person
from tests.support.server import Server

pytestmark = pytest.mark.browser

POLLS = re.compile(r"_dash-update-component\?.*cacheKey=")


def told(person: Person, words: str) -> None:
    """The notice says so, nothing turns any more, and what was shown before still is."""
    expect(person.notice()).to_contain_text(words, timeout=40_000)
    expect(person.notice()).to_contain_text("Your text is still in the box")
    expect(person.at("run")).to_be_visible()
    expect(person.at("page")).not_to_have_class(re.compile(r"\bworking\b"))
    expect(person.at("strip-title")).to_have_text("Tokens of the previous run")


def test_a_server_that_cannot_be_reached_is_told_and_the_page_goes_on(
    person: Person, causal: ModelRun, server: Server
) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    with server.holding("Lose me on the way."):
        start_long_run(person, "Lose me on the way.")
        person.expects_log("net::ERR_INTERNET_DISCONNECTED", "Callback failed: the server did not respond")
        person.page.context.set_offline(True)
        expect(person.at("model-state")).to_have_text("No connection to the server", timeout=40_000)
        told(person, "The server does not answer.")
        person.page.context.set_offline(False)
    expect(person.at("model-state")).to_contain_text("Ready", timeout=40_000)
    person.run("A short text after the net came back.")
    expect(person.notice()).to_be_empty()


@pytest.mark.parametrize(
    ("status", "logged"),
    [(204, ()), (500, ("500", "Callback error updating submitted-run.data"))],
    ids=["nothing", "an error"],
)
def test_a_poll_that_is_answered_with(
    person: Person, causal: ModelRun, server: Server, status: int, logged: tuple[str, ...]
) -> None:
    def answer(route: Route) -> None:
        route.fulfill(status=status, body="")

    person.open_run(causal, token=3, layer=2, head=1)
    with server.holding(f"Answer me with {status}."):
        start_long_run(person, f"Answer me with {status}.")
        person.expects_log(*logged)
        person.page.route(POLLS, answer)
        told(person, "The page lost track of its run.")
        person.page.unroute(POLLS)
    person.run(f"A short text after an answer of {status}.")
    expect(person.notice()).to_be_empty()


@pytest.mark.parametrize(
    ("how", "logged"),
    [
        ("a login page", ()),
        ("a refusal", ("401",)),
        ("a redirect to a login page", ("404",)),
    ],
)
def test_a_sign_in_that_ended_is_told_once_and_asked_for_no_more(
    person: Person, causal: ModelRun, how: str, logged: tuple[str, ...]
) -> None:
    """What a proxy in front of the server answers once its sign-in is over; signed in again elsewhere, the page goes
    on."""
    person.open_run(causal, token=3, layer=2, head=1)
    expect(person.at("token-count")).to_have_text("18 of 4,096 tokens")
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if "/login" in route.request.url or how == "a login page":
            route.fulfill(
                status=200, content_type="text/html; charset=utf-8", body="<html><form>Password</form></html>"
            )
        elif how == "a refusal":
            route.fulfill(status=401, content_type="text/plain", body="Sign in first")
        else:
            route.fulfill(status=302, headers={"Location": "/login?next=/"})

    person.expects_log(*logged)
    person.page.route("**/*", answer)
    person.page.keyboard.press("ArrowRight")
    expect(person.notice()).to_contain_text("Your sign-in has ended. Reload the page.", timeout=20_000)
    expect(person.at("model-state")).to_have_text("Signed out", timeout=20_000)
    expect(person.notice().get_by_role("button", name="Reload")).to_be_visible()
    assert sum("/health" in url for url in asked) <= 3, asked
    person.page.unroute("**/*")
    person.page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(person.notice()).to_be_empty()
    expect(person.at("model-state")).not_to_have_text("Signed out", timeout=20_000)
