"""The picker and models that nobody bundled: folders of each kind, a GGUF file, a hub id that is typed, a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.person import Person
from tests.support.server import Server
from tests.support.synthetic import make_parts

pytestmark = [pytest.mark.browser, pytest.mark.fresh]  # a page lists the models that were there when it was loaded
TEXT = "w1 w2 w3 w1 w5"


@pytest.fixture(scope="module")
def weights(server: Server) -> Path:
    """Small random models in the server's folder, one of them an adapter: they are found by the next page."""
    from tests.integration.test_gguf import write_gguf
    from tests.support.tiny_models import adapter_of, tiny

    (root,) = server.settings.model_folders
    for name in ("gptj", "bloom", "gpt2", "bert"):
        loaded = tiny(name)
        loaded.model.save_pretrained(root / f"tiny-{name}")
        loaded.tokenizer.save_pretrained(root / f"tiny-{name}")
    encoder = root / "team" / "tiny-encoder-of-a-rather-long-name"
    loaded.model.bert.save_pretrained(encoder)
    loaded.tokenizer.save_pretrained(encoder)
    (root / "tiny-longformer").mkdir()
    for path in (root / "tiny-bert").iterdir():
        content = (
            path.read_bytes().replace(b'"bert"', b'"longformer"') if path.name == "config.json" else path.read_bytes()
        )
        (root / "tiny-longformer" / path.name).write_bytes(content)
    write_gguf(root / "tiny.gguf", "llama")
    tiny("gpt2").model.save_pretrained(root / "team" / "mute")
    adapter_of(tiny("gpt2").model, root / "team" / "tuned", "somewhere/tiny-gpt2")
    return root


def choose(person: Person, words: str) -> None:
    """Open the picker, type `words`, take the first line."""
    person.at("model").click()
    person.page.locator(".dash-dropdown-search").fill(words)
    person.page.locator(".dash-dropdown-option").first.click()


def test_models_in_a_folder_run_like_any_other(person: Person, weights: Path) -> None:
    person.go()
    seen = (
        ("tiny-gpt2", "folder:weights/tiny-gpt2", "causal", "5 of 64 tokens", "most likely:"),
        ("tiny-gptj", "folder:weights/tiny-gptj", "causal", "5 of 64 tokens", "most likely:"),
        ("tiny-bert", "folder:weights/tiny-bert", "masked", "7 of 64 tokens", "most likely:"),
        (
            "rather-long",
            "folder:weights/team/tiny-encoder-of-a-rather-long-name",
            "encoder",
            "7 of 64 tokens",
            "no token predictions",
        ),
        ("tiny.gguf", "folder:weights/tiny.gguf", "causal", "counted when you press Run", "most likely:"),
        ("team/tuned", "folder:weights/team/tuned", "causal", "5 of 64 tokens", "most likely:"),
    )
    before = None
    for words, name, kind, counted, prediction in seen:
        choose(person, words)
        expect(person.at("model")).to_contain_text(f"{kind} · 2 layers × 4 heads")
        if before is not None:  # the run of another model stays, and says whose it is
            expect(person.at("strip-title")).to_have_text(f"Tokens as read by {before}")
        person.type_text(TEXT)
        expect(person.at("token-count")).to_contain_text(counted)
        person.press_run()
        person.page.wait_for_function(
            "(name) => dashboardApp.state.info && dashboardApp.state.info.model === name", arg=name
        )
        expect(person.at("strip-title")).to_have_text("Tokens")
        run = person.server.run_of(name, TEXT)  # by the name that the files give it, also after a conversion
        person.drawn(TEXT)
        assert (run.model.kind, run.model.layers, run.model.heads) == (kind, 2, 4)
        expect(person.page.locator(".view-prediction")).to_contain_text(prediction)
        before = run.model.title
    expect(person.page.locator("#notice .notice")).to_have_count(0)


def test_an_adapter_stands_below_its_base(person: Person, weights: Path) -> None:
    person.go().at("model").click()
    lines = person.page.locator(".dash-dropdown-option")
    place = lines.all_inner_texts().index(lines.filter(has_text="tiny-gpt2").first.inner_text())
    expect(lines.nth(place)).not_to_contain_text("adapter")
    expect(lines.nth(place + 1)).to_contain_text("adapter of tiny-gpt2, in weights/team/tuned")
    expect(lines.nth(place + 1).locator(".adapter")).to_have_count(1)


def test_a_text_whose_weights_would_take_too_much_is_refused_with_how_many_tokens_fit(
    person: Person, weights: Path
) -> None:
    """BLOOM has no limit of its own; 2 layers of 4 heads and 150 MB of weights leave room for 2,165 tokens."""
    person.go()
    choose(person, "tiny-bloom")
    person.type_text("w1 " * 2_200)
    expect(person.at("token-count")).to_have_text("2,200 of 2,165 tokens")
    expect(person.at("token-count")).to_have_attribute("title", re.compile("a run stores all of its weights"))
    person.press_run()
    expect(person.page.locator("#notice .notice")).to_contain_text(
        "2,200 tokens; at most 2,165 fit. tiny-bloom has its own attention code, so a run stores all of its "
        "weights: at most 150 MB (DASHBOARD_WEIGHTS_MEGABYTES). This text would take 155 MB. Shorten it."
    )


def test_a_model_without_a_tokenizer_reads_with_another_models(person: Person, weights: Path) -> None:
    person.go()
    expect(person.at("tokenizer-box")).to_be_hidden()
    choose(person, "team/mute")
    expect(person.at("tokenizer-box")).to_contain_text("This model has no tokenizer")
    person.type_text(TEXT)
    expect(person.at("token-count")).to_have_text("choose a tokenizer")
    person.press_run()
    expect(person.notice()).to_contain_text("mute has no tokenizer")
    person.at("tokenizer").click()
    person.page.locator(".dash-dropdown-option").filter(has_text="tiny-gpt2").click()
    expect(person.at("token-count")).to_have_text("5 of 64 tokens")
    person.press_run()
    person.drawn(TEXT)
    run = person.server.store.open(person.page.evaluate("dashboardApp.state.info.run"))
    assert run.request.tokenizer == "folder:weights/tiny-gpt2"
    person.open_run(run, token=2, layer=0, head=0)  # by its link, which chooses the tokenizer again
    expect(person.at("tokenizer-box")).to_contain_text("tiny-gpt2")
    person.at("tokenizer").click()
    person.page.locator(".dash-dropdown-option").filter(has_text="tiny-bloom").click()
    expect(person.at("not-run")).to_contain_text("another tokenizer")
    person.page.reload()
    person.settled()
    expect(person.at("tokenizer-box")).to_contain_text("tiny-bloom")
    expect(person.at("not-run")).to_contain_text("another tokenizer")
    person.at("shown-text").click()
    expect(person.at("tokenizer-box")).to_contain_text("tiny-gpt2")
    choose(person, "tiny-bert")
    expect(person.at("tokenizer-box")).to_be_hidden()


def test_a_model_that_cannot_be_run_is_there_with_the_reason_and_cannot_be_chosen(
    person: Person, weights: Path
) -> None:
    person.go().at("model").click()
    line = person.page.locator(".dash-dropdown-option").filter(has_text="tiny-longformer")
    expect(line).to_contain_text("not supported: longformer has its own attention code")
    expect(line.locator("input")).to_be_disabled()


def test_a_hub_id_that_is_typed_is_fetched_and_a_network_that_is_off_is_said(person: Person) -> None:
    person.go()
    person.at("model").click()
    search = person.page.locator(".dash-dropdown-search")
    lines = person.page.locator(".dash-dropdown-option")
    search.fill("gpt")  # there are such models: no line of its own
    expect(lines.filter(has_text="distilgpt2")).to_have_count(1)
    expect(lines.filter(has_text="Fetch")).to_have_count(0)
    search.fill("some one/some thing")
    expect(lines).to_have_text(["No such model here"])
    search.fill("someone/some-thing")
    expect(lines).to_have_text(["Fetch someone/some-thing from the hub"])
    lines.click()
    expect(person.at("model")).to_contain_text("someone/some-thing (from the hub)")
    expect(person.at("model-state")).to_have_text("Downloads when you press Run")
    expect(person.at("token-count")).to_have_text("counted when you press Run")
    person.type_text("One text.")
    person.press_run()
    expect(person.notice()).to_contain_text(
        "someone/some-thing is not in the local cache, and the hub cannot be reached from here"
    )
    choose(person, "MiniLM")
    expect(person.at("token-count")).to_contain_text("of 512 tokens")
    person.at("model").click()
    expect(lines.filter(has_text="someone")).to_have_count(0)


def test_a_hub_model_that_a_run_fetched_is_in_the_picker_like_any_that_is_here(person: Person, weights: Path) -> None:
    """What the hub would send lies in the local cache when the run begins."""
    person.go()
    choose(person, "someone/tiny")
    expect(person.at("model-state")).to_have_text("Downloads when you press Run")
    repository = person.server.settings.cache_dir / "hub" / "models--someone--tiny"
    shutil.copytree(weights / "tiny-gpt2", repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    try:
        person.type_text(TEXT)
        person.press_run()
        person.drawn(TEXT)
        expect(person.at("model")).to_contain_text("causal · 2 layers × 4 heads")
        expect(person.at("token-count")).to_have_text("5 of 64 tokens")
        person.at("model").click()
        person.page.locator(".dash-dropdown-search").fill("someone")
        expect(person.page.locator(".dash-dropdown-option")).to_have_count(1)
    finally:
        shutil.rmtree(repository)


def test_on_a_phone_no_line_of_the_picker_is_cut(open_page: Callable[..., Person], weights: Path) -> None:
    person = open_page(390, 844).go()
    person.at("model").click()
    expect(person.page.locator(".dash-dropdown-option").first).to_be_visible()
    cut = person.page.evaluate(
        """() => [...document.querySelectorAll(".model-option, .model-option *")].filter((node) => {
            const box = node.getBoundingClientRect();
            const inside = node.clientWidth && node.scrollWidth > node.clientWidth + 1;
            return box.width && (box.right > window.innerWidth + 0.5 || inside);
        }).map((node) => node.textContent)"""
    )
    assert cut == []
    value = person.page.locator(".dash-dropdown-value .detail")
    expect(value).to_contain_text("30 layers × 9 heads · 135 M parameters")
    box, outer = value.bounding_box(), person.at("model").bounding_box()
    assert box is not None
    assert outer is not None
    assert box["y"] >= outer["y"]
    assert box["y"] + box["height"] <= outer["y"] + outer["height"]


def test_what_is_typed_into_the_open_list_is_searched_for(person: Person) -> None:
    person.go()
    person.at("model").click()
    search = person.page.locator(".dash-dropdown-search")
    expect(search).to_be_visible()
    person.page.locator(".dash-dropdown-content input:not(.dash-dropdown-search)").first.focus()
    person.page.keyboard.type("rxn")
    expect(search).to_have_value("rxn")
    expect(person.page.locator(".dash-dropdown-option")).to_have_count(1)


def test_a_link_to_a_run_of_a_model_that_is_not_here_shows_the_model(person: Person) -> None:
    header, arrays = make_parts("masked", model="someone/elsewhere", text="of a model that is not here")
    person.server.store.save(header["key"], header, arrays)
    person.open_run(person.server.store.open(header["key"]), token=2, layer=0, head=0)
    expect(person.at("model")).to_contain_text("elsewhere")
    expect(person.at("model-state")).to_have_text("Downloads when you press Run")
    expect(person.at("text")).to_have_value("of a model that is not here")
