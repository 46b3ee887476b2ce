"""Runs that travel: a run file that is opened on the page, a link whose run has left the server, runs of the shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from dashboard.exports.run_files import save_run
from dashboard.store.visits import VisitorLists
from tests.support.person import Person

pytestmark = pytest.mark.browser


def choose(person: Person, path: Path) -> None:
    """Open *Recent* and choose a run file there."""
    person.at("recent").click()
    with person.page.expect_file_chooser() as chooser:
        person.at("run-file").click()
    chooser.value.set_files(path)


def test_a_run_file_opens_and_says_where_it_is_from(person: Person, causal: ModelRun, tmp_path: Path) -> None:
    choose(person.go(), save_run(causal, tmp_path / "from-a-notebook.safetensors"))
    person.drawn(causal.text)
    assert person.selection()["run"] != causal.key
    expect(person.at("strip-title")).to_have_text("Tokens from the file from-a-notebook.safetensors")
    expect(person.at("notice")).to_contain_text("shown as it was saved, not computed here")
    expect(person.at("recent-dialog")).to_be_hidden()
    person.at("recent").click()
    row = person.page.locator("#recent-rows .ag-row", has_text="from a file")
    expect(row).to_have_count(1)
    person.page.keyboard.press("Escape")
    person.open_tab("prediction", "lens")  # its model is here, and computes what the file lacks
    expect(person.page.locator("#lens-graph .js-plotly-plot")).to_be_visible()


def test_a_file_that_is_no_run_says_so_and_nothing_changes(person: Person, causal: ModelRun, tmp_path: Path) -> None:
    person.open_run(causal)
    (tmp_path / "holiday.npz").write_bytes(b"no run")
    person.expects_log("400")
    choose(person, tmp_path / "holiday.npz")
    expect(person.at("run-file-said")).to_contain_text("holiday.npz is not a run of this program")
    expect(person.at("run-file")).to_have_text("Open a run file …")
    assert person.selection()["run"] == causal.key


FULL = (
    "Your run files take 2,412.3 MB on this server, and this one would take 120.5 MB more; it keeps 2,500.0 MB of one "
    "person. Delete some of them in Recent, then open this one again."
)


def test_a_full_share_is_said_beside_the_button_on_a_narrow_page_too(
    person: Person, causal: ModelRun, tmp_path: Path
) -> None:
    person.open_run(causal)
    person.page.route("**/runs?*", lambda route: route.fulfill(status=507, body=FULL, content_type="text/plain"))
    person.page.set_viewport_size({"width": 390, "height": 800})
    person.expects_log("507")
    choose(person, save_run(causal, tmp_path / "more.npz"))
    expect(person.at("run-file-said")).to_have_text(FULL)
    said, panel = (person.at(name).bounding_box() for name in ("run-file-said", "recent-dialog"))
    assert said is not None
    assert panel is not None
    assert said["x"] + said["width"] <= panel["x"] + panel["width"]
    person.page.unroute("**/runs?*")
    assert person.selection()["run"] == causal.key


@pytest.mark.fresh
def test_a_link_whose_run_is_gone_brings_its_text(open_page: Callable[..., Person]) -> None:
    person = open_page(permissions=["clipboard-read", "clipboard-write"]).load()
    run = person.run("A link outlives its run.", "smollm2-135m")
    person.token(2).click()
    person.selects(token=2)
    person.at("copy-link").click()
    link = person.page.evaluate("() => navigator.clipboard.readText()")
    assert "#text=A+link+outlives+its+run.&model=smollm2-135m" in link
    person.server.store.delete(run.key)
    other = open_page().load(link.removeprefix(person.server.address))
    expect(other.at("notice")).to_contain_text("The text came with the link")
    expect(other.at("text")).to_have_value(run.text)
    other.press_run()
    other.drawn(run.text)
    other.selects(token=2)


@pytest.mark.fresh
def test_a_run_of_the_shell_is_in_everyones_list(open_page: Callable[..., Person], causal: ModelRun) -> None:
    person = open_page().load()
    VisitorLists.from_settings(person.server.settings).listed(causal.key)
    person.at("recent").click()
    row = person.page.locator("#recent-rows .ag-row", has_text="from the shell")
    expect(row).to_have_count(1)
    expect(row.get_by_role("button")).to_have_count(0)
    row.locator(".recent-open").click()
    person.drawn(causal.text)
    person.at("recent").click()
    expect(person.page.locator("#recent-rows .ag-row").get_by_role("button", name="Pin")).to_have_count(1)
    (person.server.settings.visitors_folder / "shell.json").unlink()
