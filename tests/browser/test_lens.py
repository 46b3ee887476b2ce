"""The logit lens, Through the layers and Layers on the page: computed when a tab is opened, marked, and clicked."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser
TITLE = re.compile(r"fter layer 28 the model still expects ·the, 77\.1.%; after layer 29 ·Mary, 92\.7.%")
MARK = """
([view, kind]) => {
    const plot = document.querySelector(`#${view}-graph .js-plotly-plot`);
    const { left, top } = plot.getBoundingClientRect();
    const { xaxis, yaxis } = plot._fullLayout;
    const mark = document.querySelector(`#${view}-figure svg.over .${kind}`);
    if (!mark) return null;
    const box = mark.getBoundingClientRect();
    return [xaxis.p2l(box.x + box.width / 2 - left - xaxis._offset),
        yaxis.p2l(box.y + box.height / 2 - top - yaxis._offset)];
}
"""


ON_TOP = """
() => {
    const label = document.querySelector("#lens-graph .hoverlayer .hovertext path");
    const mark = document.querySelector("#lens-figure svg.over .second-row");
    [label, mark].forEach((part) => { part.style.pointerEvents = "all"; });
    const [one, other] = [label.getBoundingClientRect(), mark.getBoundingClientRect()];
    const [low, high] = [Math.max(one.top, other.top), Math.min(one.bottom, other.bottom)];
    const found = document.elementFromPoint(one.left + one.width / 2, (low + high) / 2);
    return [low < high, found === label];
}
"""


def mark(person: Person, view: str, kind: str) -> tuple[float, float]:
    """Where the middle of a mark lies, in the figure's own units."""
    found = person.page.evaluate(MARK, [view, kind])
    assert found is not None
    return round(found[0], 1), round(found[1], 1)


def bold(person: Person) -> list[str]:
    """The labels of axes that stand out, of the lens."""
    found = person.page.evaluate(
        """() => [...document.querySelectorAll("#lens-graph :is(.xtick, .ytick) text")]
            .filter((text) => Number(getComputedStyle(text).fontWeight) >= 600).map((text) => text.textContent)"""
    )
    return [str(text) for text in found]


def enlarged(person: Person) -> Person:
    person.page.locator('[data-enlarge="prediction"]').click()
    expect(person.at("cards")).to_have_attribute("data-large", "prediction")
    return person.settled()


def drawn_whole(person: Person, run: ModelRun) -> None:
    """Wait until the lens of every position is drawn."""
    person.page.wait_for_function(
        """([rows, columns]) => {
            const trace = document.querySelector("#lens-graph .js-plotly-plot").data[0];
            return trace && trace.type === "heatmap" && trace.z.shape === `${rows}, ${columns}`;
        }""",
        arg=[run.model.layers + 1, len(run)],
    )
    person.settled()


def test_the_lens_says_how_the_prediction_forms(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4).open_tab("prediction", "lens")
    expect(person.title("lens")).to_contain_text(TITLE)
    enlarged(person)
    drawn_whole(person, causal)
    assert mark(person, "lens", "row")[0] == 15
    assert mark(person, "lens", "second-row")[1] == 25
    footer = person.at("lens-footer")
    expect(footer).to_contain_text(re.compile(r"·the 87\.2.%"))
    expect(footer).to_contain_text(re.compile(r"rank of ·Mary 190"))
    assert bold(person) == ["·to 15", "24"]
    person.token(3).click()
    person.selects(token=3)
    assert mark(person, "lens", "row")[0] == 3
    assert bold(person) == ["·John 3", "24"]
    name = DerivedRequest.of(causal.key, "logit-lens").name
    assert len(list(person.server.store.folder.glob(f"{name}*"))) == 1


def test_a_cell_selects_token_and_layer_and_the_row_of_embeddings_leaves_the_layer(
    person: Person, causal: ModelRun
) -> None:
    person.open_run(causal, token=15, layer=24, head=4).open_tab("prediction", "lens")
    enlarged(person)
    drawn_whole(person, causal)
    person.click_at(person._place("lens-graph", 6, 11))
    person.selects(token=6, layer=10, second=None)
    person.click_at(person._place("lens-graph", 8, 0))
    person.selects(token=8, layer=10)
    person.page.wait_for_function("() => dashboardApp.state.options['hidden-at'] === 'embeddings'")
    expect(person.title("hidden")).to_contain_text("Embeddings, before layer 0")
    person.click_at(person._place("lens-graph", 8, 5), shift=False)
    person.selects(token=8, layer=4)
    expect(person.title("hidden")).to_contain_text("After layer 4")
    person.click_at(person._place("lens-graph", 2, 5), shift=True)
    person.selects(token=8, second=2, layer=4)


def test_what_is_said_of_a_cell_lies_over_the_marks(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=10, head=4).open_tab("prediction", "lens")
    enlarged(person)
    drawn_whole(person, causal)
    person.hover_at(person._place("lens-graph", 6, 11))
    expect(person.page.locator("#lens-graph .hoverlayer .hovertext")).to_contain_text("after layer 10")
    assert person.page.evaluate(ON_TOP) == [True, True]


def test_typed_words_are_followed(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4, **{"through-words": "John the"}).open_tab(
        "prediction", "through"
    )
    expect(person.title("through")).to_contain_text("·Mary leads only after the last layer")
    footer = person.at("through-footer")
    expect(footer).to_contain_text(re.compile(r"·Mary rank 190"))
    expect(footer).to_contain_text(re.compile(r"·the rank 1, 87\.2.%"))
    assert mark(person, "through", "layer-line")[0] == 25
    assert "John the" in person.address()["through-words"].replace("+", " ")


def test_the_line_of_the_layer_can_be_dragged(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, second=1, layer=24, head=4).open_tab("hidden", "layers")
    expect(person.title("layers")).to_contain_text("goes from 2.86 to 930.7")
    expect(person.at("layers-footer")).to_contain_text(re.compile(r"norm\s*476\.3"))
    start, end = person._place("layers-graph", 25, 2), person._place("layers-graph", 11, 2)
    person.hover_at(start)
    person.page.mouse.down()
    person.page.mouse.move(*end, steps=12)
    person.page.mouse.up()
    person.selects(layer=10, token=15, second=1)
    assert mark(person, "layers", "layer-line")[0] == 11


def test_a_model_that_predicts_nothing_says_why(person: Person, encoder: ModelRun) -> None:
    person.open_run(encoder).open_tab("prediction", "lens")
    expect(person.at("lens-panel")).to_contain_text("produces embeddings")
    person.open_tab("prediction", "through")
    expect(person.at("through-panel")).to_contain_text("produces embeddings")
    person.open_tab("hidden", "layers")
    expect(person.title("layers")).to_contain_text("Through the layers: the norm of")


def test_a_masked_position_is_asked_for_by_itself(open_page: Callable[..., Person], masked: ModelRun) -> None:
    person = open_page()
    person.open_run(masked, token=5, layer=3, head=0, **{"lens-mode": "masked"}).open_tab("prediction", "lens")
    expect(person.title("lens")).to_contain_text(re.compile(r"^With .+\s\(5\) masked: "))
    enlarged(person)
    expect(person.at("lens-panel")).to_contain_text("Only the selected token.")
