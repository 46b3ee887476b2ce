"""By keyboard alone, and without seeing a figure: tables, words for figures, keys, and what axe-core finds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

VIEWS = ("attention", "hidden", "prediction")


def show(person: Person, view: str, how: str) -> None:
    """Choose figure or table in a card's options, as a hand does; "rows" is a table of more than fifty."""
    card = person.at(f"{view}-card")
    card.locator(".view.active .options-box > summary").click()
    card.locator(f"#{view}-show input[value={'table' if how == 'rows' else how}]").check()
    person.page.keyboard.press("Escape")
    if how == "rows":
        expect(card.locator(".rows-box .ag-row").first).to_be_visible()
    else:
        expect(card.locator(".table-box table")).to_have_count(1 if how == "table" else 0)


def cells(person: Person, view: str) -> list[list[str]]:
    """The texts of a table's body."""
    rows = person.page.locator(f"#{view}-table tbody tr")
    return [row.locator("td").all_text_contents() for row in rows.all()]


def test_each_figure_can_be_read_as_a_table_of_its_numbers(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=15, second=1, layer=24, head=4)
    for view in VIEWS:
        show(person, view, "table")
    weights = causal.attention(24, 4)
    table = cells(person, "attention")
    assert [row[0] for row in table] == [str(i) for i in range(len(causal))]
    assert [float(row[2]) for row in table[:16]] == pytest.approx(weights[15, :16].tolist(), abs=5e-7)
    assert {row[2] for row in table[16:]} == {"masked"}
    assert person.page.locator("#attention-table th").all_text_contents() == [
        "Key",
        "Token",
        "Weight of ·to (15)",
        "Weight of ·Mary (1)",
    ]
    expect(person.page.locator("#attention-table tr.selected td").nth(1)).to_have_text("·to")
    expect(person.page.locator("#attention-table tr.second td").nth(1)).to_have_text("·Mary")
    [best] = causal.top_k(15, 1)
    [token, _id, here, there, _difference] = cells(person, "prediction")[0]  # two positions side by side
    assert token == best.text.replace(" ", "·")
    assert float(here) == pytest.approx(100 * best.probability, abs=1e-4)
    assert float(there) < float(here)
    expect(person.page.locator("#hidden-table tr.selected")).to_be_in_viewport()

    person.page.locator("#attention-table [data-row='9']").click()  # a key: the second token
    person.selects(token=15, second=9)
    person.page.locator("#hidden-table [data-row='14']").focus()  # a token, by keys
    person.page.keyboard.press("ArrowUp")
    person.page.keyboard.press("Enter")
    person.selects(token=13, second=9)
    assert person.page.evaluate("() => document.activeElement.dataset.row") == "13"  # though the table is new
    expect(person.page.locator("#hidden-table tr.selected td").first).to_have_text("13")

    expect(person.page.locator("#attention-figure")).to_be_hidden()
    for view in VIEWS:
        show(person, view, "figure")
    person.settled()
    assert person.framed_row() == 13
    assert person.ringed_point() == 13


def row_of(person: Person, view: str, index: int) -> Locator:
    return person.page.locator(f'#{view}-rows .ag-row[row-id="{index}"]')


def test_a_table_of_many_rows_has_all_of_them_sorted_filtered_and_chosen(person: Person) -> None:
    run = person.go().run("When Mary and John went to the store, John gave a drink to Mary. " * 9, "smollm2-135m")
    last = len(run) - 1
    assert last > 100
    person.open_run(run, token=last, layer=24, head=4)
    show(person, "attention", "rows")
    weights = run.attention(24, 4)[last]
    grid = person.at("attention-rows")
    expect(grid.locator("[role=treegrid], [role=grid]").first).to_have_attribute("aria-rowcount", str(len(run) + 1))
    expect(row_of(person, "attention", last)).to_be_in_viewport()
    expect(row_of(person, "attention", last)).to_have_attribute("aria-current", "true")
    assert row_of(person, "attention", last).locator("[role=gridcell]").first.text_content() == str(last)
    found = float(row_of(person, "attention", last).locator("[role=gridcell]").last.text_content() or "")
    assert found == pytest.approx(float(weights[last]), abs=5e-7)

    heading = grid.locator(".ag-header-cell").last
    heading.click()  # largest weight first
    expect(heading).to_have_attribute("aria-sort", "descending")
    grid.locator(".ag-body-viewport").evaluate("(box) => box.scrollTo(0, 0)")
    expect(grid.locator(".ag-row[row-index='0']")).to_have_attribute("row-id", str(int(weights.argmax())))
    person.at("attention-rows-box").locator(".rows-filter").fill("drink")
    drinks = [str(i) for i, token in enumerate(run.tokens) if "drink" in token.text]
    expect(grid.locator(".ag-center-cols-container .ag-row")).to_have_count(len(drinks))
    shown = grid.locator(".ag-center-cols-container .ag-row").evaluate_all(
        "(rows) => rows.map((row) => row.getAttribute('row-id'))"
    )
    assert sorted(shown, key=int) == drinks
    row_of(person, "attention", int(drinks[1])).click()  # a key: the second token
    person.selects(token=last, second=int(drinks[1]))
    expect(row_of(person, "attention", int(drinks[1]))).to_have_attribute("aria-current", "true")
    row_of(person, "attention", int(drinks[2])).locator("[role=gridcell]").first.focus()
    person.page.keyboard.press("Enter")
    person.selects(token=last, second=int(drinks[2]))
    assert found_by_axe(person) == []
    show(person, "attention", "figure")
    person.settled()
    expect(person.at("attention-rows-box")).to_be_hidden()


def test_figures_say_what_they_show(person: Person, causal: ModelRun) -> None:
    person.go()
    for view in VIEWS:
        expect(person.page.locator(f"#{view}-graph")).to_have_attribute("role", "img")
    person.open_run(causal, token=15, second=1, layer=24, head=4)

    def said(view: str) -> str:
        return str(person.page.locator(f"#{view}-graph").get_attribute("aria-label"))

    assert "Layer 24, head 4: what ·to (15) attends to. ·to attends to ·Mary (1) 0.848" in said("attention")
    assert "After layer 24" in said("hidden")
    assert "the model expects ·Mary, 92.7 %" in said("prediction")
    assert all("Token ·to 15, second token ·Mary 1; layer 24, head 4" in said(view) for view in VIEWS)
    person.token(9).click()
    person.selects(token=9)
    assert "what ·John (9) attends to" in said("attention")
    assert all("Token ·John 9" in said(view) for view in VIEWS)


# keys


def focus(person: Person) -> str:
    """What has the focus: its id, or what it is."""
    return str(
        person.page.evaluate(
            """() => {
                const { id, dataset, tagName, textContent } = document.activeElement;
                return id || (dataset.token === undefined ? "" : `token ${dataset.token}`)
                    || `${tagName} ${textContent}`;
            }"""
        )
    )


def test_a_whole_session_by_keyboard(person: Person, causal: ModelRun) -> None:
    press = person.page.keyboard.press
    person.go()
    press("/")
    assert focus(person) == "text"
    person.page.keyboard.type(causal.text)  # with , . and x in it: they are text here
    press("Control+Enter")
    person.drawn(causal.text)
    person.selects(token=15, second=1, layer=23, head=0)
    press("ArrowLeft")  # moves the caret, not the token
    person.selects(token=15)
    press("Tab")
    for key, places in (
        ("ArrowRight", {"token": 16}),
        ("ArrowLeft", {"token": 15}),
        ("Shift+ArrowUp", {"layer": 22}),
        ("Shift+ArrowDown", {"layer": 23}),
        ("Shift+ArrowRight", {"head": 1}),
        ("Shift+ArrowLeft", {"head": 0}),
        ("x", {"second": None}),
        ("[", {"second": 14}),
        ("]", {"second": 16}),  # past the selected one
        (",", {"second": 14}),
        ("Shift+ArrowRight", {"head": 1}),  # another kind of change: moves of one kind in a row may be one step
        ("Control+z", {"head": 0, "second": 14}),
        ("Control+Shift+Z", {"head": 1, "second": 14}),
        ("End", {"token": 17}),
        ("Home", {"token": 0}),
    ):
        press(key)
        person.selects(**places)
    person.token(0).focus()
    press("Shift+ArrowDown")  # from the strip, too; an arrow alone takes the focus along
    person.selects(token=0, layer=24)
    press("End")
    person.selects(token=17)
    assert focus(person) == "token 17"
    press("Shift+Enter")  # no token is its own second one
    person.selects(token=17, second=14)
    weight = float(causal.attention(24, 1)[17, 14])
    expect(person.at("announcer")).to_contain_text("Token “.” 17, second token ·milk 14; layer 24, head 1")
    expect(person.at("announcer")).to_contain_text(f"attends to it with weight {weight:.4f}")

    person.page.locator("#attention-panel .options-box summary").focus()
    press("Enter")
    press("ArrowDown")
    press("ArrowDown")  # from figure to table
    expect(person.at("attention-table").locator("table")).to_be_visible()
    press("Escape")
    assert focus(person).startswith("SUMMARY Options")
    press("Tab")
    while not focus(person).startswith("attention-table"):
        press("Tab")
        assert focus(person) != "text", "the table is a tab stop"
    press("ArrowRight")  # the table's own
    person.selects(token=17)


def test_the_list_of_keys_opens_closes_and_turns_single_keys_off(person: Person, causal: ModelRun) -> None:
    press = person.page.keyboard.press
    person.open_run(causal, token=9, second=4, layer=5, head=2)
    dialog = person.page.locator("dialog")
    person.at("keys").focus()
    press("Enter")
    expect(dialog).to_be_visible()
    expect(dialog.locator("tr", has_text="previous, next layer").locator("kbd").first).to_have_text("Shift+↑")
    press("ArrowLeft")
    for _ in range(4):  # the focus stays inside
        press("Tab")
        assert person.page.evaluate(
            "() => document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    press("Escape")
    expect(dialog).to_be_hidden()
    assert focus(person) == "keys"
    person.selects(token=9, second=4)

    press("Shift+?")
    dialog.get_by_role("checkbox").uncheck()
    dialog.get_by_role("button", name="Close").click()
    press("x")
    press("/")
    press("ArrowRight")
    person.selects(token=10, second=4)
    person.page.reload()
    person.settled()
    press("x")
    press("ArrowRight")
    person.selects(token=11, second=4)


def test_esc_leaves_the_text_for_its_tokens(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=10, layer=3, head=1)
    person.page.keyboard.press("/")
    expect(person.at("text")).to_be_focused()
    person.page.keyboard.press("Escape")
    expect(person.token(10)).to_be_focused()
    person.page.keyboard.press("ArrowRight")
    person.selects(token=11)


def test_menus_and_notices_by_keyboard(person: Person) -> None:
    press = person.page.keyboard.press
    person.go("?run=abc")
    expect(person.notice()).to_contain_text("Error.")
    examples = person.page.locator(".examples-menu summary")
    examples.focus()
    press("Enter")
    press("ArrowDown")
    press("ArrowDown")
    assert person.page.evaluate("() => document.activeElement.dataset.example") == "1"
    press("ArrowUp")
    assert person.page.evaluate("() => document.activeElement.dataset.example") == "0"
    press("Escape")
    expect(person.page.locator(".examples-menu")).not_to_have_attribute("open", "")
    expect(examples).to_be_focused()
    expect(person.notice()).to_contain_text("Error.")  # one thing at a time
    press("Escape")
    expect(person.notice().locator(".notice")).to_have_count(0)
    person.at("text").focus()
    press("Escape")
    expect(person.at("text")).to_be_focused()  # no run, no tokens
    examples.focus()
    press("Enter")
    for _ in range(6):
        press("Tab")
    expect(person.page.locator(".examples-menu")).not_to_have_attribute("open", "")  # the focus has left it


# axe-core

RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}  # all that another theme can change
DASHS_LIST = ["aria-allowed-role", "nested-interactive"]  # of the open list of models, see docs/accessibility.md


def axe_source() -> str:
    place = importlib.util.find_spec("axe_playwright_python")
    assert place is not None, "make test installs it (requirements-dev.txt)"
    assert place.origin is not None
    return (Path(place.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def found_by_axe(person: Person, without: Sequence[str] = (), rules: dict[str, Any] = RULES) -> list[str]:
    """Each finding as a line: rule, what is wrong, where."""
    if not person.page.evaluate("() => Boolean(window.axe)"):
        person.page.evaluate(axe_source())
    found = person.page.evaluate(
        """async ([runOnly, without, least]) => {
            const rules = Object.fromEntries(without.map((name) => [name, { enabled: false }]));
            const { violations, passes } = await axe.run(document, {
                runOnly, rules, resultTypes: ["violations"], // to say where the others are takes long
            });
            if (passes.length < least) return ["axe looked at next to nothing"];
            const places = (nodes) => nodes.map((node) => node.target.join(" ")).join(", ");
            return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${places(nodes)}`);
        }""",
        [rules, list(without), 10 if rules is RULES else 1],
    )
    return [str(line) for line in found]


def test_axe_finds_what_is_planted(person: Person) -> None:
    person.go()
    person.page.evaluate("() => document.querySelector('main').append(document.createElement('button'))")
    assert [line.split(":")[0] for line in found_by_axe(person)] == ["button-name"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(
    open_page: Callable[..., Person], example_runs: dict[str, ModelRun], scheme: str
) -> None:
    person = open_page(color_scheme=scheme)
    found = partial(found_by_axe, person, rules=RULES if scheme == "light" else COLOURS)
    person.go()
    assert found() == []
    person.at("model").press("ArrowDown")
    expect(person.page.locator(".dash-dropdown-content")).to_be_visible()
    assert found(DASHS_LIST if scheme == "light" else ()) == []
    person.go("?run=abc")
    expect(person.notice()).to_contain_text("Error.")
    assert found() == []
    for run in example_runs.values():
        person.open_run(run, token=4, second=2, layer=3, head=1)
        assert found() == []
    person.open_run(example_runs["smollm2-135m"], token=15, second=1, layer=24, head=4)
    for view in VIEWS:
        person.page.locator(f"#{view}-panel .options-box summary").first.click()
        assert found() == []
        person.page.keyboard.press("Escape")
        show(person, view, "table")
    assert found() == []
    for name, there in (("keys", "dialog[open]"), ("recent", "#recent-dialog .ag-row")):
        person.at(name).click()
        expect(person.page.locator(there).first).to_be_visible()
        person.still()
        assert found() == []
        person.page.keyboard.press("Escape")


def test_on_a_small_screen_axe_finds_nothing_and_the_page_scrolls_one_way(
    open_page: Callable[..., Person], causal: ModelRun
) -> None:
    for width in (390, 320):
        person = open_page(width, 640, has_touch=True)
        person.open_run(causal, token=15, second=1, layer=24, head=4)
        assert found_by_axe(person) == []
        assert person.page.evaluate("() => document.documentElement.scrollWidth") == width
        sizes = person.page.evaluate(
            """() => [...document.querySelectorAll("#tokens button")].map((button) => button.getBoundingClientRect())
                .map(({ width, height }) => Math.min(width, height))"""
        )
        assert min(sizes) >= 24


def test_high_contrast_and_reduced_motion(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(forced_colors="active", reduced_motion="reduce")
    person.open_run(causal, token=15, second=1, layer=24, head=4)
    look = "([css, name]) => getComputedStyle(document.querySelector(css))[name]"
    ground = person.page.evaluate(look, ["body", "backgroundColor"])
    for css, name in (
        ("#tokens .selected .chip", "outlineColor"),
        ("#tokens .second .chip", "outlineColor"),
        ("#attention-figure svg.over rect.row", "stroke"),
        ("#attention-figure svg.over rect.column", "stroke"),
        ("#hidden-figure svg.over circle.ring", "stroke"),
        (".head-frame", "borderTopColor"),
    ):
        assert person.page.evaluate(look, [css, name]) != ground, css
    shades = {person.page.evaluate(look, [f"#tokens [data-token='{i}'] .chip", "backgroundColor"]) for i in (1, 7, 13)}
    assert len(shades) > 1, "surprisal keeps its scale"
    moving = person.page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((node) => {
            const { transitionDuration, transitionDelay, animationName } = getComputedStyle(node);
            const times = `${transitionDuration}, ${transitionDelay}`.split(", ");
            return times.some((time) => parseFloat(time) > 0) || animationName !== "none";
        }).map((node) => node.className)"""
    )
    assert moving == []
    assert person.page.evaluate("() => document.getAnimations().length") == 0
