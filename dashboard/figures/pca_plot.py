"""PCA of token representations as points, and one token's path through the layers, from plain Hugging Face outputs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.outliers import OUTLIER, largest_ratios, left_out
from dashboard.analysis.plain_outputs import as_array
from dashboard.analysis.projection import fit_layers, follow
from dashboard.errors import BadSelectionError, RunShapeError
from dashboard.figures.outlier_text import left_out_text, names_text, norms_text
from dashboard.figures.space import Space, space_figure
from dashboard.figures.text import escape
from dashboard.figures.theme import COLOURS, LIGHT, empty_figure, in_theme
from dashboard.figures.tokens import labels_of


def plot_hidden_pca(
    hidden_states: Any,
    token_idx: int | None = None,
    tokens: Sequence[Any] | None = None,
    *,
    other_idx: int | None = None,
    dimensions: int = 2,
) -> go.Figure:
    """Draw one token's path through the layers among the other tokens', from plain Hugging Face outputs.

    One PCA is fitted on all layers and tokens together, so that the layers share a basis. A token whose norm is more
    than 5 times the median in some layer is left out, and the title names it; a token you ask for is always kept.

    Args:
        hidden_states: the model's `hidden_states`: a sequence of (token, hidden) per layer, with or without a batch
            axis of 1; or one array (layer, token, hidden). One (token, hidden) layer draws points without a path.
        token_idx: the token whose path is drawn; None draws only the last layer's points.
        tokens: labels; by default, positions.
        other_idx: a second token, whose path is dashed.
        dimensions: 2, or 3 for a figure that can be rotated.

    Raises:
        RunShapeError: not hidden states, or dimensions other than 2 and 3. BadSelectionError: no such token.
    """
    layers = layers_of(hidden_states)
    count = layers[0].shape[0]
    labels: list[Any] = [str(i) for i in range(count)] if tokens is None else list(tokens)
    if len(labels) != count:
        raise RunShapeError(f"{len(labels)} tokens for hidden states of {count} positions. Give one for each.")
    if dimensions not in (2, 3):
        raise RunShapeError(f"A figure has 2 or 3 dimensions, not {dimensions}. Choose one of these.")
    token, other = _token(token_idx, count), _token(other_idx, count)
    ratios = largest_ratios(layers)
    left = tuple(outlier for outlier in left_out(ratios, "auto") if outlier not in (token, other))
    found = follow(layers, fit_layers(layers, left, dimensions), left, dimensions, ratios)
    if np.isnan(found.coordinates).all():
        words = "No hidden state is finite (NaN or ∞), so nothing is drawn. Half-precision weights probably overflowed."
        nothing = empty_figure(words).update_layout(width=720, height=160, paper_bgcolor=COLOURS.surface)
        return in_theme(nothing, LIGHT)
    space = Space(
        found.coordinates, found.explained, len(layers) - 1, token is not None and len(layers) > 1, dimensions
    )
    figure = space_figure(space, labels, (token, other))
    what = "hidden states" if token is None else f"token {token} through {len(layers)} layers of hidden states"
    lines = [f"PCA of {what}", *_outlier_lines(labels_of(labels), left, (token, other), ratios, len(layers) > 1)]
    lines += _not_finite_line(found.coordinates, left)
    text = "<br>".join(f"<sub>{escape(line)}</sub>" if index else line for index, line in enumerate(lines))
    figure.update_layout(
        title={"text": text, "font": {"size": 13}}, margin={"t": 28 + 16 * len(lines)}, width=720, height=540
    )
    return in_theme(figure.update_layout(paper_bgcolor=COLOURS.surface), LIGHT)


def _not_finite_line(coordinates: np.ndarray, left: tuple[int, ...]) -> list[str]:
    """Say how many states of (layer, token, component) are missing because they are not finite."""
    missing = np.isnan(coordinates[:, :, 0])
    missing[:, list(left)] = False
    return [f"{missing.sum()} of {missing.size} states are not finite (NaN, ∞) and not drawn"] if missing.any() else []


def _outlier_lines(
    labels: Sequence[str], left: tuple[int, ...], asked: tuple[int | None, int | None], ratios: np.ndarray, layers: bool
) -> list[str]:
    """Name the tokens that are left out, and those that are kept because the caller asked for them, as title lines."""
    kept = [token for token in dict.fromkeys(asked) if token is not None and ratios[token] > OUTLIER]
    words = [left_out_text(labels, left, ratios, layers)]
    if kept:
        words.append(f"Kept: {names_text(labels, kept, ratios)}: {norms_text(kept, ratios, layers)}; it may dominate")
    return [line for sentence in words for line in textwrap.wrap(sentence, 100)]


def _token(index: int | None, count: int) -> int | None:
    if index is not None and not -count <= index < count:
        raise BadSelectionError(f"There is no token {index} in these hidden states. Choose one of 0 to {count - 1}.")
    return None if index is None else index % count


def layers_of(hidden_states: Any, one_width: bool = True) -> list[np.ndarray]:
    """(token, hidden) of each layer of one text.

    Args:
        one_width: whether all layers must be equally wide (OPT's last may be narrower).

    Raises:
        RunShapeError: these are not the hidden states of one text.
    """
    whole = as_array(hidden_states) if hasattr(hidden_states, "shape") else None
    if whole is not None:
        while whole.ndim > 3 and 1 in whole.shape[:2]:
            whole = whole.squeeze(whole.shape.index(1))
        layers = [whole] if whole.ndim == 2 else list(whole) if whole.ndim == 3 else []
    else:
        layers = [as_array(layer) for layer in hidden_states]
        layers = [layer[0] if layer.ndim == 3 and layer.shape[0] == 1 else layer for layer in layers]
    axes = slice(0, 2 if one_width else 1)
    if not layers or any(layer.ndim != 2 or layer.shape[axes] != layers[0].shape[axes] for layer in layers):
        shapes = [layer.shape for layer in layers][:3]
        raise RunShapeError(f"Hidden states are {shapes}; give (token, hidden) per layer, one text at a time.")
    return layers
