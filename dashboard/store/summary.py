"""One line of a list of saved runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dashboard.contracts.precision import mark_of

PREVIEW = 120  # characters of the text


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of saved runs; times are seconds since 1970.

    `title` is the model's, with the numbers of a run in others than float32. `text`, and `pair`, the second of a pair
    ("" if there is none), have their white space collapsed; a `chat` message is as it was typed.
    """

    key: str
    model: str
    title: str
    text: str
    tokens: int
    bytes: int
    created: float
    used: float
    pair: str = ""
    chat: bool = False

    @classmethod
    def of(cls, key: str, header: Mapping[str, Any], status: os.stat_result) -> RunSummary:
        """Summarise a run's header and file; a header that is not one raises KeyError, TypeError or ValueError."""
        model, request = header["model"], header["request"]
        text, pair = (" ".join(str(one or "").split()) for one in (request["text"], request.get("text_pair")))
        return cls(
            key=key,
            model=model["name"],
            title=", ".join(part for part in (model["title"], mark_of(header)) if part),
            text=text,
            tokens=len(next(iter(header["tokens"].values()))),
            bytes=status.st_size,
            created=_seconds(header.get("created"), status.st_mtime),
            used=status.st_mtime,
            pair=pair,
            chat=bool(request.get("chat")),
        )

    @property
    def preview(self) -> str:
        """The start of the text."""
        return self.text[:PREVIEW]


def _seconds(created: object, otherwise: float) -> float:
    """Return an ISO date as seconds since 1970."""
    try:
        return datetime.fromisoformat(str(created)).timestamp()
    except ValueError:
        return otherwise
