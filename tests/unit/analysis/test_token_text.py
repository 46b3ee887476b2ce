"""How a token is written: white space visible, nothing that could be read as markup."""

from __future__ import annotations

import pytest

from dashboard.contracts.token import Token
from dashboard.figures.text import elide, escape
from dashboard.figures.tokens import is_punctuation, labels_of, leading_marks, numbered, token_label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" the", "·the"),
        ("a b ", "a·b·"),
        ("\n\n", "↵↵"),
        ("\t", "⇥"),
        ("\r\n", "␍↵"),
        ("\u00a0x", "⍽x"),
        ("\u2003", "·"),
        ("\u200d", "⟨U+200D⟩"),
        ("\u202e", "⟨U+202E⟩"),
        ("\ufeff", "⟨U+FEFF⟩"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("漢字", "漢字"),
        ("👋", "👋"),
        ("", "∅"),
        ("<b>", "<b>"),
    ],
)
def test_a_label_shows_what_cannot_be_seen(text: str, label: str) -> None:
    assert token_label(text) == label


def test_punctuation_is_told_from_what_can_be_read() -> None:
    assert all(map(is_punctuation, [".", "·(", "=", "$", "·", "⟨?⟩", "▁,"]))
    assert not any(map(is_punctuation, ["'s", "a.", "·Mary", "👋", "⟨F0 9F⟩", "3", "↵"]))


def test_a_piece_of_a_character_is_shown_as_its_bytes() -> None:
    assert labels_of([Token(0, "⟨F0 9F⟩", 0, 1, partial=True)]) == ["⟨F0 9F⟩"]
    assert token_label(" ⟨F0 9F 91⟩ x") == "·⟨F0 9F 91⟩·x"


@pytest.mark.parametrize(("text", "count"), [("a", 0), (" a", 1), ("\n \ta ", 3), ("  ", 2), ("", 0)])
def test_leading_marks_are_those_of_leading_white_space(text: str, count: int) -> None:
    assert leading_marks(text) == count
    assert set(token_label(text)[:count]) <= set("·↵⇥")


def test_elision_keeps_the_length() -> None:
    assert elide("twelve chars") == "twelve chars"
    assert elide("thirteen char") == "thirteen ch…"
    assert len(elide("x" * 99, 8)) == 8


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("<b>", "&lt;b&gt;"),
        ("&amp;", "&amp;amp;"),
        ("a<img src=x>", "a&lt;img src=x&gt;"),
        ("&#60;", "&amp;#60;"),
        ("plain", "plain"),
    ],
)
def test_markup_and_entities_are_written_out(label: str, written: str) -> None:
    assert escape(label) == written


def test_labels_that_are_alike_get_their_position() -> None:
    assert numbered(["·the", "·cat", "·the", ".", "·a"]) == ["·the 0", "·cat", "·the 2", ". 3", "·a 4"]


def test_pieces_of_a_tokenizer_are_read_like_tokens() -> None:
    assert labels_of(["Ġthe", "▁cat", "Ċ", "##s", Token(0, " on", 0, 3)]) == ["·the", "·cat", "↵", "##s", "·on"]
