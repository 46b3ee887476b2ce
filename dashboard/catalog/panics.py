"""Tokenizers are foreign native code: where it panics, that is an error with a sentence, not the end of the process. No
torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dashboard.errors import BadTextError, UnsupportedModelError, is_panic


@contextmanager
def tokenizing() -> Iterator[None]:
    """Around every call of a tokenizer with a text: a panic of its native code (a pattern that runs into its engine's
    limit, say) is raised as `BadTextError`: the next text may do.
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
    """Around the loading of a tokenizer; a panic is raised as `UnsupportedModelError`."""
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
