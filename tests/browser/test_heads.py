"""The Heads tab: a table of all heads, linked both ways with the selection and the grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.analysis.head_patterns import PATTERN_NAMES
from dashboard.contracts.run import ModelRun
from dashboard.views.attention.heads import fitting
from tests.browser.test_access import found_by_axe
from tests.support.person import LOOK, Person

ROWS = "#heads-rows .ag-row:not([row-index^=t])"  # without the row of what chance gives


def open_heads(person: Person, run: ModelRun, **more: str | int) -> Person:
    """The tab as a link has it, once the selected head's row is there."""
    person.open_run(run, **({"token": 15, "layer": 24, "head": 4, "attention": "heads"} | more))
    expect(person.page.locator(ROWS).first).to_be_visible()
    return person


def column(person: Person, name: str) -> list[str]:
    """The texts of a column, from the top, of the rows that are drawn."""
    found = person.page.evaluate(
        """(name) => [...document.querySelectorAll("#heads-rows .ag-row:not([row-index^=t])")]
            .sort((a, b) => Number(a.getAttribute("row-index")) - Number(b.getAttribute("row-index")))
            .map((row) => row.querySelector(`[col-id="${name}"]`)?.textContent ?? "")""",
        name,
    )
    return [str(text) for text in found]


def marked(person: Person, head: str) -> None:
    expect(person.page.locator(f"{ROWS}[aria-current]")).to_have_attribute("row-id", head)
    expect(person.page.locator(f"{ROWS}[aria-current]")).to_be_in_viewport()


def ranked(run: ModelRun, score: str) -> list[str]:
    """Heads by a score, the most first."""
    values = np.asarray(run.attention_of().score(score))
    return [f"{i // values.shape[1]}.{i % values.shape[1]}" for i in np.argsort(-values.ravel(), kind="stable")]


def test_the_table_and_the_grid_are_linked_both_ways(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    marked(person, "24.4")
    person.head_button(3, 2).click()
    person.selects(layer=3, head=2)
    marked(person, "3.2")
    other = person.page.locator(f"{ROWS}:not([aria-current])").first
    place = str(other.get_attribute("row-id"))
    other.locator('[col-id="pattern"]').click()
    layer, head = map(int, place.split("."))
    person.selects(layer=layer, head=head)
    marked(person, place)
    expect(person.page.locator("#heads-footer")).to_contain_text(f"selected {place}")
    person.page.keyboard.press("ArrowDown")
    person.selects(layer=layer, head=head)  # the arrow goes about in the table
    next_place = str(person.page.evaluate("() => document.activeElement.closest('[row-id]').getAttribute('row-id')"))
    assert next_place != place
    person.page.keyboard.press("Enter")
    marked(person, next_place)
    person.at("attention-tab-attention").click()
    expect(person.page.locator("#attention-panel #attention-heads")).to_be_visible()  # there is one grid


def test_a_heading_sorts_and_the_address_says_so(person: Person, causal: ModelRun) -> None:
    best = ranked(causal, "first")
    open_heads(person, causal, layer=int(best[0].split(".")[0]), head=int(best[0].split(".")[1]))
    person.page.locator('#heads-rows .ag-header-cell[col-id="first"]').click()
    expect(person.page.locator("#heads-heading h2")).to_have_text(
        "All 270 heads, sorted by attention to the first token"
    )
    assert person.address()["heads-sort"] == "first"
    marked(person, best[0])
    assert column(person, "head")[:10] == best[:10]
    values = causal.attention_of().score("first").ravel()
    assert column(person, "first")[:5] == [f"{value:.2f}" for value in np.sort(values)[::-1][:5]]
    person.page.locator('#heads-rows .ag-header-cell[col-id="first"]').click()
    expect(person.page.locator("#heads-heading h2")).to_contain_text("lowest first")
    assert person.address()["heads-order"] == "least"


def test_a_filter_leaves_heads_out(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    box = person.page.locator(".head-line input")
    box.fill("layer 2")
    expect(person.at("heads-count")).to_have_text("9 of 270 heads")
    box.press("Enter")
    person.page.wait_for_function("() => window.location.search.includes('heads-filter=layer')", polling=LOOK)
    assert sorted(column(person, "head")) == [f"2.{head}" for head in range(9)]
    box.fill("no such head")
    expect(person.page.locator("#heads-rows .ag-overlay")).to_contain_text("No head matches the filter.")


QUERIES = [
    *(
        "",
        " ",
        "1",
        "11",
        "layer 1",
        "Layer  1",
        "layer 11",
        "head 1",
        "5.1",
        "5.11",
        ".1",
        "5.",
        "5. ",
        "1.5",
        "0",
        "00",
        "layer",
    ),
    *(
        "first",
        "FIRST TOKEN",
        "token",
        "oken",
        "no single",
        "spread",
        "itself",
        "the token itself",
        "not finite",
        "layer 2 head 3",
    ),
    *(
        "2.3 layer 2",
        "head 3 first",
        "(",
        ")",
        "[",
        "\\",
        "\\d",
        ".",
        "..",
        "*",
        "a|b",
        "^",
        "$",
        "{1}",
        "-",
        "/",
        "+",
        "?",
        "1²",
        "٣",
        "１",
    ),
    *(
        "\u00a0first\u00a0",
        "\ufefffirst",
        "first\u2003token",
        "first\u200btoken",
        "first\ttoken",
        "\u2028first",
        "İ",
        "ﬁrst",
        "first ·",
    ),
]
"""What a person may type, and what nobody would."""


def test_page_and_python_leave_out_the_same_heads(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    found = [(layer, head, pattern) for layer in range(13) for head in range(13) for pattern in PATTERN_NAMES.values()]
    ask = "([queries, heads]) => queries.map((query) => heads.map((head) => dashboardApp.fitsHeads(query)(head)))"
    told = person.page.evaluate(ask, [QUERIES, [list(head) for head in found]])
    for query, here in zip(QUERIES, told, strict=True):
        fits = fitting(query)
        assert here == [fits(*head) for head in found], repr(query)
    some = [sum(here) for here in told]
    assert 0 in some
    assert len(set(some)) > 5, "the queries differ"


def test_a_filter_that_was_taken_back_holds_back_no_other(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    box, count = person.page.locator(".head-line input"), person.at("heads-count")
    box.press_sequentially("zz")
    expect(count).to_have_text("0 of 270 heads")
    box.press("Backspace")
    box.press("Backspace")
    box.blur()  # which changes nothing
    person.page.evaluate("() => dashboardApp.history.set({ 'heads-filter': 'layer 2' })")  # as a link or a step would
    expect(box).to_have_value("layer 2")
    expect(count).to_have_text("9 of 270 heads")


def test_nothing_is_offered_in_place_of_the_table(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal, **{"heads-show": "table"})  # as an earlier version may have written it
    marked(person, "24.4")
    person.page.locator("#heads-panel .options-box summary").click()
    expect(person.page.locator("#heads-panel [aria-label='Sort by']")).to_be_visible()
    expect(person.page.locator("#heads-panel [aria-label='Show as']")).to_have_count(0)


@pytest.mark.parametrize("model", ["smollm2-135m", "minilm-l6"])
def test_no_column_is_out_of_sight_in_a_small_window(
    open_page: Callable[..., Person], example_runs: dict[str, ModelRun], model: str
) -> None:
    person = open_heads(open_page(1280, 720), example_runs[model], token=5, layer=2, head=4)
    marked(person, "2.4")
    wide = """() => {
        const box = document.querySelector("#heads-rows .ag-center-cols-viewport");
        return box.scrollWidth - box.clientWidth;
    }"""
    assert person.page.evaluate(wide) <= 0


def test_a_score_colours_the_grid(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    expect(person.at("attention-heads-legend")).to_be_hidden()
    person.at("heads-colour-box").select_option("entropy")
    most = float(causal.attention_of().score("entropy").max())
    expect(person.at("attention-heads-legend")).to_contain_text(f"Entropy, nats: 0{most:.1f}")
    expect(person.page.locator('#attention-heads canvas[data-colour="entropy"]')).to_be_visible()
    assert person.address()["heads-colour"] == "entropy"
    person.at("attention-tab-attention").click()
    expect(person.at("attention-heads-legend")).to_be_hidden()  # beside the heatmap: pictures


def test_scores_follow_the_reading_aids_and_pictures_say_that_they_do_not(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal, **{"heads-sort": "self", "attention-first": "on", "attention-sums": "on"})
    caption = person.page.locator("#heads-heading .caption")
    expect(caption).to_contain_text(
        "The first token left out. Each row adds up to 1 again. Patterns always use all tokens."
    )
    weights = causal.attention(24, 4).astype(np.float64)[1:, 1:]
    own = (np.diagonal(weights) / weights.sum(axis=1)).mean()
    expect(person.at("heads-footer")).to_contain_text(f"itself {own:.2f}")
    note = person.at("attention-heads-note")
    expect(note).to_have_text("Pictures and patterns: all tokens, without reading aids.")
    person.at("heads-colour-box").select_option("self")
    expect(note).to_be_hidden()  # the colours follow
    person.page.locator("#heads-panel .options-box summary").click()
    person.at("attention-first").click()
    expect(caption).to_have_text(
        "Means over this text. A pattern is named only if it is clearly above chance, leaving the first token aside."
    )


@pytest.mark.parametrize("view", ["query-key", "norms"])
def test_views_of_single_tokens_say_that_aids_do_not_apply(person: Person, causal: ModelRun, view: str) -> None:
    person.open_run(causal, token=15, second=1, layer=24, head=4, attention=view)
    caption = person.page.locator(f"#{view}-heading .caption")
    expect(caption).not_to_be_empty()
    expect(caption).not_to_contain_text("reading aids")
    person.open_run(causal, token=15, second=1, layer=24, head=4, **{"attention": view, "attention-first": "on"})
    expect(caption).to_contain_text("reading aids do not apply.")


def test_the_probe_is_computed_once_and_fills_table_and_grid(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    person.at("heads-scores-box").select_option("probe")
    expect(person.page.locator("#heads-heading .caption")).to_contain_text("random tokens read twice", timeout=60_000)
    assert person.address()["heads-scores"] == "probe"
    person.page.locator('#heads-rows .ag-header-cell[col-id="induction"]').click()
    expect(person.page.locator("#heads-heading h2")).to_have_text("All 270 heads, sorted by induction")
    person.page.locator("#heads-rows .ag-body-viewport").evaluate("(box) => { box.scrollTop = 0; }")
    assert column(person, "head")[0] == "18.6"
    assert [float(text) > 0.4 for text in column(person, "induction")[:9]] == [True] * 8 + [False]
    expect(person.page.locator("#heads-rows .ag-row[row-index^=t]")).to_contain_text("by chance")
    person.page.locator(f"{ROWS}[row-id='18.6'] [col-id='pattern']").click()
    person.selects(layer=18, head=6)
    expect(person.at("heads-footer")).to_contain_text("induction 0.91 ± 0.0")
    person.at("heads-colour-box").select_option("probe-induction")
    expect(person.page.locator('#attention-heads canvas[data-colour="induction"]')).to_be_visible()
    person.at("heads-scores-box").select_option("text")  # the grid keeps the probe's colours
    expect(person.page.locator("#heads-heading .caption")).to_contain_text("Means over this text")
    expect(person.page.locator('#attention-heads canvas[data-colour="colour"]')).to_be_visible()
    expect(person.at("attention-heads-legend")).to_contain_text("Induction, random tokens: 0")


def test_a_head_under_the_pointer_is_shown_large(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    person.head_button(18, 6).hover()
    expect(person.at("tooltip")).to_contain_text("Layer 18, head 6")
    picture = person.page.locator("#tooltip canvas.head-large")
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] > 5 * person.head_button(18, 6).bounding_box()["width"]  # type: ignore[index]
    person.at("heads-count").hover()
    expect(person.at("tooltip")).to_be_hidden()


def test_definitions_are_one_click_away(person: Person, causal: ModelRun) -> None:
    open_heads(person, causal)
    person.page.locator(".score-definitions summary").click()
    text = person.page.locator(".score-definitions .menu")
    expect(text).to_be_visible()
    expect(text).to_contain_text("Olsson et al. 2022")
    person.page.keyboard.press("Escape")
    expect(text).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_table(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    person = open_page(color_scheme=scheme)
    open_heads(person, causal, **{"heads-colour": "next"})
    marked(person, "24.4")
    assert found_by_axe(person) == []
