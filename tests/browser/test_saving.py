"""Files saved from the page, read back; pages opened from the disk without a network."""

from __future__ import annotations

import csv
import io
import json
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from dashboard import open_run
from dashboard.contracts.run import ModelRun
from dashboard.store.exports import MOST_AT_ONCE, ExportRoom
from tests.support.person import Person

pytestmark = pytest.mark.browser
SVG = "{http://www.w3.org/2000/svg}"


def save(person: Person, box: str, name: str, folder: Path) -> Path:
    """Press a button of an open menu and keep what comes."""
    button = person.page.locator(f'{box} [data-export="{name}"]')
    with person.page.expect_download() as coming:
        button.click()
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    expect(person.page.locator(f"{box} .export-sign")).to_contain_text(path.name)
    return path


def chunks(content: bytes) -> dict[str, list[bytes]]:
    """The chunks of a PNG, each with a right checksum."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found: dict[str, list[bytes]] = {}
    at = 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        found.setdefault(kind.decode(), []).append(body)
        at += 12 + size
    return found


def texts_of(content: bytes) -> dict[str, str]:
    found = {}
    for body in chunks(content)["iTXt"]:
        name, rest = body.split(b"\0", 1)
        found[name.decode()] = rest[4:].decode()
    return found


def test_each_format_of_a_figure(person: Person, causal: ModelRun, tmp_path: Path) -> None:
    from PIL import Image

    person.open_run(causal, token=15, layer=24, head=4, second=1)
    person.page.locator("#attention-panel .options-box summary").click()
    box = "#attention-card"
    png = save(person, box, "attention.png", tmp_path)
    assert png.name == f"smollm2-135m_attention_layer24_head4_token15_second1_{causal.key[:8]}.png"
    texts = texts_of(png.read_bytes())
    stored = json.loads(texts["Comment"])
    assert stored["Model"] == "SmolLM2-135M-Instruct (smollm2-135m)"
    assert stored["Run"] == causal.key
    assert stored["Text"] == causal.text
    assert texts["Title"] == "Layer 24, head 4: what ·to (15) attends to"
    image = Image.open(png).convert("RGB")
    assert len(set(image.resize((200, 200)).getdata())) > 50
    assert image.getpixel((2, 2)) == (255, 255, 255)

    svg = ElementTree.fromstring(save(person, box, "attention.svg", tmp_path).read_text(encoding="utf-8"))
    assert json.loads(svg.findtext(f"{SVG}metadata") or "")["Layer"] == "24"
    assert f"{causal.attention(24, 4)[15, 1]:.3f}" in (svg.findtext(f"{SVG}desc") or "")
    assert "data:font/woff2" in (svg.findtext(f"{SVG}style") or "").replace("application/octet-stream", "font/woff2")
    words = " ".join(text for node in svg.iter() for text in (node.text or "",))
    assert all(part in words for part in ("·shops", "query", "key", "weight", causal.key[:12]))
    assert image.size == (2 * int(float(svg.get("width") or 0)), 2 * int(float(svg.get("height") or 0)))

    content = save(person, box, "attention.csv", tmp_path).read_text(encoding="utf-8-sig")
    rows = [row for row in csv.reader(io.StringIO(content)) if row and not row[0].startswith("# ")]
    weights = {(int(row[0]), int(row[2])): row[4] for row in rows[1:]}
    assert np.float32(weights[15, 1]) == causal.attention(24, 4)[15, 1]
    person.page.locator(f'{box} [data-export="attention-heads.svg"]').focus()
    with person.page.expect_download() as coming:
        person.page.keyboard.press("Enter")
    assert "attention-heads" in coming.value.suggested_filename


def own_header(run: ModelRun) -> dict[str, Any]:
    """A file's header without the results that others have had computed of the run, which the file holds as well."""
    return {name: value for name, value in run.header.items() if name != "derived"}


def test_runs_and_pages_that_need_no_network(
    person: Person, browser: Browser, causal: ModelRun, masked: ModelRun, tmp_path: Path
) -> None:
    person.open_run(causal, token=15, layer=24, head=4, second=1)
    person.at("export-menu").locator("summary").click()
    for suffix in ("npz", "safetensors"):
        run = open_run(save(person, "#export-menu", f"run.{suffix}", tmp_path))
        assert np.array_equal(run.attention(24, 4), causal.attention(24, 4))
        assert own_header(run) == causal.header
    pages = [(save(person, "#export-menu", "report.html", tmp_path), 4)]
    person.open_run(masked, token=45, layer=10, head=5)
    person.page.locator("#prediction-panel .options-box summary").click()
    pages.append((save(person, "#prediction-card", "prediction.html", tmp_path), 1))
    for scheme in ("light", "dark"):
        context = browser.new_context(offline=True, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        log: list[Any] = []
        page.on("console", lambda message, log=log: log.append(message.text))
        page.on("pageerror", lambda error, log=log: log.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        for path, count in pages:
            page.goto(path.as_uri())
            expect(page.locator(".plot .main-svg >> nth=0")).to_be_visible()
            assert page.locator(".plot.js-plotly-plot").count() == count
            assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        assert log == []
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        context.close()


def test_what_cannot_be_saved_is_a_notice(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(390, 844, color_scheme="dark")
    person.open_run(causal, token=15, layer=24, head=4)
    person.page.route("**/export/**", lambda route: route.abort())
    person.at("export-menu").locator("summary").click()
    person.page.locator('#export-menu [data-export="run.npz"]').click()
    expect(person.notice()).to_contain_text("Not saved.")
    expect(person.notice()).to_contain_text("does not answer")
    box = person.page.locator("#export-menu .menu").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    person.log[:] = [line for line in person.log if "export/" not in line]


def test_a_run_file_that_is_refused_is_not_said_to_be_saved(person: Person, causal: ModelRun, tmp_path: Path) -> None:
    """Others have all the files that may be made at once; when one of them is through, it is saved."""
    room = ExportRoom.from_settings(person.server.settings)
    with ExitStack() as held:
        first, *_others = [
            held.enter_context(closing(room.open(f"other {number}", 1000))) for number in range(MOST_AT_ONCE)
        ]
        person.open_run(causal, token=15, layer=24, head=4)
        person.expects_log("429")
        person.at("export-menu").locator("summary").click()
        person.page.locator('#export-menu [data-export="run.npz"]').click()
        expect(person.notice()).to_contain_text("Not saved.")
        expect(person.notice()).to_contain_text(
            "This server is busy making files for others. Export again in a minute."
        )
        expect(person.page.locator("#export-menu .export-sign")).to_have_text("Not saved.")
        first.close()
        assert own_header(open_run(save(person, "#export-menu", "run.npz", tmp_path))) == causal.header
