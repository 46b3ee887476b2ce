"""Paths through the layers and three components: what the browser draws of them, and what hands do there."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser
WITHOUT_WEBGL = "HTMLCanvasElement.prototype.getContext = ((old) => function (kind, ...rest) {\
 return /webgl/.test(kind) ? null : old.call(this, kind, ...rest); })(HTMLCanvasElement.prototype.getContext);"


def choose(person: Person, control: str, label: str, view: str = "hidden") -> None:
    """Choose in the options of hidden states, by hand."""
    person.page.locator(f"#{view}-panel .options-box summary").click()
    person.at(f"{view}-{control}").get_by_text(label).click()
    person.page.keyboard.press("Escape")


def open_path(person: Person) -> None:
    """Open the tab, by hand."""
    person.page.get_by_role("tab", name="Path", exact=True).click()


def told(person: Person, path: bool, dimensions: int) -> None:
    """Wait until the figure holds coordinates of this kind."""
    person.page.wait_for_function(
        """([path, dimensions]) => {
            const view = path ? "path" : "hidden";
            const space = (document.querySelector(`#${view}-graph .js-plotly-plot`).layout.meta || {}).space;
            return space && space.path === path && space.shape[2] === dimensions;
        }""",
        arg=[path, dimensions],
    )
    person.still()


def spot(person: Person, place: int | None, token: int) -> tuple[float, float]:
    """Where the window shows a token after some layer (place 0: the embeddings; None: the points' own place)."""
    found = person.page.evaluate(
        """([place, token]) => {
            const graph = document.querySelector("#hidden-card .view.active .js-plotly-plot");
            graph.scrollIntoView({ block: "center", behavior: "instant" });
            const space = dashboardApp.space(graph);
            const { x, y } = space.spot(place === null ? space.at : place, token);
            const box = graph.getBoundingClientRect();
            return [box.left + x, box.top + y];
        }""",
        [place, token],
    )
    return found[0], found[1]


def far_out(run: ModelRun) -> set[int]:
    """The tokens whose state is over five times as long as the median after some layer."""
    norms = [np.linalg.norm(np.asarray(states, dtype=np.float64), axis=1) for states in run.hidden_states]
    return {int(token) for layer in norms for token in np.flatnonzero(layer > 5 * np.median(layer))}


def ringed(person: Person, place: int) -> None:
    """Wait until the ring is around the selected token at this place of its path."""
    person.page.wait_for_function(
        """(place) => {
            const ring = document.querySelector("#hidden-card .view.active svg.over circle.ring");
            const space = dashboardApp.space(document.querySelector("#hidden-card .view.active .js-plotly-plot"));
            const at = space && space.spot(place, dashboardApp.state.selection.token);
            return ring && at && Math.hypot(ring.cx.baseVal.value - at.x, ring.cy.baseVal.value - at.y) < 1;
        }""",
        arg=place,
    )


def on_path(person: Person, layer: int) -> None:
    """The ring is at this layer of the selected token's path."""
    person.page.wait_for_function("(layer) => dashboardApp.state.selection.layer === layer", arg=layer)
    expect(person.title("path")).to_contain_text(f"After layer {layer} on the path")
    ringed(person, layer + 1)


def test_a_place_on_the_path_is_a_layer_and_a_layer_is_a_place_on_the_path(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4)
    open_path(person)
    told(person, True, 2)
    on_path(person, 24)
    expect(person.page.locator("#path-figure svg.over polyline.path")).to_have_count(1)
    quiet = len(causal) - 1 - len(far_out(causal))
    expect(person.page.locator("#path-figure svg.over polyline.quiet")).to_have_count(quiet)
    person.click_at(spot(person, 28, 15))
    on_path(person, 27)
    person.page.wait_for_load_state("networkidle")
    figures: list[str] = []
    person.page.on("request", lambda request: figures.append(request.url))
    expect(person.title("attention")).to_contain_text("Layer 27")
    person.at("layer-down").click()
    on_path(person, 26)
    person.token(9).click()
    on_path(person, 26)
    assert [url for url in figures if "/show/figure/path" in url] == [], "the browser moves marks and paths by itself"
    place = spot(person, 30, 9)
    person.hover_at(place)
    expect(person.at("tooltip")).to_contain_text("after layer 29")
    person.click_at(spot(person, 0, 9))
    expect(person.title("path")).to_contain_text("Embeddings, before layer 0 on the path")
    person.click_at(spot(person, 28, 9))
    on_path(person, 27)


def test_a_second_tokens_path_is_dashed_and_can_be_moved_and_cleared(person: Person, encoder: ModelRun) -> None:
    person.open_run(encoder, token=2, layer=5, head=2)
    open_path(person)
    told(person, True, 2)
    second = person.page.locator("#path-figure svg.over polyline.second-path")
    expect(second).to_have_count(0)
    for other in (4, 9):
        person.settled()  # what is said of a second token takes a line from the figure
        person.click_at(spot(person, None, other), shift=True)
        person.page.wait_for_function("(other) => dashboardApp.state.selection.second === other", arg=other)
        expect(second).to_have_count(1)
        expect(person.at("path-footer")).to_contain_text("cosine")
        expect(person.token(other)).to_have_class(re.compile(r"\bsecond\b"))
    person.click_at(spot(person, None, 9), shift=True)
    person.page.wait_for_function("() => dashboardApp.state.selection.second === null")
    expect(second).to_have_count(0)
    expect(person.at("path-footer")).not_to_contain_text("cosine")
    assert person.selection()["token"] == 2


@pytest.mark.fresh
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_three_components_can_be_turned_and_clicked_without_webgl(
    open_page: Callable[..., Person], encoder: ModelRun, size: tuple[int, int]
) -> None:
    person = open_page(*size)
    person.page.add_init_script(WITHOUT_WEBGL)
    person.open_run(encoder, token=2, layer=3, head=2)
    choose(person, "axes", "3-D")
    told(person, False, 3)
    expect(person.page.locator("#hidden-figure svg.over circle.dot0")).to_have_count(len(encoder))
    person.click_at(spot(person, None, 4))
    person.page.wait_for_function("() => dashboardApp.state.selection.token === 4")
    before = spot(person, None, 7)
    person.page.mouse.move(before[0], before[1] + 30)
    person.page.mouse.down()
    person.page.mouse.move(before[0] + 60, before[1] + 40, steps=5)
    person.page.mouse.up()
    person.still()
    dragged = spot(person, None, 7)
    assert dragged != pytest.approx(before, abs=3)
    assert person.selection()["token"] == 4, "the end of a turn is not a click"
    person.page.get_by_role("button", name="Turn left").press("Enter")
    person.still()
    assert spot(person, None, 7) != pytest.approx(dragged, abs=3)
    person.at("layer-up").click()
    person.page.wait_for_function(
        "() => document.querySelector('#hidden-graph .js-plotly-plot').layout.meta.layer === 4"
    )
    person.still()
    turned = spot(person, None, 7)
    person.page.get_by_role("button", name="Reset the view").click()
    person.still()
    assert spot(person, None, 7) != pytest.approx(turned, abs=3), "a redraw keeps the view as it was turned"
    open_path(person)
    choose(person, "axes", "3-D", "path")
    told(person, True, 3)
    person.click_at(spot(person, 6, 4))
    person.page.wait_for_function("() => dashboardApp.state.selection.layer === 5")
    ringed(person, 6)
