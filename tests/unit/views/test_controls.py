"""The typed controls of views: bounds, defaults, and what an address writes."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.views.controls import Choice, Control, Number, Slider, Switch, Text, Tokens

CHOICE = Choice("count", "Tokens", (("10", "ten"), ("5", "five")))
NUMBER = Number("k", "How many", 1, 50, 10)
FRACTION = Slider("p", "Least weight", 0.0, 1.0, 0.1, 0.05)
SWITCH = Switch("all", "All layers")
TEXT = Text("words", "Words", longest=8)
TOKENS = Tokens("at", "Positions", most=3)


@pytest.mark.parametrize(
    ("control", "raw", "value"),
    [
        (CHOICE, "5", "5"),
        (CHOICE, "7", "10"),
        (CHOICE, 5, "10"),
        (NUMBER, "7", 7),
        (NUMBER, 7.4, 7),
        (NUMBER, "50", 50),
        (NUMBER, "51", 10),
        (NUMBER, "0", 10),
        (NUMBER, "nan", 10),
        (NUMBER, "1e999", 10),
        (NUMBER, True, 10),
        (NUMBER, "seven", 10),
        (NUMBER, None, 10),
        (FRACTION, "0.26", 0.25),
        (FRACTION, "0.3", 0.3),
        (FRACTION, 1, 1.0),
        (FRACTION, "-0.1", 0.1),
        (SWITCH, "on", True),
        (SWITCH, "off", False),
        (SWITCH, True, True),
        (SWITCH, "yes", False),
        (SWITCH, 1, False),
        (TEXT, "a b", "a b"),
        (TEXT, "a" * 9, ""),
        (TEXT, "a\nb", ""),
        (TEXT, 3, ""),
        (TOKENS, "3,8", "3, 8"),
        (TOKENS, " 3 , 08 ", "3, 8"),
        (TOKENS, "3,", ""),
        (TOKENS, "1,2,3,4", ""),
        (TOKENS, "-1", ""),
        (TOKENS, "²", ""),
        (TOKENS, "", ""),
    ],
)
def test_what_is_out_of_bounds_is_the_default(control: Control, raw: object, value: Any) -> None:
    found = control.parse(raw)
    assert found == pytest.approx(value) if isinstance(value, float) else found == value
    assert type(found) is type(value)
    assert control.parse(control.text(found)) == found, "an address brings it back"
    assert control.words(found)


def test_positions_of_tokens() -> None:
    assert TOKENS.positions("3, 8") == (3, 8)
    assert TOKENS.positions("") == ()


def test_a_switch_says_on_and_off() -> None:
    assert [SWITCH.words(True), SWITCH.words(False), TEXT.words("")] == ["on", "off", "none"]
