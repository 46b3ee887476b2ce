"""Tokenizers are foreign native code: where it panics, that is an error with a sentence, not the end of the process. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dashboard.errors import UnsupportedModelError, is_panic


@contextmanager
def tokenizing(title: str = "this model") -> Iterator[None]:
    """Around every call of a tokenizer: a panic of its native code (a pattern that runs into its engine's limit, say) is
    raised as `UnsupportedModelError`.
    """
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise UnsupportedModelError(
            f"The tokenizer of {title} gave up on this text ({' '.join(str(error).split())[:120]}). "
            "Try another text, or choose another model."
        ) from error
