"""Pictures for print, as the browser makes them: cells by the colours of their weights, and every text by its place."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from dashboard.contracts.run import ModelRun
from dashboard.exports.figures import names, picture_json, standalone
from dashboard.exports.sheet import Sheet
from dashboard.figures.theme import DARK, LIGHT, Theme
from dashboard.views import all_views
from dashboard.views.state import ViewState
from tests.browser.test_saving import chunks, save
from tests.support.person import Person
from tests.support.synthetic import OneRun, make_whole_run

pytestmark = pytest.mark.browser
SVG = "{http://www.w3.org/2000/svg}"
VIEWS = all_views()
LONG = (
    " incomprehensibilities",
    " 深層学習の内部表現を可視化",
    " counterrevolutionary",
    "電気通信大学大学院情報理工学",
)
WEIGHTS = {  # the scales of the look, low to high
    "light": "#EFF3F8 #C2DAF6 #97C1F3 #71A5E8 #4C88DB #316CC4 #2151A2 #15387E #0B2159",
    "dark": "#23252A #2E3B50 #365279 #406C9F #4788C7 #5DA5E2 #7EC2F7 #ABDCFF #DEF2FF",
}
TEXTS = """
async () => {
    await document.fonts.ready;
    const svg = document.querySelector("svg");
    const paper = svg.getBoundingClientRect();
    const found = [];
    for (const text of svg.querySelectorAll("text")) {
        if (!text.textContent.trim() || getComputedStyle(text).display === "none") continue;
        const box = text.getBBox();
        const to = text.getScreenCTM();
        const scale = Math.sqrt(Math.abs(to.a * to.d - to.b * to.c));
        const parts = [text, ...text.querySelectorAll("tspan")];
        const sizes = parts.map((part) => parseFloat(getComputedStyle(part).fontSize));
        const trim = box.height * 0.13; // above and below what is written
        const corners = [
            [box.x, box.y + trim], [box.x + box.width, box.y + trim],
            [box.x + box.width, box.y + box.height - trim], [box.x, box.y + box.height - trim],
        ].map(([x, y]) => [to.a * x + to.c * y + to.e - paper.left, to.b * x + to.d * y + to.f - paper.top]);
        found.push({
            text: text.textContent,
            pt: Math.min(...sizes) * scale * 0.75,
            corners,
            point: Boolean(text.closest(".scatterlayer")),
        });
    }
    return [paper.width, paper.height, found];
}
"""


@cache
def run_of(count: int, long: bool) -> ModelRun:
    texts = [LONG[i % len(LONG)] if long else " the" if i % 3 else f" word{i}" for i in range(count)]
    return make_whole_run("causal", texts, layers=12 if count < 100 else 4, heads=6)


def asked(name: str, run: ModelRun, sheet: Sheet, theme: Theme = LIGHT, second: int | None = 9) -> dict[str, Any]:
    query = {"run": run.key, "token": "7", "layer": "1", "head": "1"}
    state = ViewState.from_query(query if second is None else query | {"second": str(second)}, VIEWS)
    return dict(json.loads(picture_json(standalone(name, state, VIEWS, OneRun(run)), theme, sheet)))


def drawn(person: Person, found: dict[str, Any]) -> str:
    return str(person.page.evaluate("found => dashboardApp.drawPicture(found)", found))


@pytest.fixture
def viewer(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def overlap(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> bool:
    """Whether two rectangles, each turned or not, share more than half a pixel (separating axes)."""
    for corners in (one, other):
        for i in range(2):
            side = np.subtract(corners[i + 1], corners[i])
            length = np.linalg.norm(side)
            if length == 0:
                return False
            mine, its = (np.array(box) @ (side / length) for box in (one, other))
            if mine.max() - its.min() < 0.5 or its.max() - mine.min() < 0.5:
                return False
    return True


def faults(viewer: Page, svg: str) -> list[str]:
    """Texts that are too small, that leave the paper, or that lie on one another (labels of points may)."""
    viewer.set_content(f"<style>body {{ margin: 0 }}</style>{svg}")
    width, height, texts = viewer.evaluate(TEXTS)
    assert len(texts) > 2
    found = [f"{one['text']!r} has {one['pt']:.2f} pt" for one in texts if one["pt"] < 6]
    for one in texts:
        xs, ys = zip(*one["corners"], strict=True)
        if min(xs) < -0.5 or min(ys) < -0.5 or max(xs) > width + 0.5 or max(ys) > height + 0.5:
            found.append(f"{one['text']!r} leaves the paper: {min(xs):.0f}–{max(xs):.0f} of {width:.0f}")
    fixed = [one for one in texts if not one["point"]]
    for i, one in enumerate(fixed):
        found += [
            f"{one['text']!r} lies on {its['text']!r}" for its in fixed[:i] if overlap(one["corners"], its["corners"])
        ]
    return found


@pytest.mark.parametrize(("count", "long"), [(18, False), (18, True), (64, True), (300, False)])
@pytest.mark.parametrize("width", [85, 170])
def test_every_text_is_large_enough_and_has_its_place(
    person: Person, viewer: Page, width: int, count: int, long: bool
) -> None:
    run = run_of(count, long)
    found = {}
    for name in names(VIEWS):
        picture = asked(name, run, Sheet(width))
        svg = drawn(person, picture)
        root = ElementTree.fromstring(svg)
        assert root.get("width") == f"{width}mm"
        assert root.get("viewBox") == f"0 0 {picture['width']} {picture['height']}"
        found[name] = faults(viewer, svg)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
