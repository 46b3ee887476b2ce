"""A person at the page: what they do, what they see, and what they cannot read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import (
    ConsoleMessage,
    Frame,
    Locator,
    Page,
    Request,
    expect,
)
from playwright.sync_api import TimeoutError as TooLateError

from dashboard.catalog.examples import EXAMPLES, Example
from dashboard.contracts.run import ModelRun
from tests.support.server import PATIENCE, Server
from tests.support.shared_pages import SharedPage

LOOK = 20  # milliseconds between looks at the page: at every frame, as Playwright does it, is work for the page itself
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
                const place = [info.run.slice(0, 8), token, layer, head, second].map((v) => v ?? "")
                    .concat([selection.heads, selection.tokens].filter(Boolean)).join("-");
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
        """One token's point in the graph of hidden states, once that is drawn."""
        drawn = '() => document.querySelector("#hidden-graph .js-plotly-plot")?.calcdata'
        self.page.wait_for_function(drawn, polling=LOOK)
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


def first_examples() -> dict[str, Example]:
    """The first example of each model."""
    return {example.model: example for example in reversed(EXAMPLES)}
