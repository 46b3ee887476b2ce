"""Derived results on the page when something goes wrong: the worker dies, the page is left, the run is computed
again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from tests.browser.test_derived import TEXT, bare, busy, expected, whole  # noqa: F401
from tests.support.person import Person
from tests.support.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.fresh]


def waits(person: Person, run: ModelRun, token: int) -> None:
    """The card shows that its result is in the queue."""
    person.load(f"?run={run.key}&token={token}&layer=2&head=0")
    expect(person.at("prediction-card")).to_contain_text("1 before this one")


@pytest.mark.alone
def test_what_waits_is_computed_by_the_worker_that_comes_after_a_killed_one(
    person: Person,
    busy: Person,  # noqa: F811
    whole: ModelRun,  # noqa: F811
    bare: ModelRun,  # noqa: F811
    server: Server,
) -> None:
    waits(person, bare, 6)
    [worker] = server.worker_processes()
    os.kill(worker.pid, signal.SIGKILL)
    expect(busy.notice()).to_contain_text("Error.", timeout=8_000)
    expect(person.title("prediction")).to_contain_text(expected(whole, 6), timeout=60_000)
    server.wait_until_ready()


def test_a_page_that_is_loaded_again_goes_on_waiting_and_one_that_is_closed_does_not(
    person: Person,
    open_page: Callable[..., Person],
    busy: Person,  # noqa: F811
    whole: ModelRun,  # noqa: F811
    bare: ModelRun,  # noqa: F811
) -> None:
    leaver = open_page()
    waits(leaver, bare, 7)
    leaver.page.close()
    waits(person, bare, 6)
    person.page.reload()
    expect(person.at("prediction-card")).to_contain_text("before this one")
    busy.at("cancel").click()
    expect(person.title("prediction")).to_contain_text(expected(whole, 6))
    assert person.server.store.derived(DerivedRequest.of(bare.key, "masked-prediction", position=7)) is None


def test_a_run_that_is_computed_again_meanwhile_is_opened_again(
    person: Person,
    busy: Person,  # noqa: F811
    whole: ModelRun,  # noqa: F811
    bare: ModelRun,  # noqa: F811
    server: Server,
) -> None:
    person.expects_log("412")  # what is asked of the capture that is gone
    waits(person, bare, 6)
    server.store.save(bare.key, {**bare.header, "stamp": f"again-{bare.key[:8]}"}, dict(bare.arrays))
    busy.at("cancel").click()
    expect(person.title("prediction")).to_contain_text(expected(whole, 6))
    found = server.store.derived(DerivedRequest.of(bare.key, "masked-prediction", position=6), f"again-{bare.key[:8]}")
    assert found is not None


def test_a_failure_is_there_after_another_token_and_is_not_asked_for_again(
    person: Person,
    bare: ModelRun,  # noqa: F811
    server: Server,
) -> None:
    request = RunRequest("folder:weights/gone", TEXT)
    header = {**bare.header, "key": request.key("gone"), "request": request.to_json()}
    server.store.save(header["key"], header, dict(bare.arrays))
    person.load(f"?run={header['key']}&token=5&layer=2&head=0")
    again = person.at("prediction-card").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    person.token(6).click()
    expect(person.title("prediction")).to_contain_text("(6)")
    expect(again).to_be_visible()
    wants: list[str] = []
    person.page.on("request", lambda asked: wants.extend(["derive"] * ("derived-request" in (asked.post_data or ""))))
    person.token(5).click()
    expect(person.title("prediction")).to_contain_text("(5)")
    expect(again).to_be_visible()
    assert not wants
    again.click()
    expect(again).to_be_visible()
    assert wants, "it was tried, and failed again"


def test_a_connection_that_breaks_for_a_moment_loses_no_result(
    person: Person,
    busy: Person,  # noqa: F811
    whole: ModelRun,  # noqa: F811
    bare: ModelRun,  # noqa: F811
) -> None:
    person.expects_log("net::ERR_FAILED", "Callback failed")
    waits(person, bare, 6)
    broken: list[str] = []

    def breaks(route: Route) -> None:
        if broken or "job=set-" not in route.request.url:
            route.continue_()
        else:
            broken.append(route.request.url)
            route.abort()

    person.page.route("**/_dash-update-component*", breaks)
    busy.at("cancel").click()
    expect(person.title("prediction")).to_contain_text(expected(whole, 6), timeout=20_000)
    assert broken
