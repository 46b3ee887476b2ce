"""A token: one piece of a text, and what a person must know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

UNREAD = 8  # place of `Token.unread` in a header's row
TokenSign = Literal["", "added", "continuation", "unknown", "mask"]


@dataclass(frozen=True)
class Token:
    """One piece of the text.

    Attributes:
        id: the vocabulary id.
        text: what stands in the source text there; the token's own name where it is special; its bytes as
            `⟨F0 9F⟩` where it is only part of a character.
        start, end: offsets into the source text (characters); equal where nothing of the text belongs to it.
        special: a special token ([CLS], <s>, …): added by the tokenizer, or typed (then it has characters of the text).
        partial: part of one character; neighbours share its offsets.
        word: index of the word it belongs to, or None.
        sign: what the text alone does not show. "added": it begins with a space that the tokenizer adds and the text
            lacks (one that is nothing else stands for no character: its `text` is empty); "continuation": it goes on a
            word (WordPiece's ##); "unknown": the vocabulary lacks these characters, so the model does not see which
            they are; "mask": the mask token.
        unread: (first, last) in `text`, last exclusive: characters of the source that no piece holds, because the
            tokenizer dropped them. They stand in the label of the token beside them.
        read: what the piece says where that differs from the text ("cafe" for "Café"), or None.
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
        """Whether the tokenizer put it there, so that nothing of the text stands here."""
        return self.special and self.start == self.end

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Token:
        """A token of a run's header; fields that an older header lacks have their defaults.

        Raises:
            TypeError: it has a field or a sign that this version does not know.
        """
        known = list(row)
        if len(known) > UNREAD - 1 and known[UNREAD - 1] not in get_args(TokenSign):
            raise TypeError(f"unknown sign {known[UNREAD - 1]!r}")
        if len(known) > UNREAD:
            known[UNREAD] = tuple((int(first), int(last)) for first, last in known[UNREAD])
        return cls(*known)

    def to_row(self) -> list[Any]:
        """The fields in order, without those at the end that are at their defaults."""
        unread = [list(span) for span in self.unread]
        plain = [self.id, self.text, self.start, self.end, self.special, self.partial, self.word]
        more = [self.sign, unread, self.read]
        while more and not more[-1]:
            more.pop()
        return plain + more
