"""How a token is written: white space made visible, everything that could be read as markup escaped."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

from dashboard.contracts.run import Token

MARKS = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}
BYTES = re.compile(r"(⟨[0-9A-F]{2}(?: [0-9A-F]{2})*⟩)")  # part of a character, as contracts.run.Token writes it


def token_label(text: str) -> str:
    """`text` with white space as signs (· ↵ ⇥), invisible characters as ⟨U+200D⟩ and a bare accent on a ◌.

    Bytes of a character that is only there in part stay as they are written, ⟨F0 9F⟩.
    """
    if not text:
        return "∅"
    pieces = enumerate(BYTES.split(text))  # every second piece is a match
    return "".join(piece if index % 2 else _shown(piece) for index, piece in pieces)


def _shown(text: str) -> str:
    return "".join(_visible(character, alone=index == 0) for index, character in enumerate(text))


def _visible(character: str, alone: bool) -> str:
    if character in MARKS:
        return MARKS[character]
    category = unicodedata.category(character)
    if category in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return f"⟨U+{ord(character):04X}⟩"
    if category == "Zs":
        return "·"
    if alone and category in {"Mn", "Me"}:
        return "◌" + character
    return character


def leading_marks(text: str) -> int:
    """How many characters of `token_label(text)` stand for leading white space."""
    return len(text) - len(text.lstrip(" \n\t\r\u00a0"))


def elide(label: str, longest: int = 12) -> str:
    """`label`, cut to `longest` characters with an ellipsis."""
    return label if len(label) <= longest else label[: longest - 1] + "…"


def escape(label: str) -> str:
    """`label` as text that Plotly draws as it is: its own tags and entities are shown, not obeyed."""
    return html.escape(label, quote=False)


def labels_of(tokens: Sequence[Token | str]) -> list[str]:
    """The label of each token; plain strings are taken as a tokenizer's pieces (Ġ and ▁ mean a leading space)."""
    return [token_label(t.text if isinstance(t, Token) else _piece(t)) for t in tokens]


def _piece(piece: str) -> str:
    return piece.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n")


def numbered(labels: Sequence[str]) -> list[str]:
    """Labels that can be told apart: repeated and one-character ones add their position."""
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return [f"{label} {i}" if counts[label] > 1 or len(label.strip("·")) <= 1 else label for i, label in enumerate(labels)]
