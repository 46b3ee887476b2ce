"""Norms: a worker computes them, a click in the map selects two tokens, and the numbers are those of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.capture.tokens import tokenize
from dashboard.contracts.run import ModelRun
from tests.browser.test_access import found_by_axe
from tests.integration.test_block_norms import direct, of_bert
from tests.support.bundled_models import bundled_model
from tests.support.person import Person

pytestmark = pytest.mark.browser
AT = """
([query, key]) => {
    const plot = document.querySelector("#norms-graph .js-plotly-plot");
    const { left, top } = plot.getBoundingClientRect();
    const { xaxis, yaxis } = plot._fullLayout;
    return [left + xaxis._offset + xaxis.l2p(key), top + yaxis._offset + yaxis.l2p(query)];
}
"""
FRAMED = """
() => {
    const plot = document.querySelector("#norms-graph .js-plotly-plot");
    const box = document.querySelector("#norms-figure svg.over .row").getBoundingClientRect();
    const { yaxis } = plot._fullLayout;
    return Math.round(yaxis.p2l(box.y + box.height / 2 - plot.getBoundingClientRect().top - yaxis._offset));
}
"""


def open_norms(person: Person, run: ModelRun, **more: Any) -> Person:
    places = {"token": 15, "second": 1, "layer": 23, "head": 0} | more
    person.open_run(run, **places).open_tab("attention", "norms")
    expect(person.page.locator("#norms-graph .heatmaplayer image")).to_be_visible(timeout=60_000)
    return person.settled()


def lengths(run: ModelRun) -> np.ndarray:
    """(token,) ‖f(x)‖ of layer 23, head 0, from the weights and the state that enters the layer."""
    layer = bundled_model("smollm2-135m").model.model.layers[23]
    states = run.after_layer(22).astype(np.float64)
    scale = np.sqrt((states**2).mean(axis=1, keepdims=True) + layer.input_layernorm.variance_epsilon)
    x = states / scale * layer.input_layernorm.weight.double().numpy()
    value = x @ layer.self_attn.v_proj.weight[:64].double().numpy().T
    return np.asarray(np.linalg.norm(value @ layer.self_attn.o_proj.weight[:, :64].double().numpy().T, axis=1))


def test_a_click_selects_both_tokens_and_the_footer_multiplies(person: Person, causal: ModelRun) -> None:
    open_norms(person, causal)
    expect(person.title("norms")).to_have_text("Layer 23, head 0: what ·to (15) takes from each token")
    assert person.page.evaluate(FRAMED) == 15
    person.page.mouse.click(*person.page.evaluate(AT, [12, 3]))
    person.selects(layer=23, head=0, token=12, second=3).settled()
    assert person.page.evaluate(FRAMED) == 12
    weight, length = float(causal.attention(23, 0)[12, 3]), float(lengths(causal)[3])
    footer = person.at("norms-footer")
    expect(footer).to_contain_text(f"norm {weight * length:.3g}")
    expect(footer).to_contain_text(f"weight {weight:.3g}")
    expect(footer).to_contain_text(f"‖f(x)‖ {length:.3g}")
    person.page.mouse.move(*person.page.evaluate(AT, [12, 4]))
    expect(person.page.get_by_role("tooltip")).to_contain_text("norm ")
    person.open_tab("attention", "attention")
    expect(person.title("attention")).to_contain_text("·bottle (12) attends to")


def test_all_heads_and_weights_are_chosen_in_the_options(person: Person, causal: ModelRun) -> None:
    open_norms(person, causal)
    person.page.locator("#norms-panel .options-box > summary").click()
    person.page.locator('#norms-heads input[value="all"]').click()
    expect(person.title("norms")).to_have_text("Layer 23, all heads together: what ·to (15) takes from each token")
    person.settled()
    expect(person.page.locator("#norms-figure")).not_to_have_class("stale")
    person.page.locator('#norms-value input[value="weight"]').click()
    mean = np.mean([causal.attention(23, head)[15, 1] for head in range(9)])
    expect(person.at("norms-footer")).to_contain_text(f"mean weight {mean:.3g}")
    expect(person.title("norms")).to_contain_text("all heads together: what ·to (15) attends to")


def choose(person: Person, heads: str) -> None:
    """Choose what the norms are of, in the tab's options."""
    if not person.page.locator(f'#norms-heads input[value="{heads}"]').is_visible():
        person.page.locator("#norms-panel .options-box > summary").click()
    person.page.locator(f'#norms-heads input[value="{heads}"]').click()


def given(run: ModelRun, layer: int) -> np.ndarray:
    """(query, key, hidden) what each token gets from each other in MiniLM, past LayerNorm: from weights and hooks."""
    loaded = bundled_model("minilm-l6")
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        inputs, _tokens = tokenize(loaded.tokenizer, run.text)
        return direct(loaded.model, of_bert, inputs, loaded.info.layers, loaded.info.heads)[layer].normed
    finally:
        loaded.model.set_attn_implementation(before)


def test_residual_and_layernorm_are_chosen_and_the_mixing_ratio_is_said(person: Person, encoder: ModelRun) -> None:
    open_norms(person, encoder, token=4, second=2, layer=3)
    choose(person, "layernorm")
    title = person.title("norms")
    expect(title).to_contain_text("Layer 3, all heads with residual connection and LayerNorm", timeout=60_000)
    vectors = given(encoder, 3)
    footer, own = person.at("norms-footer"), vectors[4, 4]
    others = float(np.linalg.norm(vectors[4].sum(axis=0) - own))
    ratio = others / (others + float(np.linalg.norm(own)))
    expect(footer).to_contain_text(f"norm {np.linalg.norm(vectors[4, 2]):.3g}")
    expect(footer).to_contain_text(f"from itself {np.linalg.norm(own):.3g}")
    expect(footer).to_contain_text(f"mixing ratio {100 * ratio:.1f}\u00a0%")
    person.settled()
    person.page.mouse.click(*person.page.evaluate(AT, [6, 3]))
    person.selects(layer=3, token=6, second=3).settled()
    expect(footer).to_contain_text(f"norm {np.linalg.norm(vectors[6, 3]):.3g}")
    expect(footer).to_contain_text(f"from itself {np.linalg.norm(vectors[6, 6]):.3g}")
    assert "norms-heads=layernorm" in person.page.url
    person.page.locator("#norms-panel .options-box > summary").click()
    choose(person, "one")
    expect(title).to_contain_text("Layer 3, head 0: what ")


def test_a_pre_norm_model_says_why_it_has_no_layernorm_here(person: Person, causal: ModelRun) -> None:
    open_norms(person, causal)
    choose(person, "layernorm")
    body = person.at("norms-body")
    expect(body).to_contain_text("no LayerNorm follows the sum of attention and residual", timeout=60_000)
    choose(person, "residual")
    expect(person.title("norms")).to_contain_text("Layer 23, all heads with residual connection: what ·to (15)")
    expect(person.at("norms-footer")).to_contain_text("mixing ratio")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    person = open_norms(open_page(color_scheme=scheme), causal)
    assert found_by_axe(person) == []
