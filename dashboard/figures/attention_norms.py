"""Attention weighted by the norm of what it transports, as a heatmap: queries as rows, keys as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.plain_outputs import as_array
from dashboard.contracts.token import Token
from dashboard.errors import BadSelectionError, RunShapeError
from dashboard.figures.attention import (
    LARGEST_CELLS,
    LARGEST_HEATMAP,
    LEGEND_WEIGHTS,
    attention_cells,
    attention_map,
    attention_picture,
    name_selected,
    shade_legend,
    shades,
)
from dashboard.figures.spec import Spec, typed
from dashboard.figures.theme import COLOURS, LIGHT, in_theme

LARGEST = 512  # cells one way that the page's figure has; above, one covers several tokens and shows the largest
Tokens = Sequence[Token | str]


def page_norms(values: np.ndarray, allowed: np.ndarray, queries: Tokens, keys: Tokens, name: str, most: float) -> Spec:
    """The page's heatmap, for which assets/overlays/matrix.js draws labels, frames and hover.

    Args:
        values: (query, key) 0 … `most`; NaN where a value is not finite. allowed: (query, key) bool.
        queries, keys: a label per row, and per column. name: of the values, "norm" or "weight".
        most: where the colour scale ends; colour follows the square root.
    """
    shade = shades(values / most, allowed)
    spec = attention_cells(shade, queries, keys, largest=max(shade.shape))
    block = -(-max(shade.shape) // LARGEST)
    [cells] = spec["data"]
    if block > 1:
        step = {"x0": (block - 1) / 2, "dx": block, "y0": (block - 1) / 2, "dy": block}
        cells = {**cells, **step, "z": typed(_pooled(shade, block))}
    layout = spec["layout"]
    layout["margin"] = {**layout["margin"], "r": 76}
    layout["meta"] = {**layout["meta"], "block": block, "what": name}
    if max(shade.shape) <= LARGEST_CELLS:
        layout["meta"]["exact"] = typed(np.where(allowed, values, 0).astype(np.float32).ravel())["bdata"]
    return {**spec, "data": [cells, legend(name, most)]}


def framed_norms(
    values: np.ndarray,
    allowed: np.ndarray,
    queries: Tokens,
    keys: Tokens,
    name: str,
    most: float,
    selected: tuple[int | None, int | None] = (None, None),
) -> go.Figure:
    """The same heatmap as a standalone figure, with labels and frames; exact values on hover up to 256 tokens."""
    if max(values.shape) <= LARGEST_HEATMAP:
        figure = attention_map(values / most, queries, keys, allowed, selected)
        cells = figure.data[0]
        told = np.array(cells.customdata, dtype=object)
        told[..., 2] = np.where(np.isfinite(values), np.char.mod("%.6g", values), "not finite")
        hover = f"%{{customdata[1]}} (%{{y}}), %{{customdata[0]}} (%{{x}})<br>{name} <b>%{{customdata[2]}}</b>"
        cells.update(customdata=told, hovertemplate=f"{hover}<extra></extra>")
    else:
        figure = attention_picture(shades(values / most, allowed), queries, keys, selected)
    name_selected(figure, queries, keys, selected)
    figure.add_trace(legend(name, most))
    margin = figure.layout.margin
    rows, columns = (min(640, max(260, 34 * count)) for count in values.shape)
    return figure.update_layout(
        margin={"r": 84}, width=margin.l + columns + 84, height=margin.t + rows + (margin.b or 0)
    )


def plot_attention_norms(
    attentions: Any,
    values: Any,
    projection: Any,
    tokens: Sequence[str],
    head: int | None = None,
    *,
    residual: Any = None,
    layer_norm: tuple[Any, float] | None = None,
    bias: Any = None,
) -> go.Figure:
    """Draw ‖α f(x)‖, how long what each token takes from each other is, from plain Hugging Face tensors.

    f(x) = (x W_V + b_V) W_O (Kobayashi et al. 2020, equation 3), without the output projection's bias. With `residual`,
    a token's own vector has the residual connection, too; with `layer_norm`, every vector goes through the linear part
    of the LayerNorm that reads their sum: less its mean, divided by the sum's standard deviation, times γ (Kobayashi et
    al. 2021). β is in no vector.

    Args:
        attentions: one layer's (head, query, key) weights, with or without a batch axis of 1; tensors or arrays.
        values: the layer's (key_head, key, d_value) values x W_V + b_V; heads may share them (`num_key_value_heads`).
        projection: (hidden, head · d_value), the output projection's weight as `nn.Linear` has it; transpose that of
            a `Conv1D` (GPT-2).
        tokens: one text per token.
        head: which head; None for the sum of all heads of the layer, ‖Σ_h α_h f_h(x)‖.
        residual: (token, hidden), with or without a batch axis of 1, what the layer's attention is added to; None to
            leave it out. It needs all heads.
        layer_norm: (γ, ε), the `weight` (hidden,) and `eps` of the LayerNorm after that sum; None to leave it out.
        bias: (hidden,) the output projection's bias, which counts in the sum's standard deviation only.

    Raises:
        RunShapeError: the arrays do not fit one another, or one that they need is not given.
        BadSelectionError: there is no such head, or one is given with a residual connection.
    """
    weights, value, matrix = (as_array(one).astype(np.float64) for one in (attentions, values, projection))
    weights, value = (one[0] if one.ndim == 4 and one.shape[0] == 1 else one for one in (weights, value))
    _check_parts(weights, value, matrix, tokens)
    heads = len(weights)
    if head is not None and not 0 <= head < heads:
        raise BadSelectionError(f"There is no head {head}. Choose one of 0 to {heads - 1}.")
    if layer_norm is not None and residual is None:
        raise RunShapeError("A LayerNorm reads the sum with the residual connection. Give residual, too.")
    if residual is not None and head is not None:
        raise BadSelectionError("The residual connection is added to all heads together. Leave out head or residual.")
    shared = value.repeat(heads // len(value), axis=0)
    by_head = matrix.T.reshape(heads, value.shape[2], -1)
    if head is None:
        passed = np.einsum("hkd,hdo->kho", shared, by_head)
        block = _Block.of(residual, layer_norm, bias, passed.shape[::2])
        found = _block_norms(weights.transpose(2, 1, 0), passed, block)
    else:
        found = weights[head] * np.linalg.norm(shared[head] @ by_head[head], axis=1)
    above = np.nan_to_num(np.triu(weights, 1), nan=0.0)
    causal = len(tokens) > 1 and not above.any()
    allowed = np.tril(np.ones(found.shape, dtype=bool)) if causal else np.ones(found.shape, dtype=bool)
    figure = framed_norms(found, allowed, list(tokens), list(tokens), "norm", largest(found, allowed))
    where = "all heads of the layer together" if head is None else f"head {head}"
    added = ["" if residual is None else ", with residual", "" if layer_norm is None else " and LayerNorm"]
    title = {"text": f"‖α f(x)‖ from rows (queries) to columns (keys), {where}{''.join(added)}; colour shows its root"}
    figure.update_layout(
        title={**title, "font": {"size": 13}},
        margin={"t": figure.layout.margin.t + 30},
        height=figure.layout.height + 30,
        paper_bgcolor=COLOURS.surface,
    )
    return in_theme(figure, LIGHT)


@dataclass(frozen=True)
class _Block:
    """What follows attention: (token, hidden) `residual`, the LayerNorm's (hidden,) `gain` and `epsilon`, and the
    (hidden,) `bias` of the output projection."""

    residual: np.ndarray | None
    gain: np.ndarray | None
    epsilon: float
    bias: np.ndarray

    @classmethod
    def of(cls, residual: Any, layer_norm: tuple[Any, float] | None, bias: Any, shape: tuple[int, ...]) -> _Block:
        """Read what is given; raise `RunShapeError` unless it fits (token, hidden)."""
        gain, epsilon = (None, 0.0) if layer_norm is None else layer_norm
        states, gains, added = (None if one is None else as_array(one).astype(float) for one in (residual, gain, bias))
        if states is not None:
            states = states[0] if states.ndim == 3 and len(states) == 1 else states
        for name, one, wanted in (("residual", states, shape), ("γ", gains, shape[1:]), ("bias", added, shape[1:])):
            if one is not None and one.shape != wanted:
                raise RunShapeError(f"The {name} is {one.shape}. Give {wanted}, as the output projection writes.")
        return cls(states, gains, float(epsilon), np.zeros(shape[1:]) if added is None else added)


def _block_norms(rows: np.ndarray, passed: np.ndarray, block: _Block) -> np.ndarray:
    """(query, key) norms, from (key, query, head) weights and (key, head, hidden) vectors: never N² × hidden."""
    own = np.einsum("tth,tho->to", rows, passed)
    deviation = np.ones(len(own))
    if block.residual is not None:
        own = own + block.residual
    if block.residual is not None and block.gain is not None:
        total = np.tensordot(rows, passed, axes=([0, 2], [0, 1])) + block.residual + block.bias
        deviation = np.sqrt(total.var(axis=1) + block.epsilon)
        own, passed = (block.gain * (one - one.mean(axis=-1, keepdims=True)) for one in (own, passed))
    gram = passed @ passed.transpose(0, 2, 1)
    found: np.ndarray = np.sqrt(np.maximum(((rows @ gram) * rows).sum(axis=2).T, 0))
    if block.residual is not None:
        np.fill_diagonal(found, np.linalg.norm(own, axis=1))
    return found / deviation[:, None]


def _check_parts(weights: np.ndarray, value: np.ndarray, matrix: np.ndarray, tokens: Sequence[str]) -> None:
    count = len(tokens)
    if weights.ndim != 3 or weights.shape[1:] != (count, count) or not count:
        raise RunShapeError(f"The attention is {weights.shape}. Give (head, query, key) for {count} tokens.")
    if value.ndim != 3 or value.shape[1] != count or len(weights) % len(value):
        raise RunShapeError(f"The values are {value.shape}. Give (key_head, key, d_value) for {count} tokens.")
    if matrix.ndim != 2 or matrix.shape[1] != len(weights) * value.shape[2]:
        width = len(weights) * value.shape[2]
        raise RunShapeError(f"The projection is {matrix.shape}. Give (hidden, {width}), as nn.Linear has it.")


def largest(values: np.ndarray, allowed: np.ndarray | None = None) -> float:
    """Where the colour scale of these values ends: the largest finite one, or 1 if there is none above 0."""
    there = np.isfinite(values) if allowed is None else np.isfinite(values) & allowed
    found = float(values[there].max()) if there.any() else 0.0
    return found or 1.0


def legend(name: str, most: float) -> dict[str, Any]:
    """The colour legend, in real values."""
    bar = {
        "title": {"text": name, "font": {"size": 11}},
        **{"thickness": 12, "len": 180, "lenmode": "pixels", "y": 1, "yanchor": "top", "outlinewidth": 0, "ticks": ""},
        "tickvals": [1 + 254 * weight**0.5 for weight in LEGEND_WEIGHTS],
        "ticktext": [_tick(most * weight) for weight in LEGEND_WEIGHTS],
    }
    return shade_legend(bar)


def _tick(value: float) -> str:
    """ "0.38", "60", "1,410"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _pooled(shade: np.ndarray, block: int) -> np.ndarray:
    """The largest shade of each `block` × `block` cells; the last ones may cover fewer."""
    found = shade
    for side, count in enumerate(shade.shape):
        found = np.maximum.reduceat(found, range(0, count, block), axis=side)
    return found
