"""Live token counts.

Bundled models' tokenizers count here, for texts of bounded length; all others in a process of their own
(`counting_process`), because a foreign pattern may take forever, use all memory, or crash its process. No torch.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.catalog.counting_process import Count, CountingProcess
from dashboard.catalog.fingerprint import TOKENIZER
from dashboard.catalog.ids_beyond import first_beyond
from dashboard.catalog.pairs import separator_typed_in
from dashboard.errors import is_panic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)
PATIENCE = 1.0  # seconds that a page waits for a count
LONGEST_HERE = 32_768  # characters; the slowest text of this length takes a bundled tokenizer half a second
OPEN_ENDED = ("rxnmapper",)  # its pattern looks for the end of each bracket: quadratic if there is none
# where one stretch of RXNMapper's text ends: white space as its engine defines it, and its special tokens
BREAK = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]|\[(?:PAD|UNK|CLS|SEP|MASK)\]")


class TokenCounter:
    """Counts tokens, special ones included. Thread-safe.

    Args:
        patience: seconds that one count in the other process may take.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._own: dict[tuple[str, int], Tokenizer] = {}
        self._lock = threading.Lock()
        self._process = CountingProcess()

    def count(self, folder: Path, text: str, text_pair: str | None, bundled: str = "") -> int | None:
        """Return how many tokens the tokenizer in `folder` makes of a text or a pair; None if that takes too long."""
        return self.counted(folder, text, text_pair, bundled).tokens

    def counted(
        self,
        folder: Path,
        text: str,
        text_pair: str | None,
        bundled: str = "",
        rows: int = 0,
        chat: bool = False,
    ) -> Count:
        """Like `count`, with the first token whose id is not below `rows`.

        Args:
            bundled: the model's name, if it is a bundled one. rows: how many embeddings the model has, 0 if that is
                unknown. chat: the text is a message in the chat template of `folder`.
        """
        path = folder / TOKENIZER
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            return Count()
        if bundled and not chat and len(text) + len(text_pair or "") <= LONGEST_HERE:
            return self._count_here(path, stamp, text, text_pair, bundled, rows)
        return self._process.counted(path, stamp, text, text_pair, self._patience, rows, chat)

    def _count_here(self, path: Path, stamp: int, text: str, text_pair: str | None, bundled: str, rows: int) -> Count:
        linear = bundled in OPEN_ENDED
        one = closed(text) if linear else text
        two = closed(text_pair) if linear and text_pair is not None else text_pair
        try:
            tokenizer = self._tokenizer(path, stamp)
            # encoding a batch, because that lets other threads run meanwhile
            encoding = tokenizer.encode_batch([one if two is None else (one, two)])[0]
            separator = separator_typed_in(encoding) if text_pair is None else None
            return Count(len(encoding), first_beyond(encoding, (text, text_pair), rows), separator)
        except (
            BaseException
        ) as error:  # tokenizers raises nothing narrower than Exception, and its panics are not even Exceptions
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            log.exception("%s cannot count", path)
            return Count()

    def _tokenizer(self, path: Path, stamp: int) -> Tokenizer:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one text needs no threads
        from tokenizers import Tokenizer

        with self._lock:
            found = self._own.get((str(path), stamp))
            if found is None:
                found = Tokenizer.from_file(str(path))
                found.no_truncation()
                found.no_padding()
                self._own = {key: value for key, value in self._own.items() if key[0] != str(path)}
                self._own[str(path), stamp] = found
            return found


def closed(text: str) -> str:
    r"""Return a text with as many tokens for RXNMapper as `text`, and none of its slow brackets.

    Its pattern `\[[^\]]+]` tries every `[` up to the end of its stretch of text. A `[` that no `]` follows matches
    nothing and is one token, as a full stop is; so this replaces it with a full stop.
    """
    parts, at = [], 0
    for found in BREAK.finditer(text):
        parts += [_closed(text[at : found.start()]), found[0]]
        at = found.end()
    return "".join([*parts, _closed(text[at:])])


def _closed(stretch: str) -> str:
    end = stretch.rfind("]") + 1
    return stretch[:end] + stretch[end:].replace("[", ".")
