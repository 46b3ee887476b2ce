"""One head's attention, or that of several heads as one, as a heatmap from plain Hugging Face outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.aggregates import SHARE, aggregate_attention
from dashboard.analysis.plain_outputs import as_array, of_layers
from dashboard.errors import RunShapeError
from dashboard.figures.attention import attention_map, attention_picture, check_matrix, shades
from dashboard.figures.theme import COLOURS, LIGHT, in_theme

PLOT_PIXELS = 480  # between the margins of a notebook's heatmap


def plot_attention_heatmap(
    attention_weights: Any, tokens: Sequence[Any], key_tokens: Sequence[Any] | None = None
) -> go.Figure:
    """Draw one head's attention as a heatmap, from plain Hugging Face outputs.

    Args:
        attention_weights: (query, key), as `attentions[layer][batch, head]` or `attentions[layer][head]`; a tensor or
            array; leading axes of length 1 are dropped. Weights that are not finite stay empty, and the title says so.
            Above 480 tokens the figure is an image in which each pixel shows the largest of the weights that it covers.
        tokens: one label per query, as `tokenizer.convert_ids_to_tokens` gives them, or `run.tokens`.
        key_tokens: one label per key, if these differ: `cross_attentions` of an encoder–decoder model.

    Raises:
        RunShapeError: not one head's matrix, or the number of tokens does not match its rows and columns.
    """
    weights = as_array(attention_weights)
    while weights.ndim > 2 and weights.shape[0] == 1:
        weights = weights[0]
    if weights.ndim != 2:
        raise RunShapeError(
            f"The attention weights have shape {weights.shape}; pass one head's (query, key) matrix, such as "
            "attentions[layer][0, head]."
        )
    allowed, queries = None, list(tokens)
    keys = queries if key_tokens is None else list(key_tokens)
    above = np.nan_to_num(np.triu(weights, 1), nan=0.0)
    if key_tokens is None and weights.shape[0] > 1 and not above.any() and np.isfinite(weights).any():
        allowed = np.tril(np.ones(weights.shape, dtype=bool))
    if max(weights.shape) <= PLOT_PIXELS:
        figure = attention_map(weights, queries, keys, allowed)
    else:
        check_matrix(weights, queries, keys)
        figure = attention_picture(shades(weights, allowed), queries, keys, pixels=PLOT_PIXELS)
    words = "Attention from rows (queries) to columns (keys); colour shows √weight" + _not_finite_line(weights)
    title = {"text": words, "font": {"size": 13}, "y": 1, "yanchor": "top", "yref": "container", "pad": {"t": 12}}
    top = figure.layout.margin.t + 42  # the title, the axis name, the labels
    figure.update_layout(title=title, width=640, height=668, margin={"t": top}, paper_bgcolor=COLOURS.surface)
    return in_theme(figure, LIGHT)


def plot_attention_aggregate(
    attentions: Any,
    tokens: Sequence[Any],
    of: str = "rollout",
    layer: int | None = None,
    attention_share: float = SHARE,
) -> go.Figure:
    """Draw the attention of several heads as one heatmap, from plain Hugging Face outputs.

    `aggregate_attention` returns the same matrix as an array.

    Args:
        attentions, of, layer, attention_share: as in `aggregate_attention`.
        tokens: as in `plot_attention_heatmap`.

    Raises:
        RunShapeError: not one matrix per head and layer, or the number of tokens does not match.
        BadSelectionError: there is no such layer. BadRequestError: there is no such aggregate or share.
    """
    layers = list(of_layers(attentions))
    weights = aggregate_attention(layers, of, layer, attention_share)
    if of == "rollout":
        last = len(layers) - 1 if layer is None else layer
        words = f"Attention rollout, layers 0 to {last}: {attention_share:.0%} attention, the rest the residual stream"
    else:
        heads = len(layers[0]) * (len(layers) if layer is None else 1)
        how, where = "Mean" if of == "mean" else "Largest", "all layers" if layer is None else f"layer {layer}"
        words = f"{how} weight of {heads} heads, {where}"
    figure = plot_attention_heatmap(weights, tokens)
    figure.update_layout(title={"text": words + _not_finite_line(weights)})
    return figure


def _not_finite_line(weights: np.ndarray) -> str:
    bad = int((~np.isfinite(weights)).any(axis=1).sum())
    return f"<br><sub>Empty where weights are not finite (NaN, ∞): {bad} of {len(weights)} rows</sub>" if bad else ""
