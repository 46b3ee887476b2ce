"""Tokenizers are foreign native code: a panic in one becomes an error with a message, not the end of the process.

No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dashboard.errors import BadTextError, UnsupportedModelError, is_panic


@contextmanager
def tokenizing() -> Iterator[None]:
    """Wrap every call of a tokenizer with a text: a panic of its native code (say, a pattern that hits its engine's
    limit) is raised as `BadTextError`, because the next text may work.
    """
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise BadTextError(
            f"The model's tokenizer gave up on this text ({_words(error)}). Try another text, or choose another model."
        ) from error


@contextmanager
def loading_tokenizer(title: str) -> Iterator[None]:
    """Wrap the loading of a tokenizer; a panic is raised as `UnsupportedModelError`."""
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise UnsupportedModelError(
            f"{title} has no tokenizer that can be loaded here ({_words(error)}). "
            "Save its tokenizer again, or choose another model."
        ) from error


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
