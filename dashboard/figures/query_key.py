"""The dimensions of q·k as bars, and their running sum below: on the page, and as a standalone figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.plain_outputs import as_array
from dashboard.analysis.query_key import Group, Order, ScoreTerms, groups_of, running_sums
from dashboard.errors import BadRequestError, RunShapeError
from dashboard.figures.attention import label_step
from dashboard.figures.spec import Spec, typed
from dashboard.figures.text import minus
from dashboard.figures.theme import COLOURS, LIGHT, axis, base_layout, in_theme

WIDE = 520  # approximate width of the bars on the page, in pixels
APART = 34  # pixels from one label to the next
AXES = {"size": "dimension, largest product first", "dimension": "dimension", "frequency": "wavelength in tokens"}


def product_bars(terms: ScoreTerms, groups: Sequence[Group], order: Order = "size") -> Spec:
    """One bar per dimension (or rotary pair), and below it the sum so far, as plain data."""
    places, sums = list(range(len(groups))), running_sums(groups)
    bars = {
        "type": "bar",
        "x": places,
        "y": typed(np.array([group.product for group in groups])),
        "width": 0.8,
        "marker": {"color": COLOURS.mark, "line": {"width": 0}},
        "hovertext": [_hover(terms, group, float(total)) for group, total in zip(groups, sums, strict=True)],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }
    line = {
        "type": "scatter",
        "mode": "lines" if len(groups) > 1 else "markers",
        "x": places,
        "y": typed(sums),
        "yaxis": "y2",
        "line": {"color": COLOURS.ink, "width": 1.5},
        "marker": {"color": COLOURS.ink, "size": 5},
        "hovertext": [f"Sum of the first {place + 1}: {number(float(total))}" for place, total in enumerate(sums)],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }
    x = axis(range=[-0.6, len(groups) - 0.4], anchor="y2", title=_title(AXES[order], 6), **_ticks(groups, order))
    y = axis(domain=[0.4, 1], showgrid=True, nticks=5, title=_title("product", 4))
    y2 = axis(domain=[0, 0.3], anchor="x", showgrid=True, nticks=3, rangemode="tozero", title=_title("sum", 4))
    margin = {"l": 58, "r": 16, "t": 10, "b": 46}
    return {
        "data": [bars, line],
        "layout": {**base_layout(), "xaxis": x, "yaxis": y, "yaxis2": y2, "margin": margin},
    }


def framed_bars(terms: ScoreTerms, groups: Sequence[Group], order: Order = "size") -> go.Figure:
    """The bars of `product_bars` as a standalone figure."""
    return go.Figure(product_bars(terms, groups, order)).update_layout(width=720, height=460)


def plot_query_key(
    query: Any,
    key: Any,
    scaling: float | None = None,
    *,
    bias: float | None = None,
    softcap: float | None = None,
    order: Order = "size",
    inv_freq: Any = None,
    interleaved: bool = False,
) -> go.Figure:
    """Draw how the attention score of one query and one key adds up over the dimensions of q·k.

    The score is softcap · tanh((scaling · q·k + bias) / softcap), as in Vaswani et al. 2017, equation 1, and Gemma 2.

    Args:
        query, key: (d_head,) vectors of one head, as the score is made of them, so after any rotary embedding; tensors
            or arrays. Products are computed in float64.
        scaling: factor on q·k; d_head^−½ by default. bias: what is added to the scaled product (ALiBi, T5), or None.
        softcap: as in Gemma 2, or None.
        order: "size" (largest absolute product first), "dimension", or "frequency" (rotary pairs, fastest first).
        inv_freq: (pair,) radians per token, a model's `rotary_emb.inv_freq`; needed for "frequency".
        interleaved: whether a pair is (2i, 2i + 1), as in Cohere, and not (i, i + pairs), as in Llama.

    Raises:
        RunShapeError: query and key are not two vectors of one length, or there are too many frequencies.
        BadRequestError: there is no such order, or “frequency” without `inv_freq`.
    """
    one, other = (as_array(values).astype(np.float64) for values in (query, key))
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise RunShapeError(f"The query is {one.shape} and the key {other.shape}. Give two (d_head,) vectors.")
    if order not in get_args(Order):
        raise BadRequestError(f"There is no order {order!r}. Choose one of these: {', '.join(get_args(Order))}.")
    if order == "frequency" and inv_freq is None:
        raise BadRequestError("The order “frequency” needs inv_freq, the model's rotary_emb.inv_freq. Give that, too.")
    pairs = None if inv_freq is None else _pairs(as_array(inv_freq), len(one), interleaved)
    factor = len(one) ** -0.5 if scaling is None else float(scaling)
    terms = ScoreTerms(one, other, factor, None if bias is None else float(bias), softcap)
    figure = framed_bars(terms, groups_of(terms.products, order, pairs), order)
    words = f"q·k = {number(terms.dot)}; the score is {number(terms.score)}"
    figure.update_layout(title={"text": words, "font": {"size": 13}}, margin={"t": 46}, paper_bgcolor=COLOURS.surface)
    return in_theme(figure, LIGHT)


def _pairs(inv_freq: np.ndarray, width: int, interleaved: bool) -> np.ndarray:
    """(pair, 3): first and second dimension, radians per token."""
    count = len(inv_freq) if inv_freq.ndim == 1 else 0
    if not 0 < 2 * count <= width:
        raise RunShapeError(f"inv_freq is {inv_freq.shape}. Give (pair,), at most {width // 2} for {width} dimensions.")
    first = np.arange(count) * (2 if interleaved else 1)
    return np.stack([first, first + (1 if interleaved else count), inv_freq], axis=1)


def number(value: float) -> str:
    """A term of a score, with four digits: "45.16", "−0.002031", "−∞"."""
    return minus(f"{value:.4g}").replace("inf", "∞") if not math.isnan(value) else "–"


def wavelength_text(tokens: float | None) -> str:
    """ "6.3", "84", "1.2k", "438k"; "none" for a dimension that is not turned."""
    if tokens is None:
        return "none"
    if tokens < 10:
        return f"{tokens:.1f}"
    if tokens < 1000:
        return f"{tokens:.0f}"
    if tokens < 10_000:
        return f"{tokens / 1000:.1f}k"
    return f"{tokens / 1000:.0f}k" if tokens < 1e6 else f"{tokens / 1e6:.3g}M" if math.isfinite(tokens) else "∞"


def _hover(terms: ScoreTerms, group: Group, total: float) -> str:
    products = [
        f"{number(float(terms.query[index]))} × {number(float(terms.key[index]))}" for index in group.dimensions
    ]
    noun = "Dimension" if len(group.dimensions) == 1 else "Dimensions"
    wave = "" if group.wavelength is None else f"<br>wavelength {group.wavelength:,.4g} tokens"
    return f"{noun} {group.name}: {' + '.join(products)} = {number(group.product)}<br>sum {number(total)}{wave}"


def _ticks(groups: Sequence[Group], order: Order) -> dict[str, Any]:
    shown = list(range(0, len(groups), label_step(len(groups), WIDE, APART)))
    texts = [wavelength_text(groups[i].wavelength) if order == "frequency" else groups[i].name for i in shown]
    return {"tickvals": shown, "ticktext": texts}


def _title(text: str, standoff: int) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}, "standoff": standoff}
