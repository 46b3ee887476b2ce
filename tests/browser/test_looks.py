"""Light and dark, wide and narrow, with and without a mouse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from dashboard.figures.theme import DARK, LIGHT, colour_table, colours_of
from dashboard.views import all_views
from tests.support.person import Person, cut_above_the_heatmap, unreadable

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]


def rgb(colour: str) -> str:
    return f"rgb({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:7], 16)})"


def looks(person: Person, name: str) -> None:
    """The page, the figures and the picture of the heads all have this theme."""
    theme = DARK if name == "dark" else LIGHT
    expect(person.at("attention-card")).to_have_css("background-color", rgb(theme.surface))
    expect(person.page.locator("#tokens [data-token]").first).to_have_css("color", rgb(theme.ink))
    person.page.wait_for_function(
        "(colour) => document.querySelector('#attention-graph .js-plotly-plot').data[0].colorscale[2][1] === colour",
        arg=theme.weights[0],
    )


@pytest.mark.fresh
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_system(open_page: Callable[..., Person], causal: ModelRun, scheme: Scheme) -> None:
    person = open_page(color_scheme=scheme)
    person.open_run(causal, token=6, layer=10, head=2)
    looks(person, scheme)
    other: Scheme = "dark" if scheme == "light" else "light"
    person.page.emulate_media(color_scheme=other)
    looks(person, other)


def coloured(person: Person, view: str) -> list[str]:
    """The colours of a figure's words and lines, as they are drawn."""
    return person.page.evaluate(
        """(view) => [...new Set([...document.querySelectorAll(`#${view}-graph .main-svg text, #${view}-graph path`)]
            .filter((node) => node.checkVisibility()).map((node) => getComputedStyle(node))
            .flatMap(({ fill, stroke }) => [fill, stroke]).filter((value) => value.startsWith("rgb(")))].sort()""",
        view,
    )


def heads(person: Person) -> set[str]:
    """The colours in the pictures of all heads."""
    found = person.page.evaluate(
        """() => {
            const canvas = document.querySelector("#attention-heads canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const pixels = Array.from({ length: data.length / 4 }, (_, i) => [...data.slice(4 * i, 4 * i + 4)]);
            return [...new Set(pixels.filter(([, , , a]) => a === 255).map(([r, g, b]) => `rgb(${r}, ${g}, ${b})`))];
        }"""
    )
    return set(found)


@pytest.mark.fresh
def test_another_theme_colours_every_figure_and_asks_for_nothing(
    open_page: Callable[..., Person], causal: ModelRun
) -> None:
    """No colour of the theme before is left in what Plotly draws; `looks` sees the heatmap's cells."""
    tabs = [(view.card, view.name) for view in all_views() if view.card != "attention" and view.name != "classes"]
    seen: dict[str, dict[str, list[str]]] = {"light": {}, "dark": {}}
    person = open_page(color_scheme="light")
    person.open_run(causal, token=6, layer=10, head=2, second=3)
    for card, view in tabs:
        person.open_tab(card, view)
        expect(person.page.locator(f"#{card}-card .view.active [data-waits]")).to_have_count(0)
        seen["light"][view] = coloured(person, view)
        before = len(person.requests)
        person.page.emulate_media(color_scheme="dark")
        looks(person.still(), "dark")
        person.page.wait_for_timeout(300)
        seen["dark"][view] = coloured(person, view)
        person.page.emulate_media(color_scheme="light")
        looks(person.still(), "light")
        person.page.wait_for_timeout(300)
        assert coloured(person, view) == seen["light"][view]
        asked = [url for url in person.requests[before:] if not url.endswith("/health")]
        assert asked == []
    light, dark = ({rgb(colour) for colour in colours_of(theme).values()} for theme in (LIGHT, DARK))
    for view, found in seen["light"].items():
        assert set(found) & light, view
        assert not set(found) & (dark - light), view
        assert not set(seen["dark"][view]) & (light - dark), view
        assert len(seen["dark"][view]) == len(found), view


@pytest.mark.fresh
def test_the_pictures_of_all_heads_have_the_colours_of_their_shades(
    open_page: Callable[..., Person], causal: ModelRun
) -> None:
    person = open_page(color_scheme="dark")
    person.open_run(causal, token=6, layer=10, head=2)
    for scheme, theme in (("dark", DARK), ("light", LIGHT)):
        person.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        looks(person, scheme)
        scale = {rgb("#" + "".join(f"{part:02X}" for part in colour)) for colour in colour_table(theme.weights, 255)}
        found = heads(person)
        assert len(found) > 20
        assert found <= scale
    assert len([url for url in person.requests if f"{causal.key}/heads?" in url]) == 1


@pytest.mark.fresh
def test_the_switch_goes_through_system_light_and_dark(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(color_scheme="dark")
    person.open_run(causal, token=6, layer=10, head=2)
    for words, name in (("system", "dark"), ("light", "light"), ("dark", "dark"), ("system", "dark")):
        expect(person.at("theme-switch")).to_have_text(f"Theme: {words}")
        looks(person, name)
        person.at("theme-switch").click()
    assert person.selection()["token"] == 6


@pytest.mark.fresh
def test_a_chosen_theme_survives_a_reload(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(color_scheme="dark")
    person.open_run(causal, token=6, layer=10, head=2)
    person.at("theme-switch").click()
    looks(person, "light")
    person.page.reload()
    person.settled()
    looks(person, "light")
    expect(person.at("theme-switch")).to_have_text("Theme: light")


# widths


def no_overflow(person: Person) -> None:
    person.page.wait_for_function("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_everything_about_one_token_is_on_one_screen(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    high, inner = person.page.evaluate("() => [document.documentElement.scrollHeight, window.innerHeight]")
    assert high <= inner
    for name in ("text", "tokens", "layer", "head", "attention-graph", "hidden-graph", "prediction-graph"):
        box = person.at(name).bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900 + 1


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1200, 1440, 1920])
def test_nothing_hangs_out_of_the_page_at_any_width(
    open_page: Callable[..., Person], example_runs: dict[str, ModelRun], width: int
) -> None:
    person = open_page(width, 844)
    person.go()
    no_overflow(person)
    for run in example_runs.values():
        person.open_run(run, token=2, layer=1, head=1, second=1)
        no_overflow(person)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1200, 600), (1440, 900), (900, 700)])
def test_figures_stay_readable_in_a_low_window(
    open_page: Callable[..., Person], causal: ModelRun, width: int, height: int
) -> None:
    person = open_page(width, height)
    person.open_run(causal, token=15, layer=24, head=4, second=1)
    assert unreadable(person.page.main_frame) == []
    for count in (50, 5):
        person.page.locator("#prediction-panel .options-box summary").click()
        person.at("prediction-count").get_by_text(str(count), exact=True).click()
        person.page.keyboard.press("Escape")
        expect(person.page.locator("#prediction-figure .over text.value")).to_have_count(3 * count)
        person.still()
        assert unreadable(person.page.main_frame) == []
    if width >= 1200:
        hidden, prediction = (person.at(f"{name}-card").bounding_box() for name in ("hidden", "prediction"))
        assert hidden is not None
        assert prediction is not None
        assert abs(hidden["height"] - prediction["height"]) <= 1, "with few rows both are of one height"


def test_figures_of_a_long_text_stay_readable(open_page: Callable[..., Person]) -> None:
    person = open_page(1440, 800)
    run = person.go().run(" ".join(f"Box {i} is red." for i in range(52)), "smollm2-135m")
    person.open_run(run, token=200, layer=15, head=0, second=150)
    assert unreadable(person.page.main_frame) == []


@pytest.mark.parametrize("width", [390, 1200, 1280, 1440])
def test_the_words_and_the_legend_above_the_heatmap_have_room(
    open_page: Callable[..., Person], example_runs: dict[str, ModelRun], width: int
) -> None:
    person = open_page(width, 900)
    for run in example_runs.values():
        person.open_run(run, token=2, layer=5, head=0, second=1)
        assert cut_above_the_heatmap(person.page.main_frame) == []


def test_a_wide_table_fits_or_says_that_it_scrolls(person: Person, causal: ModelRun) -> None:
    options: dict[str, int | str] = {"hidden": "path", "path-show": "table"}
    for width, fits in ((1440, True), (390, False)):
        person.page.set_viewport_size({"width": width, "height": 900})
        person.open_run(causal, token=15, layer=24, head=4, second=1, **options)
        column = person.page.locator("#path-panel .figure-column")
        box = person.page.locator("#path-rows .ag-center-cols-viewport")
        expect(box.locator(".ag-row").first).to_be_visible()
        expect(column).to_have_class(re.compile("figure-column *$" if fits else "more-right"))
        assert box.evaluate("(box) => box.scrollWidth <= box.clientWidth") is fits
        box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
        expect(column).not_to_have_class(re.compile("more-right"))


@pytest.mark.parametrize(("width", "height"), [(1440, 1000), (1440, 900), (1280, 720), (390, 844)])
def test_menus_stay_within_the_window(
    open_page: Callable[..., Person], causal: ModelRun, width: int, height: int
) -> None:
    person = open_page(width, height)
    person.open_run(causal, token=6, layer=10, head=2)
    for name in ("attention", "hidden", "prediction"):
        person.page.locator(f"#{name}-panel .options-box summary").click()
        menu = person.page.locator(f"#{name}-panel .menu.options")
        box = menu.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
        whole = bool(menu.evaluate("(menu) => menu.scrollHeight <= menu.clientHeight"))
        assert whole or "more-below" in (menu.get_attribute("class") or "")
        if width >= 1280:
            assert whole, f"all of {name}'s options at once"
        person.page.keyboard.press("Escape")


def test_the_model_s_name_is_whole_and_its_list_is_clear_of_the_edge(person: Person, causal: ModelRun) -> None:
    for width in (390, 900):
        person.page.set_viewport_size({"width": width, "height": 844})
        person.open_run(causal, token=6, layer=10, head=2)
        shown = person.page.evaluate(
            """() => {
                const name = document.querySelector("#model-value b");
                const around = [name, name.closest(".model-option"), name.closest(".dash-dropdown-value")];
                return around.map((node) => node.getBoundingClientRect().right);
            }"""
        )
        assert shown[0] <= shown[1] + 0.5 <= shown[2] + 1
        person.at("model").click()
        right = person.page.locator(".dash-dropdown-content").evaluate("(list) => list.getBoundingClientRect().right")
        assert right <= width - 6


def test_a_phone_can_do_everything(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(390, 844, has_touch=True, is_mobile=True)
    person.go()
    no_overflow(person)
    person.run("A phone can do this too.", "smollm2-135m")
    person.token(2).tap()
    person.selects(token=2)
    person.at("layer-up").tap()
    person.at("head-up").tap()
    start = person.selection()
    person.head_button(start["layer"], 8).scroll_into_view_if_needed()
    person.head_button(start["layer"], 8).tap()
    person.selects(head=8)
    place = person.cell(4, 1)
    person.page.touchscreen.tap(*place)
    person.selects(token=4, second=1)
    place = person.point(3)
    person.page.touchscreen.tap(*place)
    person.selects(token=3)
    no_overflow(person)


def test_the_selection_bar_stays_in_sight_on_a_phone(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(390, 844)
    person.open_run(causal, token=6, layer=10, head=2)
    person.at("prediction-card").scroll_into_view_if_needed()
    box = person.at("selection-bar").bounding_box()
    assert box is not None
    assert -1 <= box["y"] < 20


def test_the_text_box_follows_its_width(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.page.set_viewport_size({"width": 390, "height": 844})
    person.page.wait_for_function("() => { const t = document.getElementById('text'); return t.clientHeight > 44; }")
    assert person.page.evaluate(
        "() => { const t = document.getElementById('text'); return t.scrollHeight <= t.clientHeight + 2; }"
    )


@pytest.mark.fresh
def test_a_window_that_changes_its_size_keeps_marks_on_their_figures(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    for width in (1000, 390, 1440):
        person.page.set_viewport_size({"width": width, "height": 844})
        person.page.wait_for_timeout(400)
        person.settled()
        assert person.framed_row() == 6
        if person.page.locator("#hidden-figure svg.over circle.ring").count():
            assert person.ringed_point() == 6
        no_overflow(person)


# keyboard and what is read aloud


def focused(person: Person) -> str:
    """What has the focus: its id, or that of the nearest element around it that has one."""
    return person.page.evaluate(
        """() => {
            const node = document.activeElement;
            if (node.dataset.token !== undefined) return `token ${node.dataset.token}`;
            if (node.dataset.head !== undefined) return `head ${node.dataset.layer}.${node.dataset.head}`;
            if (node.tagName === "SUMMARY") {
                return `options of ${(node.closest("section") || { id: "the header" }).id || "the form"}`;
            }
            return (node.closest("[id]") || { id: "" }).id;
        }"""
    )


@pytest.mark.fresh
def test_tab_reaches_everything_in_order(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    reached: list[str] = []
    while len(reached) < 60 and reached.count("text") < 2:  # once around the page
        person.page.keyboard.press("Tab")
        reached.append(focused(person))
    wanted = [
        "text",
        "run",
        "token 6",
        "layer",
        "head",
        "head 10.2",
        "options of hidden-card",
        "options of prediction-card",
    ]
    assert [name for name in wanted if name not in reached] == []
    order = [reached.index(name) for name in wanted]
    assert order == sorted(order)
    assert reached.count("token 6") == 1, "one stop for the whole strip"
    assert reached.count("head 10.2") == 1, "one stop for the whole grid"


def test_options_open_by_key_and_close_by_escape(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    summary = person.page.locator("#hidden-panel .options-box summary")
    summary.focus()
    person.page.keyboard.press("Enter")
    expect(person.at("hidden-first")).to_be_visible()
    person.page.keyboard.press("Escape")
    expect(person.at("hidden-first")).to_be_hidden()
    expect(summary).to_be_focused()


def test_options_change_what_is_drawn(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.page.locator("#hidden-panel .options-box summary").click()
    person.at("hidden-first").get_by_text("Kept").click()
    expect(person.at("hidden-heading")).to_contain_text("All tokens kept")
    person.at("hidden-at").get_by_text("Embeddings").click()
    expect(person.title("hidden")).to_contain_text("Embeddings, before layer 0")
    person.at("hidden-fit").get_by_text("All layers together").click()
    expect(person.at("hidden-heading")).to_contain_text("all layers fitted together")


def test_a_change_is_announced(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.token(9).click()
    expect(person.at("announcer")).to_have_text(re.compile(r"Token .* 9\b.*; layer 10, head 2"))
    assert person.at("announcer").get_attribute("aria-live") == "polite"


def test_buttons_and_fields_have_names(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    nameless = person.page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, select, summary, a[href]")]
            .filter((node) => node.checkVisibility() && !node.closest("[aria-hidden=true]"))
            .filter((node) => !(node.textContent.trim() || node.getAttribute("aria-label")
                || node.getAttribute("aria-labelledby")
                || node.title || (node.labels && node.labels.length)))
            .map((node) => node.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


@pytest.mark.fresh
def test_fonts_are_served_from_here(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    fonts = person.page.evaluate(
        """async () => {
            await document.fonts.ready;
            return [...document.fonts].filter((font) => font.status === "loaded")
                .map((font) => font.family.replaceAll('"', ""));
        }"""
    )
    assert {"Inter", "JetBrains Mono"} <= set(fonts)


# long texts


def test_three_hundred_tokens_are_drawn_with_positions_and_can_be_hovered(person: Person) -> None:
    text = " ".join(f"Box {i} is red." for i in range(52))
    run = person.go().run(text, "smollm2-135m")
    assert len(run) > 256
    middle = len(run) // 2
    person.token(middle).click()
    person.selects(token=middle)
    assert person.framed_row() == middle
    images = person.page.locator("#attention-figure canvas.cells:not([hidden])")
    expect(images).to_have_count(1)
    selection = person.selection()
    person.hover_at(person.cell(middle, 3))
    shown = person.at("tooltip").locator("b")
    weight = float(run.attention(selection["layer"], selection["head"])[middle, 3])
    expect(shown).to_be_visible()
    assert float(shown.text_content() or "") == pytest.approx(weight, rel=6e-3, abs=5.1e-5)
    no_overflow(person)
    person.click_at(person.cell(middle + 10, 5))
    person.page.wait_for_function("() => dashboardApp.state.selection.second !== null")
    selection = person.selection()
    assert abs(selection["token"] - middle - 10) <= 1
    assert abs(selection["second"] - 5) <= 1
