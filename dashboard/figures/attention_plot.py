"""One head's attention, or that of several heads as one, as a heatmap from plain Hugging Face outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.aggregates import SHARE, rolled_out
from dashboard.contracts.streams import check
from dashboard.errors import BadRequestError, RunShapeError
from dashboard.figures.attention import attention_map, attention_picture, check_matrix, shades
from dashboard.figures.plain_outputs import as_array
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

    Args:
        attentions: per layer (head, query, key), as `outputs.attentions` gives them; leading axes of length 1 are
            dropped.
        tokens: as in `plot_attention_heatmap`.
        of: "rollout" (Abnar & Zuidema 2020) from layer 0 through `layer`; "mean" or "max" of the heads of `layer`, or
            of all layers if that is None.
        layer: from 0; None is the last layer for a rollout. attention_share: of a rollout, 0 … 1; the rest is the
            residual stream, half in the paper.

    Raises:
        RunShapeError: not one matrix per head and layer, or the number of tokens does not match.
        BadSelectionError: there is no such layer. BadRequestError: there is no such aggregate.
    """
    if of not in ("rollout", "mean", "max"):
        raise BadRequestError(f"There is no aggregate “{str(of)[:40]}”. Choose rollout, mean or max.")
    layers = [_heads(one) for one in attentions]
    if not layers:
        raise RunShapeError("There is no layer's attention. Pass outputs.attentions of a model called with it.")
    check("layer", layer, len(layers))
    last = len(layers) - 1 if layer is None else layer
    if of == "rollout":
        weights = rolled_out((heads.mean(axis=0) for heads in layers[: last + 1]), attention_share)
        words = f"Attention rollout, layers 0 to {last}: {attention_share:.0%} attention, the rest the residual stream"
    else:
        heads = np.concatenate(layers if layer is None else [layers[layer]])
        weights = heads.mean(axis=0) if of == "mean" else heads.max(axis=0)
        how, where = "Mean" if of == "mean" else "Largest", "all layers" if layer is None else f"layer {layer}"
        words = f"{how} weight of {len(heads)} heads, {where}"
    figure = plot_attention_heatmap(weights, tokens)
    figure.update_layout(title={"text": words + _not_finite_line(weights)})
    return figure


def _heads(layer: Any) -> np.ndarray:
    """(head, query, key) float64 of one layer."""
    weights = as_array(layer).astype(np.float64)
    while weights.ndim > 3 and weights.shape[0] == 1:
        weights = weights[0]
    if weights.ndim != 3:
        raise RunShapeError(f"A layer's attention has shape {weights.shape}; pass (head, query, key) of one text.")
    return weights


def _not_finite_line(weights: np.ndarray) -> str:
    bad = int((~np.isfinite(weights)).any(axis=1).sum())
    return f"<br><sub>Empty where weights are not finite (NaN, ∞): {bad} of {len(weights)} rows</sub>" if bad else ""
