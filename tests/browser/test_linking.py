"""One selection drives every view: what is chosen in one is marked in all."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser


def shown_everywhere(person: Person, run: ModelRun, token: int, layer: int, head: int) -> None:
    """What a person sees is this selection, in each view and in the address bar."""
    person.selects(token=token, layer=layer, head=head)
    expect(person.token(token)).to_have_attribute("aria-pressed", "true")
    expect(person.page.locator('#tokens [aria-pressed="true"]')).to_have_count(1)
    expect(person.head_button(layer, head)).to_have_attribute("aria-pressed", "true")
    expect(person.page.locator('#attention-heads [aria-pressed="true"]')).to_have_count(1)
    expect(person.title("attention")).to_contain_text(f"Layer {layer}, head {head}")
    expect(person.title("attention")).to_contain_text(f"({token})")
    expect(person.title("hidden")).to_contain_text(f"After layer {layer}")
    expect(person.at("layer")).to_have_value(str(layer))
    expect(person.at("head")).to_have_value(str(head))
    expect(person.at("selected-token")).to_contain_text(str(token))
    assert person.framed_row() == token
    if person.page.locator("#hidden-figure svg.over circle.ring").count():
        assert person.ringed_point() == token
    address = person.address()
    assert (address["run"], address["token"], address["layer"], address["head"]) == (
        run.key,
        str(token),
        str(layer),
        str(head),
    )


def expected_prediction(run: ModelRun, token: int) -> str:
    """The likeliest next token's probability, as the title gives it."""
    return f"{100 * run.top_k(token, 1)[0].probability:.1f} %"


# the strip


def test_a_token_in_the_strip_is_selected_everywhere(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=5, head=2)
    person.token(9).click()
    shown_everywhere(person, causal, 9, 5, 2)
    expect(person.title("prediction")).to_contain_text(expected_prediction(causal, 9))


def test_shift_marks_a_second_token_and_clear_takes_it_away(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=9, layer=5, head=2)
    person.token(4).click(modifiers=["Shift"])
    person.selects(token=9, second=4)
    expect(person.token(4)).to_have_class(re.compile(r"\bsecond\b"))
    expect(person.frame("column")).to_have_count(1)
    expect(person.page.locator("#hidden-figure svg.over rect.square")).to_have_count(1)
    expect(person.at("second-token")).to_contain_text("4")
    assert person.address()["second"] == "4"
    person.at("clear-second").click()
    person.selects(token=9, second=None)
    expect(person.frame("column")).to_have_count(0)
    expect(person.page.locator("#hidden-figure svg.over rect.square")).to_have_count(0)
    expect(person.at("clear-second")).to_be_hidden()
    assert "second" not in person.address()


def test_arrow_keys_walk_along_the_strip(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=5, head=2)
    person.token(3).focus()
    for key, token in (("ArrowRight", 4), ("ArrowRight", 5), ("ArrowLeft", 4)):
        person.page.keyboard.press(key)
        person.selects(token=token)
        expect(person.token(token)).to_be_focused()


# the matrix


REDRAWN = """
() => {
    const redrawn = [];
    const graph = document.querySelector("#attention-graph .js-plotly-plot");
    const note = () => redrawn.push(dashboardApp.state.selection.token);
    graph.on("plotly_afterplot", note);
    window.redrawn = () => {
        graph.removeListener("plotly_afterplot", note);
        return redrawn;
    };
    const footer = document.querySelector("#attention-footer");
    window.high = () => [footer.offsetHeight, new Set([...footer.children].map((line) => line.offsetTop)).size];
}
"""


def test_another_token_does_not_redraw_the_heatmap(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(1200, 900)
    person.open_run(causal, token=1, layer=5, head=2)
    person.page.evaluate(REDRAWN)
    heights, lines = set(), set()
    for token in range(2, len(causal.tokens)):
        person.token(token).click()
        person.selects(token=token)
        height, count = person.page.evaluate("() => window.high()")
        heights.add(height)
        lines.add(count)
    assert len(lines) > 1, "the test needs footers of one line and of two"
    assert len(heights) == 1
    assert person.page.evaluate("() => window.redrawn()") == []


def test_a_cell_selects_its_pair(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=5, head=2)
    person.click_at(person.cell(10, 6))
    shown_everywhere(person, causal, 10, 5, 2)
    person.selects(second=6)
    expect(person.token(6)).to_have_class(re.compile(r"\bsecond\b"))
    expect(person.frame("column")).to_have_count(1)


def test_the_same_cell_twice_is_one_selection(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=5, head=2)
    place = person.cell(10, 6)
    for _ in range(2):
        person.click_at(place)
        person.selects(token=10, second=6)


@pytest.mark.parametrize(
    ("kind", "query", "key"), [("causal", 15, 1), ("causal", 4, 4), ("encoder", 2, 12), ("masked", 45, 6)]
)
def test_the_tooltip_gives_the_exact_weight(
    person: Person, example_runs: dict[str, ModelRun], kind: str, query: int, key: int
) -> None:
    run = next(run for run in example_runs.values() if run.model.kind == kind)
    layer, head = run.model.layers - 2, run.model.heads - 1
    person.open_run(run, token=1, layer=layer, head=head)
    person.hover_at(person.cell(query, key))
    weight = float(run.attention(layer, head)[query, key])
    tooltip = person.at("tooltip")
    expect(tooltip).to_contain_text(f"({query}) attends to")
    expect(tooltip).to_contain_text(f"({key})")
    shown = tooltip.locator("b")
    expect(shown).to_have_text(re.compile(r"^[\d.]+(e-\d+)?$"))
    np.testing.assert_allclose(float(shown.text_content() or ""), weight, rtol=6e-3, atol=5.1e-5)


def test_a_cell_that_the_mask_forbids_says_so(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=5, head=2)
    person.hover_at(person.cell(3, 10))
    expect(person.at("tooltip")).to_contain_text("cannot attend to")
    expect(person.at("tooltip")).to_contain_text("it comes later")


# the grid of heads, steppers and typed numbers


def test_a_head_in_the_grid_is_shown(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=5, head=2)
    person.head_button(17, 7).click()
    shown_everywhere(person, causal, 6, 17, 7)


def test_arrow_keys_walk_over_the_grid(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=5, head=2)
    person.head_button(5, 2).focus()
    for key, layer, head in (("ArrowDown", 6, 2), ("ArrowRight", 6, 3), ("ArrowUp", 5, 3), ("ArrowLeft", 5, 2)):
        person.page.keyboard.press(key)
        person.selects(layer=layer, head=head)
        expect(person.head_button(layer, head)).to_be_focused()


def test_steppers_step_and_stop_at_the_ends(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=28, head=0)
    person.at("layer-up").click()
    shown_everywhere(person, causal, 6, 29, 0)
    expect(person.at("layer-up")).to_be_disabled()
    expect(person.at("head-down")).to_be_disabled()
    person.at("head-up").click()
    person.selects(layer=29, head=1)
    person.at("layer-down").click()
    shown_everywhere(person, causal, 6, 28, 1)


def test_a_layer_can_be_typed(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=5, head=2)
    person.at("layer").fill("007")
    person.at("layer").press("Enter")
    shown_everywhere(person, causal, 6, 7, 2)


@pytest.mark.parametrize("typed", ["", "<b>"])
def test_a_typed_layer_that_is_none_changes_nothing(person: Person, causal: ModelRun, typed: str) -> None:
    person.open_run(causal, token=6, layer=5, head=2)
    person.at("layer").fill(typed)
    person.at("layer").press("Enter")
    shown_everywhere(person, causal, 6, 5, 2)


def test_a_typed_number_out_of_range_is_said(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=5, head=2)
    person.at("head").fill("9")
    person.at("head").press("Enter")
    for place in ("tooltip", "announcer"):
        expect(person.at(place)).to_contain_text("There is no head 9: this model has heads 0 to 8.")
    expect(person.at("head")).to_have_value("2")
    shown_everywhere(person, causal, 6, 5, 2)


def test_a_typed_number_counts_when_the_field_is_left(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=5, head=2)
    person.at("head").fill("4")
    person.at("text").focus()
    shown_everywhere(person, causal, 6, 5, 4)


# the points


def test_a_point_selects_its_token(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.click_at(person.point(11))
    shown_everywhere(person, causal, 11, 10, 2)
    expect(person.title("prediction")).to_contain_text(expected_prediction(causal, 11))


def test_a_second_click_on_the_same_point_counts(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    for _ in range(2):
        person.click_at(person.point(11))
        person.selects(token=11)
        person.token(4).click()
        person.selects(token=4)
    person.click_at(person.point(11))
    shown_everywhere(person, causal, 11, 10, 2)


def test_shift_on_a_point_marks_a_second_token(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    for expected in (11, None):
        person.click_at(person.point(11), shift=True)
        person.selects(token=6, second=expected)


def test_points_can_be_clicked_after_a_redraw(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.click_at(person.point(11))
    person.selects(token=11)
    person.at("layer-up").click()
    person.selects(layer=11)
    person.click_at(person.point(12))
    shown_everywhere(person, causal, 12, 11, 2)


# hover


def marked_everywhere(person: Person, token: int) -> None:
    expect(person.token(token)).to_have_class(re.compile(r"\bhovered\b"))
    expect(person.frame("thin")).to_have_count(1)
    expect(person.page.locator("#hidden-figure svg.over circle.thin")).to_have_count(1)
    expect(person.at("tooltip")).to_be_visible()


def unmarked(person: Person) -> None:
    person.page.mouse.move(5, 5)
    expect(person.page.locator("#tokens .hovered")).to_have_count(0)
    expect(person.frame("thin")).to_have_count(0)
    expect(person.page.locator("#hidden-figure svg.over circle.thin")).to_have_count(0)
    expect(person.at("tooltip")).to_be_hidden()


def test_hovering_a_token_or_a_point_marks_it_everywhere_without_a_request(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.page.wait_for_timeout(300)
    before = len(person.requests)
    person.token(9).hover()
    marked_everywhere(person, 9)
    unmarked(person)
    person.hover_at(person.point(12))
    marked_everywhere(person, 12)
    unmarked(person)
    assert [url for url in person.requests[before:] if not url.endswith("/health")] == []
    assert person.selection()["token"] == 6


@pytest.mark.fresh
def test_hovering_a_cell_marks_its_row_with_no_request_but_for_the_exact_weights(
    person: Person, causal: ModelRun
) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.page.wait_for_timeout(300)
    before = len(person.requests)
    person.hover_at(person.cell(9, 3))
    marked_everywhere(person, 9)
    expect(person.at("tooltip")).to_contain_text("weight")
    asked = [url for url in person.requests[before:] if not url.endswith("/health")]
    assert [url for url in asked if f"/run/{causal.key}/attention/10/2" not in url] == []
    assert len(asked) <= 1
    person.hover_at(person.cell(12, 5))
    marked_everywhere(person, 12)
    assert len([url for url in person.requests[before:] if not url.endswith("/health")]) <= 1
    unmarked(person)


# going back


def test_undo_and_redo(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    expect(person.at("undo")).to_be_disabled()
    person.token(9).click()
    person.selects(token=9)
    person.head_button(17, 7).click()
    person.selects(layer=17, head=7)
    person.at("undo").click()
    shown_everywhere(person, causal, 9, 10, 2)
    person.at("undo").click()
    shown_everywhere(person, causal, 6, 10, 2)
    expect(person.at("undo")).to_be_disabled()
    person.at("redo").click()
    shown_everywhere(person, causal, 9, 10, 2)
    person.token(3).click()
    person.selects(token=3)
    expect(person.at("redo")).to_be_disabled()


# runs one after another


def test_the_selection_survives_an_edited_text(person: Person) -> None:
    person.go().run("The cat sat on the mat.", "smollm2-135m")
    person.token(2).click()
    person.selects(token=2)
    person.head_button(7, 4).click()
    person.selects(layer=7, head=4)
    for text, token in (("The cat sat on the mat. It slept.", 2), ("Today: The cat sat on the mat. It slept.", None)):
        run = person.run(text)
        selection = person.selection()
        assert (selection["layer"], selection["head"]) == (7, 4)
        assert run.tokens[selection["token"]].text == " sat"
        if token is not None:
            assert selection["token"] == token


def test_another_model_keeps_layer_and_head_where_it_has_them(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=4, head=8)
    person.run("The same layer, if there is one.", "minilm-l6")
    person.selects(layer=4, head=8)
    person.run("CCO.CC(=O)O>>CC(=O)OCC", "rxnmapper")
    selection = person.selection()
    assert (selection["layer"], selection["head"]) == (4, 7)


def test_two_people_are_independent(open_page: Callable[..., Person], causal: ModelRun, encoder: ModelRun) -> None:
    one, two = open_page(), open_page()
    one.open_run(causal, token=6, layer=10, head=2)
    two.open_run(causal, token=3, layer=1, head=1)
    one.token(9).click()
    shown_everywhere(one, causal, 9, 10, 2)
    shown_everywhere(two, causal, 3, 1, 1)
    two.open_run(encoder, token=2, layer=0, head=0)
    shown_everywhere(one, causal, 9, 10, 2)
    one.page.reload()
    one.settled()
    shown_everywhere(one, causal, 9, 10, 2)


# predictions


def test_exact_probabilities_are_on_hover(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    best = causal.top_k(6, 1)[0]
    bar = person.page.locator("#prediction-graph .bars .point").first
    expect(bar).to_be_visible()
    box = bar.bounding_box()
    assert box is not None
    person.hover_at((box["x"] + min(8, box["width"] / 2), box["y"] + box["height"] / 2))
    tooltip = person.at("tooltip")
    expect(tooltip).to_contain_text(f"vocabulary id {best.id}")
    shown = re.search(r"probability ([\d.e-]+)", tooltip.text_content() or "")
    assert shown is not None
    assert float(shown[1]) == pytest.approx(best.probability, rel=1e-5)


def test_the_masked_model_predicts_masked_or_as_given(person: Person, masked: ModelRun) -> None:
    person.open_run(masked, token=45, layer=10, head=5)
    for mode, phrase in (("masked", ") masked, "), ("given", ") as it stands, ")):
        if mode == "given":
            person.page.locator("#prediction-panel .options-box summary").click()
            person.page.locator("#prediction-mode").get_by_text("As it stands").click()
        probability = masked.prediction(45, mode).candidates[0].probability  # type: ignore[arg-type]
        expect(person.title("prediction")).to_contain_text(phrase)
        expect(person.title("prediction")).to_contain_text(f"{100 * probability:.1f} %")
    assert person.selection()["token"] == 45


def test_the_option_of_masked_models_is_offered_to_no_other(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.page.locator("#prediction-panel .options-box summary").click()
    expect(person.page.locator("#prediction-count")).to_be_visible()
    expect(person.page.locator("#prediction-mode")).to_be_hidden()


def test_more_tokens_can_be_shown(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.page.locator("#prediction-panel .options-box summary").click()
    person.page.locator("#prediction-count").get_by_text("20", exact=True).click()
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(20)
    expect(person.at("prediction-heading")).to_contain_text("The twenty most likely")


def test_a_masked_position_of_a_long_text_is_computed_when_it_is_selected(person: Person) -> None:
    text = ".".join(["CC(C)S", "CN(C)C=O", "Fc1cccnc1F"] * 18) + ">>CC(C)Sc1ncccc1F"
    run = person.go().run(text, "rxnmapper")
    token = len(run) // 2
    assert not run.has_masked(token), "the text is too short for this test"
    person.token(token).click()
    person.selects(token=token)
    expect(person.title("prediction")).to_contain_text(
        re.compile(rf"\({token}\) masked, (the model expects|most likely:) .*\s%")
    )
    expect(person.page.locator("#prediction-graph .bars .point")).to_have_count(10)
