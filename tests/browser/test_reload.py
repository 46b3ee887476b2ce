"""A reload loses nothing: not the text that was written, nor the run that is waited for, nor where a run was left."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.fresh]

ARRIVED = """() => {
    const entries = performance.getEntries().slice(0, 9).map(({ entryType, name, type }) => [entryType, name, type]);
    const { timeOrigin, navigation } = performance;
    const stored = { kept: sessionStorage.written, state: history.state };
    return JSON.stringify({ ...stored, type: navigation.type, timeOrigin, now: Date.now(), entries });
}"""


def again(person: Person) -> None:
    """The page anew, until its form is there."""
    person.page.reload()
    person.page.wait_for_function(
        "() => window.dashboardApp && document.getElementById('run') && dashboardApp.state.model"
    )


def waits(person: Person) -> None:
    try:
        expect(person.at("cancel")).to_be_visible(timeout=30_000)
    except AssertionError as error:
        raise AssertionError(person.page.evaluate(ARRIVED)) from error


def test_a_run_under_way_is_waited_for_again(person: Person, causal: ModelRun, server: Server) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    text = "Reload me twice."
    with server.holding(text):
        person.type_text(text)
        person.press_run()
        expect(person.at("progress")).to_contain_text(re.compile(r"Layer \d+ of 30"), timeout=60_000)
        for _ in range(2):
            again(person)
            expect(person.at("text")).to_have_value(text)
            waits(person)
    person.drawn(text)
    expect(person.at("text")).to_have_value(text)
    again(person)
    person.settled()
    expect(person.at("run")).to_be_visible()
    assert person.selection()["run"] == person.server.key_of("smollm2-135m", text)


def test_it_can_be_cancelled_then_and_stays_cancelled(person: Person, server: Server) -> None:
    text = "Reload and cancel me."
    with server.holding(text):
        person.go().choose_model("smollm2-135m")
        person.type_text(text)
        person.press_run()
        waits(person)
        again(person)
        waits(person)
        person.at("cancel").click()
        expect(person.notice()).to_contain_text("Cancelled.")
        server.wait_until_ready()  # the worker has given it up
    again(person)
    expect(person.at("text")).to_have_value(text)
    expect(person.at("run")).to_be_visible()
    assert not person.page.evaluate("() => dashboardApp.state.working")
    assert not person.server.store.has(person.server.key_of("smollm2-135m", text))


SLOW = """
    const timer = setInterval(() => {
        const dash = window.dash_clientside;
        if (!dash || !dash.set_props) return;
        clearInterval(timer);
        const set = dash.set_props;
        dash.set_props = (id, value) => (id === "text" ? setTimeout(set, 4000, id, value) : set(id, value));
    }, 1);
"""


def test_a_text_that_is_slow_to_come_back_is_run_all_the_same(person: Person) -> None:
    text = "The browser is busy with other things."
    person.go().choose_model("minilm-l6")
    written = json.dumps(json.dumps({"text": text, "model": "minilm-l6", "runs": True}))
    person.page.add_init_script(f"{SLOW}; sessionStorage.setItem('written', {written});")
    again(person)
    person.drawn(text)


def test_who_writes_before_the_text_comes_back_has_nothing_run(person: Person) -> None:
    person.go()
    written = json.dumps(json.dumps({"text": "The older text.", "model": "minilm-l6", "runs": True}))
    person.page.add_init_script(f"{SLOW}; sessionStorage.setItem('written', {written});")
    again(person)
    person.type_text("The newer text.")
    person.page.wait_for_function("() => JSON.parse(sessionStorage.written || '{}').text === 'The newer text.'")
    assert not person.page.evaluate("() => dashboardApp.state.working")


def test_a_run_that_ended_meanwhile_is_shown(
    person: Person, causal: ModelRun, open_page: Callable[..., Person]
) -> None:
    text = "It is done while nobody looks."
    other = open_page().go()
    other.run(text, "minilm-l6")
    person.open_run(causal, token=3, layer=2, head=1)
    written = json.dumps(json.dumps({"text": text, "model": "minilm-l6", "runs": True}))
    person.page.add_init_script(f"sessionStorage.setItem('written', {written});")
    again(person)
    person.drawn(text)


def test_a_queued_run_is_waited_for_again(person: Person, open_page: Callable[..., Person], server: Server) -> None:
    first = open_page().go()
    with server.holding("Before the queue."):
        first.choose_model("smollm2-135m")
        first.type_text("Before the queue.")
        first.press_run()
        expect(first.at("progress")).to_contain_text(re.compile(r"Layer \d+ of 30"), timeout=60_000)
        person.go().choose_model("minilm-l6")
        person.type_text("Queued and loaded again.")
        person.press_run()
        expect(person.at("progress")).to_contain_text("before this one")
        again(person)
        waits(person)
        first.at("cancel").click()
    person.drawn("Queued and loaded again.")
    assert person.page.evaluate("() => dashboardApp.written().model") == "minilm-l6"


def test_text_and_model_that_were_not_run_come_back_and_are_not_run(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    person.choose_model("minilm-l6")
    person.type_text("Written, not run.")
    again(person)
    person.settled()
    expect(person.at("text")).to_have_value("Written, not run.")
    assert person.page.evaluate("() => [dashboardApp.written().model, dashboardApp.state.working]") == [
        "minilm-l6",
        False,
    ]
    expect(person.at("not-run")).to_contain_text("Press Run")
    assert person.selection()["run"] == causal.key
    person.type_text("x " * 600)
    person.press_run()
    expect(person.notice()).to_contain_text("512")
    again(person)
    person.settled()
    expect(person.at("text")).to_have_value("x " * 600)
    assert not person.page.evaluate("() => dashboardApp.state.working")
    # a link begins afresh; one to the address that is open may be a reload to Chromium
    person.open_run(causal, token=4, layer=2, head=1)
    expect(person.at("text")).to_have_value(causal.text)


def test_without_storage_the_page_works(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page()
    person.page.add_init_script(
        """for (const name of ["localStorage", "sessionStorage"]) {
            Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
        }"""
    )
    person.open_run(causal, token=3, layer=2, head=1)
    run = person.run("Nothing can be kept here.", "minilm-l6")
    person.token(2).click()
    person.selects(token=2)
    person.type_text("Lost with a reload.")
    again(person)
    person.settled()
    assert person.selection()["run"] == run.key


def test_a_browser_that_has_no_entry_for_the_visit_brings_the_text_back(person: Person, causal: ModelRun) -> None:
    """Chromium now and then has none after a reload on a busy machine."""
    person.page.add_init_script("performance.getEntriesByType = () => [];")
    person.open_run(causal, token=3, layer=2, head=1)
    person.type_text("Written, not run.")
    again(person)
    person.settled()
    expect(person.at("text")).to_have_value("Written, not run.")
    person.load(f"?run={causal.key}")
    person.settled()
    expect(person.at("text")).to_have_value(causal.text)  # a link begins afresh


def test_two_tabs_keep_their_own_text(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=2, head=1)
    other = Person(person.page.context.new_page(), person.server)
    other.open_run(causal, token=3, layer=2, head=1)
    for tab, text in ((person, "The first tab's text."), (other, "The second tab's text.")):
        tab.type_text(text)
    for tab, text in ((person, "The first tab's text."), (other, "The second tab's text.")):
        again(tab)
        tab.settled()
        expect(tab.at("text")).to_have_value(text)
    other.page.close()


# where a run was left


def test_recent_opens_a_run_where_it_was_left(person: Person, causal: ModelRun, encoder: ModelRun) -> None:
    place: dict[str, int | str] = {
        "token": 9,
        "second": 4,
        "layer": 7,
        "head": 5,
        "hidden": "path",
        "prediction-count": "20",
    }
    person.open_run(causal, **place)
    person.token(11).click()
    person.selects(token=11)
    person.open_run(encoder, token=2, layer=1, head=1)
    for run, expected in (
        (causal, {**place, "token": 11}),
        (encoder, {"token": 2, "layer": 1, "head": 1}),
        (causal, {**place, "token": 11}),
    ):
        person.at("recent").click()
        person.page.locator(f'#recent-dialog .ag-row[row-id="{run.key}"] .recent-open').click()
        person.page.wait_for_function("(key) => dashboardApp.state.selection.run === key", arg=run.key)
        person.settled()
        expect(person.notice()).to_be_empty()
        assert person.address() == {"run": run.key, **{name: str(value) for name, value in expected.items()}}
    person.page.go_back()
    person.selects(run=encoder.key, token=2)  # each opening is a step
