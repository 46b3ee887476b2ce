"""The page below a path of its host, behind an nginx that takes the path away, and behind one that leaves it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from dashboard.contracts.run import ModelRun
from tests.support.nginx import Nginx, in_front, location
from tests.support.person import Person
from tests.support.server import ROOT, Server, free_port

pytestmark = [pytest.mark.browser, pytest.mark.fresh]
PATH = "/tools/dash/"


@dataclass(frozen=True)
class Below(Server):
    """A server as people reach it: through a proxy."""

    front: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.front}{PATH}"


@contextmanager
def proxied(target: int, keeps: bool, folder: Path) -> Iterator[Nginx]:
    """An nginx that serves another program's pages, and the dashboard below `PATH`."""
    port = free_port()
    elsewhere = 'location / { return 404 "another program\'s page"; }'
    server = f"server {{ listen 127.0.0.1:{port};\n{location(PATH, target, keeps)}{elsewhere} }}"
    with in_front(server, port, folder) as found:
        yield found


@pytest.fixture(scope="module")
def web(server: Server) -> Iterator[Server]:
    """A web process with the setting, on the queue and the runs of the other tests' server."""
    settings = replace(server.settings, port=free_port(), public_path=PATH)
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "dashboard.web.wsgi:server",
        f"--bind=127.0.0.1:{settings.port}",
        "--threads=8",
    ]
    process = subprocess.Popen(
        [*command, "--worker-class=gthread", "--no-control-socket", "--log-level=warning"],
        cwd=ROOT,
        env={**os.environ, **settings.to_env()},
    )
    found = Server(settings, process, server.store, server.catalog)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                found.health()
                break
            except OSError:
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("keeps", [False, True], ids=["path taken away", "path left"])
def test_everything_works_below_a_path(
    browser: Browser, web: Server, causal: ModelRun, keeps: bool, tmp_path: Path
) -> None:
    with proxied(web.settings.port, keeps, tmp_path) as proxy:
        server = Below(web.settings, web.process, web.store, web.catalog, proxy.port)
        context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
        person = Person(context.new_page(), server)
        person.go()
        expect(person.at("model-state")).not_to_be_empty()
        person.run(f"Below a path that is {'left' if keeps else 'taken away'}.", "smollm2-135m")
        expect(person.at("token-count")).to_contain_text(" of ")
        person.open_run(causal, token=15, second=1, layer=24, head=4)
        person.hover_at(person.cell(15, 1))
        expect(person.at("tooltip").locator("b")).to_have_text(f"{float(causal.attention(24, 4)[15, 1]):.4f}")
        expect(person.page.locator("#attention-heads canvas").first).to_be_visible()

        assert person.page.evaluate("() => dashboardApp.address.link()").startswith(server.address + "?run=")
        person.page.locator("#hidden-panel .options-box summary").click()
        with person.page.expect_download() as download:
            person.page.locator('[data-export="hidden.csv"]').click()
        assert download.value.path().read_bytes().startswith(b"\xef\xbb\xbf#")
        person.page.keyboard.press("Escape")
        person.page.locator("#export-menu summary").click()
        with person.page.expect_download() as download:
            person.page.locator('[data-export="report.html"]').click()
        assert f"{server.address}?run={causal.key}" in download.value.path().read_text(encoding="utf-8").replace(
            "&amp;", "&"
        )
        person.page.keyboard.press("Escape")

        person.at("recent").click()
        expect(person.at("recent-dialog").locator(".ag-row")).to_have_count(2)
        person.page.keyboard.press("Escape")
        [cookie] = context.cookies()
        assert (cookie["name"], cookie["path"]) == ("dashboard-visitor", PATH)
        person.page.go_back()
        person.settled()
        loaded = "[...document.fonts].filter((font) => font.status === 'loaded').length"
        assert person.page.evaluate(f"async () => {{ await document.fonts.ready; return {loaded}; }}") >= 2
        if keeps:  # a proxy that takes the path away answers for this address itself
            person.page.goto(server.address.removesuffix("/") + f"?run={causal.key}")
            person.settled()
            assert person.page.url.startswith(server.address + "?run=")
        context.close()
        assert person.unexpected() == []
        assert proxy.failed() == []
        assert [url for url in person.requests if not url.startswith((server.address[:-1], "data:", "blob:"))] == []


@pytest.mark.parametrize("keeps", [False, True], ids=["path taken away", "path left"])
def test_an_address_of_nothing_leads_to_the_page(browser: Browser, web: Server, keeps: bool, tmp_path: Path) -> None:
    with proxied(web.settings.port, keeps, tmp_path) as proxy:
        server = Below(web.settings, web.process, web.store, web.catalog, proxy.port)
        page = browser.new_page()
        answer = page.goto(server.address + "no/such/page")
        assert answer is not None
        assert answer.status == 404
        [place] = [word.strip(",") for word in answer.text().split() if word.startswith("/")]
        page.goto(f"http://127.0.0.1:{proxy.port}{place}")
        expect(page.locator("#page")).to_be_visible()
        page.close()
        assert proxy.failed() == [f"404 {PATH}no/such/page"]


def test_without_the_setting_the_page_says_what_is_missing(browser: Browser, server: Server, tmp_path: Path) -> None:
    with proxied(server.settings.port, False, tmp_path) as proxy:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{proxy.port}{PATH}")
        expect(page.get_by_text("DASHBOARD_PUBLIC_PATH=/tools/dash/")).to_be_visible(timeout=30_000)
        page.close()
        assert any("/assets/" in line for line in proxy.failed()), "this proxy has other pages beside the dashboard"
