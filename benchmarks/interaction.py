"""From a click to the picture: what a person waits for, measured in a real browser on the real server.

    python -m benchmarks.interaction [--quick] [--clicks 30]

A server of its own is driven by headless Chromium at 1440 × 900. A time runs from the dispatch of the click to the
first task after the frame in which the page shows the result; bytes are the encoded bodies of all responses that one
click causes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

try:
    from playwright.sync_api import Page, sync_playwright
except ModuleNotFoundError as error:
    raise SystemExit(
        "Playwright is needed, which drives the browser. `make .venv/.installed-dev` installs it."
    ) from error

from benchmarks.server import MODEL, Texts, served
from benchmarks.table import HEAD, Row, load_average
from dashboard.catalog.catalog import Catalog
from dashboard.settings import Settings

WARM_UP = 2  # clicks that do not count
RUN_SECONDS = 120.0
TOKEN_SIZES = (64, 256, 1024)
HEAD_SIZES = (128, 512, 1024)
GOALS_MS = {  # p95
    "highlights": {64: 60, 256: 70, 1024: 90},
    "predictions": {64: 90, 256: 110, 1024: 130},
    "heatmap": {128: 120, 512: 150, 1024: 200},
    "new text": {32: 400},
    "all heads": {128: 200},
}
GOALS_KB = {"token": dict.fromkeys(TOKEN_SIZES, 4), "head": {128: 25, 512: 140, 1024: 480}, "first load": 2500}
BERTVIZ, LIT = "BertViz", "LIT 1.3"  # as measured on GPT-2's shape, and on a 6-layer MiniLM
PEERS = {
    "highlights": f"{LIT}: 119 ms, one module",
    "heatmap": {128: f"{BERTVIZ}: 2,100 ms", 512: f"{BERTVIZ}: not drawn"},
    "all heads": f"{BERTVIZ}: 21,300 ms",
    "new text": f"{LIT}: 590 ms",
    "head bytes": {128: f"{BERTVIZ}: 4,000 kB", 512: f"{BERTVIZ}: 45,000 kB"},
    "first load": f"{LIT}: 2,700 kB uncompressed",
}
PROBE = (Path(__file__).parent / "probe.js").read_text(encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. The exit code says nothing of the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interaction", description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=30, help="clicks of each row")
    parser.add_argument("--quick", action="store_true", help="a smoke test: three clicks, the smallest size")
    chosen = parser.parse_args(arguments)
    clicks = 3 if chosen.quick else chosen.clicks
    print(f"{MODEL}, {clicks} clicks a row; load average {load_average()} before; goals are for p95")
    print(HEAD)
    with served() as server, opened(server.address) as page:
        for row in rows(page, server.address, clicks, chosen.quick):
            print(row.line(), flush=True)
    print(f"load average {load_average()} after (1, 5 and 15 minutes; {os.cpu_count()} cores)")
    return 0


def rows(page: Page, address: str, clicks: int, quick: bool) -> Iterator[Row]:
    """Measure row by row; a size is run once and serves all rows that need it."""
    texts = Texts(Catalog(Settings.from_env()))
    yield first_load(page, address)
    run_text(page, texts.of(32))
    yield new_text(page, texts, clicks)
    yield all_heads(page, texts, 3 if quick else 10)
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
    row = Row("first load of the page, compressed", None, "kB", GOALS_KB["first load"], PEERS["first load"])
    row.add(sum(size for _name, size in entries) / 1000)
    return row


def new_text(page: Page, texts: Texts, clicks: int) -> Row:
    """Another text, a resident model: from Run to all views painted."""
    row = Row("new text of 32 tokens → all views painted", 32, "ms", GOALS_MS["new text"][32], PEERS["new text"])
    for index in range(clicks + WARM_UP):
        found = run_text(page, texts.of(32))
        if index >= WARM_UP:
            row.add(found["all"])
    return row


def all_heads(page: Page, texts: Texts, runs: int) -> Row:
    """The grid of all heads: from the moment when the page knows of the run to the painted grid."""
    row = Row(
        "all heads at a glance, after the run is ready", 128, "ms", GOALS_MS["all heads"][128], PEERS["all heads"]
    )
    for _ in range(runs):
        row.add(run_text(page, texts.of(128))["heads"])
    return row


def token_rows(page: Page, size: int, clicks: int) -> list[Row]:
    """Select tokens in the strip that were not selected before."""
    count = page.evaluate("() => window.dashboardApp.state.info.labels.length")
    marks = Row(
        "select a token → highlights in every view", size, "ms", GOALS_MS["highlights"].get(size), PEERS["highlights"]
    )
    data = Row("select a token → predictions updated", size, "ms", GOALS_MS["predictions"].get(size))
    sent = Row("bytes of one token selection", size, "kB", GOALS_KB["token"].get(size))
    unseen = [token for token in range(count) if token not in (count - 1, count // 2)]  # selected at first, or may be
    for index, token in enumerate(random.Random(size).sample(unseen, clicks + WARM_UP)):
        found = page.evaluate("(token) => window.bench.token(token)", token)
        if index >= WARM_UP:
            marks.add(found["highlights"])
            data.add(found["predictions"])
            sent.add(found["bytes"] / 1000)
    return [marks, data, sent]


def head_rows(page: Page, size: int, clicks: int) -> list[Row]:
    """Choose heads in the grid that were not shown yet: first of one layer, then of others, where the hidden states are
    drawn as well; and at last heads that were shown before, which need no server.
    """
    layers, heads = page.evaluate("() => [window.dashboardApp.state.info.layers, window.dashboardApp.state.info.heads]")
    unseen = [(layer, head) for layer in range(layers) for head in range(heads)]
    chance = random.Random(size)
    goals = GOALS_MS["heatmap"].get(size), GOALS_KB["head"].get(size)
    peers = PEERS["heatmap"].get(size, ""), PEERS["head bytes"].get(size, "")
    shown = Row("choose a head → its heatmap drawn", size, "ms", goals[0], peers[0])
    sent = Row("bytes to show one head", size, "kB", goals[1], peers[1])
    elsewhere = Row("choose a head of another layer → its heatmap drawn", size, "ms")
    more = Row("bytes to show one head of another layer", size, "kB")
    again = Row("choose a head that was shown before → its heatmap drawn", size, "ms")
    for layer in chance.sample(range(layers), 1 + (clicks + WARM_UP) // heads):
        choose(page, (layer, 0))
        for head in range(1, heads):
            if len(shown.values) < clicks:
                choose(page, (layer, head), shown, sent)
            unseen.remove((layer, head))
        unseen.remove((layer, 0))
    for place in places_apart(chance, unseen, clicks):
        choose(page, place, elsewhere, more)
    for head in (1, 2):
        choose(page, (layer, head))
    for index in range(clicks):
        choose(page, (layer, 1 + index % 2), again)
    return [shown, sent, elsewhere, more, again]


def choose(page: Page, place: tuple[int, int], time: Row | None = None, size: Row | None = None) -> None:
    """Click on one head of the grid."""
    found = page.evaluate("([layer, head]) => window.bench.head(layer, head)", list(place))
    if time is not None:
        time.add(found["heatmap"])
    if size is not None:
        size.add(found["bytes"] / 1000)


def places_apart(chance: random.Random, places: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """`count` of these, no two that follow each other in one layer."""
    left, found = list(places), [(-1, -1)]
    while len(found) <= count:
        found.append(chance.choice([place for place in left if place[0] != found[-1][0]]))
        left.remove(found[-1])
    return found[1:]


def run_text(page: Page, text: str) -> dict[str, float | None]:
    """Run a text and wait until every view is painted; milliseconds for "all" and "heads", None where it was not
    seen."""
    page.fill("#text", text)
    page.wait_for_timeout(300)  # the token count is asked for 200 ms after the last key
    page.evaluate("() => window.bench.quiet(5000)")
    return dict(page.evaluate("(limit) => window.bench.run(limit)", RUN_SECONDS * 1000))


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """The page in headless Chromium, loaded and at rest, with the probe in it."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
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
            page.wait_for_function(
                "() => window.dashboardApp && window.dash_clientside && window.dash_clientside.set_props"
            )
            page.wait_for_load_state("networkidle", timeout=30_000)
            page.evaluate(PROBE)
            yield page
        finally:
            browser.close()


if __name__ == "__main__":
    sys.exit(main())
