"""Typed controls on the page: what a field holds is what is shown."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.contracts.run import ModelRun
from tests.support.person import LOOK
from tests.support.server import PATIENCE, ROOT, Server, free_port

pytestmark = pytest.mark.browser
SERVE = """
from dataclasses import replace
from dashboard.web import app
from dashboard.settings import Settings
from dashboard.views import all_views
from dashboard.views.controls import Number
first, *others = all_views()
app.all_views = lambda: (replace(first, controls=(*first.controls, Number("k", "How many", 1, 50, 10))), *others)
settings = Settings.from_env()
app.create_app(settings).server.run("127.0.0.1", settings.port, threaded=True)
"""


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    """A page whose first view has a number to type, over the runs of the server."""
    address = f"http://127.0.0.1:{(port := free_port())}/"
    folders = {
        "DASHBOARD_CACHE_DIR": str(server.settings.cache_dir),
        "DASHBOARD_MODELS_DIR": str(server.settings.models_dir),
    }
    environment = {**os.environ, **folders, "PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    context = browser.new_context(base_url=address)
    try:
        wait_for(address, process)
        yield context.new_page()
    finally:
        context.close()
        process.terminate()
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended by itself"
        try:
            urllib.request.urlopen(f"{address}health", timeout=5).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the page is not served")


def address_says(page: Page, value: str | None) -> None:
    page.wait_for_function(
        "(value) => new URLSearchParams(location.search).get('attention-k') === value", arg=value, polling=LOOK
    )


def test_an_emptied_number_is_its_default_in_the_field_too(page: Page, causal: ModelRun) -> None:
    page.goto(f"?run={causal.key}&token=3&layer=2&head=1")
    page.wait_for_function("() => window.dashboardApp?.state.info", polling=LOOK)
    page.locator("#attention-panel .options-box summary").click()
    field = page.locator("#attention-k")
    expect(field).to_have_value("10")
    for typed in ("", "99", "-3", "7.4"):  # nothing, and what is out of its bounds or between its steps
        field.fill("12")
        field.press("Enter")
        address_says(page, "12")
        field.fill(typed)
        field.press("Enter")
        expect(field).to_have_value("10")
        address_says(page, None)
