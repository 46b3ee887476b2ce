"""Text to tokens, each aligned with the characters of the source that it stands for."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from dashboard.contracts.run import Token
from dashboard.errors import EmptyTextError, UnsupportedModelError
from dashboard.models.pieces import bytes_text, piece_bytes, piece_text, style_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["piece_text", "tokenize"]
NOT_INPUTS = frozenset({"offset_mapping", "special_tokens_mask", "overflow_to_sample_mapping", "length"})


def tokenize(
    tokenizer: PreTrainedTokenizerBase, text: str, text_pair: str | None = None
) -> tuple[dict[str, torch.Tensor], tuple[Token, ...]]:
    """The model's inputs and the tokens they stand for; nothing is cut, padded or added that the tokenizer does not add.

    Offsets count Python characters of the source. Offsets of a second text go on from the end of the first: they are
    offsets into `text + text_pair`.

    Returns:
        inputs: `input_ids`, and `attention_mask` and `token_type_ids` where the tokenizer gives them: each (1, token) int64.
        tokens: one per position. Tokens that share a character share its offsets and are `partial`; joined over distinct
        spans, a byte-level tokenizer's tokens give the text back.

    Raises:
        UnsupportedModelError: the tokenizer cannot say which characters a token stands for.
        EmptyTextError: the tokenizer finds nothing in the text.
    """
    if not getattr(tokenizer, "is_fast", False):
        name = type(tokenizer).__name__
        raise UnsupportedModelError(f"{name} has no fast tokenizer, so its tokens cannot be aligned with the text.")
    batch = tokenizer(
        text, text_pair, return_offsets_mapping=True, return_special_tokens_mask=True, truncation=False, verbose=False
    )
    encoding = batch.encodings[0]
    tokens = _align(tokenizer, encoding, (text, text_pair or ""))
    if all(token.special for token in tokens):
        raise EmptyTextError("The model's tokenizer finds nothing to read in this text. Type another one.")
    inputs = {name: torch.tensor([values]) for name, values in batch.items() if name not in NOT_INPUTS}
    return inputs, tokens


def _align(tokenizer: Any, encoding: Any, texts: tuple[str, str]) -> tuple[Token, ...]:
    added = tokenizer.added_tokens_decoder
    style = style_of(tokenizer)
    sources = [_Source(text) for text in texts]
    shifts = (0, len(texts[0]))
    found: list[Token] = []
    rows = zip(
        encoding.ids,
        encoding.tokens,
        encoding.offsets,
        encoding.special_tokens_mask,
        encoding.word_ids,
        encoding.sequence_ids,
        strict=True,
    )
    for identifier, piece, offsets, special, word, sequence in rows:
        if special or sequence is None:
            end = found[-1].end if found else 0
            found.append(Token(identifier, piece, end, end, special=True))
            continue
        raw = piece.encode(errors="replace") if identifier in added else piece_bytes(piece, style)
        token = sources[sequence].take(identifier, piece, raw, offsets)
        shift = shifts[sequence]
        found.append(replace(token, start=token.start + shift, end=token.end + shift, word=word))
    return tuple(_with_accents(_share_characters(found), "".join(texts)))


@dataclass
class _Source:
    """One text, read from its start to its end: the tokenizer's own offsets are asked only where bytes do not match.

    Byte-level tokenizers differ in whether offsets include the leading space; the bytes do not lie.
    """

    text: str

    def __post_init__(self) -> None:
        self.encoded = self.text.encode(errors="replace")
        self.at = 0  # bytes read so far
        self.starts = [0]  # byte at which each character starts, and the end
        for character in self.text:
            self.starts.append(self.starts[-1] + len(character.encode(errors="replace")))

    def take(self, identifier: int, piece: str, raw: bytes | None, offsets: tuple[int, int]) -> Token:
        if raw and self.encoded.startswith(raw, self.at):
            begin, self.at = self.at, self.at + len(raw)
            start, end = self._character(begin), self._character(self.at - 1) + 1
            partial = self.starts[start] != begin or self.starts[end] != self.at
            return Token(identifier, bytes_text(raw) if partial else self.text[start:end], start, end, partial=partial)
        start, end = offsets
        self.at = self.starts[end] if end > start else self.at
        if raw is not None and _is_broken(raw):
            return Token(identifier, bytes_text(raw), start, end, partial=True)
        return Token(identifier, self.text[start:end] or (bytes_text(raw) if raw else piece), start, end)

    def _character(self, byte: int) -> int:
        return bisect_right(self.starts, byte) - 1


def _is_broken(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def _with_accents(tokens: Sequence[Token], text: str) -> list[Token]:
    """Give combining accents that a normaliser dropped, or joined to their letter, to the tokens of that letter."""
    taken = {position for token in tokens for position in range(token.start, token.end)}
    shown = []
    for token in tokens:
        end = token.end
        while token.end > token.start and end < len(text) and end not in taken and unicodedata.combining(text[end]):
            end += 1
        if end > token.end:
            token = replace(token, end=end, text=token.text if token.partial else text[token.start : end])
        shown.append(token)
    return shown


def _share_characters(tokens: Sequence[Token]) -> list[Token]:
    """Give neighbours that hold parts of one character one span: all the characters that they make up together."""
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
