"""Whether a model takes a pair of texts, judged by its tokenizer's file. No torch.

A tokenizer's post-processor says which special tokens it puts around one text and around two. A model takes pairs if
that puts a special token between the two texts which does not also begin a single text: BERT's `[SEP]` separates, but a
second `<s>` (Llama) only begins once more, and without any token between them (GPT-2) the two texts would be one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.catalog.architecture import family_source
from dashboard.catalog.fingerprint import TOKENIZER
from dashboard.catalog.foreign_files import read_bytes
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.token import typed_separator
from dashboard.errors import NoPairsError

if TYPE_CHECKING:
    from tokenizers import Encoding

MOST_BYTES = 64_000_000  # of tokenizer.json
LONGEST = 1_000_000  # characters of a post-processor
BEGINS = re.compile(rb'"post_processor"\s*:\s*(?=[{n])')
PAIRED = frozenset({"BertProcessing", "RobertaProcessing"})  # these always separate two texts


def folder_takes_pairs(folder: Path, family: str, kind: ModelKind | None) -> bool:
    """Whether the tokenizer in a model folder separates two texts.

    Without a tokenizer.json, the family decides: those that fill masked tokens come with a tokenizer that does.

    Raises:
        ForeignFileError: the tokenizer's file cannot be read within bounds.
    """
    path = folder / TOKENIZER
    if path.is_file():
        return takes_pairs(_post_processor(read_bytes(path, MOST_BYTES)))
    source = family_source(family)
    return source is not None and source.masked and kind != "causal"


def separator_typed_in(encoding: Encoding) -> str | None:
    """Return the `typed_separator` of one text as its tokenizer encodes it."""
    return typed_separator(
        (number, token, bool(added))
        for number, token, added in zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, strict=True)
    )


def check_pairs(title: str, takes: bool) -> None:
    """Raise `NoPairsError` for a model that takes one text."""
    if not takes:
        raise NoPairsError(
            f"{title} takes one text at a time: its tokenizer has no separator for a second. Put both into one text, "
            "or choose a model that takes pairs, such as BERT."
        )


def takes_pairs(processor: object) -> bool:
    """Whether a post-processor, as a tokenizer.json describes it, puts a separator between two texts."""
    if not isinstance(processor, Mapping):
        return False
    if processor.get("type") in PAIRED:
        return True
    if processor.get("type") == "Sequence":
        steps = processor.get("processors")
        return isinstance(steps, Sequence) and any(map(takes_pairs, steps))
    single, pair = _pieces(processor.get("single")), _pieces(processor.get("pair"))
    if not {"A", "B"} <= set(pair):
        return False
    first, second = pair.index("A"), pair.index("B")
    begins = single[: single.index("A")] if "A" in single else []
    return any(piece.startswith("token ") and piece not in begins for piece in pair[first + 1 : second])


def _pieces(template: object) -> list[str]:
    """Return the parts of a template: "A" and "B" for the texts, "token NAME" for a special token."""
    parts = template if isinstance(template, list) else []
    found = [(name, value) for part in parts if isinstance(part, dict) for name, value in part.items()]
    return [
        str(value.get("id")) if name == "Sequence" else f"token {value.get('id')}"
        for name, value in found
        if isinstance(value, dict)
    ]


def _post_processor(content: bytes) -> Any:
    """Return the post-processor in a tokenizer.json, without parsing the vocabulary in it; None if there is none."""
    found = BEGINS.search(content)
    if found is None:
        return None
    start = content[found.end() : found.end() + LONGEST].decode("utf-8", "replace")
    try:
        return json.JSONDecoder().raw_decode(start)[0]
    except (ValueError, RecursionError):
        return None
