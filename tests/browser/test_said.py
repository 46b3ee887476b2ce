"""What is said to those who do not see the page: of the capture that is shown, and no sentence over one that matters
more."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.browser.test_earlier_runs import saved
from tests.support.person import Person

pytestmark = pytest.mark.browser

REFUSED = "There is no layer 99"


@pytest.mark.fresh
def test_a_weight_is_said_of_the_capture_that_is_shown(person: Person) -> None:
    run = saved(person, "one")
    person.open_run(run, token=2, second=1, layer=0, head=0)
    # the form has another model: said once
    expect(person.at("announcer")).to_contain_text("The figures show the run of")
    with person.page.expect_request("**/attention/**") as asked:
        person.page.evaluate("() => dashboardApp.propose({ token: 3, head: 1 })")
    assert "stamp=one" in asked.value.url
    expect(person.at("announcer")).to_contain_text(f"attends to it with weight {run.attention(0, 1)[3, 1]:.4f}")
    saved(person, "number-two")
    person.expects_log("412")
    of = {"run": run.key, "stamp": "one", "layer": 1, "head": 0}
    refused = person.page.evaluate("(of) => dashboardApp.exact(of, 2).then(() => '', (error) => error.message)", of)
    assert refused == "no weights"
    person.page.wait_for_function("() => dashboardApp.state.info.stamp === 'number-two'")


@pytest.fixture
def still(person: Person, causal: ModelRun) -> Person:
    """A page whose clock goes on only where the test says so."""
    person.open_run(causal, token=3, layer=2, head=1)
    person.page.clock.install()
    person.page.clock.run_for(5000)
    return person


def differs(person: Person) -> None:
    """Write another text; the page says so 1.5 s later."""
    person.page.evaluate(
        """() => {
            const box = document.getElementById("text");
            Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(box, "A new text");
            box.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )


@pytest.mark.fresh
def test_what_is_selected_is_not_said_over_a_sentence(still: Person) -> None:
    page, announcer = still.page, still.at("announcer")
    differs(still)
    page.clock.run_for(1300)
    page.evaluate("() => dashboardApp.propose({ token: 9 })")
    page.clock.run_for(300)
    expect(announcer).to_contain_text("The figures show the run of")
    page.clock.run_for(2000)
    expect(announcer).to_contain_text("The figures show the run of")


@pytest.mark.fresh
def test_a_refusal_is_heard_before_what_goes_on_beside(still: Person) -> None:
    page, announcer = still.page, still.at("announcer")
    differs(still)
    page.clock.run_for(1300)
    page.evaluate(f"() => dashboardApp.say('{REFUSED}')")
    page.clock.run_for(300)
    expect(announcer).to_have_text(REFUSED)
    page.clock.run_for(6000)
    expect(announcer).to_contain_text("The figures show the run of")
