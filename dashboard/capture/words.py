"""Words that a person types, as tokens of a model's vocabulary, to look up their ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboard.analysis.token_text import piece_text
from dashboard.catalog.tokenizer_panics import tokenizing
from dashboard.contracts.prediction import NO_TOKEN

SIGNS = str.maketrans({"·": " ", "↵": "\n", "⇥": "\t"})  # how the page shows white space (dashboard/figures/tokens.py)


@dataclass(frozen=True)
class Word:
    """One word, and the token that stands for it.

    Attributes:
        typed: the word as typed. id: of its first token, or −1 if the vocabulary has none. text: of that token.
        pieces: the texts of all its tokens; if there are several, only the first is followed.
    """

    typed: str
    id: int
    text: str
    pieces: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"typed": self.typed, "id": self.id, "text": self.text, "pieces": list(self.pieces)}


def as_token(tokenizer: Any, typed: str, vocabulary: int) -> Word:
    """Return the first token of a word as it appears within a text.

    A word is read after a space (`Mary` is ` Mary`) unless it takes fewer tokens without one. With a sign for white
    space (`·Mary`) or in quotes (`"Mary"`) it is read exactly as written.
    """
    quoted = len(typed) > 2 and typed[0] == typed[-1] == '"'
    exact = (typed[1:-1] if quoted else typed).translate(SIGNS)
    readings = [exact] if quoted or exact != typed else [f" {typed}", typed]
    found = [ids for ids in (_ids(tokenizer, reading) for reading in readings) if ids]
    ids = min(found, key=len, default=[])
    unknown = getattr(tokenizer, "unk_token_id", None)
    lost = not ids or ids[0] >= vocabulary or (ids[0] == unknown and typed != getattr(tokenizer, "unk_token", None))
    pieces = tuple(piece_text(tokenizer, identifier) for identifier in ids)
    return Word(typed, NO_TOKEN if lost else ids[0], "" if lost else pieces[0], () if lost else pieces)


def _ids(tokenizer: Any, text: str) -> list[int]:
    with tokenizing():
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
