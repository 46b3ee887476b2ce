"""A real server, a real Chromium, and a person's hands: `person` and `open_page` give a `Person` looking at the page.

Tests share one page: `person`, and the first `open_page(width, height, color_scheme=…)` of a test, is a page that
stands empty, as it does when it was just loaded, and that may have shown other runs before. `go` and `open_run` then
open a run in place, from the same words that an address holds, with no load; `load` is the browser's own visit to an
address. A further `open_page` of the same test, and one with any other option, is a page of its own in a browser of its
own (another visitor).

A test for which it matters that a page is new is marked `@pytest.mark.fresh`: each of its pages is loaded in a context
of its own. That is so for cookies and the list of runs, for `history.state`, `localStorage`, `add_init_script`, for
counts of what is asked for (the shared page keeps answers), and for what a test leaves in the page and nobody would
take away.

Every page must end its test with an empty browser log, and must have asked nothing of any other host.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Frame,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)
from playwright.sync_api import TimeoutError as TooLateError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from shared_pages import SharedPage

from dashboard.catalog.bundled import BUNDLED
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.examples import EXAMPLES, Example
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.system.parent_watch import end_with

ROOT = Path(__file__).resolve().parents[2]
IN_THE_WORKER = Path(__file__).resolve().parent / "in_the_worker"
# the first loads a page a third quicker
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # a page is loaded by the process that has loaded the one before it, and has its scripts compiled
    "--process-per-site",
]
PATIENCE = 90.0
LOOK = 20  # milliseconds between looks at the page: at every frame, as Playwright does it, is work for the page itself
SIZE = (1440, 900)
FAILED = pytest.StashKey[bool]()
Scheme = Literal["light", "dark"]
NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9"}
expect.set_options(timeout=20_000)

OPEN = """
(query) => {
    window.history.replaceState(window.history.state, "", window.location.pathname + query);
    const asked = window.dash_clientside.dashboard.openAddress();
    if (asked !== window.dash_clientside.no_update) window.dash_clientside.set_props("address", { data: asked });
}
"""
STILL = """
async () => {
    const parts = ".js-plotly-plot, .main-svg, .card-box, #tokens, #attention-heads";
    const seen = () => [...document.querySelectorAll(parts)].map((node) => node.getBoundingClientRect())
        .map((r) => [r.x, r.y, r.width, r.height].map(Math.round)).join();
    const fits = (plot) => {
        const { width, height } = plot.getBoundingClientRect();
        const drawn = plot._fullLayout;
        return !width || (drawn && Math.abs(drawn.width - width) <= 1 && Math.abs(drawn.height - height) <= 1);
    };
    const ends = (animation) => animation.playState === "running"
        && animation.effect.getComputedTiming().endTime < Infinity;
    const plots = () => [...document.querySelectorAll(".figure .js-plotly-plot")];
    const quiet = () => plots().every(fits) && !document.getAnimations().some(ends);
    let [before, frames] = [seen(), 0];
    for (const until = performance.now() + 10000; frames < 3 && performance.now() < until;) {
        await new Promise((done) => requestAnimationFrame(done));
        const now = seen();
        frames = now === before && quiet() ? frames + 1 : 0;
        before = now;
    }
}
"""


UNFRAMED = """
() => {
    const { info, selection } = dashboardApp.state;
    const graph = document.querySelector("#attention-graph .js-plotly-plot");
    const { xaxis, yaxis } = graph._fullLayout;
    return JSON.stringify({
        selection, run: info && info.run, stamp: info && info.stamp, meta: graph.layout.meta,
        axes: [xaxis, yaxis].map((axis) => [axis.range, axis._length]),
        over: [...document.querySelectorAll("#attention-figure svg.over")].map((svg) => svg.childElementCount),
        width: [innerWidth, graph.clientWidth, graph.clientHeight],
    });
}
"""


@dataclass(frozen=True)
class Server:
    """`python -m dashboard serve`, with a cache folder of its own."""

    settings: Settings
    process: subprocess.Popen[bytes]
    store: RunStore
    catalog: Catalog

    @property
    def held_runs(self) -> Path:
        """The folder that says which runs are held (in_the_worker/)."""
        return self.settings.cache_dir / "held"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}/"

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.address + "health", timeout=5) as reply:
            return dict(json.load(reply))

    def wait_until_ready(self) -> None:
        """Until the page answers and the worker holds its model."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the server ended by itself"
            try:
                if self.health()["worker"] == "ready":
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("no worker became ready")

    def worker_processes(self) -> list[psutil.Process]:
        """The children that hold models and compute."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in family if any("spawn_main" in part for part in child.cmdline())]

    def key_of(self, model: str, text: str) -> str:
        return RunRequest(model, text).key(self.catalog.fingerprint(model))

    def run_of(self, model: str, text: str) -> ModelRun:
        """The stored run of a text."""
        return self.store.open(self.key_of(model, text))

    @contextmanager
    def holding(self, text: str, model: str = "smollm2-135m") -> Iterator[Path]:
        """Meanwhile a run of this text is held in the middle, as if it took long; or until the file that is given is
        removed."""
        held = self.held_runs / self.key_of(model, text)
        held.touch()
        try:
            yield held
        finally:
            held.unlink(missing_ok=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_models_folder(folder: Path) -> Path:
    """A models folder with links to the bundled models, so that what a test converts is gone with the test."""
    models, found = folder / "models", Settings.from_env().models_folder
    models.mkdir()
    for bundled in BUNDLED:
        (models / bundled.name).symlink_to(found / bundled.name)
    if (found / ".fingerprints.json").is_file():
        shutil.copy(found / ".fingerprints.json", models)
    return models


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    (folder / "weights").mkdir()
    settings = Settings(
        port=free_port(),
        cache_dir=folder,
        models_dir=own_models_folder(folder),
        model_folders=(folder / "weights",),
        worker_threads=1,
    )
    (folder / "held").mkdir()
    environment = {**os.environ, **NO_HUB, "HF_HUB_CACHE": str(folder / "hub"), **settings.to_env()}
    environment |= {"PYTHONPATH": os.pathsep.join([str(IN_THE_WORKER), str(ROOT)]), "HELD_RUNS": str(folder / "held")}
    command = [sys.executable, "-m", "dashboard", "serve"]
    with (folder / "server.log").open("wb") as log:
        dies_too = partial(end_with, os.getpid(), signal.SIGTERM)
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, preexec_fn=dies_too)
        server = Server(settings, process, RunStore.from_settings(settings), Catalog(settings))
        try:
            server.wait_until_ready()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.fail("The browser tests need Chromium. Debian, Ubuntu: apt-get install chromium; or set CHROMIUM=/path.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Person:
    """Someone at the page: what they do, and what they see."""

    page: Page
    server: Server
    log: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    shared: SharedPage | None = None

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.log.append(f"page error: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.log.append(f"{message.type}: {message.text} {message.location}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # what was on its way when the page was left
            self.log.append(f"failed: {request.url} {request.failure}")

    def expects_log(self, *words: str) -> None:
        """Lines with each of these words belong to this test: they must be in the log, and are no fault."""
        self.expected.extend(words)

    def unexpected(self) -> list[str]:
        """What the log holds beyond what was expected, and what was expected and is not there."""
        missing = [
            f"expected in the log: {word}" for word in self.expected if not any(word in line for line in self.log)
        ]
        return missing + [line for line in self.log if not any(word in line for word in self.expected)]

    # moving about

    def at(self, identifier: str) -> Locator:
        return self.page.locator(f"#{identifier}")

    def go(self, query: str = "") -> Person:
        """The page as an address shows it; a shared page opens it in place."""
        if self.shared is None:
            return self.load(query)
        self.shared.empty()
        if query:
            self.page.evaluate(OPEN, query)
        return self

    def load(self, query: str = "") -> Person:
        """Visit an address, as the browser does it: everything is loaded."""
        self.page.goto(self.server.address + query)
        self.page.wait_for_function(
            "() => window.dashboardApp && document.getElementById('run') && dashboardApp.state.model"
        )
        return self

    def open_run(self, run: ModelRun, **places: int | str) -> Person:
        """Open the link to a stored run and wait until it is drawn."""
        query = "&".join(f"{name}={value}" for name, value in places.items())
        return self.go(f"?run={run.key}&{query}".rstrip("&")).settled()

    def choose_model(self, name: str) -> None:
        self.page.evaluate("(value) => dash_clientside.set_props('model', {value})", name)
        self.page.wait_for_function(
            "(title) => dashboardApp.state.model && dashboardApp.state.model.title === title",
            arg=self.server.catalog.get(name).title,
        )

    def type_text(self, text: str) -> None:
        self.at("text").fill(text)

    def press_run(self) -> None:
        self.at("run").click()

    def run(self, text: str, model: str | None = None) -> ModelRun:
        """Type a text, run it, wait for it to be drawn."""
        if model is not None:
            self.choose_model(model)
        self.type_text(text)
        self.press_run()
        self.drawn(text)
        return self.server.store.open(self.selection()["run"])

    def drawn(self, text: str) -> Person:
        """Wait until the run of this text is shown."""
        self.page.wait_for_function(
            "(text) => ((window.dashboardApp || { state: {} }).state.info || {}).text === text",
            arg=text,
            timeout=1000 * PATIENCE,
            polling=LOOK,
        )
        return self.settled()

    def settled(self) -> Person:
        """Wait until every figure is of what is selected, and nothing is on its way."""
        self.page.wait_for_function(
            """() => {
                const { selection, info } = (window.dashboardApp || { state: {} }).state;
                if (!selection || !info || info.run !== selection.run) return false;
                const { token, layer, head } = selection;
                const second = selection.second === token ? null : selection.second;
                const place = [info.run.slice(0, 8), token, layer, head, second].map((v) => v ?? "").join("-");
                const open = [...document.querySelectorAll(".view.active")];
                const told = open.every((panel) => panel.querySelector(".heading").dataset.of === place);
                const wanted = { ...selection, second: second ?? null };
                const drawn = open.every((panel) => {
                    if (panel.classList.contains("as-table")) return true; // comes with the words
                    const view = panel.id.replace(/-panel$/, "");
                    const of = document.querySelector(`#${view}-graph .js-plotly-plot`)?.layout?.meta;
                    return of?.reads.every((field) => (of[field] ?? null) === wanted[field]);
                });
                return told && drawn && !document.querySelector("[data-dash-is-loading=true]");
            }""",
            polling=LOOK,
        )
        return self.still()

    def still(self) -> Person:
        """Wait until every figure has the size of its box, and nothing moves from one frame to the next."""
        self.page.evaluate(STILL)
        return self

    # what is selected

    def selection(self) -> dict[str, Any]:
        return dict(self.page.evaluate("() => dashboardApp.state.selection"))

    def selects(self, **places: int | None) -> Person:
        """Wait until exactly this is selected."""
        self.page.wait_for_function(
            """(wanted) => {
                const { selection } = (window.dashboardApp || { state: {} }).state;
                return selection && Object.entries(wanted).every(([name, value]) => selection[name] === value);
            }""",
            arg=places,
            polling=LOOK,
        )
        return self.settled()

    def address(self) -> dict[str, str]:
        return dict(self.page.evaluate("() => Object.fromEntries(new URLSearchParams(window.location.search))"))

    # the strip

    def open_tab(self, card: str, view: str) -> Person:
        """Open a tab of a card, by hand, and wait until it is drawn."""
        tab = self.page.locator(f"#{card}-tab-{view}")
        tab.click()
        expect(tab).to_have_class(re.compile(r"\bactive\b"))
        return self.settled()

    def token(self, index: int) -> Locator:
        return self.page.locator(f'#tokens [data-token="{index}"]')

    def labels(self) -> list[str]:
        return self.page.locator("#tokens [data-token] .chip").all_text_contents()

    def head_button(self, layer: int, head: int) -> Locator:
        return self.page.locator(f'#attention-heads button[data-layer="{layer}"][data-head="{head}"]')

    # the figures

    def cell(self, query: int, key: int) -> tuple[float, float]:
        """The middle of one cell of the matrix, in the window."""
        return self._place("attention-graph", key, query)

    def point(self, token: int) -> tuple[float, float]:
        """One token's point in the graph of hidden states."""
        x, y = self.page.evaluate(
            """(token) => {
                const trace = document.querySelector("#hidden-graph .js-plotly-plot").calcdata[0];
                const data = document.querySelector("#hidden-graph .js-plotly-plot").data[0];
                const i = data.customdata.findIndex((c) => c.token === token);
                return [trace[i].x, trace[i].y];
            }""",
            token,
        )
        return self._place("hidden-graph", x, y)

    def _place(self, graph: str, x: float, y: float) -> tuple[float, float]:
        found = self.page.evaluate(
            """([graph, x, y]) => {
                const plot = document.querySelector(`#${graph} .js-plotly-plot`);
                plot.scrollIntoView({ block: "center", behavior: "instant" });
                const { left, top } = plot.getBoundingClientRect();
                const { xaxis, yaxis } = plot._fullLayout;
                return [left + xaxis._offset + xaxis.l2p(x), top + yaxis._offset + yaxis.l2p(y)];
            }""",
            [graph, x, y],
        )
        return found[0], found[1]

    def click_at(self, place: tuple[float, float], shift: bool = False) -> None:
        self.hover_at(place)
        self.page.wait_for_timeout(80)  # a hand's pace: Plotly looks for the point under the pointer every 50 ms
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*place)
        if shift:
            self.page.keyboard.up("Shift")

    def hover_at(self, place: tuple[float, float]) -> None:
        self.page.mouse.move(place[0] - 30, place[1] - 30)
        self.page.mouse.move(*place, steps=3)

    def frame(self, kind: str) -> Locator:
        """A frame over the matrix: "row", "column", "thin"."""
        return self.page.locator(f"#attention-figure svg.over rect.{kind}")

    def framed_row(self) -> int:
        """The query whose row is framed; Plotly may still be drawing what is framed."""
        try:
            self.page.wait_for_selector("#attention-figure svg.over rect.row", state="attached", timeout=10_000)
        except TooLateError as error:
            raise AssertionError(f"no row is framed: {self.page.evaluate(UNFRAMED)}") from error
        return self.page.evaluate(
            """() => {
                const frame = document.querySelector("#attention-figure svg.over rect.row");
                const axis = document.querySelector("#attention-graph .js-plotly-plot")._fullLayout.yaxis;
                const y = Number(frame.getAttribute("y")) + Number(frame.getAttribute("height")) / 2;
                return Math.round(axis.p2l(y - axis._offset));
            }"""
        )

    def ringed_point(self) -> int:
        """The token whose point carries the ring."""
        return self.page.evaluate(
            """() => {
                const ring = document.querySelector("#hidden-figure svg.over circle.ring");
                const plot = document.querySelector("#hidden-graph .js-plotly-plot");
                const { xaxis, yaxis } = plot._fullLayout;
                const at = (p) => [xaxis._offset + xaxis.l2p(p.x), yaxis._offset + yaxis.l2p(p.y)];
                const [x, y] = ["cx", "cy"].map((name) => Number(ring.getAttribute(name)));
                const far = plot.calcdata[0].map((p) => Math.hypot(at(p)[0] - x, at(p)[1] - y));
                return plot.data[0].customdata[far.indexOf(Math.min(...far))].token;
            }"""
        )

    def title(self, view: str) -> Locator:
        return self.page.locator(f"#{view}-heading h2")

    def notice(self) -> Locator:
        return self.at("notice")


def unreadable(frame: Frame) -> list[str]:
    """What cannot be read in the figures of hidden states and predictions: rows too close, an axis' title that is
    cut."""
    return list(
        frame.evaluate(
            """() => {
                const found = [];
                const columns = new Map();
                for (const text of document.querySelectorAll("#prediction-figure .over text:not(.head)")) {
                    const x = text.getAttribute("x");
                    columns.set(x, [...(columns.get(x) || []), Number(text.getAttribute("y"))]);
                }
                if (!columns.size) found.push("no rows");
                for (const column of columns.values()) {
                    column.sort((one, other) => one - other);
                    const apart = column.slice(1).map((y, row) => y - column[row]);
                    if (Math.min(...apart) < 12.5) found.push(`rows ${Math.min(...apart)} px apart`);
                }
                const box = document.querySelector("#hidden-figure").getBoundingClientRect();
                for (const title of document.querySelectorAll("#hidden-graph .ytitle, #hidden-graph .xtitle")) {
                    const { top, bottom } = title.getBoundingClientRect();
                    if (top < box.top - 0.5 || bottom > box.bottom + 0.5) found.push(`cut: ${title.textContent}`);
                }
                return found;
            }"""
        )
    )


def cut_above_the_heatmap(frame: Frame) -> list[str]:
    """What runs out of its place in the line above the heatmap: the head's words, the legend."""
    return list(
        frame.evaluate(
            """() => {
                const line = document.querySelector("#attention-card .figure-column .grid-title");
                const { left, right, bottom } = line.getBoundingClientRect();
                const words = document.querySelector("#one-head-pattern");
                const all = document.createRange();
                all.selectNodeContents(words);
                const legend = line.querySelector(".legend");
                const found = all.getClientRects().length ? [] : ["no words"];
                if (words.clientWidth && words.scrollWidth > words.clientWidth) found.push("the words are cut");
                const swatches = [...legend.querySelectorAll(".swatch")].map((node) => node.getBoundingClientRect());
                for (const part of [...all.getClientRects(), ...swatches]) {
                    const within = part.left >= left - 1 && part.right <= right + 1 && part.bottom <= bottom + 1;
                    if (!within) found.push(`${part.left} to ${part.right}, of ${left} to ${right}`);
                }
                return found;
            }"""
        )
    )


@dataclass
class Pages:
    """Opens pages, and keeps the one that tests share.

    Attributes:
        people: whoever looks at a page in this test. kept: who looks at the shared page, between tests too.
        spare: browsers without cookies and stored data, which nobody uses now. They have kept what the server gave, and
            their process: a page is loaded there for half the work, since its scripts are compiled.
        plain: all browsers that can be spare, each with a page that shows next to nothing and keeps its process alive.
    """

    browser: Browser
    server: Server
    people: list[Person] = field(default_factory=list)
    kept: Person | None = None
    spare: list[BrowserContext] = field(default_factory=list)
    plain: dict[BrowserContext, Page] = field(default_factory=dict)

    def own(self, width: int, height: int, **options: Any) -> Person:
        """A page of its own, not loaded yet, in a browser of its own."""
        if options:
            context = self.browser.new_context(viewport={"width": width, "height": height}, **options)
            page = context.new_page()
        else:
            context = self.spare.pop() if self.spare else self._plain()
            page = context.new_page()
            page.set_viewport_size({"width": width, "height": height})
        self.people.append(Person(page, self.server))
        return self.people[-1]

    def _plain(self) -> BrowserContext:
        context = self.browser.new_context()
        self.plain[context] = context.new_page()
        self.plain[context].goto(self.server.address + "health")
        return context

    def back(self, context: BrowserContext) -> None:
        """A browser that someone has used: nothing of them stays in it, or else it is closed."""
        if context not in self.plain:
            context.close()
            return
        page = context.new_page()
        wipe = {
            "origin": self.server.address.rstrip("/"),
            "storageTypes": "cookies,local_storage,indexeddb,cache_storage,service_workers",
        }
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", wipe)
        context.clear_cookies()
        context.clear_permissions()
        context.set_offline(False)
        for page in context.pages:
            if page is not self.plain[context]:
                page.close()
        self.spare.append(context)

    def share(self, width: int, height: int, color_scheme: Scheme | None = None) -> Person:
        """The shared page, empty."""
        if self.kept is None:
            self.kept = self.own(*SIZE).load()
            beside = self.plain[self.kept.page.context]
            self.kept.shared = SharedPage(self.kept.page, beside, self.server.settings.default_model)
            self.kept.shared.opened()
        else:
            self.people.append(self.kept)
        self.kept.page.set_viewport_size({"width": width, "height": height})
        self.kept.page.emulate_media(color_scheme=color_scheme or "null")
        return self.kept

    def leave(self, whole: bool) -> tuple[list[str], list[str]]:
        """End a test.

        Args:
            whole: whether the shared page may be used again: not where the test failed.

        Returns:
            What the logs hold that no test expects, and what was asked of other hosts.
        """
        for person in self.people:
            if person is not self.kept:
                if not person.page.is_closed():
                    person.page.wait_for_timeout(50)  # what is still on its way to the log
                self.back(person.page.context)
            elif not whole or person.shared is None or not person.shared.can_be_shared(*SIZE):
                self.back(person.page.context)
                self.kept = None
        log = [line for person in self.people for line in person.unexpected()]
        asked = {url for person in self.people for url in person.requests}
        for person in self.people:
            for noted in (person.log, person.expected, person.requests):
                noted.clear()
        self.people.clear()
        return log, [url for url in asked if not url.startswith((self.server.address, "data:", "blob:"))]


@pytest.fixture(scope="session")
def pages(browser: Browser, server: Server) -> Pages:
    return Pages(browser, server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def open_page(pages: Pages, request: pytest.FixtureRequest) -> Iterator[Callable[..., Person]]:
    """Opens pages, each of its own person, the first of them shared between tests; checks all their logs at the end."""
    fresh = request.node.get_closest_marker("fresh") is not None

    def opened(width: int = SIZE[0], height: int = SIZE[1], **options: Any) -> Person:
        if fresh or pages.people or set(options) - {"color_scheme"}:
            return pages.own(width, height, **options)
        return pages.share(width, height, **options)

    yield opened
    log, elsewhere = pages.leave(whole=not request.node.stash.get(FAILED, False))
    assert log == []
    assert elsewhere == []


@pytest.fixture
def person(open_page: Callable[..., Person]) -> Person:
    return open_page()


@pytest.fixture(scope="session")
def example_runs(pages: Pages) -> dict[str, ModelRun]:
    """One run of each bundled model: its first example."""
    someone = pages.own(*SIZE).go()
    runs = {}
    for example in first_examples().values():
        runs[example.model] = someone.run(example.text, example.model)
    pages.people.remove(someone)
    pages.back(someone.page.context)
    return runs


def first_examples() -> dict[str, Example]:
    """The first example of each model."""
    return {example.model: example for example in reversed(EXAMPLES)}


@pytest.fixture
def causal(example_runs: dict[str, ModelRun]) -> ModelRun:
    return example_runs["smollm2-135m"]


@pytest.fixture
def encoder(example_runs: dict[str, ModelRun]) -> ModelRun:
    return example_runs["minilm-l6"]


@pytest.fixture
def masked(example_runs: dict[str, ModelRun]) -> ModelRun:
    return example_runs["rxnmapper"]
