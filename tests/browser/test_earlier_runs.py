"""A run of an earlier version says so and is run again; a run that was computed again meanwhile is shown as it is
now."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.synthetic import make_parts

pytestmark = pytest.mark.browser
RECEIVED = "decoder/received"


def saved(person: Person, stamp: str, numbers: int | None = None, **parts: Any) -> ModelRun:
    """A run of a model that this server does not have, in place of the one that is there."""
    header, arrays = make_parts(text="computed again", model="folder:gone/model", **parts)
    header |= {"stamp": stamp} | ({} if numbers is None else {"numbers": numbers})
    person.server.store.save(header["key"], header, {**arrays, RECEIVED: arrays[RECEIVED] + len(stamp)})
    return person.server.store.open(header["key"])


def stamps(person: Person) -> set[str]:
    """Of which capture everything is that the page shows."""
    found = """() => [dashboardApp.state.info.stamp, ...[...document.querySelectorAll(".view.active .js-plotly-plot")]
        .map((graph) => graph.layout.meta && graph.layout.meta.stamp).filter(Boolean)]"""
    return set(person.page.evaluate(found))


def test_an_earlier_run_says_so_and_is_run_again(person: Person) -> None:
    run = person.go().run("An earlier text.", "minilm-l6")
    line = person.at("outdated")
    expect(line).to_be_empty()
    header = {**run.header, "numbers": 1, "stamp": "earlier"}
    person.server.store.save(run.key, header, {name: np.array(run.arrays[name]) for name in run.arrays})
    person.open_run(run, token=2, layer=3, head=1)
    expect(line).to_contain_text("Computed by an earlier version of this program")
    assert stamps(person) == {"earlier"}
    line.get_by_role("button", name="Run again").click()
    expect(line).to_be_empty()
    person.selects(token=2, layer=3, head=1)
    now = person.server.store.open(run.key)
    assert now.outdated == ()
    assert stamps(person) == {now.stamp}
    assert now.stamp != "earlier"


def test_an_earlier_run_that_the_form_cannot_ask_for_has_no_button(person: Person) -> None:
    run = saved(person, "first", numbers=1)
    person.open_run(run, token=1, layer=0, head=0)
    expect(person.at("outdated")).to_contain_text("run the text again where this run was made")
    expect(person.at("outdated").get_by_role("button")).to_have_count(0)


@pytest.mark.fresh
def test_a_page_shows_one_capture_at_a_time(person: Person) -> None:
    run = saved(person, "one")
    person.open_run(run, token=1, layer=0, head=0)
    assert stamps(person) == {"one"}
    saved(person, "number-two")
    person.expects_log("412")
    person.token(3).click()
    expect(person.notice()).to_contain_text("Computed again.")
    person.selects(token=3, layer=0, head=0)
    person.page.wait_for_function("() => dashboardApp.state.info.stamp === 'number-two'")
    person.settled()
    assert stamps(person) == {"number-two"}
    assert person.address()["token"] == "3"
    before = len(person.requests)
    person.head_button(1, 1).click()
    person.selects(layer=1, head=1)
    asked = [url for url in person.requests[before:] if "/show/" in url]
    assert asked
    assert all("stamp=number-two" in url for url in asked)
