"""The process that counts tokens with foreign tokenizers and renders foreign chat templates: one JSON line in, one JSON
line out. No torch.

It takes little memory, opens nothing but the requested tokenizer, and ends when its input ends. If a count takes too
long, the parent ends the process (`counting_process`); if the parent is gone too, the limit on processor time ends it.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from dashboard.catalog import chat_rendering
from dashboard.catalog.chat_templates import special_tokens_in, template_in
from dashboard.catalog.foreign_files import read_bytes
from dashboard.catalog.ids_beyond import LONGEST, first_beyond
from dashboard.catalog.pairs import separator_typed_in
from dashboard.contracts.request import LONGEST_TEXT
from dashboard.errors import is_panic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# bytes of address space; a tokenizer of 250,000 pieces needs a third of that while loading
MOST_MEMORY = 1_500_000_000
MOST_BYTES = 64_000_000  # of tokenizer.json
MOST_SECONDS = 20  # of processor time, for one count
KEPT = 4  # tokenizers


def limit() -> None:
    """Limit this process: its memory, files it may write (none), and core dumps (none)."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time() -> None:
    """Limit the processor time from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + MOST_SECONDS, resource.RLIM_INFINITY))


def main() -> None:
    """Answer requests until the input ends."""
    limit()
    kept: LRUCache[tuple[str, int], Tokenizer] = LRUCache(KEPT)
    for line in sys.stdin.buffer:
        limit_time()
        sys.stdout.write(json.dumps(answer(json.loads(line), kept)) + "\n")
        sys.stdout.flush()


def answer(asked: dict[str, Any], kept: LRUCache[tuple[str, int], Tokenizer]) -> dict[str, Any]:
    """Return {"tokens": how many} or {"error": what kind}; for {"render": …}, what `chat_rendering.answer` returns.

    If an id is not below `rows`, the result also has "beyond": [position, id, text, given]; if one text has a typed
    separator, "separator": the token; if a chat message could not be rendered, "typed": True.
    """
    if "render" in asked:
        return chat_rendering.answer(asked["render"])
    try:
        key = (asked["path"], asked["stamp"])
        if key not in kept:
            kept[key] = _read(Path(asked["path"]))
        chat = bool(asked.get("chat"))
        message = _rendered(Path(asked["path"]).parent, asked["text"]) if chat else None
        text = asked["text"] if message is None else message
        encoding = kept[key].encode(text, asked["pair"], add_special_tokens=not chat)
        beyond = first_beyond(encoding, (text, asked["pair"]), asked.get("rows", 0))
        separator = separator_typed_in(encoding) if asked["pair"] is None and not chat else None
        more: dict[str, Any] = {"beyond": None if beyond is None else astuple(beyond)}
        more |= {"separator": separator and separator[:LONGEST], "typed": True if chat and message is None else None}
        return {"tokens": len(encoding), **{name: value for name, value in more.items() if value is not None}}
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        return {"error": type(error).__name__}


def _rendered(folder: Path, text: str) -> str | None:
    """Return a chat message as a run would render it; None if that fails, or if only the loaded tokenizer knows all
    special tokens that the template writes.
    """
    try:
        template, tokens = template_in(folder), special_tokens_in(folder)
        if template is None or chat_rendering.tokens_lacking(template, tokens):
            return None
        found = chat_rendering.rendered(template, text, tokens)
        return found if len(found) <= LONGEST_TEXT else None
    except BaseException as error:  # a template may raise anything
        if not isinstance(error, Exception):
            raise
        return None


def _read(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_buffer(read_bytes(path, MOST_BYTES))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


if __name__ == "__main__":
    main()
