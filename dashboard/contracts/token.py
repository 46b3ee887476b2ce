"""A token: one piece of a text, with what a reader needs to know about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

NO_SEGMENT = -1  # a token that the tokenizer added belongs to none of the texts
UNREAD = 8  # index of `Token.unread` in a header row
TokenSign = Literal["", "added", "continuation", "unknown", "mask"]


@dataclass(frozen=True)
class Token:
    """One piece of the text.

    Attributes:
        id: the vocabulary id.
        text: the source text at this position; for a special token, its own name; its bytes as `⟨F0 9F⟩` if it is only
            part of a character.
        start, end: offsets into the source text (characters); equal if the token covers none of the text.
        special: a special token ([CLS], <s>, …), added by the tokenizer or typed (a typed one covers characters of the
            text).
        partial: part of one character; neighbours share its offsets.
        word: index of the word it belongs to, or None.
        sign: what the text alone does not show. "added": the token begins with a space that the tokenizer adds and the
            text lacks (a token that is nothing but this space covers no character: its `text` is empty);
            "continuation": it continues a word (WordPiece's ##); "unknown": the vocabulary lacks these characters, so
            the model cannot tell which they are; "mask": the mask token.
        unread: (first, last) in `text`, last exclusive: characters of the source that no token covers because the
            tokenizer dropped them. They appear in the label of the token beside them.
        read: how the model reads the token if that differs from the text ("cafe" for "Café"), or None.
    """

    id: int
    text: str
    start: int
    end: int
    special: bool = False
    partial: bool = False
    word: int | None = None
    sign: TokenSign = ""
    unread: tuple[tuple[int, int], ...] = ()
    read: str | None = None

    @property
    def given(self) -> bool:
        """Whether the tokenizer added the token, so that it covers none of the text."""
        return self.special and self.start == self.end

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Token:
        """Read a token from its row in a run's header; fields that an older header lacks take their defaults.

        Raises:
            TypeError: the row has a field or a sign that this version does not know.
        """
        known = list(row)
        if len(known) > UNREAD - 1 and known[UNREAD - 1] not in get_args(TokenSign):
            raise TypeError(f"unknown sign {known[UNREAD - 1]!r}")
        if len(known) > UNREAD:
            known[UNREAD] = tuple((int(first), int(last)) for first, last in known[UNREAD])
        return cls(*known)

    def to_row(self) -> list[Any]:
        """Return the fields in order, leaving out those at the end that have their defaults."""
        unread = [list(span) for span in self.unread]
        plain = [self.id, self.text, self.start, self.end, self.special, self.partial, self.word]
        more = [self.sign, unread, self.read]
        while more and not more[-1]:
            more.pop()
        return plain + more


def segments_of(tokens: Sequence[Token], first: int | None) -> np.ndarray:
    """Return (token,) int8: which text each token belongs to, 0 or 1; `NO_SEGMENT` for tokens that the tokenizer added.

    Offsets say it: those of a second text continue from the end of the first. A token of no character just there
    belongs to the second text if a separator comes right before it.

    Args:
        first: characters of the first text, None if there is only one.
    """
    found = np.full(len(tokens), NO_SEGMENT, np.int8)
    for position, token in enumerate(tokens):
        if token.given:
            continue
        begins = token.start == token.end == first and position > 0 and found[position - 1] != 0
        found[position] = int(first is not None and (token.end > first or begins))
    return found


def typed_separator(rows: Iterable[tuple[int, str, bool]]) -> str | None:
    """Return a typed token of one text that the tokenizer itself puts behind a text ("[SEP]", "</s>"): whoever types it
    may mean a pair. None if there is none.

    Args:
        rows: each token's vocabulary id, its text, and whether the tokenizer added it.
    """
    known = list(rows)
    own = {number for number, _text, added in known[1:] if added}
    return next((text for number, text, added in known if number in own and not added), None)
