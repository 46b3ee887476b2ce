"""The address bar: what it holds, what it opens, and what it cannot break."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Route, expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser


def test_a_link_shows_the_same_in_another_browser(open_page: Callable[..., Person], causal: ModelRun) -> None:
    one, two = open_page(), open_page()
    one.open_run(causal, token=6, layer=10, head=2)
    one.token(9).click()
    one.token(3).click(modifiers=["Shift"])
    one.head_button(17, 7).click()
    one.selects(token=9, second=3, layer=17, head=7)
    link = one.page.url
    two.load(link.split("/")[-1]).selects(token=9, second=3, layer=17, head=7)
    for view in ("attention", "hidden", "prediction"):
        assert two.title(view).text_content() == one.title(view).text_content()
        assert two.at(f"{view}-footer").text_content() == one.at(f"{view}-footer").text_content()
        assert two.at(f"{view}-body").text_content() == one.at(f"{view}-body").text_content()
    assert two.labels() == one.labels()
    assert two.address() == one.address()
    expect(two.at("text")).to_have_value(causal.text)


def test_a_link_without_a_second_token_shows_none(open_page: Callable[..., Person], causal: ModelRun) -> None:
    """This run is an example, which on its own starts with a second token."""
    one, two = open_page(), open_page()
    one.load(f"?run={causal.key}").settled()
    one.selects(second=1)
    one.at("clear-second").click()
    one.selects(second=None)
    two.load(one.page.url.split("/")[-1]).settled()
    two.selects(second=None)
    expect(two.at("second-token")).to_contain_text("None.")


def test_a_link_to_another_model_chooses_it(person: Person, masked: ModelRun) -> None:
    person.open_run(masked, token=5, layer=3, head=1)
    expect(person.at("model")).to_contain_text(masked.model.title)
    expect(person.at("text")).to_have_value(masked.text)
    expect(person.at("token-count")).to_contain_text(f"{len(masked)} of")


def test_links_of_before_have_another_name_for_the_second_token(person: Person, causal: ModelRun) -> None:
    person.go(f"?run={causal.key}&token=9&layer=17&head=7&other=3").settled()
    person.selects(token=9, second=3, layer=17, head=7)
    assert person.address() == {"run": causal.key, "token": "9", "second": "3", "layer": "17", "head": "7"}
    expect(person.notice()).to_be_empty()


@pytest.mark.fresh
def test_what_a_page_of_before_has_kept_is_found_again(person: Person, causal: ModelRun) -> None:
    """Its steps and the places where runs were left name the second token otherwise."""
    place = {"token": "9", "layer": "17", "head": "7", "other": "3"}
    person.go().page.evaluate(
        "(places) => localStorage.setItem('places', JSON.stringify(places))", [[causal.key, place]]
    )
    person.load().page.evaluate("(run) => dashboardApp.history.open(run)", causal.key)
    person.selects(token=9, second=3, layer=17, head=7)
    selection = {"run": causal.key, "other_run": None, "token": 4, "layer": 17, "head": 7, "other": 2}
    person.page.evaluate(
        """(selection) => {
            const state = { ...history.state, selection };
            history.replaceState(state, "", location.search);
            dispatchEvent(new PopStateEvent("popstate", { state }));
        }""",
        selection,
    )
    person.selects(token=4, second=2, layer=17, head=7)
    assert "other" not in person.selection()


@pytest.mark.fresh
def test_a_field_that_only_python_declares_is_carried_by_every_script(person: Person, causal: ModelRun) -> None:
    """No script lists the selection's fields: one more comes with the layout, and stands in selection, address and
    questions."""

    def declare(route: Route) -> None:
        reply = route.fetch()
        more = (
            '[{\\"name\\": \\"third\\", \\"of\\": \\"layer\\", \\"optional\\": true, \\"address\\": true, \\"was\\": '
            "null}, "
        )
        told = reply.text().replace('"data-fields":"[', f'"data-fields":"{more}')
        assert told != reply.text()
        route.fulfill(response=reply, body=told)

    person.page.route("**/_dash-layout", declare)
    person.load(f"?run={causal.key}&token=9&layer=17&head=7").settled()
    assert person.selection()["third"] is None
    with person.page.expect_request(lambda request: "/show/" in request.url and "third=29" in request.url):
        person.page.evaluate("() => dashboardApp.propose({ third: 99 })")  # bounded by the run's 30 layers
    person.selects(token=9, third=29)
    assert person.address()["third"] == "29"
    person.page.evaluate("() => dashboardApp.propose({ undo: true })")
    person.selects(token=9, third=None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("token=999", "“999” as the token"),
        ("token=-1", "“-1” as the token"),
        ("token=x", "“x” as the token"),
        ("layer=30", "“30” as the layer"),
        ("head=1.5", "“1.5” as the head"),
        ("second=999", "“999” as the second token"),
        ("token=99999999999999999999", "“99999999999999999999” as the token"),
        ("token=%3Cimg%20src%3Dx%20onerror%3Dwindow.__x%3D1%3E", "“<img src=x onerror=window.__x=1>” as the token"),
    ],
)
def test_a_place_that_is_not_there_is_a_notice_and_the_rest_is_used(
    person: Person, causal: ModelRun, query: str, words: str
) -> None:
    good = "&".join(part for part in ("token=4", "layer=7", "head=3") if part.split("=")[0] != query.split("=")[0])
    person.go(f"?run={causal.key}&{good}&{query}").settled()
    expect(person.notice()).to_contain_text("Part of this link was ignored.")
    expect(person.notice()).to_contain_text(words)
    wanted = {name: int(value) for name, value in (part.split("=") for part in good.split("&"))}
    person.selects(**wanted)
    person.token(9).click()
    person.selects(token=9)
    assert person.page.evaluate("() => window.__x") is None


@pytest.mark.parametrize("run", ["", "x", "0" * 64, "%00", "..%2F..%2Fetc%2Fpasswd", "%3Cb%3E", "a" * 2000])
def test_a_link_to_no_run_is_a_notice_and_the_page_works(person: Person, run: str) -> None:
    person.go(f"?run={run}&token=1&layer=2")
    expect(person.notice()).to_contain_text("Error.")
    expect(person.at("examples-card")).to_be_visible()
    person.run("After a broken link.", "smollm2-135m")


def test_a_visit_reads_its_address_in_the_same_way(person: Person, causal: ModelRun) -> None:
    """The tests above open theirs in place; this one comes from elsewhere."""
    person.load(f"?run={causal.key}&token=4&layer=7&head=3&second=999").settled()
    expect(person.notice()).to_contain_text("“999” as the second token")
    person.selects(token=4, layer=7, head=3)
    person.load("?run=%00&token=1&layer=2")
    expect(person.notice()).to_contain_text("Error.")
    expect(person.at("examples-card")).to_be_visible()


def test_an_address_without_a_run_is_the_empty_page(person: Person) -> None:
    person.load("?token=4&layer=7")
    expect(person.at("examples-card")).to_be_visible()
    expect(person.notice()).to_be_empty()


def test_a_run_that_has_left_the_store_is_a_notice(person: Person) -> None:
    run = person.go().run("This run will be gone.", "smollm2-135m")
    person.server.store.delete(run.key)
    person.page.reload()
    expect(person.notice()).to_contain_text("no longer has the run")
    expect(person.at("examples-card")).to_be_visible()


def test_a_run_that_leaves_while_it_is_shown_is_a_message_and_can_be_run_again(person: Person) -> None:
    text = "This run will leave while it is shown."
    run = person.go().run(text, "smollm2-135m")
    person.server.store.delete(run.key)
    person.page.wait_for_timeout(100)
    person.token(1).click()
    expect(person.at("attention-card")).to_contain_text("no longer has that run")
    person.press_run()
    expect(person.title("attention")).to_contain_text("Layer")


def test_a_reload_keeps_everything(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=6, layer=10, head=2)
    person.token(9).click()
    person.selects(token=9)
    person.page.reload()
    person.selects(token=9, layer=10, head=2)


def test_copy_link_gives_the_address(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page(permissions=["clipboard-read", "clipboard-write"])
    person.open_run(causal, token=6, layer=10, head=2)
    person.at("copy-link").click()
    expect(person.at("copy-link")).to_have_text("Copied")
    link, _, carried = person.page.evaluate("() => navigator.clipboard.readText()").partition("#")
    assert link == person.page.url
    assert parse_qs(carried) == {"text": [causal.text], "model": [causal.model.name]}


def test_a_copied_link_is_of_what_is_shown_where_a_step_found_its_run_gone(open_page: Callable[..., Person]) -> None:
    person = open_page(permissions=["clipboard-read", "clipboard-write"]).go()
    gone = person.run("The first text leaves the store.", "smollm2-135m")
    stays = person.run("The second text stays.", "smollm2-135m")
    person.server.store.delete(gone.key)
    person.at("undo").click()
    expect(person.notice()).to_contain_text("no longer has the run of this step")
    person.at("copy-link").click()
    expect(person.at("copy-link")).to_have_text("Copied")
    copied = person.page.evaluate("() => navigator.clipboard.readText()")
    assert f"run={stays.key}" in copied
    assert "token=" in copied
