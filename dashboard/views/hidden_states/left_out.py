"""The tokens that the hidden states card does not show, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dash import html

from dashboard.analysis.outliers import OUTLIER
from dashboard.analysis.projection import Projection
from dashboard.contracts.selection import Selection
from dashboard.contracts.streams import Stream
from dashboard.figures.outlier_text import and_more, named, norms_text
from dashboard.views.token_spans import token_at


def left_out_caption(stream: Stream, projection: Projection, layers: bool) -> list[Any]:
    """ "Left out: When (0), ↵ (17): norms 106 × and 80 × the median."

    Args:
        layers: whether several layers were fitted together, so that each norm is the largest of any of them.
    """
    left, ratios = projection.left_out, projection.ratios
    large = [token for token in np.flatnonzero(ratios > OUTLIER).tolist() if token not in left]
    parts: list[Any] = []
    if left:
        by_norm = all(ratios[token] > OUTLIER for token in left)
        why = norms_text(left, ratios, layers) if by_norm else "as chosen"
        parts += ["Left out: ", *_names(stream, left, ratios), f": {why}."]
    else:
        parts.append("All tokens kept" + ("." if not large else "; "))
    if large:
        kept = f" may dominate: {norms_text(large, ratios, layers)}."
        parts += [*([" Kept: "] if left else []), *_names(stream, large, ratios), kept]
    if projection.not_finite:
        parts += [" Not shown, values not finite: ", *_names(stream, projection.not_finite, ratios), "."]
    return parts


def _names(stream: Stream, tokens: Sequence[int], ratios: np.ndarray) -> list[Any]:
    found: list[Any] = []
    for token in named(tokens, ratios):
        found += [", "] if found else []
        found += [token_at(stream, token), f"\u00a0({token})"]
    return [*found, and_more(tokens)]


def not_shown_note(stream: Stream, selection: Selection, projection: Projection, layers: bool) -> Any:
    """A note beside the points if the selected or the second token is not among them; otherwise nothing."""
    lines: list[Any] = []
    for name, token in (("selected", selection.token), ("second", selection.second)):
        if token is None or (name == "second" and token == selection.token):
            continue
        lead: list[Any] = [f"The {name} token, ", token_at(stream, token), f"\u00a0({token}), is not shown: "]
        if token in projection.not_finite:
            lines.append(html.P([*lead, "its values are not finite."], className="note"))
        elif token in projection.left_out:
            large = projection.ratios[token] > OUTLIER
            why = f"{norms_text([token], projection.ratios, layers)}. " if large else "you chose to leave it out. "
            lines.append(html.P([*lead, why, "You can keep it in Options."], className="note"))
    return lines
