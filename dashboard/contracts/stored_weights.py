"""How long a text may be if its attention weights are stored, because they cannot be made again from query and key.

They grow with the square of the text's length: layers × heads × tokens² × 4 bytes.
"""

from __future__ import annotations

import math

from dashboard.errors import TextTooLongError

WEIGHTS_MEGABYTES = 150.0  # stored weights of one run, unless a setting says otherwise
BYTES = 4  # bytes of one weight: float32


def fitting_tokens(layers: int, heads: int, megabytes: float) -> int:
    """Return the most tokens of a text whose weights take at most `megabytes` (of 10⁶ bytes)."""
    return math.isqrt(int(megabytes * 1e6) // (BYTES * layers * heads))


def check_weights(tokens: int, title: str, layers: int, heads: int, megabytes: float) -> None:
    """Raise `TextTooLongError` for a text whose weights would take more; the message says why and how many tokens fit.

    Args:
        tokens: how many tokens the text has. title: the model's name for a person. megabytes: the most they may take.
    """
    fits = fitting_tokens(layers, heads, megabytes)
    if tokens > fits:
        takes = BYTES * layers * heads * tokens**2 / 1e6
        raise TextTooLongError(
            f"{tokens:,} tokens; at most {fits:,} fit. {why_stored(title, megabytes)} "
            f"This text would take {takes:,.0f} MB. Shorten it."
        )


def why_stored(title: str, megabytes: float) -> str:
    """Say in a sentence why a text of this model is limited."""
    return (
        f"{title} has its own attention code, so a run stores all of its weights: at most {megabytes:,.0f} MB "
        "(DASHBOARD_WEIGHTS_MEGABYTES)."
    )
