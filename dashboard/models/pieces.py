"""What a vocabulary's pieces stand for: bytes for byte-level BPE, text for SentencePiece, themselves for the rest."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal

Style = Literal["bytes", "spaces", "plain"]
BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # SentencePiece's fallback for characters outside its vocabulary
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
    """How the pieces of a fast tokenizer (a `PreTrainedTokenizerFast`) are to be read."""
    backend = tokenizer.backend_tokenizer
    parts = f"{backend.pre_tokenizer!r} {backend.decoder!r}"
    if "ByteLevel" in parts:
        return "bytes"
    return "spaces" if SPACE_SIGN in parts or "Metaspace" in parts or "ByteFallback" in parts else "plain"


def piece_bytes(piece: str, style: Style) -> bytes | None:
    """The UTF-8 bytes that a piece stands for; None where the style does not say (read its offsets instead)."""
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
    """`raw` as text; bytes that are not whole characters as ⟨F0 9F⟩."""
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
    """How a token is shown where there is no source text: in a list of predictions.

    Its leading space is kept (" Mary"), special tokens go by their name, bytes that are only part of a character are
    ⟨F0 9F⟩, a WordPiece continuation keeps its sign ("##ing"). An id that the tokenizer lacks (a model's vocabulary may be
    padded) is ⟨id 50300⟩.
    """
    added = tokenizer.added_tokens_decoder.get(token_id)
    if added is not None:
        return added.content
    piece = tokenizer.convert_ids_to_tokens(token_id)
    if piece is None:
        return f"⟨id {token_id}⟩"
    raw = piece_bytes(piece, style_of(tokenizer)) if tokenizer.is_fast else None
    return piece if raw is None else bytes_text(raw)
