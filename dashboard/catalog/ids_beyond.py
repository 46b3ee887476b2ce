"""A token whose id is beyond a model's embeddings: model and tokenizer are published separately and may not fit.

No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Encoding

LONGEST = 40  # characters of a token to show


@dataclass(frozen=True)
class Beyond:
    """The first such token of a text; `given`: the tokenizer adds it to every text."""

    position: int
    id: int
    text: str
    given: bool

    def sentence(self, title: str, rows: int, lent: bool = False) -> str:
        """Say what is wrong and what to do.

        Args:
            title: the model's. rows: how many embeddings it has. lent: whether the tokenizer is another model's.
        """
        whose = f"The tokenizer that {title} reads with" if lent else f"{title}'s tokenizer"
        what = f"{whose} knows “{self.text[:LONGEST]}” (id {self.id:,}), but the model has only {rows:,} embeddings"
        if self.given:
            other = "tokenizer" if lent else "model"
            return f"{what}, and it puts that token into every text. Choose another {other}."
        other = ", or choose another tokenizer," if lent else ""
        return f"{what}. Take it out of the text (it is token {self.position}){other} and run again."


def first_beyond(encoding: Encoding, texts: tuple[str, str | None], rows: int) -> Beyond | None:
    """Return the first token of an encoded text, or pair of texts, whose id is not below `rows`, or None.

    `rows` is the model's number of embeddings, 0 if unknown.
    """
    position = next((i for i, number in enumerate(encoding.ids) if number >= rows), None) if rows else None
    if position is None:
        return None
    first, last = encoding.offsets[position]
    text = texts[encoding.sequence_ids[position] or 0] or ""
    shown = (text[first:last] or encoding.tokens[position])[:LONGEST]
    return Beyond(position, encoding.ids[position], shown, bool(encoding.special_tokens_mask[position]))
