"""The view state and its address: what the link holds."""

from __future__ import annotations

import pytest

from dashboard.contracts.selection import Selection
from dashboard.errors import BadSelectionError
from dashboard.views import all_views
from dashboard.views.cards import cards_of
from dashboard.views.controls import Choice
from dashboard.views.state import ViewState, options_in, settings_of

KEY = "ab" * 32
PLACES = {"run": KEY, "token": "3", "layer": "1", "head": "0"}


def test_defaults_are_not_written() -> None:
    state = ViewState.from_query(PLACES, all_views())
    assert state.selection == Selection(KEY, 3, 1, 0)
    assert state.to_query(all_views()) == PLACES


def test_each_choice_of_each_control_survives_the_address() -> None:
    for view in all_views():
        for control in view.controls:
            for value, _label in control.choices[1:] if isinstance(control, Choice) else ():
                query = {**PLACES, "second": "2", view.setting(control): value}
                state = ViewState.from_query(query, all_views())
                assert state.options[view.name][control.name] == value
                assert state.to_query(all_views()) == query


def test_an_unknown_choice_is_the_default() -> None:
    state = ViewState.from_query({**PLACES, "prediction-count": "7; drop"}, all_views())
    assert state.options["prediction"]["count"] == "10"


@pytest.mark.parametrize(
    "wrong", [{"run": "x"}, {"run": ""}, {"token": "-1"}, {"layer": "1.5"}, {"head": "one"}, {"token": ""}]
)
def test_a_place_that_is_none_is_an_error(wrong: dict[str, str]) -> None:
    with pytest.raises(BadSelectionError):
        ViewState.from_query({**PLACES, **wrong}, all_views())


def test_what_an_address_says_of_the_controls() -> None:
    standards = {one.name: one.control.default for one in settings_of(all_views())}
    assert options_in({**PLACES, "utm_source": "x", "prediction-other": "1"}, all_views()) == (standards, [])
    for one in settings_of(all_views()):
        if isinstance(one.control, Choice):
            last = one.control.choices[-1][0]
            assert options_in({one.name: last}, all_views()) == (standards | {one.name: last}, [])


def test_tabs_and_the_large_card_stand_in_the_address() -> None:
    state = ViewState.from_query({**PLACES, "large": "prediction"}, all_views())
    assert {view.card: state.slot_of(view) for view in all_views()} == {
        "attention": "small",
        "hidden": "small",
        "prediction": "large",
    }
    assert state.to_query(all_views()) == {**PLACES, "large": "prediction"}
    assert [view.name for view in state.open_views(all_views())] == ["attention", "hidden", "prediction"]
    for card in cards_of(all_views()):
        for view in card.views:
            opened = ViewState.from_query({**PLACES, card.name: view.name}, all_views())
            assert view in opened.open_views(all_views())
            assert len(opened.open_views(all_views())) == 3
    odd = ViewState.from_query({**PLACES, "large": "nothing", "hidden": "attention"}, all_views())
    assert odd.to_query(all_views()) == PLACES
    assert len(options_in({"large": "nothing", "hidden": "attention"}, all_views())[1]) == 2


@pytest.mark.parametrize("wrong", ["", "7; drop", "x" * 5000, 10, None, ["10"], {"a": 1}, True])
def test_a_choice_that_is_none_is_a_sentence_and_the_default(wrong: object) -> None:
    found, problems = options_in({"prediction-count": wrong, "hidden-fit": "all"}, all_views())
    assert (found["prediction-count"], found["hidden-fit"]) == ("10", "all")
    assert len(problems) == 1
    assert "in Predictions, Tokens" in problems[0]
    assert "“10 likeliest” is shown" in problems[0]
    assert len(problems[0]) < 200
