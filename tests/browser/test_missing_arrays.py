"""A run that lacks optional arrays, as an earlier version may have stored it: what is there is shown, the rest is
offered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.server import Server

pytestmark = pytest.mark.browser
TEXT = "Some arrays are missing."


@pytest.fixture
def bare(person: Person, server: Server) -> Iterator[ModelRun]:
    """A real run whose queries, keys, scores and small pictures are gone."""
    run = person.go().run(TEXT, "minilm-l6")
    gone = ("encoder/query/", "encoder/key/", "encoder/scores/", "encoder/thumbnails", "encoder/received")
    kept = {name: run.arrays[name] for name in run.arrays if not name.startswith(gone)}
    server.store.save(run.key, {**run.header, "stamp": "bare", "numbers": 1}, kept)
    yield server.store.open(run.key)
    server.store.delete(run.key)


@pytest.mark.fresh
def test_a_card_says_what_is_missing_and_runs_the_text_again(person: Person, bare: ModelRun) -> None:
    person.load(f"?run={bare.key}&token=3&layer=2&head=1")
    card = person.at("attention-body")
    expect(card).to_contain_text("This run does not hold queries and keys. Run its text again to compute them.")
    expect(person.at("hidden-footer")).to_contain_text("Explained variance")
    assert person.point(3)
    expect(person.head_button(2, 1)).to_have_attribute("aria-label", "Layer 2, head 1: its scores are not stored")
    card.get_by_role("button", name="Run again").click()
    person.page.wait_for_function("() => dashboardApp.state.info.stamp !== 'bare'")
    person.settled()
    expect(card).not_to_contain_text("does not hold")
    expect(person.frame("row")).to_be_visible()
    assert person.selection()["run"] == bare.key
