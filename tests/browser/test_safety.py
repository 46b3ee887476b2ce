"""Text is text: nothing that a token, a text or an address holds is obeyed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.server import Server
from tests.support.synthetic import make_parts

pytestmark = pytest.mark.browser

HOSTILE = (
    "<img src=x onerror=window.__x=1>",
    "<b>",
    "</script>",
    "<script>window.__x=2</script>",
    "&amp;",
    '"><svg onload=window.__x=3>',
    "<a href='javascript:window.__x=4'>",
    "**bold**",
    "${window.__x=5}",
    "last",
)


@pytest.fixture(scope="module")
def hostile(server: Server) -> ModelRun:
    """A run whose every token, and every predicted token, is markup."""
    header, arrays = make_parts("causal", HOSTILE, title="<b>Tiny</b>")
    server.store.save(header["key"], header, arrays)
    return server.store.open(header["key"])


def nothing_was_obeyed(person: Person) -> None:
    assert person.page.evaluate("() => window.__x") is None
    found = person.page.evaluate(
        """() => ({
            images: [...document.querySelectorAll("img")].filter((n) => n.getAttribute("src") === "x").length,
            handlers: document.querySelectorAll("[onerror], [onload]").length,
            links: document.querySelectorAll("a[href^='javascript']").length,
            scripts: [...document.querySelectorAll("script")].filter((n) => n.textContent.includes("__x=")).length,
            bold: [...document.querySelectorAll(
                "#tokens b, #tokens strong, #tokens svg, #tooltip svg, .heading svg")].length,
        })"""
    )
    assert found == {"images": 0, "handlers": 0, "links": 0, "scripts": 0, "bold": 0}


def test_hostile_tokens_stand_in_the_strip_as_they_are(person: Person, hostile: ModelRun) -> None:
    person.open_run(hostile, token=0, layer=0, head=0, second=1)
    assert person.labels() == [text.replace(" ", "·") for text in HOSTILE]
    nothing_was_obeyed(person)


@pytest.mark.parametrize("token", range(len(HOSTILE)))
def test_hostile_tokens_are_text_in_every_view(person: Person, hostile: ModelRun, token: int) -> None:
    person.open_run(hostile, token=token, layer=1, head=1, second=0)
    shown = HOSTILE[token].replace(" ", "·")
    expect(person.title("attention")).to_contain_text(shown)
    expect(person.at("selected-token")).to_contain_text(shown[:10])
    person.token(token).hover()
    expect(person.at("tooltip")).to_contain_text(shown)
    person.hover_at(person.cell(token, 0))
    expect(person.at("tooltip")).to_contain_text(shown)
    person.hover_at(person.point(token))
    expect(person.at("tooltip")).to_contain_text(shown)
    # a token that is not among those kept has none to see
    bars = person.page.locator("#prediction-graph .bars .point").all()
    box = next(box for bar in bars if (box := bar.bounding_box()) and box["width"] > 4)
    person.hover_at((box["x"] + min(8, box["width"] / 2), box["y"] + box["height"] / 2))
    expect(person.at("tooltip")).to_contain_text("vocabulary id")
    nothing_was_obeyed(person)


def test_the_predicted_tokens_are_text_in_the_bars(person: Person, hostile: ModelRun) -> None:
    person.open_run(hostile, token=0, layer=1, head=1)
    names = person.page.locator("#prediction-figure .over text:not(.plain)").all_text_contents()
    candidates = [candidate.text.replace(" ", "·") for candidate in hostile.top_k(0)]
    cut = [text if len(text) <= 14 else text[:13] + "…" for text in candidates]
    assert sorted(names) == sorted(cut)
    nothing_was_obeyed(person)


@pytest.mark.parametrize("model", ["smollm2-135m", "minilm-l6"])
def test_a_hostile_text_is_run_like_any_other(person: Person, model: str) -> None:
    text = '<img src=x onerror=window.__x=1> <b>bold</b> </script> &amp; &lt;i&gt; "><svg onload=window.__x=3>'
    run = person.go().run(text, model)
    for token in (1, 3, len(run) - 2):
        person.token(token).click()
        person.selects(token=token)
        person.token(token).hover()
        expect(person.at("tooltip")).to_be_visible()
    person.click_at(person.cell(4, 2))
    person.selects(token=4, second=2)
    nothing_was_obeyed(person)
    if model == "smollm2-135m":
        assert "".join(person.labels()).replace("·", " ") == text


def test_an_error_that_quotes_a_text_is_text(person: Person) -> None:
    person.go()
    outcome = {"error": HOSTILE[0], "details": HOSTILE[3], "kind": "JobError", "serial": "x"}
    person.page.evaluate("(data) => dash_clientside.set_props('submitted-run', {data})", outcome)
    expect(person.notice()).to_contain_text(HOSTILE[0])
    person.notice().get_by_role("button", name="Show details").click()
    expect(person.notice().locator("pre")).to_have_text(HOSTILE[3])
    nothing_was_obeyed(person)
