"""A second token: taken with shift in every place that shows tokens, moved, taken away, and shown by every view."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser


def label(person: Person, axis: str, token: int) -> tuple[float, float]:
    """Where a row's ("y") or a column's ("x") label is in the window."""
    x, y = person.cell(token, token)
    left, top = person.page.evaluate(
        """() => {
            const plot = document.querySelector("#attention-graph .js-plotly-plot");
            const { left, top } = plot.getBoundingClientRect();
            return [left + plot._fullLayout.xaxis._offset, top + plot._fullLayout.yaxis._offset];
        }"""
    )
    return (left - 14, y) if axis == "y" else (x + 6, top - 12)


PLACES: dict[str, Callable[[Person, int], tuple[float, float]]] = {
    "a row's label": lambda person, token: label(person, "y", token),
    "a column's label": lambda person, token: label(person, "x", token),
    "a cell": lambda person, token: person.cell(15, token),
    "a point": lambda person, token: person.point(token),
}


@pytest.mark.parametrize("place", PLACES)
def test_shift_sets_moves_and_clears_the_second_token(person: Person, causal: ModelRun, place: str) -> None:
    person.open_run(causal, token=13, layer=10, head=2)
    for token, expected in ((9, 9), (4, 4), (4, None)):
        person.click_at(PLACES[place](person, token), shift=True)
        person.selects(token=13, second=expected)
    expect(person.frame("column")).to_have_count(0)
    expect(person.frame("second-row")).to_have_count(0)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_label_of_the_heatmap_selects_its_token(person: Person, causal: ModelRun, axis: str) -> None:
    person.open_run(causal, token=13, layer=10, head=2)
    person.hover_at(label(person, axis, 7))
    expect(person.at("tooltip")).to_contain_text("7")
    person.click_at(label(person, axis, 7))
    person.selects(token=7, second=None)


def test_every_view_shows_both(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4)
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(10)
    person.token(1).click(modifiers=["Shift"])
    person.selects(token=15, second=1)
    weights = causal.attention(24, 4)
    footer = person.at("attention-footer")
    expect(footer).to_contain_text(f"·to attends to·Mary (1){weights[15, 1]:.3f}")
    expect(footer).to_contain_text("·Mary cannot attend to ·to (15): it comes later")
    expect(footer).to_contain_text(f"When (0){weights[1, 0]:.3f}")
    expect(person.frame("second-row")).to_have_count(1)
    a, b = (np.asarray(causal.after_layer(24))[i].astype(float) for i in (15, 1))
    expect(person.at("hidden-footer")).to_contain_text(f"cosine{a @ b / np.linalg.norm(a) / np.linalg.norm(b):.3f}")
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(20)
    second = causal.prediction(1)
    expect(person.at("prediction-footer")).to_contain_text(f"entropy{second.entropy:.2f}")
    expect(person.at("prediction-figure")).to_contain_text(f"{100 * second.candidates[0].probability:.1f} %")
    person.at("clear-second").click()
    person.selects(token=15, second=None)
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(10)
    expect(person.at("prediction-body")).to_contain_text("What really came next")


def test_both_masked_positions_of_a_long_text_are_computed(person: Person) -> None:
    text = ".".join(["CC(C)S", "CN(C)C=O", "Fc1cccnc1F"] * 18) + ">>CC(C)Sc1ncccc1F"
    run = person.go().run(text, "rxnmapper")
    assert not run.has_masked(0), "the text is too short for this test"
    person.token(90).click()
    person.selects(token=90)
    person.token(131).click(modifiers=["Shift"])
    person.selects(token=90, second=131)
    expect(person.title("prediction")).to_contain_text(
        re.compile(r"\(90\) masked, (the model expects|most likely:) .*\s%")
    )
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(20)
    expect(person.at("prediction-heading")).to_contain_text("131")
    expect(person.at("prediction-footer")).to_contain_text("actual token")
