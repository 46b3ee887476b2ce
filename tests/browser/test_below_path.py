"""The page below a path of its host, behind a real proxy that takes the path away, and behind one that leaves it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.server import ROOT, Server, free_port

pytestmark = [pytest.mark.browser, pytest.mark.fresh]
PATH = "/tools/dash/"
HOP = {"transfer-encoding", "connection", "content-length", "keep-alive"}


@dataclass(frozen=True)
class Below(Server):
    """A server as people reach it: through a proxy."""

    front: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.front}{PATH}"


@dataclass
class Proxy:
    """Passes on what is asked below `PATH`, with it or without; notes what was asked beside it and what failed."""

    target: int
    keeps: bool
    port: int = 0
    missed: list[str] = field(default_factory=list)

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the browser has left and takes no answer
                    super().handle()

            def pass_on(self) -> None:
                if not self.path.startswith((PATH, PATH[:-1])):
                    self.answer(404, [], b"another program's page")
                    return
                path = self.path if proxy.keeps else "/" + self.path.removeprefix(PATH)
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    found = self.ask(path, sent)
                except (OSError, http.client.HTTPException) as error:
                    found = 502, [], repr(error).encode()
                self.answer(*found)

            def ask(self, path: str, sent: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.target, timeout=60)) as server:
                    server.request(self.command, path, sent, dict(self.headers))
                    reply = server.getresponse()
                    kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in HOP]
                    return reply.status, kept, reply.read()

            def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                if status >= 400:
                    proxy.missed.append(f"{status} {self.path}")
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = do_HEAD = pass_on

            def log_message(self, *_words: Any) -> None:
                """Nothing: `missed` has what matters."""

        return Handler


class Front(http.server.ThreadingHTTPServer):
    """A proxy's port. When it closes, so do the connections that a browser keeps open, and their threads end."""

    daemon_threads = False  # they are waited for

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        super().close_request(request)
        self.open.discard(request)

    def server_close(self) -> None:
        for connection in tuple(self.open):
            with contextlib.suppress(OSError):  # it has closed by itself
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


@contextmanager
def proxied(target: int, keeps: bool) -> Iterator[Proxy]:
    proxy = Proxy(target, keeps)
    server = Front(proxy.handler())
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def web(server: Server) -> Iterator[Server]:
    """A web process with the setting, on the queue and the runs of the other tests' server."""
    settings = replace(server.settings, port=free_port(), path=PATH)
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
def test_everything_works_below_a_path(browser: Browser, web: Server, causal: ModelRun, keeps: bool) -> None:
    with proxied(web.settings.port, keeps) as proxy:
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
        assert proxy.missed == []
        assert [url for url in person.requests if not url.startswith((server.address[:-1], "data:", "blob:"))] == []


@pytest.mark.parametrize("keeps", [False, True], ids=["path taken away", "path left"])
def test_an_address_of_nothing_leads_to_the_page(browser: Browser, web: Server, keeps: bool) -> None:
    with proxied(web.settings.port, keeps) as proxy:
        server = Below(web.settings, web.process, web.store, web.catalog, proxy.port)
        page = browser.new_page()
        answer = page.goto(server.address + "no/such/page")
        assert answer is not None
        assert answer.status == 404
        [place] = [word.strip(",") for word in answer.text().split() if word.startswith("/")]
        page.goto(f"http://127.0.0.1:{proxy.port}{place}")
        expect(page.locator("#page")).to_be_visible()
        page.close()
        assert proxy.missed == [f"404 {PATH}no/such/page"]


def test_without_the_setting_the_page_says_what_is_missing(browser: Browser, server: Server) -> None:
    with proxied(server.settings.port, keeps=False) as proxy:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{proxy.port}{PATH}")
        expect(page.get_by_text("DASHBOARD_PATH=/tools/dash/")).to_be_visible(timeout=30_000)
        page.close()
        assert any("/assets/" in line for line in proxy.missed), "this proxy has other pages beside the dashboard"
