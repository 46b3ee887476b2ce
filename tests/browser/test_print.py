"""Pictures for print, as the browser makes them: cells by the colours of their weights, and every text by its place."""

from __future__ import annotations

import json
import re
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
from dashboard.exports.picture_target import Sheet
from dashboard.figures.theme import DARK, LIGHT, Theme
from dashboard.views import all_views
from dashboard.views.state import ViewState
from tests.browser.test_saving import chunks, save
from tests.support.person import Person
from tests.support.synthetic import OneRun, made_for

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
def run_of(view: str, count: int, long: bool) -> ModelRun:
    texts = [LONG[i % len(LONG)] if long else " the" if i % 3 else f" word{i}" for i in range(count)]
    return made_for(view, texts, layers=12 if count < 100 else 4, heads=6)


def asked(name: str, run: ModelRun, sheet: Sheet, theme: Theme = LIGHT, second: int | None = 9) -> dict[str, Any]:
    query = {"run": run.key, "token": "7", "layer": "1", "head": "1", "everywhere-weight": "first"}
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
    found = {}
    for name in names(VIEWS):
        picture = asked(name, run_of(name, count, long), Sheet(width))
        svg = drawn(person, picture)
        root = ElementTree.fromstring(svg)
        assert root.get("width") == f"{width}mm"
        assert root.get("viewBox") == f"0 0 {picture['width']} {picture['height']}"
        found[name] = faults(viewer, svg)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("width", [85, 170])
def test_without_words_only_the_figure_is_left(person: Person, viewer: Page, width: int) -> None:
    for name in names(VIEWS):
        run = run_of(name, 18, False)
        picture = asked(name, run, Sheet(width, titled=False), second=None)
        svg = drawn(person, picture)
        assert faults(viewer, svg) == [], name
        root = ElementTree.fromstring(svg)
        written = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
        assert not any(run.key[:12] in text or "Transformer dashboard" in text for text in written)
        assert json.loads(root.findtext(f"{SVG}metadata") or "")["Run"] == run.key
        assert root.findtext(f"{SVG}title") == picture["title"]


# cells


def hand_colour(weight: float, theme: str) -> np.ndarray:
    """The colour of a weight: the scale at its square root, in 255 steps, linear between two of the nine colours."""
    scale = np.array([[int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in WEIGHTS[theme].split()], dtype=float)
    at = round(254 * weight**0.5) / 254 * 8
    low = min(int(at), 7)
    return scale[low] + (at - low) * (scale[low + 1] - scale[low])


def cells_of(root: ElementTree.Element) -> list[tuple[float, float, float, float, np.ndarray]]:
    """(left, top, right, bottom, colour) of every rectangle."""
    found = []
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "cells":
            for path in group.iter(f"{SVG}path"):
                fill = path.get("fill") or ""
                colour = np.array([int(fill[i : i + 2], 16) for i in (1, 3, 5)])
                for part in re.findall(r"M(\S+) (\S+)H(\S+)V(\S+)H\S+?Z", path.get("d") or ""):
                    left, top, right, bottom = map(float, part)
                    found.append((left, top, right, bottom, colour))
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("count", "width"), [(18, None), (18, 85), (64, 170)])
def test_each_weight_is_a_rectangle_of_its_colour(person: Person, count: int, width: int | None, theme: str) -> None:
    run = run_of("attention", count, False)
    picture = asked("attention", run, Sheet(width), DARK if theme == "dark" else LIGHT)
    root = ElementTree.fromstring(drawn(person, picture))
    assert list(root.iter(f"{SVG}image")) == []
    assert picture["notes"] == ""
    cells = cells_of(root)
    assert len(cells) == count * (count + 1) // 2, "what the mask forbids stays empty"
    lefts, tops = sorted({cell[0] for cell in cells}), sorted({cell[1] for cell in cells})
    assert (len(lefts), len(tops)) == (count, count)
    side, weights = (lefts[-1] - lefts[0]) / (count - 1), run.attention(1, 1)
    gap = 1 if count <= 40 else 0
    for left, top, right, bottom, colour in cells:
        row, column = tops.index(top), lefts.index(left)
        assert column <= row
        assert np.abs(colour - hand_colour(weights[row, column], theme)).max() <= 0.51
        assert right - left == pytest.approx(side - gap, abs=0.03)
        assert bottom - top == pytest.approx(side - gap, abs=0.03)


def test_the_lens_and_all_heads_are_rectangles_too(person: Person) -> None:
    run = run_of("attention", 64, True)
    lens = ElementTree.fromstring(drawn(person, asked("lens", run, Sheet(170))))
    assert list(lens.iter(f"{SVG}image")) == []
    assert len(cells_of(lens)) == 64 * (run.model.layers + 1)
    heads = ElementTree.fromstring(drawn(person, asked("attention-heads", run, Sheet(85))))
    assert list(heads.iter(f"{SVG}image")) == []
    shades = np.asarray(run.arrays["decoder/thumbnails"]).ravel()
    scale = [hand_colour(((int(shade) - 1) / 254) ** 2, "light").round() for shade in shades[shades > 0]]
    drawn_colours = sorted(tuple(cell[4].tolist()) for cell in cells_of(heads))
    assert len(drawn_colours) == len(scale)
    assert np.abs(np.array(drawn_colours) - np.array(sorted(tuple(map(int, one)) for one in scale))).max() <= 1


def test_a_longer_text_stays_a_picture_and_says_so(person: Person) -> None:
    picture = asked("attention", run_of("attention", 300, False), Sheet(85))
    root = ElementTree.fromstring(drawn(person, picture))
    assert len(list(root.iter(f"{SVG}image"))) == 1
    assert picture["notes"] == "The cells are one picture: there are more than 64 in a row or column."
    assert picture["notes"] in (root.findtext(f"{SVG}desc") or "")


# the menu


@pytest.mark.fresh
def test_what_is_chosen_for_print_is_saved_and_remembered(person: Person, causal: ModelRun, tmp_path: Path) -> None:
    person.open_run(causal, token=15, layer=24, head=4, second=1)
    menu = person.page.locator("#attention-panel .options-box")
    menu.locator("summary").click()
    widths = menu.get_by_role("radiogroup", name="Width of PNG and SVG").get_by_role("radio")
    expect(widths.nth(0)).to_be_checked()
    widths.nth(0).focus()
    person.page.keyboard.press("ArrowLeft")
    expect(widths.nth(2)).to_be_checked()
    expect(widths.nth(2)).to_be_focused()
    png = save(person, "#attention-card", "attention.png", tmp_path)
    assert png.name == f"smollm2-135m_attention_layer24_head4_token15_second1_85mm_{causal.key[:8]}.png"
    image = Image.open(png)
    assert image.width == 1004
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert json.loads(image.text["Comment"])["Run"] == causal.key  # type: ignore[attr-defined]
    [density] = chunks(png.read_bytes())["pHYs"]
    assert len(density) == 9
    menu.get_by_role("checkbox", name="PNG and SVG without title and source").click()
    person.load(f"/?run={causal.key}&token=15&layer=24&head=4")
    person.page.locator("#attention-panel .options-box summary").click()
    expect(person.page.locator("#attention-card").get_by_role("radio", name="85 mm")).to_be_checked()
    svg = ElementTree.fromstring(save(person, "#attention-card", "attention.svg", tmp_path).read_text("utf-8"))
    assert svg.get("width") == "85mm"
    assert list(svg.iter(f"{SVG}image")) == []
    written = ["".join(node.itertext()) for node in svg.iter(f"{SVG}text")]
    assert not any("attends" in text or causal.key[:12] in text for text in written)
    assert json.loads(svg.findtext(f"{SVG}metadata") or "")["Run"] == causal.key
