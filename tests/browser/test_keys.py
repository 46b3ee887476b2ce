"""Keys under Caps Lock and on keyboards without Latin letters; a second token that is never the selected one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dashboard.contracts.run import ModelRun
from tests.support.person import Person

pytestmark = pytest.mark.browser

PRESS = """([key, code, held]) => {
    const event = new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true, ...held });
    document.body.dispatchEvent(event);
    return event.defaultPrevented;
}"""
CTRL, SHIFT = {"ctrlKey": True}, {"shiftKey": True}
UNDO = [
    ("z", "KeyZ", CTRL),
    ("Z", "KeyZ", CTRL),  # Caps Lock
    ("z", "KeyW", CTRL),  # French: Z stands where W does
    ("я", "KeyZ", CTRL),
    ("Я", "KeyZ", CTRL),
    ("ζ", "KeyZ", CTRL),
    ("ز", "KeyZ", CTRL),
    ("ผ", "KeyZ", CTRL),
    ("Process", "KeyZ", CTRL),  # an input method has it
    ("Z", "KeyZ", {"metaKey": True}),
]
REDO = [
    ("y", "KeyY", CTRL),
    ("Y", "KeyY", CTRL),
    ("z", "KeyY", CTRL | SHIFT),  # German: Z stands where Y does; with Caps Lock Shift gives a small letter
    ("Z", "KeyZ", CTRL | SHIFT),
    ("н", "KeyY", CTRL),
    ("Я", "KeyZ", CTRL | SHIFT),
    ("(", "KeyZ", CTRL | SHIFT),  # Thai
    ("z", "KeyZ", {"metaKey": True} | SHIFT),
]


def press(person: Person, key: str, code: str, held: dict[str, bool]) -> bool:
    """A key as a browser reports it; whether the page took it."""
    return bool(person.page.evaluate(PRESS, [key, code, held]))


def lands(person: Person, token: int, other: int | None = None) -> None:
    """Wait until this is selected, drawn or not."""
    person.page.wait_for_function(
        """([token, other]) => {
            const at = dashboardApp.state.selection;
            return at.token === token && at.second === other;
        }""",
        arg=[token, other],
    )


def test_undo_and_redo_by_every_keyboard(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=3, layer=5, head=2)
    person.token(9).click()
    person.selects(token=9)
    for index in range(max(len(UNDO), len(REDO))):
        for keys, token in ((UNDO, 3), (REDO, 9)):
            key, code, held = keys[index % len(keys)]
            assert press(person, key, code, held), (key, code, held)
            lands(person, token)


def test_real_keys_with_caps_lock(person: Person, causal: ModelRun) -> None:
    """What Chromium itself sends for Ctrl and a capital letter."""
    person.open_run(causal, token=3, second=1, layer=5, head=2)
    person.token(9).click()
    person.selects(token=9)
    person.page.keyboard.press("Control+Z")
    person.selects(token=3)
    person.page.keyboard.press("Control+y")
    person.selects(token=9)
    person.page.keyboard.press("X")
    person.selects(token=9, second=None)


def test_letters_and_brackets(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=9, second=6, layer=5, head=2)
    for key, code, other in (
        ("X", "KeyX", None),
        ("ч", "KeyX", None),
        ("Ч", "KeyX", None),
        ("χ", "KeyX", None),
        ("х", "BracketLeft", 3),
        ("ъ", "BracketRight", 5),
        ("б", "Comma", 3),
        ("ю", "Period", 5),
        ("x", "KeyB", None),  # Dvorak: the letter counts, not its place
    ):
        person.token(4).click(modifiers=["Shift"])
        lands(person, 9, 4)
        assert press(person, key, code, {}), (key, code)
        lands(person, 9, other)


def test_what_is_no_shortcut_is_left_alone(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=9, second=4, layer=5, head=2)
    for key, code, held in (
        ("ü", "BracketLeft", {}),  # German: a Latin letter where others have a bracket
        ("y", "KeyX", {}),
        ("x", "KeyX", CTRL),
        ("ч", "KeyX", CTRL),
        ("z", "KeyZ", {}),
        ("w", "KeyZ", CTRL),  # French
        ("z", "KeyZ", CTRL | {"altKey": True}),
        ("Dead", "BracketLeft", {}),
    ):
        assert not press(person, key, code, held), (key, code)
    person.selects(token=9, second=4, layer=5, head=2)


# no token is its own second one


def test_brackets_go_past_the_selected_token(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=5, layer=5, head=2)
    for key, other in (("[", 4), ("]", 6), (".", 7), (",", 6), ("[", 4)):
        person.page.keyboard.press(key)
        person.selects(token=5, second=other)


OWN: dict[str, Callable[[Person], object]] = {
    "strip": lambda person: person.token(9).click(modifiers=["Shift"]),
    "point": lambda person: person.click_at(person.point(9), shift=True),
    "column of its own row": lambda person: person.click_at(person.cell(9, 9), shift=True),
    "another row's column": lambda person: person.click_at(person.cell(12, 9), shift=True),
    "key": lambda person: (person.token(9).focus(), person.page.keyboard.press("Shift+Enter")),
}


def test_the_selected_token_taken_as_second_changes_nothing(person: Person, causal: ModelRun) -> None:
    for other in (4, None):
        person.open_run(causal, token=9, layer=5, head=2, **({} if other is None else {"second": other}))
        for place, take in OWN.items():
            take(person)
            head = int(person.selection()["head"]) + 1
            person.page.keyboard.press("Shift+ArrowRight")  # what comes after it is there: so is what it did
            person.selects(head=head)
            assert (place, person.selection()["token"], person.selection()["second"]) == (place, 9, other)
    person.click_at(person.cell(12, 12))  # of the diagonal
    person.selects(token=12, second=None)
    assert "second" not in person.address()


def test_arrows_pass_by_the_second_token(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=7, second=8, layer=5, head=2)
    for key, token, other in (("ArrowRight", 8, None), ("Shift+ArrowDown", 8, None), ("ArrowLeft", 7, 8)):
        person.page.keyboard.press(key)
        person.selects(token=token, second=other)
    person.open_run(causal, token=7, second=8, layer=5, head=2)
    person.token(7).focus()
    for token, other in ((8, None), (9, 8)):
        person.page.keyboard.press("ArrowRight")
        person.selects(token=token, second=other)
    person.token(8).click()
    person.selects(token=8, second=None)
    person.token(3).click()
    person.selects(token=3, second=None)


def test_a_link_that_names_one_token_twice_has_no_second(person: Person, causal: ModelRun) -> None:
    person.open_run(causal, token=9, second=9, layer=5, head=2)
    person.selects(token=9, second=None)
    assert "second" not in person.address()
