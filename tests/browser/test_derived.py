"""Derived results on the page: computed by a real worker when a card wants them, shared, cancelled, tried again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.request import CaptureOptions, RunRequest
from dashboard.contracts.run import ModelRun
from tests.support.person import Person
from tests.support.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.fresh]
COUNTS = itertools.count(51)  # of candidates, by which the runs differ
TEXT = "CC(C)S.Fc1cccnc1F>>CC(C)Sc1ncccc1F"


@pytest.fixture
def whole(open_page: Callable[..., Person], server: Server) -> ModelRun:
    """A real masked run that holds every masked prediction."""
    key = server.key_of("rxnmapper", TEXT)
    if not server.store.has(key):
        open_page().go().run(TEXT, "rxnmapper")
    return server.store.open(key)


@pytest.fixture
def bare(whole: ModelRun, server: Server) -> ModelRun:
    """The same run as that of a long text: without them. Each has a key of its own."""
    request = RunRequest("rxnmapper", TEXT, options=CaptureOptions(top_k=next(COUNTS)))
    key = request.key(whole.header["fingerprint"])
    kept = {name: whole.arrays[name] for name in whole.arrays if not name.startswith("masked/")}
    server.store.save(key, {**whole.header, "key": key, "request": request.to_json(), "stamp": f"bare-{key[:8]}"}, kept)
    return server.store.open(key)


@pytest.fixture
def busy(open_page: Callable[..., Person], whole: ModelRun, server: Server) -> Iterator[Person]:
    """Someone whose run has the worker, until it is cancelled."""
    someone = open_page().go()
    text = f"Before those {next(COUNTS)}."
    with server.holding(text):
        someone.choose_model("smollm2-135m")
        someone.type_text(text)
        someone.press_run()
        expect(someone.at("progress")).to_contain_text(re.compile(r"Layer \d+ of 30"), timeout=60_000)
        yield someone


def expected(whole: ModelRun, position: int) -> re.Pattern[str]:
    """How the card says it; the token alone may stand there while the result is computed, as the one that is masked."""
    return re.compile(
        rf"\({position}\) masked, (the model expects|most likely:) "
        rf"“?{re.escape(whole.prediction(position, 'masked').candidates[0].text)}”?,"
    )


def test_two_positions_are_computed_at_once_and_are_those_of_the_whole_run(
    person: Person, whole: ModelRun, bare: ModelRun
) -> None:
    person.load(f"?run={bare.key}&token=5&second=9&layer=2&head=0").settled()
    expect(person.at("prediction-footer")).to_contain_text(re.compile("actual token.*actual token"))
    for position in (5, 9):
        found = person.server.store.derived(
            DerivedRequest.of(bare.key, "masked-prediction", position=position), bare.stamp
        )
        assert found is not None
        assert found.arrays["masked/top_ids"][0, :5].tolist() == whole.arrays["masked/top_ids"][position, :5].tolist()
    person.load(f"?run={bare.key}&token=5&layer=2&head=0").settled()
    expect(person.title("prediction")).to_contain_text(expected(whole, 5))


def test_the_last_of_many_selected_tokens_is_shown(person: Person, whole: ModelRun, bare: ModelRun) -> None:
    person.load(f"?run={bare.key}&token=2&layer=2&head=0")
    for token in (3, 4, 6, 7, 8):
        person.token(token).click()
    person.selects(token=8)
    expect(person.title("prediction")).to_contain_text(expected(whole, 8))
    expect(person.at("prediction-card").get_by_role("button", name="Try again")).to_have_count(0)


def test_one_that_waits_says_so_and_can_be_cancelled_and_tried_again(
    person: Person, busy: Person, whole: ModelRun, bare: ModelRun
) -> None:
    person.load(f"?run={bare.key}&token=6&layer=2&head=0")
    card = person.at("prediction-card")
    expect(card).to_contain_text("1 before this one")
    for late in ({"watched": {}, "serial": "another"}, {"error": "Of another set.", "serial": "another"}):
        # of a set that is no longer wanted
        person.page.evaluate("(told) => dash_clientside.dashboard.derivedResult(told)", late)
    expect(card).to_contain_text("1 before this one")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_contain_text("Cancelled.")
    request = DerivedRequest.of(bare.key, "masked-prediction", position=6)
    busy.at("cancel").click()
    person.token(7).click()
    expect(person.title("prediction")).to_contain_text(expected(whole, 7))
    assert person.server.store.derived(request) is None, "nobody wanted it any more"
    person.token(6).click()
    card.get_by_role("button", name="Try again").click()
    expect(person.title("prediction")).to_contain_text(expected(whole, 6))


def test_one_that_is_said_to_be_there_and_is_not_is_not_asked_for_without_end(
    person: Person, busy: Person, whole: ModelRun, bare: ModelRun
) -> None:
    person.load(f"?run={bare.key}&token=12&layer=2&head=0")
    card, name = person.at("prediction-card"), DerivedRequest.of(bare.key, "masked-prediction", position=12).name
    expect(card).to_contain_text("1 before this one")
    for _ in range(2):
        with person.page.expect_response(lambda reply: "/show/words/prediction" in reply.url):
            told = {"watched": {name: {"run": name}}, "serial": "x"}
            person.page.evaluate("(told) => dash_clientside.dashboard.derivedResult(told)", told)
        person.page.wait_for_timeout(300)  # the words are put there
    expect(card).to_contain_text("This result could not be loaded.")
    busy.at("cancel").click()
    card.get_by_role("button", name="Try again").click()
    expect(person.title("prediction")).to_contain_text(expected(whole, 12))


def test_two_people_have_one_job(
    person: Person, open_page: Callable[..., Person], whole: ModelRun, bare: ModelRun
) -> None:
    other = open_page()
    for one in (person, other):
        one.load(f"?run={bare.key}&token=10&layer=2&head=0")
    for one in (person, other):
        expect(one.title("prediction")).to_contain_text(expected(whole, 10))
    log = (person.server.settings.cache_dir / "server.log").read_text()
    name = DerivedRequest.of(bare.key, "masked-prediction", position=10).name
    assert log.count(f"derive {name[:12]} done") >= 1
    assert len(list(person.server.store.folder.glob(f"{name}*"))) == 1


def test_a_run_whose_model_left_says_why(person: Person, bare: ModelRun, server: Server) -> None:
    request = RunRequest("folder:weights/gone", TEXT)
    header = {**bare.header, "key": request.key("gone"), "request": request.to_json()}
    server.store.save(header["key"], header, dict(bare.arrays))
    person.load(f"?run={header['key']}&token=5&layer=2&head=0")
    expect(person.at("prediction-card").get_by_role("button", name="Try again")).to_be_visible()
