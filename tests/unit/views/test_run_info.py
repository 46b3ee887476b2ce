"""What the browser is told of a run, and where the selection starts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dashboard.catalog.examples import EXAMPLES
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.token import Token
from dashboard.views.run_info import (
    LONGEST_DIFF,
    describe_run,
    location_in,
    opened_example,
    separator_of,
    start_of,
)
from tests.support.synthetic import WORDS, make_parts, make_run


def selected(run: ModelRun, token: int, layer: int = 1, head: int = 1, second: int | None = None) -> Selection:
    return Selection(run.key, token, layer, head, second)


def test_a_description_is_json_and_says_what_the_run_has() -> None:
    run = make_run("causal", ["a", " b", "\n", "<b>"])
    info = json.loads(json.dumps(describe_run(run), allow_nan=False))
    assert info["run"] == run.key
    assert (info["layers"], info["heads"], info["kind"]) == (2, 2, "causal")
    assert info["labels"] == ["a", "·b", "↵", "<b>"]
    assert info["leads"] == [0, 1, 1, 0]
    assert info["breaks"] == [2]
    assert info["surprisal"][0] is None
    assert len(info["surprisal"]) == 4
    assert info["masks"] == [["causal", None], ["causal", None]]
    assert len(info["patterns"]) == 2
    assert len(info["patterns"][0]) == 2


def test_an_encoder_has_no_surprisal_and_reads_both_ways() -> None:
    info = describe_run(make_run("encoder"))
    assert info["surprisal"] is None
    assert info["masks"] == [["full", None], ["full", None]]


@pytest.mark.parametrize("masked", [True, False])
def test_the_browser_knows_whether_masked_predictions_are_stored(masked: bool) -> None:
    assert describe_run(make_run("masked", masked=masked))["masked"] is masked


def test_without_anything_before_the_last_token_in_the_middle_layer_is_selected() -> None:
    assert start_of(make_run(layers=4), None, None) == {"token": 5, "second": None, "layer": 2, "head": 0}


def test_an_example_starts_at_its_own_place() -> None:
    example = EXAMPLES[0]
    texts = list(example.text)
    run = make_run("causal", texts, layers=30, heads=10, model=example.model)
    before = make_run()
    expected = {"token": example.token, "second": example.second, "layer": example.layer, "head": example.head}
    assert start_of(run, None, None) == expected
    assert start_of(run, before, selected(before, 2)) == expected


def test_running_the_example_again_keeps_what_was_selected() -> None:
    example = EXAMPLES[0]
    run = make_run("causal", list(example.text), layers=30, heads=10, model=example.model)
    assert start_of(run, run, selected(run, 2, layer=7, head=3, second=1)) == {
        "token": 2,
        "second": 1,
        "layer": 7,
        "head": 3,
    }


@pytest.mark.parametrize(
    ("texts", "token", "expected"),
    [
        ([*WORDS, " Then", " more"], 2, 2),  # text added after it
        (["Oh", "!", " ", *WORDS], 2, 5),  # text added before it
        (["A", " dog", " sat", " on", " it", "."], 3, 3),  # words before it replaced
        (["A", " black", " cat", " sat", " on", " it", "."], 4, 5),  # one word more before it
        (["The", " cat", " ran", " away"], 1, 1),  # the rest replaced
        (list(WORDS), 5, 5),  # the same text in another model
        (["A", " cat", " sat", " up", "."], 1, 1),  # edited on both sides of it
        (["Oh", ",", " the", " cat", " sat", " down", " here", "!"], 2, 4),  # the same, further on
    ],
)
def test_the_same_token_of_an_edited_text_stays_selected(texts: list[str], token: int, expected: int) -> None:
    before, run = make_run(), make_run(texts=texts, model="other" if texts == list(WORDS) else "tiny")
    assert start_of(run, before, selected(before, token)) == {"token": expected, "second": None, "layer": 1, "head": 1}


def test_a_long_edit_is_compared_where_it_is_not_too_long() -> None:
    for length, expected in ((LONGEST_DIFF - 3, 4), (LONGEST_DIFF + 3, None)):
        before = make_run(texts=["a", *("b" for _ in range(length)), "kept", "c"])
        run = make_run(texts=["x", "y", "z", "w", "kept", "d"])
        found = start_of(run, before, selected(before, length + 1))["token"]
        assert found == (5 if expected is None else expected)


def test_an_example_is_opened_as_one_unless_it_is_shown_already() -> None:
    example = EXAMPLES[0]
    run = make_run("causal", list(example.text), layers=30, heads=10, model=example.model)
    assert opened_example(run, None) == opened_example(run, make_run()) == example
    assert opened_example(run, run) is None
    assert opened_example(make_run(), None) is None


def test_a_token_that_is_gone_gives_way_to_the_last() -> None:
    before, run = make_run(), make_run(texts=["Quite", " another", " text"])
    assert start_of(run, before, selected(before, 1, second=2)) == {"token": 2, "second": None, "layer": 1, "head": 1}


def test_a_second_token_is_carried_over_to_another_model_and_to_no_other_text() -> None:
    before, again = make_run(), make_run(model="other")
    assert start_of(again, before, selected(before, 4, second=2))["second"] == 2
    for texts in (["Oh", *WORDS], [*WORDS, " more"], ["Quite", " another", " text", "."]):
        found = start_of(make_run(texts=texts), before, selected(before, 4, second=2))
        assert found["second"] is None


def test_layer_and_head_stay_within_a_smaller_model() -> None:
    before, run = make_run(layers=6, heads=4), make_run(layers=2, heads=2, model="small")
    start = start_of(run, before, selected(before, 1, layer=5, head=3))
    assert (start["layer"], start["head"]) == (1, 1)


def test_a_selection_outside_its_old_run_is_harmless() -> None:
    before, run = make_run(), make_run(texts=["a", " b"])
    assert start_of(run, before, selected(before, 99))["token"] == 1


def test_the_start_is_always_inside_the_run() -> None:
    before = make_run()
    for texts in (["."], ["a", "."], [*WORDS[:3], "x"], [*WORDS, *WORDS]):
        run = make_run(texts=texts, layers=1, heads=1)
        for token in range(6):
            start = start_of(run, before, selected(before, token, second=5 - token))
            run.check(token=start["token"], layer=start["layer"], head=start["head"])
            run.check(token=start["second"])


def test_an_address_gives_its_valid_places() -> None:
    found, problems = location_in(make_run(), {"run": "x", "token": "5", "layer": "1", "head": "0", "second": ""})
    assert found == {"token": 5, "layer": 1, "head": 0, "second": None}
    assert problems == []


def test_an_address_without_a_token_leaves_the_second_token_open() -> None:
    assert location_in(make_run(), {"layer": "1"}) == ({"layer": 1}, [])
    assert location_in(make_run(), {"token": "1", "second": "2"}) == ({"token": 1, "second": 2}, [])


@pytest.mark.parametrize("value", ["6", "-1", "x", "1.0", " 1", "٣", "9" * 5000, 3, ["1"], None.__class__, "<b>"])
def test_a_bad_place_in_an_address_is_a_sentence_and_the_rest_is_used(value: object) -> None:
    found, problems = location_in(make_run(), {"token": value, "layer": "1"})
    assert found == {"layer": 1}
    assert len(problems) == 1
    assert "tokens 0 to 5" in problems[0]
    assert len(problems[0]) < 150


def test_every_bad_place_is_named() -> None:
    _found, problems = location_in(make_run(), {"token": "9", "layer": "9", "head": "9", "second": "9"})
    assert [(problem.split("as the ")[1].split(",")[0], problem.split("has ")[1]) for problem in problems] == [
        ("token", "tokens 0 to 5."),
        ("layer", "layers 0 to 1."),
        ("head", "heads 0 to 1."),
        ("second token", "tokens 0 to 5."),
    ]
    assert problems[3] == "The address names “9” as the second token, but this run has tokens 0 to 5."


def test_a_pair_has_a_second_text_and_a_place_where_it_begins() -> None:
    info = describe_run(make_run("masked", second_at=3))
    assert (info["text"], info["pair"], info["divider"]) == ("The cat sat", " on it.", 3)
    assert info["plain"], "the page's form can ask for it again"
    alone = describe_run(make_run("masked"))
    assert (alone["pair"], alone["divider"], alone["plain"]) == (None, None, True)


def with_tokens(tokens: list[Token], **request: object) -> ModelRun:
    header, arrays = make_parts("masked", [token.text for token in tokens])
    header["tokens"] = {"encoder": [token.to_row() for token in tokens]}
    return ModelRun({**header, "request": {**header["request"], **request}}, arrays)


def test_only_a_typed_token_that_the_tokenizer_puts_behind_a_text_is_a_separator() -> None:
    around = [Token(2, "[CLS]", 0, 0, special=True), Token(5, "a", 0, 1), Token(3, "[SEP]", 8, 8, special=True)]
    for identifier, text, found in [(3, " [SEP]", "[SEP]"), (2, "[CLS]", None), (4, "[MASK]", None)]:
        typed = Token(identifier, text, 1, 1 + len(text), special=True)
        assert separator_of(with_tokens([*around[:2], typed, around[2]])) == found
    typed = Token(3, "[SEP]", 1, 6, special=True)
    assert separator_of(with_tokens([*around[:2], typed, around[2]], text_pair="b")) is None
    assert separator_of(with_tokens(around)) is None
    assert separator_of(with_tokens([Token(5, "a", 0, 1), typed])) is None, "this tokenizer adds none"


def test_an_example_with_a_second_text_is_no_example() -> None:
    example = EXAMPLES[2]
    run = make_run("encoder", [example.text, " and another"], second_at=1, model=example.model)
    assert run.text == example.text
    assert opened_example(run, None) is None


def test_what_an_address_adds_is_kept_as_far_as_the_run_has_it() -> None:
    run = make_run()  # 6 tokens, 2 layers, 2 heads
    assert location_in(run, {"heads": "1.1,0.0", "tokens": "5"}) == ({"heads": "1.1,0.0", "tokens": "5"}, [])
    found, [problem] = location_in(run, {"heads": "1.1,2.0,x,1.1", "tokens": "1"})
    assert found == {"heads": "1.1", "tokens": "1"}
    assert "“2.0, x”" in problem
    assert "layers 0 to 1 and heads 0 to 1" in problem
    found, [problem] = location_in(run, {"tokens": "7"})
    assert found == {}
    assert "tokens 0 to 5" in problem
    assert Selection.from_json({"run": run.key, "token": 0, "layer": 0, "head": 0, "heads": "1.1"}).checked(run)


def test_what_was_added_stays_where_it_still_means_something() -> None:
    before = make_run()
    added = replace(selected(before, 4), heads=((1, 0),), tokens=(2, 3))
    again = make_run()
    assert start_of(again, before, added)["heads"] == "1.0"
    assert start_of(again, before, added)["tokens"] == "2,3"
    larger = make_run(layers=4)  # another model's heads are others
    assert "heads" not in start_of(larger, before, added)
    other = make_run(texts=("Another", " text"))
    found = start_of(other, before, added)
    assert found["heads"] == "1.0"
    assert "tokens" not in found
