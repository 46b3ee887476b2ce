"""Undo, redo and the browser's own buttons: one list of steps over selections, options and runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dashboard.catalog.examples import EXAMPLES
from dashboard.contracts.run import ModelRun
from dashboard.views import all_views
from dashboard.views.controls import SHOW, Choice
from dashboard.views.state import ViewState, settings_of
from tests.support.person import Person

pytestmark = pytest.mark.browser


def choose(person: Person, control: str, value: str) -> None:
    """Choose one option of a card, as a person does."""
    view = next(view for view in all_views() if control.rsplit("-", 1)[0] == view.name)
    person.open_tab(view.card, view.name)
    person.page.locator(f"#{view.name}-panel .options-box > summary").first.click()
    person.page.locator(f'#{control} input[value="{value}"]').click()
    person.page.keyboard.press("Escape")
    person.page.wait_for_function("([name, value]) => dashboardApp.state.options[name] === value", arg=[control, value])


def options(person: Person) -> dict[str, str]:
    """What each control of each view stands at, as Dash tells the page."""
    told = person.page.evaluate("() => dashboardApp.state.options")
    return {name: told[name] for name in choices()}


def shown_option(person: Person, control: str) -> str:
    """What a control of an open tab stands at, as its menu shows it."""
    summary = person.page.locator(f"#{control.rsplit('-', 1)[0]}-panel .options-box > summary")
    summary.click()
    value: str = person.page.locator(f"#{control} input:checked").evaluate("(node) => node.value")
    summary.click()
    return value


def standards() -> dict[str, str]:
    return {name: control.default for name, control in choices().items()}


def choices() -> dict[str, Choice]:
    """The choices in the options of every view, by their name in the address."""
    found = {one.name: one.control for one in settings_of(all_views()) if one.property == "value"}
    return {name: control for name, control in found.items() if isinstance(control, Choice)}


@pytest.mark.fresh
def test_a_link_holds_every_control_of_every_view(open_page: Callable[..., Person], masked: ModelRun) -> None:
    one, two = open_page(), open_page()
    one.open_run(masked, token=5, layer=3, head=1, second=2)
    assert set(one.address()) == {"run", "token", "layer", "head", "second"}
    changed = {name: control.choices[-1][0] for name, control in choices().items()}
    for name, value in changed.items():
        if "masked" in choices()[name].kinds and not choices()[name].needs:
            choose(one, name, value)  # which opens its tab
        else:  # not for this model or text, yet part of the link
            one.page.evaluate("([id, value]) => dash_clientside.set_props(id, { value })", [name, value])
    one.page.wait_for_function("(count) => new URLSearchParams(location.search).size >= count", arg=5 + len(changed))
    assert {name: one.address()[name] for name in changed} == changed
    one.still()
    two.go(one.page.url.split("/")[-1])
    two.page.wait_for_function("() => dashboardApp.state.selection && !location.search.includes('%20')")
    shown = ViewState.from_query(one.address(), all_views()).open_views(all_views())
    assert [two.at(f"{view.name}-panel").is_visible() for view in shown] == [True] * 3
    # each shows its numbers as a table: no figure to wait for; this model has no classes
    tables = [view for view in shown if SHOW in view.controls and view.name != "classes"]
    assert tables
    for view in tables:
        expect(two.at(f"{view.name}-panel").locator("table caption, .rows-title")).to_be_visible()
    two.still()
    places = two.selection()
    assert (places["token"], places["layer"], places["head"]) == (5, 3, 1)
    assert options(two) == changed
    assert two.address() == one.address()
    for view in shown:
        assert two.title(view.name).text_content() == one.title(view.name).text_content()
        assert two.at(f"{view.name}-footer").text_content() == one.at(f"{view.name}-footer").text_content()
    two.page.reload()
    expect(two.at(f"{tables[0].name}-panel").locator("table caption, .rows-title")).to_be_visible()
    assert options(two) == changed
    for view in tables:
        assert shown_option(two, f"{view.name}-show") == "table"


@pytest.mark.fresh
def test_a_link_with_options_draws_each_figure_once(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=5, **{"hidden-fit": "all", "prediction-count": "5"})
    assert options(person) == standards() | {"hidden-fit": "all", "prediction-count": "5"}
    for view in all_views():
        asked = [url for url in person.requests if f"/show/figure/{view.name}?" in url]
        assert len(asked) == (1 if view.name in ("attention", "hidden", "prediction") else 0), "the open tabs, once"


@pytest.mark.fresh
def test_an_option_that_is_none_is_a_notice_and_the_rest_is_used(person: Person, causal: ModelRun) -> None:
    query = "prediction-count=<img src=x onerror=window.__x=1>&hidden-fit=all&hidden-nothing=1&hidden-at="
    person.go(f"?run={causal.key}&token=4&layer=7&head=3&{query}").selects(token=4, layer=7, head=3)
    expect(person.notice()).to_contain_text("“<img src=x onerror=window.__x=1>” in Predictions, Tokens")
    expect(person.notice()).to_contain_text("“” in Hidden states, Points")
    assert options(person) == standards() | {"hidden-fit": "all"}
    assert person.page.evaluate("() => window.__x") is None
    assert set(person.address()) == {"run", "token", "layer", "head", "hidden-fit"}
    assert person.page.evaluate("() => history.state.index") == 0


@pytest.mark.fresh
def test_back_and_forward_are_undo_and_redo(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    expect(person.at("undo")).to_be_disabled()
    person.token(9).click()
    person.selects(token=9)
    choose(person, "hidden-fit", "all")
    person.head_button(17, 7).click()
    person.selects(layer=17, head=7)
    person.page.go_back()
    person.selects(token=9, layer=10, head=2)
    expect(person.at("hidden-heading")).to_contain_text("all layers fitted together")
    assert options(person)["hidden-fit"] == "all"
    expect(person.at("redo")).to_be_enabled()
    person.at("undo").click()
    person.page.wait_for_function("() => !location.search.includes('hidden-fit')")
    person.selects(token=9, layer=10, head=2)
    assert options(person) == standards()
    expect(person.at("hidden-heading")).to_contain_text("at this layer")
    person.page.go_back()
    person.selects(token=6, layer=10, head=2)
    expect(person.at("undo")).to_be_disabled()
    person.at("redo").click()
    person.selects(token=9, layer=10)
    person.page.go_forward()
    expect(person.at("hidden-heading")).to_contain_text("all layers fitted together")
    person.at("redo").click()
    person.selects(token=9, layer=17, head=7)
    expect(person.at("redo")).to_be_disabled()
    person.page.reload()
    person.selects(token=9, layer=17, head=7)
    expect(person.at("undo")).to_be_enabled()
    expect(person.at("redo")).to_be_disabled()
    person.at("undo").click()
    person.selects(layer=10)
    person.page.reload()
    person.selects(token=9, layer=10, head=2)
    expect(person.at("redo")).to_be_enabled()
    person.token(3).click()
    person.selects(token=3)
    expect(person.at("redo")).to_be_disabled()


def test_steps_lead_from_run_to_run(person: Person) -> None:
    one = person.go().run("A first text, to come back to.", "smollm2-135m")
    expect(person.at("undo")).to_be_disabled()
    person.token(3).click()
    person.selects(token=3)
    choose(person, "prediction-count", "5")
    two = person.run("Another text altogether", "minilm-l6")
    assert options(person)["prediction-count"] == "5"  # a text of one's own keeps the options
    person.token(2).click()
    person.selects(token=2, run=two.key)
    for back in (person.at("undo").click, person.page.go_back):
        back()
        person.page.wait_for_timeout(50)
    person.selects(run=one.key, token=3)
    expect(person.at("text")).to_have_value(one.text)
    expect(person.at("model")).to_contain_text(one.model.title)
    assert options(person)["prediction-count"] == "5"
    assert person.page.title().startswith("A first text")
    person.page.go_back()
    person.page.wait_for_function("() => !location.search.includes('prediction-count')")
    person.page.go_back()
    person.page.wait_for_function("(token) => dashboardApp.state.selection.token !== token", arg=3)
    expect(person.at("undo")).to_be_disabled()
    person.page.go_back()  # the empty page, where it began
    expect(person.at("examples-card")).to_be_visible()
    expect(person.at("attention-card")).to_contain_text("Run a text to see where each token looks.")
    expect(person.at("text")).to_have_value("")
    assert person.address() == {}
    assert person.page.title() == "Transformer dashboard"
    person.page.go_forward()
    person.selects(run=one.key)
    expect(person.at("text")).to_have_value(one.text)
    expect(person.at("examples-card")).to_be_hidden()
    person.type_text("An edit that was not run")
    for _ in range(4):
        person.at("redo").click()
        person.page.wait_for_timeout(50)
    person.selects(run=two.key, token=2)
    expect(person.at("text")).to_have_value("An edit that was not run")
    expect(person.at("redo")).to_be_disabled()


@pytest.mark.fresh
def test_a_key_held_down_is_one_step(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=0, layer=10, head=2)
    person.at("layer").focus()
    for _ in range(12):
        person.page.keyboard.down("ArrowUp")
    person.page.keyboard.up("ArrowUp")
    person.selects(layer=22)
    assert person.page.evaluate("() => history.state.index") == 1
    for _ in range(40):  # a wheel of clicks: none is lost, and the browser does not complain
        person.page.evaluate(
            """() => {
                const next = () => (dashboardApp.state.selection.token + 1) % 18;
                for (let i = 0; i < 10; i += 1) dashboardApp.propose({ token: next() });
            }"""
        )
    person.selects(token=400 % 18)
    person.page.wait_for_function("() => new URLSearchParams(location.search).get('token') === '4'")
    for _ in range(person.page.evaluate("() => history.state.index")):
        person.at("undo").click()
        person.page.wait_for_timeout(50)
    person.selects(token=0, layer=10)


def test_a_step_to_a_run_that_has_left_is_a_notice(person: Person) -> None:
    gone = person.go().run("This one leaves.", "minilm-l6")
    here = person.run("This one stays.")
    person.server.store.delete(gone.key)
    person.at("undo").click()
    expect(person.notice()).to_contain_text("no longer has the run of this step")
    person.selects(run=here.key)
    person.at("redo").click()
    person.selects(run=here.key)
    person.page.wait_for_function("(key) => location.search.includes(key)", arg=here.key)
    person.token(1).click()
    person.selects(token=1)


def test_an_example_starts_with_default_options(person: Person) -> None:
    person.go().run(EXAMPLES[2].text, EXAMPLES[2].model)
    choose(person, "hidden-at", "embeddings")
    person.page.locator(".examples-menu > summary").click()
    person.page.locator('.examples-menu [data-example="1"]').click()
    person.drawn(EXAMPLES[1].text)
    assert options(person) == standards()
    person.at("undo").click()
    person.selects(layer=EXAMPLES[2].layer, token=EXAMPLES[2].token)
    assert options(person) == standards() | {"hidden-at": "embeddings"}


def test_a_notice_takes_its_room_from_the_figures_at_once(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    outside = person.page.evaluate(
        """async () => {
            const data = { error: "It failed. ".repeat(60), kind: "JobError", serial: "x" };
            dash_clientside.set_props("submitted-run", { data });
            while (!document.querySelector("#notice .notice")) await new Promise((done) => setTimeout(done, 1));
            return [...document.querySelectorAll(".view .main-svg")].map((node) =>
                Math.round(node.getBoundingClientRect().bottom - node.closest(".view").getBoundingClientRect().bottom));
        }"""
    )
    assert max(outside) <= 0
