"""What a vocabulary's pieces mean: bytes for byte-level BPE, text for SentencePiece, the pieces themselves otherwise.

`dashboard.figures.tokens` formats what this module decodes. This module needs neither torch nor transformers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

Style = Literal["bytes", "spaces", "plain"]
BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # SentencePiece's fallback for characters outside its vocabulary
SPECIAL_NAME = re.compile(r"<[^<>]+>|\[[A-Z0-9_]+\]")  # <s>, <|endoftext|>, [CLS]
SPACE_SIGN = "▁"


@cache
def _byte_of() -> dict[str, int]:
    """GPT-2's alphabet: each byte as one printable character.

    Printable Latin-1 characters stand for themselves, the other 68 bytes for U+0100 … U+0143, in order
    (Radford et al. 2019, byte-level byte-pair encoding).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    table.update({chr(0x100 + i): byte for i, byte in enumerate(others)})
    return table


def style_of(tokenizer: Any) -> Style:
    """How to decode the pieces of a fast tokenizer (a `PreTrainedTokenizerFast`)."""
    backend = tokenizer.backend_tokenizer
    parts = f"{backend.pre_tokenizer!r} {backend.decoder!r}"
    if "ByteLevel" in parts:
        return "bytes"
    return "spaces" if SPACE_SIGN in parts or "Metaspace" in parts or "ByteFallback" in parts else "plain"


def piece_bytes(piece: str, style: Style) -> bytes | None:
    """The UTF-8 bytes that a piece stands for; None if the style does not say (use the piece's offsets instead)."""
    if style == "bytes":
        table = _byte_of()
        if all(character in table for character in piece):
            return bytes(table[character] for character in piece)
        return piece.encode(errors="replace")
    if style == "spaces":
        fallback = BYTE_PIECE.fullmatch(piece)
        if fallback:
            return bytes([int(fallback[1], 16)])
        return piece.replace(SPACE_SIGN, " ").encode(errors="replace")
    return None


def bytes_text(raw: bytes) -> str:
    """`raw` as text; bytes that do not form whole characters appear as ⟨F0 9F⟩."""
    parts: list[str] = []
    loose: list[str] = []

    def flush() -> None:
        if loose:
            parts.append(f"⟨{' '.join(loose)}⟩")
            loose.clear()

    rest = raw
    while rest:
        try:
            decoded, bad, after = rest.decode(), b"", b""
        except UnicodeDecodeError as error:
            decoded, bad, after = rest[: error.start].decode(), rest[error.start : error.end], rest[error.end :]
        if decoded:
            flush()
            parts.append(decoded)
        loose.extend(f"{byte:02X}" for byte in bad)
        rest = after
    flush()
    return "".join(parts)


def piece_text(tokenizer: Any, token_id: int) -> str:
    """The text of a token without a source text, such as one in a list of predictions.

    A leading space is kept (" Mary"), special tokens appear by name, bytes that are only part of a character appear as
    ⟨F0 9F⟩, and a WordPiece continuation keeps its sign ("##ing"). An id that the tokenizer lacks (a model's vocabulary
    may be padded) is ⟨id 50300⟩.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {}).get(token_id)
    if added is not None and not BYTE_PIECE.fullmatch(added.content):
        return str(added.content)
    if not hasattr(tokenizer, "convert_ids_to_tokens"):
        return str(tokenizer.decode([token_id]))
    piece = tokenizer.convert_ids_to_tokens(token_id)
    if piece is None:
        return f"⟨id {token_id}⟩"
    style = style_of(tokenizer) if getattr(tokenizer, "is_fast", False) else style_of_pieces([piece])
    raw = piece_bytes(piece, style)
    return piece if raw is None else bytes_text(raw)


def style_of_pieces(pieces: Sequence[str]) -> Style:
    """How to decode pieces when their tokenizer is not at hand, judging by signs that only one kind of vocabulary uses.

    Byte-level pieces are recognised by Ġ, Ċ or ĉ, or by letters that are valid UTF-8 when read as bytes.
    """
    if any(BYTE_PIECE.fullmatch(piece) for piece in pieces):
        return "spaces"
    ordinary = [piece for piece in pieces if not SPECIAL_NAME.fullmatch(piece)]
    if any(SPACE_SIGN in piece for piece in ordinary):
        return "spaces"
    letters, table = "".join(ordinary), _byte_of()
    if letters.isascii() or any(letter not in table for letter in letters):
        return "plain"
    return "bytes" if any(sign in letters for sign in "ĠĊĉ") or _reads_as_text(letters) else "plain"


def _reads_as_text(letters: str) -> bool:
    """Whether byte-level `letters` are UTF-8, allowing for a character that is cut off at either end."""
    table = _byte_of()
    raw = bytes(table[letter] for letter in letters)
    cut = next((i for i, byte in enumerate(raw[:3]) if byte & 0xC0 != 0x80), min(3, len(raw)))
    try:
        raw[cut:].decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return cut == 0 or cut < len(raw)
