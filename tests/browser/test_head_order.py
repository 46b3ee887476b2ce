"""The order of the heads in the grid: chosen in Options, kept in the address, and moved through by what is seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from dashboard.analysis.attention_reading import NO_AIDS, Aids
from dashboard.analysis.head_order import similar_heads
from dashboard.contracts.run import ModelRun
from tests.browser.test_access import found_by_axe
from tests.support.person import Person

pytestmark = pytest.mark.browser
NOTE, TITLE = "attention-heads-note", "attention-heads-title"
ROWS = """() => {
    const rows = new Map();
    for (const { offsetTop: top, offsetLeft: left, dataset } of document.querySelectorAll("#attention-heads button"))
        rows.set(top, [...(rows.get(top) || []), [left, `${dataset.layer}.${dataset.head}`]]);
    const inOrder = (pairs) => pairs.sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
    return inOrder([...rows].map(([top, row]) => [top, inOrder(row)]));
}"""


def arrange(person: Person, label: str) -> None:
    person.page.locator("#attention-panel .options-box summary").click()
    person.page.locator("#attention-grid label", has_text=label).click()
    person.page.keyboard.press("Escape")


def seen(person: Person) -> list[list[str]]:
    """The heads of each row of the grid, from the top, by their places on the screen."""
    rows: list[list[str]] = person.page.evaluate(ROWS)
    return rows


def flat(rows: list[list[str]]) -> list[str]:
    return [name for row in rows for name in row]


def names(groups: tuple[tuple[tuple[int, int], ...], ...]) -> list[list[str]]:
    return [[f"{layer}.{head}" for layer, head in group] for group in groups]


def test_similar_heads_stand_in_groups_and_a_link_keeps_them(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4)
    expect(person.at(NOTE)).to_be_hidden()
    before = seen(person)
    assert before == [[f"{layer}.{head}" for head in range(9)] for layer in range(30)]
    arrange(person, "in groups")
    expect(person.at(TITLE)).to_have_text("All heads, in groups")
    said = (
        "8 groups of heads that attend alike (Ward’s method; compared: the square roots of their weights on this text)."
    )
    expect(person.at(NOTE)).to_have_text(said)
    groups = similar_heads(causal.attention_of(), NO_AIDS, 8).groups
    rows = seen(person)
    assert flat(rows) == [name for group in names(groups) for name in group]
    begins = [row[0] for row in rows]
    assert all(group[0] in begins for group in names(groups)), "every group begins a row"
    layer, head = groups[2][1]
    person.head_button(layer, head).hover()
    expect(person.at("tooltip")).to_contain_text(f"Layer {layer}, head {head}")
    expect(person.at("tooltip")).to_contain_text("group 3 of 8")
    person.head_button(layer, head).click()
    person.selects(layer=layer, head=head)
    expect(person.page.locator("#attention-heads .axis-label.selected")).to_have_text(f"{layer}.{head}")
    other = groups[0][0]
    person.head_button(*other).click(modifiers=["Control"])
    expect(person.at("added-items")).to_have_text(f"{other[0]}.{other[1]}")
    assert person.address()["attention-grid"] == "alike"
    person.page.reload()
    expect(person.at(TITLE)).to_have_text("All heads, in groups")
    assert seen(person) == rows
    person.page.go_back()
    person.page.go_back()
    person.page.go_back()
    expect(person.at(TITLE)).to_have_text("All heads, layer × head")
    assert seen(person) == before


def test_arrow_keys_go_to_what_is_seen_beside(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4, **{"attention-grid": "alike"})
    expect(person.at(TITLE)).to_have_text("All heads, in groups")
    rows = seen(person)
    row = next(index for index, names in enumerate(rows) if len(names) > 1 and index + 1 < len(rows))

    def place(name: str) -> tuple[int, int]:
        layer, head = name.split(".")
        return int(layer), int(head)

    person.head_button(*place(rows[row][0])).click()
    for key, name in (
        ("ArrowRight", rows[row][1]),
        ("ArrowDown", rows[row + 1][min(1, len(rows[row + 1]) - 1)]),
        ("ArrowLeft", rows[row + 1][0]),
        ("ArrowUp", rows[row][0]),
    ):
        person.page.keyboard.press(key)
        layer, head = place(name)
        person.selects(layer=layer, head=head)
        expect(person.head_button(layer, head)).to_be_focused()


def test_the_score_that_colours_the_grid_orders_it(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, layer=24, head=4, attention="heads", **{"heads-colour": "entropy"})
    expect(person.page.locator('#attention-heads canvas[data-colour="entropy"]')).to_be_visible()
    person.page.locator("#heads-panel .options-box summary").click()
    person.page.locator("#attention-grid label", has_text="By score").click()
    person.page.keyboard.press("Escape")
    expect(person.at(NOTE)).to_have_text("By entropy on this text, the largest first, row by row.")
    values = np.asarray(causal.attention_of().score("entropy")).ravel()
    best = [f"{index // 9}.{index % 9}" for index in np.argsort(-values, kind="stable")]
    assert flat(seen(person)) == best
    person.at("heads-colour-box").select_option("first")
    expect(person.at(NOTE)).to_have_text("By attention to the first token on this text, the largest first, row by row.")
    firsts = np.asarray(causal.attention_of().score("first")).ravel()
    assert flat(seen(person)) == [f"{index // 9}.{index % 9}" for index in np.argsort(-firsts, kind="stable")]
    person.at("attention-tab-attention").click()  # the same order beside the heatmap
    expect(person.at(NOTE)).to_have_text("By attention to the first token on this text, the largest first, row by row.")


def test_the_table_has_the_groups_and_a_click_on_their_heading_sorts(person: Person, causal: ModelRun) -> None:
    options = {"attention-grid": "alike", "attention-groups": 3, "attention-first": "on"}
    person.open_run(causal, token=15, layer=24, head=4, attention="heads", **options)
    expect(person.at(NOTE)).to_contain_text("3 groups of heads that attend alike")
    expect(person.at(NOTE)).to_contain_text("with the reading aids applied")
    groups = similar_heads(causal.attention_of(), Aids(first=True), 3)
    numbers = groups.group_of(30, 9)
    person.page.locator('#heads-rows .ag-header-cell[col-id="group"]').click()
    expect(person.title("heads")).to_have_text("All 270 heads, group by group")
    expect(person.at("heads-footer")).to_contain_text(f"group {numbers[24, 4]} of 3")
    person.page.locator("#heads-rows .ag-body-viewport").evaluate("(box) => { box.scrollTop = 0; }")
    first = person.page.locator("#heads-rows .ag-row[row-index='0']:not([row-index^=t])")
    expect(first.locator('[col-id="group"]')).to_have_text("1")
    assert person.address()["heads-sort"] == "group"


def test_groups_fit_a_phone(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(390, 844)
    person.open_run(causal, token=15, layer=24, head=4, **{"attention-grid": "alike"})
    expect(person.at(TITLE)).to_have_text("All heads, in groups")
    assert person.page.evaluate("() => document.documentElement.scrollWidth") <= 390
    box, button = person.at("attention-heads").bounding_box(), person.head_button(24, 4).bounding_box()
    assert box is not None
    assert button is not None
    assert box["y"] <= button["y"] <= box["y"] + box["height"] - button["height"], "the selected head is in view"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Person], causal: ModelRun, scheme: str) -> None:
    person = open_page(color_scheme=scheme)
    person.open_run(causal, token=15, layer=24, head=4, **{"attention-grid": "alike", "attention-first": "on"})
    expect(person.at(TITLE)).to_have_text("All heads, in groups")
    assert found_by_axe(person) == []


CUT = """() => {
    const box = document.getElementById("attention-heads").getBoundingClientRect();
    const ends = [...document.querySelectorAll("#attention-heads button")].map((b) => b.getBoundingClientRect().bottom);
    return [ends.length, ends.filter((end) => end > box.bottom + 1).length];
}"""


@pytest.mark.parametrize("width", [1280, 1440])
@pytest.mark.parametrize("order", ["alike", "score"])
def test_every_head_is_in_view_in_every_tab(
    open_page: Callable[..., Person], causal: ModelRun, width: int, order: str
) -> None:
    person = open_page(width, 720 if width == 1280 else 900)
    person.open_run(causal, token=15, second=1, layer=23, head=0, **{"attention-grid": order})
    for view in ("heads", "attention", "lines", "heads"):
        person.open_tab("attention", view)
        expect(person.at(NOTE)).to_be_visible()
        assert person.page.evaluate(CUT) == [270, 0], view
