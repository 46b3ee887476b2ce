"""The heatmap of a long text, by the colours of its pixels: no strong weight is lost, whatever the size of the
window."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from dashboard.figures.attention import shades
from dashboard.figures.theme import DARK, LIGHT, Theme, colour_table
from tests.browser.test_saving import save
from tests.support.person import Person
from tests.support.server import Server
from tests.support.synthetic import make_parts

pytestmark = pytest.mark.browser
COUNT, BEHIND, WIDTH, SELECTED = 1649, 100, 256, 900
NOTE = "#attention-figure .note-text"


@pytest.fixture(scope="module")
def long_run(server: Server) -> Iterator[ModelRun]:
    """A stored run in whose head 0 each token from 100 on reads the one 100 before it with a weight of about 0.6."""
    header, arrays = make_parts("causal", [f" t{i}" for i in range(COUNT)], model="smollm2-135m", layers=1)
    codes = np.random.default_rng(2).choice([-1.0, 1.0], size=(COUNT, WIDTH)).astype(np.float32)
    arrays["decoder/key/0"] = codes[None]
    arrays["decoder/query/0"] = np.stack([np.roll(codes, BEHIND, axis=0) * 2 * 7.3 / WIDTH, np.zeros_like(codes)])
    server.store.save(header["key"], header, arrays)
    yield server.store.open(header["key"])
    server.store.delete(header["key"])


def drawn(person: Person, run: ModelRun, head: int = 0) -> Person:
    """Wait until the cells are this head's."""
    person.page.wait_for_function(
        """([run, head]) => {
            const canvas = document.querySelector("#attention-figure canvas.cells");
            return canvas && !canvas.hidden && canvas.dataset.run === run && canvas.dataset.head === String(head);
        }""",
        arg=[run.key, head],
    )
    return person.still()


def colours_differ(person: Person, weights: np.ndarray, theme: Theme) -> list[str]:
    """Which pixels of the screen, along the diagonal, have another colour than the largest weight that they hold."""
    plot = person.page.evaluate(
        """() => {
            const canvas = document.querySelector("#attention-figure canvas.cells");
            canvas.scrollIntoView({ block: "center", behavior: "instant" });
            const { left, top, width, height } = canvas.getBoundingClientRect();
            const { xaxis, yaxis } = document.querySelector("#attention-graph .js-plotly-plot")._fullLayout;
            const ends = (axis) => [axis.p2l(0) + 0.5, axis.p2l(axis._length) + 0.5];
            return { left, top, width, height, x: ends(xaxis), y: ends(yaxis), ratio: devicePixelRatio };
        }"""
    )
    picture = np.asarray(Image.open(io.BytesIO(person.page.screenshot())).convert("RGB")).astype(int)
    table = colour_table(theme.weights, 255).astype(int)
    ratio, found, looked = plot["ratio"], [], 0
    left, top = round(plot["left"] * ratio), round(plot["top"] * ratio)
    wide, high = round(plot["width"] * ratio), round(plot["height"] * ratio)
    step = (plot["x"][1] - plot["x"][0]) / wide
    for query in range(BEHIND + 40, COUNT, 37):
        key = query - BEHIND
        column = math.floor((key + 0.5 - plot["x"][0]) / step)
        line = math.floor((query + 0.5 - plot["y"][0]) / (plot["y"][1] - plot["y"][0]) * high)
        if abs(query - SELECTED) / step < 8 * ratio:  # under the frame of the selected row
            continue
        if not (4 <= column < wide - 4 and 4 <= line < high - 4 and top + line < len(picture)):
            continue
        spans = [_cells(plot["y"][0], step, line), _cells(plot["x"][0], step, column)]
        largest = weights[spans[0][0] : spans[0][1], spans[1][0] : spans[1][1]].max()
        expected = table[int(shades(np.array([largest]))[0]) - 1]
        seen = picture[top + line, left + column]
        looked += 1
        if np.abs(seen - expected).max() > 3:
            found.append(f"{query} reads {key} with {largest:.3f}: {seen.tolist()}, not {expected.tolist()}")
    assert looked >= 3
    return found


def _cells(start: float, step: float, pixel: int) -> tuple[int, int]:
    """First and last cell (exclusive) of a pixel; where a cell has a pixel or more, the one in the pixel's middle."""
    low, high = start + pixel * step, start + (pixel + 1) * step
    if step <= 1:
        return math.floor((low + high) / 2), math.floor((low + high) / 2) + 1
    return math.floor(low + 1e-6), math.ceil(high - 1e-6)


def test_a_diagonal_of_strong_weights_keeps_its_colour(person: Person, long_run: ModelRun) -> None:
    weights = long_run.attention(0, 0)
    diagonal = weights[np.arange(BEHIND, COUNT), np.arange(COUNT - BEHIND)]
    assert 0.4 < diagonal.mean() < 0.75
    drawn(person.open_run(long_run, token=SELECTED, layer=0, head=0), long_run)
    assert colours_differ(person, weights, LIGHT) == []
    expect(person.page.locator(NOTE).first).to_contain_text("Each pixel shows the largest of up to")
    expect(person.page.locator("#attention-heading")).to_contain_text(
        "A pixel that holds several weights shows the largest."
    )
    assert person.framed_row() == SELECTED


def test_it_does_so_in_the_dark_in_another_window_and_on_a_phone(person: Person, long_run: ModelRun) -> None:
    weights = long_run.attention(0, 0)
    person.page.emulate_media(color_scheme="dark")
    drawn(person.open_run(long_run, token=SELECTED, layer=0, head=0), long_run)
    theme = DARK if person.page.evaluate("() => document.documentElement.dataset.theme") == "dark" else LIGHT
    for size in ((1280, 720), (1900, 1000), (390, 844)):
        person.page.set_viewport_size({"width": size[0], "height": size[1]})
        drawn(person.settled(), long_run)
        assert colours_differ(person, weights, theme) == [], size


def test_zoomed_in_each_cell_has_its_own_pixels_again(person: Person, long_run: ModelRun) -> None:
    weights = long_run.attention(0, 0)
    drawn(person.open_run(long_run, token=SELECTED, layer=0, head=0), long_run)
    person.page.evaluate(
        """() => Plotly.relayout(document.querySelector("#attention-graph .js-plotly-plot"),
            { "xaxis.range": [780, 920], "yaxis.range": [1020, 880] })"""
    )
    drawn(person, long_run)
    expect(person.page.locator(NOTE).filter(has_text="Each pixel")).to_have_count(0)
    assert colours_differ(person, weights, LIGHT) == []
    person.hover_at(person.cell(950, 850))
    shown = person.at("tooltip").locator("b")
    assert float(shown.text_content() or "") == pytest.approx(float(weights[950, 850]), abs=5.1e-5)


def test_another_head_is_drawn_in_its_place(person: Person, long_run: ModelRun) -> None:
    drawn(person.open_run(long_run, token=SELECTED, layer=0, head=0), long_run)
    person.head_button(0, 1).click()
    drawn(person.selects(head=1), long_run, 1)
    assert colours_differ(person, long_run.attention(0, 1), LIGHT) == []


def test_on_a_finer_screen_a_pixel_holds_fewer_weights(open_page: Callable[..., Person], long_run: ModelRun) -> None:
    person = open_page(1280, 720, device_scale_factor=2)
    drawn(person.open_run(long_run, token=SELECTED, layer=0, head=0), long_run)
    assert colours_differ(person, long_run.attention(0, 0), LIGHT) == []


def test_the_exported_picture_keeps_it_too(person: Person, long_run: ModelRun, tmp_path: Path) -> None:
    drawn(person.open_run(long_run, token=SELECTED, layer=0, head=0), long_run)
    person.page.locator("#attention-panel .options-box summary").click()
    picture = np.asarray(Image.open(save(person, "#attention-card", "attention.png", tmp_path)).convert("RGB")).astype(
        int
    )
    weights = long_run.attention(0, 0)
    diagonal = weights[np.arange(BEHIND, COUNT), np.arange(COUNT - BEHIND)]
    least = colour_table(LIGHT.weights, 255)[int(shades(np.array([diagonal.min()]))[0]) - 1].astype(int)
    strong = (picture[:, :, 0] <= least[0] + 4) & (picture[:, :, 2] - picture[:, :, 0] > 60)  # blue, and no paler
    rows = strong[:, : picture.shape[1] - 170].any(axis=1)  # without the legend
    lines = np.flatnonzero(rows)
    tall = 1280 * (COUNT - BEHIND) / COUNT  # lines of the picture that the diagonal goes through, from its end up
    lines = lines[lines > lines[-1] - tall + 8]
    assert np.diff(lines).max() <= 8, "no gap but for the frame of the selected row"
    assert len(lines) > 0.8 * tall


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_small_picture_of_a_head_keeps_its_strong_weights(person: Person, server: Server, theme: str) -> None:
    """A pixel of the grid of all heads stands for several weights: none of a diagonal of the largest is paler than
    those."""
    side = 32
    header, arrays = make_parts("causal", [f" t{i}" for i in range(side)], model="smollm2-135m", layers=12, heads=12)
    weights = np.full((12, 12, side, side), 40, dtype=np.uint8)
    weights[:, :, np.arange(1, side), np.arange(side - 1)] = 255
    arrays["decoder/thumbnails"] = weights
    server.store.save(header["key"], header, arrays)
    run = server.store.open(header["key"])
    person.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    person.open_run(run, token=3, layer=0, head=0)
    person.page.wait_for_function(
        "(run) => document.querySelector('#attention-heads canvas').dataset.run === run"
        " && !document.querySelector('[data-dash-is-loading=true]')",
        arg=run.key,
    )
    assert person.page.evaluate("() => document.documentElement.dataset.theme") == theme
    expect(person.at("attention-heads-title")).to_have_attribute(
        "title", "A pixel that holds several weights shows the largest."
    )
    seen = person.page.evaluate(
        """() => {
            const canvas = document.querySelector("#attention-heads canvas");
            const button = document.querySelector("#attention-heads button[data-layer='7'][data-head='5']");
            const box = canvas.getBoundingClientRect();
            const { left, top, width } = button.getBoundingClientRect();
            const at = [left - box.left, top - box.top, width, width].map(Math.round);
            return [at[2], [...canvas.getContext("2d").getImageData(...at).data]];
        }"""
    )
    size, pixels = seen[0], np.array(seen[1]).reshape(seen[0], seen[0], 4)[:, :, :3]
    assert size < side, "several weights a pixel"
    strongest = colour_table({"light": LIGHT, "dark": DARK}[theme].weights, 255).astype(int)[-1]
    for line in range(size):  # the largest weights of these rows lie in these columns
        rows = range(math.floor(line * side / size), math.ceil((line + 1) * side / size))
        columns = {math.floor((row - 1) * size / side) for row in rows if row}
        assert any(np.abs(pixels[line, column] - strongest).max() <= 3 for column in columns), line
    server.store.delete(header["key"])
