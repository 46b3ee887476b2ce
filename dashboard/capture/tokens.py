"""Text to tokens, each aligned with the source characters it stands for."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from dashboard.analysis.token_text import BYTE_PIECE, bytes_text, piece_bytes, piece_text, style_of
from dashboard.capture.unread import Normaliser, complete
from dashboard.catalog.pairs import takes_pairs
from dashboard.catalog.tokenizer_panics import tokenizing
from dashboard.contracts.token import Token
from dashboard.errors import EmptyTextError, UnsupportedModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["piece_text", "tokenize"]
NOT_INPUTS = frozenset({"offset_mapping", "special_tokens_mask", "overflow_to_sample_mapping", "length"})


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    text_pair: str | None = None,
    check: Callable[[int], None] | None = None,
    adds: bool = True,
) -> tuple[dict[str, torch.Tensor], tuple[Token, ...]]:
    """Return the model's inputs and their tokens, without cutting or padding; only the tokenizer adds tokens.

    Offsets count Python characters of the source. Offsets of a second text continue from the end of the first: they are
    offsets into `text + text_pair`.

    Args:
        check: called with the number of tokens before they are aligned, which costs time and memory per token; may
            raise.
        adds: the tokenizer adds its special tokens; False for a rendered chat, which has them already.

    Returns:
        inputs: `input_ids`, and `attention_mask` and `token_type_ids` if the tokenizer gives them: each (1, token)
            int64.
        tokens: one per position. Tokens that share a character share its offsets and are `partial`; joined over
            distinct spans, the tokens give the text back, except for single spaces between words if the tokenizer reads
            words.

    Raises:
        UnsupportedModelError: the tokenizer cannot say which characters a token stands for.
        EmptyTextError: the tokenizer finds nothing in the text.
    """
    if not getattr(tokenizer, "is_fast", False):
        name = type(tokenizer).__name__
        raise UnsupportedModelError(
            f"{name} has no fast tokenizer, so its tokens cannot be aligned with the text. Choose another model."
        )
    with tokenizing():
        batch = tokenizer(
            text,
            text_pair,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            add_special_tokens=adds,
            truncation=False,
            verbose=False,
        )
    encoding = batch.encodings[0]
    if check is not None:
        check(len(encoding))
    with tokenizing():
        tokens = _align(tokenizer, encoding, (text, text_pair or ""))
    if all(token.given for token in tokens):
        raise EmptyTextError("This text contains no tokens for this model. Enter some other text.")
    inputs = {name: torch.tensor([values]) for name, values in batch.items() if name not in NOT_INPUTS}
    return inputs, tokens


def separates(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer puts a separator between two texts (`dashboard.catalog.pairs`)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    processor = getattr(backend, "post_processor", None)
    return processor is not None and takes_pairs(json.loads(processor.__getstate__()))


def _align(tokenizer: Any, encoding: Any, texts: tuple[str, str]) -> tuple[Token, ...]:
    reader = _Reader(tokenizer)
    sources = [_Source(text, reader) for text in texts]
    found: list[Token | None] = []
    parts: tuple[list[tuple[int, Token]], ...] = ([], [])  # per text: position and token
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
            found.append(None)
            continue
        token = sources[sequence].take(identifier, piece, offsets)
        parts[sequence].append((len(found), token if token.special else replace(token, word=word)))
        found.append(token)
    for text, part, shift in zip(texts, parts, (0, len(texts[0])), strict=True):
        whole = complete([token for _position, token in part], text, reader.normaliser)
        for (position, _token), token in zip(part, whole, strict=True):
            found[position] = replace(token, start=token.start + shift, end=token.end + shift)
    return tuple(_with_given(found, encoding, reader))


def _with_given(found: Sequence[Token | None], encoding: Any, reader: _Reader) -> list[Token]:
    """Return the tokens with those that the tokenizer itself adds, each placed where the one before it ends."""
    tokens: list[Token] = []
    for token, identifier, piece in zip(found, encoding.ids, encoding.tokens, strict=True):
        end = tokens[-1].end if tokens else 0
        sign = "mask" if identifier == reader.mask else ""
        tokens.append(token or Token(identifier, piece, end, end, special=True, sign=sign))  # type: ignore[arg-type]
    return tokens


class _Reader:
    """Interprets a tokenizer's pieces."""

    def __init__(self, tokenizer: Any) -> None:
        backend = tokenizer.backend_tokenizer
        self.style = style_of(tokenizer)
        self.normaliser = Normaliser(backend)
        # a space before each text, whether or not it begins with one
        self.prepends = "Prepend" in repr(backend.normalizer)
        self.continuation = getattr(backend.model, "continuing_subword_prefix", None) or ""
        self.mask: int | None = getattr(tokenizer, "mask_token_id", None)
        self.unknown: int | None = getattr(tokenizer, "unk_token_id", None)
        self._added = tokenizer.added_tokens_decoder
        others = ("bos", "eos", "pad", "cls", "sep")
        self._shared = {getattr(tokenizer, f"{name}_token_id", None) for name in others}

    def typed(self, identifier: int, text: str) -> bool:
        """Whether `text` is the spelling of a token that was added to the vocabulary."""
        added = self._added.get(identifier)
        return added is not None and text.strip().casefold() == added.content.strip().casefold()

    def special(self, identifier: int) -> bool:
        added = self._added.get(identifier)
        return added is not None and bool(added.special) and not BYTE_PIECE.fullmatch(added.content)

    def sign(self, identifier: int, piece: str) -> str:
        """Return a token's sign (`Token.sign`), judged by its id and piece; "" if it has none."""
        if identifier == self.mask:
            return "mask"
        if identifier == self.unknown and not (self.special_elsewhere(identifier) and self.style == "bytes"):
            return "unknown"
        long = len(piece) > len(self.continuation)
        return "continuation" if self.continuation and long and piece.startswith(self.continuation) else ""

    def special_elsewhere(self, identifier: int) -> bool:
        return identifier in self._shared

    def said(self, piece: str, sign: str) -> str:
        """Return the characters that a piece stands for, without its sign."""
        raw = piece_bytes(piece, self.style)
        if raw is None:
            return piece.removeprefix(self.continuation) if sign == "continuation" else piece
        return bytes_text(raw)


@dataclass
class _Source:
    """One text, read from start to end: the tokenizer's own offsets are used only if bytes do not match.

    Byte-level tokenizers differ in whether offsets include the leading space; the bytes are reliable.
    """

    text: str
    reader: _Reader

    def __post_init__(self) -> None:
        self.encoded = self.text.encode(errors="replace")
        self.at = 0  # bytes read so far
        self.prepends = self.reader.prepends  # whether a space of the tokenizer's own comes next
        self.starts = [0]  # byte offset of each character, and of the end
        for character in self.text:
            self.starts.append(self.starts[-1] + len(character.encode(errors="replace")))

    def take(self, identifier: int, piece: str, offsets: tuple[int, int]) -> Token:
        start, end = offsets
        if self.reader.typed(identifier, self.text[start:end]):
            return self._typed(identifier, piece, offsets)
        sign = self.reader.sign(identifier, piece)
        raw = None if sign == "unknown" else piece_bytes(piece, self.reader.style)
        prepends, self.prepends = self.prepends, False
        spaced = raw is not None and raw.startswith(b" ")
        if raw and not (prepends and spaced) and self.encoded.startswith(raw, self.at):
            return self._matched(identifier, raw)
        if raw and spaced and (prepends or not self._space_next()):
            body = raw[1:]
            if not body:
                here = self._character(self.at)
                return Token(identifier, "", here, here, sign="added")
            if self.encoded.startswith(body, self.at):
                return replace(self._matched(identifier, body), sign="added")
        return self._by_offsets(identifier, piece, raw, offsets, sign)

    def _typed(self, identifier: int, piece: str, offsets: tuple[int, int]) -> Token:
        """Return a token that the text spells by its name; after a special one the tokenizer starts over."""
        start, end = offsets
        special = self.reader.special(identifier)
        sign = self.reader.sign(identifier, piece)
        if sign == "unknown" and self.reader.special_elsewhere(identifier):
            sign = ""
        self.at, self.prepends = self.starts[end], self.reader.prepends
        return Token(identifier, self.text[start:end], start, end, special=special, sign=sign)  # type: ignore[arg-type]

    def _matched(self, identifier: int, raw: bytes) -> Token:
        """Return the token of a piece whose bytes come next."""
        begin, self.at = self.at, self.at + len(raw)
        start, end = self._character(begin), self._character(self.at - 1) + 1
        partial = self.starts[start] != begin or self.starts[end] != self.at
        return Token(identifier, bytes_text(raw) if partial else self.text[start:end], start, end, partial=partial)

    def _by_offsets(self, identifier: int, piece: str, raw: bytes | None, offsets: tuple[int, int], sign: str) -> Token:
        start, end = offsets
        text = self.text[start:end]
        if raw is not None and raw.startswith(b" ") and not text[:1].isspace():
            sign = "added"
            if raw == b" ":
                return Token(identifier, "", start, start, sign="added")
        self.at = self.starts[end] if end > start else self.at
        if raw is not None and _is_broken(raw):
            return Token(identifier, bytes_text(raw), start, end, partial=True)
        said = None if sign in {"unknown", "mask"} else self.reader.said(piece, sign)
        if said is not None and sign == "added":
            said = said.removeprefix(" ") if text else said
        if not text:
            return Token(identifier, "", start, start, sign="added", read=said)
        read = None if said == text else said
        return Token(identifier, text, start, end, sign=sign, read=read)  # type: ignore[arg-type]

    def _space_next(self) -> bool:
        return self.text[self._character(self.at) :][:1].isspace()

    def _character(self, byte: int) -> int:
        return bisect_right(self.starts, byte) - 1


def _is_broken(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False
