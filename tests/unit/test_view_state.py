"""The view state and its address: what the link holds."""

from __future__ import annotations

import pytest

from dashboard.contracts.selection import Selection
from dashboard.errors import BadSelectionError
from dashboard.views import all_views
from dashboard.views.state import ViewState

KEY = "ab" * 32
PLACES = {"run": KEY, "token": "3", "layer": "1", "head": "0"}


def test_defaults_are_not_written() -> None:
    state = ViewState.from_query(PLACES, all_views())
    assert state.selection == Selection(KEY, 3, 1, 0)
    assert state.to_query(all_views()) == PLACES


def test_each_choice_of_each_control_survives_the_address() -> None:
    for view in all_views():
        for control in view.controls:
            for value, _label in control.choices[1:]:
                query = {**PLACES, "other": "2", f"{view.name}-{control.name}": value}
                state = ViewState.from_query(query, all_views())
                assert state.options[view.name][control.name] == value
                assert state.to_query(all_views()) == query


def test_an_unknown_choice_is_the_default() -> None:
    state = ViewState.from_query({**PLACES, "prediction-count": "7; drop"}, all_views())
    assert state.options["prediction"]["count"] == "10"


@pytest.mark.parametrize("wrong", [{"run": "x"}, {"run": ""}, {"token": "-1"}, {"layer": "1.5"}, {"head": "one"}, {"token": ""}])
def test_a_place_that_is_none_is_an_error(wrong: dict[str, str]) -> None:
    with pytest.raises(BadSelectionError):
        ViewState.from_query({**PLACES, **wrong}, all_views())
