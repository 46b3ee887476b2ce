"""Characters that no piece of a tokenizer holds: accents and signs that a normaliser dropped, stripped white space.

Each such character goes to a neighbouring token, which records that the model does not read it (`Token.unread`), so
that every character of a text belongs to some token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from dashboard.analysis.token_text import SPACE_SIGN
from dashboard.contracts.token import Token

Span = tuple[int, int]


class Normaliser:
    """What a tokenizer does to characters before it splits them into pieces."""

    def __init__(self, backend: Any) -> None:
        self._normalise = None if backend.normalizer is None else backend.normalizer.normalize_str
        parts = repr(backend.pre_tokenizer)
        self.words = "Bert" in parts or "Whitespace" in parts  # these read the single space between words
        self._dropped: dict[str, bool] = {}

    def drops(self, character: str) -> bool:
        """Whether normalisation drops `character` completely; white space is judged by its place instead."""
        if self._normalise is None or character.isspace():
            return False
        if character not in self._dropped:
            self._dropped[character] = not self._normalise(character).strip(" " + SPACE_SIGN)
        return self._dropped[character]


def complete(tokens: Sequence[Token], text: str, normaliser: Normaliser) -> list[Token]:
    """Return the tokens of one text, in order, such that every character belongs to one of them.

    Offsets count from the start of `text`. A single space between words belongs to none if the tokenizer reads words:
    the missing continuation sign shows that it is there.
    """
    if not tokens:
        return []
    marked = [_inner(token, normaliser) for token in _share_characters(_overlapping(_without_space(tokens), text))]
    for first, last in _gaps(marked, text):
        _give(marked, text, (first, last), normaliser.words)
    return marked


def _inner(token: Token, normaliser: Normaliser) -> Token:
    """Mark characters within a token's span that its piece does not hold."""
    if token.read is None or token.partial:
        return token
    lost = [i for i, character in enumerate(token.text) if normaliser.drops(character)]
    spaces = _leading_spaces(token.text) - max(1, _leading_spaces(token.read))
    lost = sorted({*lost, *range(spaces)})
    kept = "".join(character for i, character in enumerate(token.text) if i not in set(lost))
    return replace(token, unread=tuple(_runs(lost)), read=None if kept == token.read else token.read)


def _leading_spaces(text: str) -> int:
    return len(text) - len(text.lstrip())


def _runs(positions: Sequence[int]) -> Iterator[Span]:
    """Yield (first, last) of each run of neighbours, last exclusive."""
    begin = previous = None
    for position in positions:
        if begin is None or previous is None or position != previous + 1:
            if begin is not None and previous is not None:
                yield begin, previous + 1
            begin = position
        previous = position
    if begin is not None and previous is not None:
        yield begin, previous + 1


def _gaps(tokens: Sequence[Token], text: str) -> list[Span]:
    """Return the runs of characters that belong to no token."""
    taken = bytearray(len(text))
    for token in tokens:
        taken[token.start : token.end] = b"\1" * (token.end - token.start)
    return list(_runs([i for i, one in enumerate(taken) if not one]))


def _give(tokens: list[Token], text: str, gap: Span, words: bool) -> None:
    """Give a gap to the token before it, or, at the start of a text, to the one after it."""
    first, last = gap
    after = next((i for i, token in enumerate(tokens) if token.start >= last), None)
    if after is not None and tokens[after].sign == "added" and text[last - 1].isspace():
        _take_space(tokens, after, text, last - 1)
        last -= 1
    before = [i for i, token in enumerate(tokens) if token.start < token.end <= first]
    if (
        before
        and after is not None
        and words
        and text[first:last][-1:] == " "
        and not text[first : last - 1][-1:].isspace()
    ):
        last -= 1
    if first >= last:
        return
    if before:
        _append(tokens, max(before), text[first:last])
        return
    follows = [i for i, token in enumerate(tokens) if token.end > token.start >= last]
    chosen = min(follows) if follows else len(tokens) - 1
    _prepend(tokens, chosen, text[first:last], first)


def _take_space(tokens: list[Token], index: int, text: str, at: int) -> None:
    """Identify the space that a piece begins with as the text's own, at `at`."""
    token = tokens[index]
    space = text[at]
    said = token.text if token.read is None else token.read
    read = None if space == " " and token.read is None else " " + said
    shift = tuple((first + 1, last + 1) for first, last in token.unread)
    tokens[index] = replace(
        token, text=space + token.text, start=at, end=max(token.end, at + 1), sign="", unread=shift, read=read
    )


def _append(tokens: list[Token], index: int, lost: str) -> None:
    """Give `lost` to a token whose span ends where it begins; neighbours that share the span keep sharing it."""
    token = tokens[index]
    begin = len(token.text)
    grown = replace(token, text=token.text + lost, unread=(*token.unread, (begin, begin + len(lost))))
    for i, other in enumerate(tokens):
        if i == index or (token.partial and (other.start, other.end) == (token.start, token.end)):
            tokens[i] = replace(grown if i == index else other, end=token.end + len(lost))


def _prepend(tokens: list[Token], index: int, lost: str, start: int) -> None:
    token = tokens[index]
    unread = ((0, len(lost)), *((first + len(lost), last + len(lost)) for first, last in token.unread))
    span = (token.start, token.end)
    for i, other in enumerate(tokens):
        if i == index:
            end = max(token.end, start + len(lost))
            tokens[i] = replace(token, text=lost + token.text, start=start, end=end, unread=unread)
        elif token.partial and (other.start, other.end) == span:
            tokens[i] = replace(other, start=start)
        elif i < index and other.start == other.end > start:  # covers no character, and stays in front of it
            tokens[i] = replace(other, start=start, end=start)


def _without_space(tokens: Sequence[Token]) -> list[Token]:
    """Let the tokenizer's own space before other white space take no character of the text."""
    found = list(tokens)
    for index, (token, next_one) in enumerate(pairwise(tokens)):
        if token.read == " " and token.text.isspace() and next_one.start < token.end:
            found[index] = replace(token, text="", end=token.start, sign="added", read=None)
    return found


def _overlapping(tokens: Sequence[Token], text: str) -> list[Token]:
    """Make tokens that come from one character (½ → 1⁄2, ﬁ → fi) parts of it: "½⟨1⟩", its characters and what they
    became.
    """
    found = list(tokens)
    for index in range(len(found) - 1):
        one, next_one = found[index], found[index + 1]
        if (
            not one.start < one.end
            or not next_one.start < min(one.end, next_one.end)
            or one.special
            or next_one.special
        ):
            continue
        for i in (index, index + 1):
            if not found[i].partial and found[i].sign != "unknown":
                made = tokens[i].text if tokens[i].read is None else tokens[i].read
                shown = f"{text[tokens[i].start : tokens[i].end]}⟨{made}⟩"
                found[i] = replace(found[i], text=shown, partial=True, read=None)
    return found


def _share_characters(tokens: Sequence[Token]) -> list[Token]:
    """Give neighbours that hold parts of one character the same span: all the characters that they make up together."""
    shared = list(tokens)
    first = 0
    while first < len(shared):
        start, end, last = shared[first].start, shared[first].end, first + 1
        while shared[first].partial and last < len(shared) and shared[last].partial and shared[last].start < end:
            end = max(end, shared[last].end)
            last += 1
        for i in range(first, last):
            shared[i] = replace(shared[i], start=start, end=end) if last > first + 1 else shared[i]
        first = last
    return shared
