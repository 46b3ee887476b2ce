"""From a click to the picture: what a person waits for, measured in a real browser on the real server.

    python -m benchmarks.interaction [--quick] [--clicks 30]

A server of its own (`python -m dashboard serve`, a free port, a temporary cache folder, the models that are here) is
driven by headless Chromium at 1440 × 900. A time runs from the dispatch of the click to the first task after the frame
in which the page shows the result; bytes are the encoded bodies of all responses that one click causes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from dashboard.models.catalog import Catalog
from dashboard.settings import Settings

MODEL = "smollm2-135m"
WARM_UP = 2  # clicks that do not count
READY_SECONDS = 120.0
RUN_SECONDS = 120.0
TOKEN_SIZES = (64, 256, 1024)
HEAD_SIZES = (128, 512, 1024)
GOALS_MS = {  # p95
    "highlights": {64: 60, 256: 70, 1024: 90},
    "predictions": {64: 90, 256: 110, 1024: 130},
    "heatmap": {128: 120, 512: 150, 1024: 200},
    "new text": {32: 400},
}
GOALS_KB = {"token": dict.fromkeys(TOKEN_SIZES, 4), "head": {128: 25, 512: 140, 1024: 480}, "first load": 2500}
PHRASE = (
    "the river carried a small boat past an old stone bridge while rain fell on quiet fields and two children watched from "
    "their window because nobody had told them why light changes before a storm or how far sound can travel over open water "
    "in winter when every road leads home"
)
PROBE = """
(() => {
  const drawn = { attention: 0, hidden: 0, prediction: 0 };
  const listening = new WeakSet();
  const watched = new WeakSet();
  const touched = new Set();
  let goals = [];
  let pending = 0;
  let quietSince = 0;

  const fetched = window.fetch;
  window.fetch = (...args) => {
    pending += 1;
    return fetched(...args).finally(() => { pending -= 1; quietSince = performance.now(); });
  };
  const graphOf = (name) => document.querySelector(`#${name}-graph .js-plotly-plot`);
  const metaOf = (name) => { const graph = graphOf(name); return (graph && graph.layout && graph.layout.meta) || {}; };

  function afterFrame(then) {
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = then;
      channel.port2.postMessage(null);
    });
  }
  function check() {
    for (const goal of goals) {
      if (goal.reached || !goal.test()) continue;
      goal.reached = true;
      Promise.resolve(goal.then && goal.then()).then(() => afterFrame(() => goal.resolve(performance.now())));
    }
  }
  function watch(element, name, only) {
    if (!element || watched.has(element)) return;
    watched.add(element);
    new MutationObserver((records) => {
      if (only && !records.some((record) => record.target.closest && record.target.closest(only))) return;
      touched.add(name);
      check();
    }).observe(element, { childList: true, subtree: true, attributes: true, characterData: true });
  }
  function attach() {
    for (const name of Object.keys(drawn)) {
      const graph = graphOf(name);
      if (!graph || typeof graph.on !== "function" || listening.has(graph)) continue;
      listening.add(graph);
      graph.on("plotly_afterplot", () => { drawn[name] += 1; check(); });
    }
    const byId = (id) => document.getElementById(id);
    watch(byId("tokens"), "tokens");
    watch(byId("attention-figure"), "attention", "svg.over");
    watch(byId("hidden-figure"), "hidden", "svg.over");
    watch(byId("prediction-heading"), "words");
    watch(byId("prediction-body"), "words");
  }
  /* milliseconds from act() to each goal's painting, null where it is not reached */
  async function measure(act, tests, limit) {
    attach();
    touched.clear();
    performance.clearResourceTimings();
    const names = Object.keys(tests);
    const reached = names.map((name) => new Promise((resolve) => {
      goals.push({ ...tests[name], resolve, reached: false });
      setTimeout(() => resolve(null), limit);
    }));
    const start = performance.now();
    act();
    check();
    const times = await Promise.all(reached);
    goals = [];
    await quiet(limit);
    return { ...Object.fromEntries(names.map((name, i) => [name, times[i] === null ? null : times[i] - start])), bytes: bytes() };
  }
  async function quiet(limit) {
    const end = performance.now() + limit;
    const busy = () => pending || performance.now() - quietSince < 150;
    while (busy() && performance.now() < end) await new Promise((done) => setTimeout(done, 30));
  }
  function bytes() {
    const own = performance.getEntriesByType("resource").filter((entry) => !entry.name.endsWith("/health"));
    return own.reduce((sum, entry) => sum + entry.encodedBodySize, 0);
  }
  async function decoded() {
    const image = document.querySelector("#attention-graph .imagelayer image");
    if (!image) return;
    const copy = new Image();
    copy.src = image.getAttribute("href") || image.getAttributeNS("http://www.w3.org/1999/xlink", "href");
    await copy.decode();
  }
  performance.setResourceTimingBufferSize(20000);

  window.bench = {
    quiet,
    token(token) {
      const button = document.querySelector(`#tokens [data-token="${token}"]`);
      const before = drawn.prediction;
      const everywhere = () => ["tokens", "attention", "hidden"].every((name) => touched.has(name));
      return measure(() => button.click(), {
        highlights: { test: () => button.getAttribute("aria-pressed") === "true" && everywhere() },
        predictions: { test: () => drawn.prediction > before && touched.has("words") },
      }, 10000);
    },
    head(layer, head) {
      const before = drawn.attention;
      const button = document.querySelector(`#attention-heads button[data-layer="${layer}"][data-head="${head}"]`);
      const shown = () => { const meta = metaOf("attention"); return meta.layer === layer && meta.head === head; };
      const heatmap = { test: () => drawn.attention > before && shown(), then: decoded };
      return measure(() => button.click(), { heatmap }, 10000);
    },
    run(limit) {
      const state = window.dashboardApp.state;
      const old = state.selection ? state.selection.run : null;
      const before = { ...drawn };
      const painted = () => {
        const run = state.selection && state.selection.run;
        if (!run || run === old) return false;
        const loaded = performance.getEntriesByType("resource");
        const sprite = loaded.some((entry) => entry.name.includes(`/run/${run}/heads-`));
        const redrawn = (name) => drawn[name] > before[name] && metaOf(name).run === run;
        return sprite && touched.has("words") && Object.keys(drawn).every(redrawn);
      };
      const look = setInterval(check, 5);  // the sprite's arrival changes no element
      const all = { all: { test: painted, then: decoded } };
      return measure(() => document.getElementById("run").click(), all, limit).finally(() => clearInterval(look));
    },
  };
})();
"""


@dataclass
class Row:
    """One line of the table: measured values, and the goal for their 95th percentile (None where there is none)."""

    what: str
    size: int | None
    unit: str
    goal: float | None
    values: list[float] = field(default_factory=list)
    missed: int = 0

    def add(self, value: float | None) -> None:
        if value is None:
            self.missed += 1
        else:
            self.values.append(value)

    def line(self) -> str:
        size = f"{self.size:,}" if self.size else ""
        goal = f"≤ {self.goal:,.0f}" if self.goal is not None else "–"
        middle, high = percentile(self.values, 0.5), percentile(self.values, 0.95)
        missed = f"   {self.missed} not seen" if self.missed else ""
        numbers = f"{middle:>9,.1f} {high:>9,.1f} {goal:>9} {self.unit:<3} {len(self.values):>4}"
        return f"{self.what:<52} {size:>6} {numbers}{missed}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; NaN of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. The exit code says nothing of the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interaction", description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=30, help="clicks of each row")
    parser.add_argument("--quick", action="store_true", help="a smoke test: three clicks, the smallest size")
    chosen = parser.parse_args(arguments)
    clicks = 3 if chosen.quick else chosen.clicks
    print(f"{MODEL}, {clicks} clicks a row; load average {load_average()} before")
    print(f"{'':<52} {'N':>6} {'p50':>9} {'p95':>9} {'goal p95':>9} {'':<3} {'n':>4}")
    with served() as address, opened(address) as page:
        for row in rows(page, address, clicks, chosen.quick):
            print(row.line(), flush=True)
    print(f"load average {load_average()} after (1, 5 and 15 minutes; {os.cpu_count()} cores)")
    return 0


def load_average() -> str:
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


def rows(page: Page, address: str, clicks: int, quick: bool) -> Iterator[Row]:
    """Measure row by row; a size is run once and serves all rows that need it."""
    texts = Texts(Catalog(Settings.from_env()))
    yield first_load(page, address)
    run_text(page, texts.of(32))
    yield new_text(page, texts, clicks)
    sizes = (64,) if quick else tuple(sorted({*TOKEN_SIZES, *HEAD_SIZES}))
    for size in sizes:
        run_text(page, texts.of(size))
        if size in TOKEN_SIZES:
            yield from token_rows(page, size, clicks)
        if size in HEAD_SIZES or quick:
            yield from head_rows(page, size, clicks)


def first_load(page: Page, address: str) -> Row:
    """Encoded bytes of everything that the first visit loads; all of it must come from this server."""
    entries = page.evaluate(
        "() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map((entry) => [entry.name, entry.encodedBodySize])"
    )
    foreign = sorted({name for name, _size in entries if not name.startswith((address, "data:", "blob:"))})
    if foreign:
        print(f"From another host: {', '.join(foreign)}")
    row = Row("first load of the page, compressed", None, "kB", GOALS_KB["first load"])
    row.add(sum(size for _name, size in entries) / 1000)
    return row


def new_text(page: Page, texts: Texts, clicks: int) -> Row:
    """Another text, a resident model: from Run to all views painted."""
    row = Row("new text of 32 tokens → all views painted", 32, "ms", GOALS_MS["new text"][32])
    for index in range(clicks + WARM_UP):
        found = run_text(page, texts.of(32))
        if index >= WARM_UP:
            row.add(found)
    return row


def token_rows(page: Page, size: int, clicks: int) -> list[Row]:
    """Select tokens in the strip."""
    count = page.evaluate("() => window.dashboardApp.state.info.labels.length")
    marks = Row("select a token → highlights in every view", size, "ms", GOALS_MS["highlights"].get(size))
    data = Row("select a token → predictions updated", size, "ms", GOALS_MS["predictions"].get(size))
    sent = Row("bytes of one token selection", size, "kB", GOALS_KB["token"].get(size))
    for index, token in enumerate(others(random.Random(size), range(count), clicks + WARM_UP)):
        found = page.evaluate("(token) => window.bench.token(token)", token)
        if index >= WARM_UP:
            marks.add(found["highlights"])
            data.add(found["predictions"])
            sent.add(found["bytes"] / 1000)
    return [marks, data, sent]


def head_rows(page: Page, size: int, clicks: int) -> list[Row]:
    """Choose heads in the grid: first of one layer, then of others, where the hidden states are drawn as well."""
    layers, heads = page.evaluate("() => [window.dashboardApp.state.info.layers, window.dashboardApp.state.info.heads]")
    layer = layers // 2
    chance = random.Random(size)
    same = [(layer, head) for head in others(chance, range(heads), clicks + WARM_UP)]
    other = [(at, chance.randrange(heads)) for at in others(chance, range(layers), clicks + WARM_UP)]
    page.evaluate("([layer, head]) => window.bench.head(layer, head)", [layer, (same[0][1] + 1) % heads])
    goals = GOALS_MS["heatmap"].get(size), GOALS_KB["head"].get(size)
    found = []
    for where, places, (goal, goal_kb) in (("", same, goals), (" of another layer", other, (None, None))):
        shown = Row(f"choose a head{where} → its heatmap drawn", size, "ms", goal)
        sent = Row(f"bytes to show one head{where}", size, "kB", goal_kb)
        for index, place in enumerate(places):
            times = page.evaluate("([layer, head]) => window.bench.head(layer, head)", list(place))
            if index >= WARM_UP:
                shown.add(times["heatmap"])
                sent.add(times["bytes"] / 1000)
        found += [shown, sent]
    return found


def others(chance: random.Random, choices: range, count: int) -> list[int]:
    """`count` random choices, none equal to the one before, and the first not the middle or the last (selected at first)."""
    found = [choices[0]]
    for _ in range(count):
        found.append(chance.choice([choice for choice in choices if choice != found[-1]]))
    return found[1:] if found[1] not in (choices[-1], choices[len(choices) // 2]) else [choices[0], *found[2:]]


def run_text(page: Page, text: str) -> float | None:
    """Run a text and wait until every view is painted; milliseconds, or None where that was not seen."""
    page.fill("#text", text)
    page.wait_for_timeout(300)  # the token count is asked for 200 ms after the last key
    page.evaluate("() => window.bench.quiet(5000)")
    return page.evaluate("(limit) => window.bench.run(limit)", RUN_SECONDS * 1000)["all"]


class Texts:
    """Texts of a wanted number of tokens, no two the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self._made = catalog, 0

    def of(self, size: int) -> str:
        """A text of at most `size` tokens, and as near as whole words come."""
        self._made += 1
        chance, known = random.Random(f"{size}-{self._made}"), PHRASE.split()
        words = [f"Number {self._made}:", *(chance.choice(known) for _ in range(size))]
        low, high = 1, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            count = self._catalog.count_tokens(MODEL, " ".join(words[:middle]))
            if count is None:
                raise SystemExit(f"{MODEL} is not here. Run make setup, then try again.")
            low, high = (middle, high) if count <= size else (low, middle - 1)
        return " ".join(words[:low])


@contextmanager
def served() -> Iterator[str]:
    """A server of our own, with its model in memory; gives its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory(prefix="dashboard-benchmark-") as folder:
        log = Path(folder) / "server.log"
        models = str(Settings.from_env().models_folder)
        own = {"DASHBOARD_CACHE_DIR": f"{folder}/cache", "DASHBOARD_MODELS_DIR": models, "DASHBOARD_DEFAULT_MODEL": MODEL}
        environ = {**os.environ, **own, "HOST": "127.0.0.1", "PORT": str(port)}
        with log.open("wb") as output:
            command = [sys.executable, "-m", "dashboard", "serve"]
            server = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT)
            try:
                wait_until(lambda: server.poll() is not None or is_ready(address), READY_SECONDS)
                if server.poll() is not None or not is_ready(address):
                    raise SystemExit(f"The server did not get ready. It says:\n{log.read_text(errors='replace')[-2000:]}")
                yield address
            finally:
                server.terminate()
                try:
                    server.wait(20)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_ready(address: str) -> bool:
    """Whether the page is up and the model in memory."""
    try:
        with urllib.request.urlopen(address + "health", timeout=2) as reply:
            health: dict[str, Any] = json.load(reply)
    except (OSError, ValueError):
        return False
    return health.get("worker") == "ready" and MODEL in (health.get("models") or [])


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.1)


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """The page in headless Chromium, loaded and at rest, with the probe in it."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    chromium = next((found for name in names if name and (found := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit("Chromium is needed: install it, or set CHROMIUM to its path.")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if root else [])
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(address)
            page.wait_for_selector("#run")
            page.wait_for_function("() => window.dashboardApp && window.dash_clientside && window.dash_clientside.set_props")
            page.wait_for_load_state("networkidle", timeout=30_000)
            page.evaluate(PROBE)
            yield page
        finally:
            browser.close()


if __name__ == "__main__":
    sys.exit(main())
