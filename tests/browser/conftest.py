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

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    sync_playwright,
)

from dashboard.contracts.run import ModelRun
from tests.support.pages import SIZE, Pages
from tests.support.person import Person, first_examples
from tests.support.server import Server, serving

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
FAILED = pytest.StashKey[bool]()


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


@pytest.fixture
def causal(example_runs: dict[str, ModelRun]) -> ModelRun:
    return example_runs["smollm2-135m"]


@pytest.fixture
def encoder(example_runs: dict[str, ModelRun]) -> ModelRun:
    return example_runs["minilm-l6"]


@pytest.fixture
def masked(example_runs: dict[str, ModelRun]) -> ModelRun:
    return example_runs["rxnmapper"]
