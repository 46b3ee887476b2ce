"""What a person waits for in the tabs of the Attention card: from a click to the painted figure, in a real browser.

    python -m benchmarks.tabs [--quick] [--clicks 30] [--sizes 1000]

Server, browser and clock are those of benchmarks/interaction.py. Before a tab is opened, another token and head are
selected in the heatmap, so that its figure is a new one each time.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import count as counted

from playwright.sync_api import Page

from benchmarks.interaction import RUN_SECONDS, WARM_UP, opened, run_text
from benchmarks.server import MODEL, Texts, served
from benchmarks.table import HEAD, Row, load_average
from dashboard.catalog.catalog import Catalog
from dashboard.settings import Settings

TABS = ("lines", "everywhere", "heads", "query-key", "norms")
FOLLOWS = ("lines", "everywhere", "query-key")  # whose figure is another one for another token; norms are marked
LIMIT = 1000 * RUN_SECONDS  # milliseconds, for what a worker computes
SOON = 10_000  # milliseconds, for all else
PIECES = "Counterrevolutionaries misunderstood incomprehensibilities. "  # words of several tokens
ROOM = 14  # tokens for them
LAYERS = 5  # of which a rollout is computed
WORDS, ROLLOUT = "attention-words", "attention-of"  # options of the heatmap, as an address names them


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabs", description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=30, help="clicks of each row")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1000], help="tokens of the texts")
    parser.add_argument("--quick", action="store_true", help="a smoke test: three clicks, 64 tokens")
    chosen = parser.parse_args(arguments)
    clicks, sizes = (3, [64]) if chosen.quick else (chosen.clicks, chosen.sizes)
    print(f"{MODEL}, {clicks} clicks a row; load average {load_average()} before; no goals are set")
    print(HEAD)
    with served() as server, opened(server.address) as page:
        texts = Texts(Catalog(Settings.from_env()))
        for size in sizes:
            run_text(page, PIECES + texts.of(size - ROOM))
            for row in Tabs(page, size, clicks).rows():
                print(row.line(), flush=True)
    print(f"load average {load_average()} after (1, 5 and 15 minutes; {os.cpu_count()} cores)")
    return 0


class Tabs:
    """The rows of one text, which the page shows, at its default options.

    Args:
        size: how many tokens the rows name. clicks: of each row, after `WARM_UP` that do not count.
    """

    def __init__(self, page: Page, size: int, clicks: int) -> None:
        self.page, self.size, self.clicks = page, size, clicks
        info = "window.dashboardApp.state.info"
        self.tokens, self.layers, self.heads = page.evaluate(
            f"() => [{info}.labels.length, {info}.layers, {info}.heads]"
        )
        chance = random.Random(size)
        self._tokens = chance.sample(range(2, self.tokens), self.tokens - 2)  # 0 is the second token
        self._heads = chance.sample(range(self.layers * self.heads), self.layers * self.heads)
        self._at = counted()

    def rows(self) -> Iterator[Row]:
        """Measure row by row."""
        self._propose(second=0)
        for tab in TABS:
            yield from self._tab(tab)
        self._to_heatmap()
        yield from self._words()
        yield from self._rollout()

    def _tab(self, tab: str) -> Iterator[Row]:
        first, again = self._row(f"open {tab} for the first time"), self._row(f"open {tab} → its figure painted")
        self._open(tab, first, LIMIT)
        yield first
        for _ in self._times(again):
            self._to_heatmap()
            self._elsewhere()
            self._open(tab, again)
        yield again
        chosen = self._row(f"choose a head in {tab}" if tab == "heads" else f"select a token in {tab}")
        for _ in self._times(chosen):
            if tab == "heads":
                self._head(tab, chosen, [])
            else:
                self._token(tab, chosen, marks=tab not in FOLLOWS, options=[])
        yield chosen

    def _words(self) -> Iterator[Row]:
        """The heatmap of words: the switch, and a head and a token while it is on."""
        merged = self._row("merge word pieces into words → heatmap painted")
        for _ in self._times(merged):
            self._elsewhere()
            self._set({WORDS: True}, [WORDS], merged, SOON)
            self._set({WORDS: False}, [], limit=SOON)
        yield merged
        self._set({WORDS: True}, [WORDS], limit=SOON)
        yield from self._within("words", [WORDS])
        self._set({WORDS: False}, [], limit=SOON)

    def _rollout(self) -> Iterator[Row]:
        """The heatmap of a rollout, which a worker computes once for each layer if the text is long."""
        computed = self._row("rollout up to another layer, computed → heatmap painted")
        self._set({ROLLOUT: "rollout"}, [ROLLOUT], computed)
        for layer in range(self.layers - 1, self.layers - LAYERS, -1):
            found = self.page.evaluate(
                "([layer, head, limit, options]) => window.bench.headIn('attention', layer, head, limit, options)",
                [layer, 0, LIMIT, [ROLLOUT]],
            )
            computed.add(found["painted"])
        yield computed
        again = self._row("rollout that is there → heatmap painted")
        for _ in self._times(again):
            self._set({ROLLOUT: "head"}, [], limit=SOON)
            self._set({ROLLOUT: "rollout"}, [ROLLOUT], again, SOON)
        yield again
        selected = self._row("select a token in rollout")
        for _ in self._times(selected):
            self._token("attention", selected, marks=True, options=[ROLLOUT])
        yield selected
        self._set({ROLLOUT: "head"}, [], limit=SOON)

    def _within(self, name: str, options: list[str]) -> Iterator[Row]:
        head, token = self._row(f"choose a head in {name}"), self._row(f"select a token in {name}")
        for _ in self._times(head):
            self._head("attention", head, options)
        yield head
        for _ in self._times(token):
            self._token("attention", token, marks=True, options=options)
        yield token

    # what is done in the page

    def _row(self, what: str) -> Row:
        return Row(what, self.size, "ms")

    def _times(self, row: Row) -> Iterator[int]:
        """As often as this row's clicks; those that do not count are taken out of it."""
        for index in range(self.clicks + WARM_UP):
            yield index
            if index < WARM_UP:
                row.values.clear()
                row.missed = 0

    def _next(self) -> tuple[int, int, int]:
        """Another token, layer and head."""
        at = next(self._at)
        layer, head = divmod(self._heads[at % len(self._heads)], self.heads)
        return self._tokens[at % len(self._tokens)], layer, head

    def _propose(self, **change: int) -> None:
        self.page.evaluate("(change) => window.dashboardApp.propose(change)", change)
        self._quiet()

    def _quiet(self) -> None:
        self.page.wait_for_timeout(300)
        self.page.evaluate("() => window.bench.quiet(10000)")

    def _elsewhere(self) -> None:
        token, layer, head = self._next()
        self._propose(token=token, layer=layer, head=head)

    def _to_heatmap(self) -> None:
        self.page.click("#attention-tab-attention")
        self._quiet()

    def _open(self, tab: str, row: Row, limit: float = SOON) -> None:
        found = self.page.evaluate("([tab, limit]) => window.bench.open(tab, limit)", [tab, limit])
        row.add(found["painted"])

    def _head(self, view: str, row: Row, options: list[str]) -> None:
        _token, layer, head = self._next()
        found = self.page.evaluate(
            "([view, layer, head, limit, options]) => window.bench.headIn(view, layer, head, limit, options)",
            [view, layer, head, SOON, options],
        )
        row.add(found["painted"])

    def _token(self, view: str, row: Row, marks: bool, options: list[str]) -> None:
        found = self.page.evaluate(
            "([view, token, of]) => window.bench.tokenIn(view, token, of)",
            [view, self._next()[0], {"marks": marks, "options": options}],
        )
        row.add(found["painted"])

    def _set(self, values: dict[str, object], options: list[str], row: Row | None = None, limit: float = LIMIT) -> None:
        found = self.page.evaluate(
            "([values, options, limit]) => window.bench.set(values, options, limit)", [values, options, limit]
        )
        if row is not None:
            row.add(found["painted"])


if __name__ == "__main__":
    sys.exit(main())
