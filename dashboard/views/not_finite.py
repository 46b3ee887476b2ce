"""A card's message when the values it would show are not finite."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboard.contracts.run import ModelRun


def not_finite_message(run: ModelRun, otherwise: str) -> list[Any]:
    """Say where the values stop being finite, and what can still be seen; the page's notice says the rest, once.

    Args:
        otherwise: the headline to use if the run as a whole has no message.
    """
    broken = run.not_finite
    if broken is None:
        return [html.B(otherwise), html.P("Select another token or layer, or run another text.")]
    last = broken.layer - 1
    rest = {
        "embeddings": "Use other files of this model.",
        "layer": "The embeddings can still be seen." if last < 0 else f"Layers up to {last} can still be seen.",
        "norm": "Attention and hidden states before the final norm can still be seen.",
        "predictions": "Attention and hidden states can still be seen.",
        "classes": "Attention and hidden states can still be seen.",
    }[broken.part]
    return [html.B(f"The values are not finite {broken.begins}."), html.P(rest)]
