"""Runs whose values are not finite, or rounded; impossible and right-to-left tokens, as the page shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.server import Server
from tests.support.synthetic import make_parts

pytestmark = pytest.mark.browser
Stored = Callable[..., ModelRun]
HEBREW = ("שלום", " עולם", " 12", " ok", " بيت", ".")


@pytest.fixture
def stored(server: Server) -> Iterator[Stored]:
    """Stores a run whose arrays a test has changed; it leaves with the test."""
    keys = []

    def store(change: Callable[[dict[str, np.ndarray]], None], **options: object) -> ModelRun:
        header, arrays = make_parts("causal", model="smollm2-135m", layers=3, **options)  # type: ignore[arg-type]
        change(arrays)
        server.store.save(header["key"], header, arrays)
        keys.append(header["key"])
        return server.store.open(header["key"])

    yield store
    for key in keys:
        server.store.delete(key)


def overflowed(arrays: dict[str, np.ndarray]) -> None:
    """From layer 1 on, as half-precision weights that overflow."""
    for name in (
        "decoder/hidden_states/2",
        "decoder/hidden_states/3",
        "decoder/residual_final",
        "decoder/query/2",
        "decoder/key/2",
        "given/entropy",
        "given/top_logprobs",
    ):
        arrays[name] = np.full_like(arrays[name], np.nan)
    for name in (
        "received",
        *(f"scores/{score}" for score in ("previous", "next", "self", "first", "entropy_share", "entropy")),
    ):
        arrays[f"decoder/{name}"][2] = np.nan
    arrays["given/actual_logprob"] = np.full_like(arrays["given/actual_logprob"], np.nan)


def test_values_that_are_not_finite_are_said_once_with_their_layer(person: Person, stored: Stored) -> None:
    run = stored(overflowed)
    assert run.not_finite is not None
    person.open_run(run, token=3, layer=0, head=1)
    expect(person.notice()).to_contain_text(run.not_finite.sentence)
    expect(person.at("prediction-body")).to_contain_text("The values are not finite from layer 1 on (NaN).")
    assert person.page.locator("#page").inner_text().count("overflowed") == 1
    expect(person.page.locator("#hidden-figure .js-plotly-plot")).to_be_visible()
    expect(person.token(2)).to_contain_text("–")
    person.at("layer-up").click()
    expect(person.at("hidden-body")).to_contain_text("Layers up to 0 can still be seen.")
    expect(person.title("attention")).to_contain_text("Layer 1, head 1")  # its weights come before what overflowed
    person.at("layer-up").click()
    expect(person.at("attention-body")).to_contain_text("The values are not finite from layer 1 on (NaN).")
    person.at("layer-down").click()
    person.at("layer-down").click()
    expect(person.page.locator("#hidden-figure .js-plotly-plot")).to_be_visible()


def test_an_impossible_token_has_an_infinite_surprisal(person: Person, stored: Stored) -> None:
    def impossible(arrays: dict[str, np.ndarray]) -> None:
        arrays["given/actual_logprob"][2] = -np.inf

    run = stored(impossible)
    person.open_run(run, token=2, layer=0, head=1)
    expect(person.token(3)).to_contain_text("∞")
    expect(person.at("prediction-body")).to_contain_text("∞ nats (impossible)")
    assert "Infinity" not in person.page.locator("#page").inner_text()


def test_right_to_left_tokens_keep_numbers_and_neighbours_in_their_order(person: Person, stored: Stored) -> None:
    """Each token stands in its own direction: what comes after it on the page stands after it in the sentence."""
    run = stored(lambda _arrays: None, texts=HEBREW)
    person.open_run(run, token=1, second=2, layer=0, head=1)
    order = """(css) => {
        const places = [];
        const add = (part) => {
            const { left, top, width } = part.getBoundingClientRect();
            if (width) places.push([Math.round(top / 12), left]);
        };
        const walk = (node) => {
            const isolated = node.nodeType === Node.ELEMENT_NODE && getComputedStyle(node).unicodeBidi === "isolate";
            if (isolated && getComputedStyle(node).display === "inline" || node.nodeName === "BUTTON") {
                add(node);
                return;
            }
            if (node.nodeType !== Node.TEXT_NODE) { node.childNodes.forEach(walk); return; }
            for (const word of node.data.matchAll(/\\S+/g)) {
                const range = document.createRange();
                range.setStart(node, word.index);
                range.setEnd(node, word.index + word[0].length);
                add(range);
            }
        };
        walk(document.querySelector(css));
        return places;
    }"""
    for css in ("#attention-heading h2", "#hidden-footer", "#prediction-footer", "#tokens"):
        places = person.page.evaluate(order, css)
        assert len(places) > 3
        assert [(line, left) for line, left in places] == sorted((line, left) for line, left in places), css


def test_a_run_in_fewer_digits_is_marked_above_its_tokens(person: Person, server: Server, causal: ModelRun) -> None:
    header, arrays = make_parts("causal", model="smollm2-135m", text="Rounded.")
    request = {**header["request"], "dtype": "bfloat16"}
    key = RunRequest.from_json(request).key("rounded")
    server.store.save(key, {**header, "key": key, "request": request, "dtype": "bfloat16"}, arrays)
    caption = person.at("strip-caption")
    person.open_run(server.store.open(key))
    expect(caption).to_have_text(re.compile("^computed in bfloat16 · "))
    person.open_run(causal)
    expect(caption).to_be_visible()
    expect(caption).not_to_contain_text("computed in")
    server.store.delete(key)
