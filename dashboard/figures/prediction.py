"""The likeliest tokens at one position as bars, with exact probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.contracts.prediction import TokenProbability
from dashboard.errors import BadRequestError, RunShapeError
from dashboard.figures.attention import as_array
from dashboard.figures.bar_texts import Name, Numbers, written, written_by_page
from dashboard.figures.spec import Spec
from dashboard.figures.theme import CHARACTER_WIDTH, LIGHT, Theme, axis, base_layout
from dashboard.figures.tokens import escape, token_label


def probability_text(probability: float) -> str:
    """A probability as "92.7 %"; what would round to nothing is given as "< 0.05 %"."""
    if 0 < probability < 0.0005:
        return "< 0.05 %"
    return f"{100 * probability:.1f} %"


def prediction_bars(candidates: Sequence[TokenProbability], actual: int | None = None, theme: Theme = LIGHT) -> go.Figure:
    """Horizontal bars, likeliest on top, with exact values on hover.

    Args:
        candidates: likeliest first.
        actual: vocabulary id of the token that really stands there; its row is bold.
        theme: LIGHT or DARK.
    """
    spec = written(page_bars(candidates, actual, theme), theme)
    [bars] = spec["data"]
    labels = [{**data, "label": escape(data["label"])} for data in bars["customdata"]]
    hover = "%{customdata.label}: %{x:.6g} %<extra></extra>"
    return go.Figure({**spec, "data": [{**bars, "customdata": labels, "hovertemplate": hover, "hoverinfo": None}]})


def page_bars(candidates: Sequence[TokenProbability], actual: int | None = None, theme: Theme = LIGHT) -> Spec:
    """The same as plain data without texts and hover, which the page adds itself."""
    names = [Name(c.text, c.id == actual) for c in candidates]
    rows = list(range(len(candidates)))
    bars = {
        "type": "bar",
        "x": [100 * c.probability for c in candidates],
        "y": rows,
        "orientation": "h",
        "width": 0.62,
        "marker": {"color": [theme.ink if name.bold else theme.mark for name in names], "line": {"width": 0}},
        "customdata": [
            {"id": c.id, "probability": c.probability, "logprob": c.logprob, "label": token_label(c.text)} for c in candidates
        ],
        "hoverinfo": "none",
    }
    width = round(max(len(name.label) for name in names) * CHARACTER_WIDTH) + 16 if names else 20
    y = axis(theme, range=[len(rows) - 0.5, -0.5], showticklabels=False)
    x = axis(theme, range=[0, 100], tickvals=[0, 25, 50, 75, 100], ticktext=["0", "25", "50", "75", "100 %"], showgrid=True)
    layout = {**base_layout(theme), "xaxis": x, "yaxis": y, "margin": {"l": width, "r": 62, "t": 2, "b": 22}}
    texts = [(probability_text(c.probability), name.bold) for c, name in zip(candidates, names, strict=True)]
    return {"data": [bars], "layout": {**layout, "meta": written_by_page(names, [Numbers(60, texts)])}}


def plot_token_probabilities(logits: Any, tokenizer: Any, position: int = -1, top_k: int = 10) -> go.Figure:
    """The likeliest tokens at one position, from plain Hugging Face outputs.

    Args:
        logits: (position, vocabulary) or (vocabulary,), a batch axis of 1 or not; a tensor or array.
        tokenizer: gives each id's text (`tokenizer.decode`).
        position: which position; the last by default.
        top_k: how many tokens.

    Raises:
        RunShapeError: not logits of one text, or no such position. BadRequestError: not a tokenizer.
    """
    if not hasattr(tokenizer, "decode"):
        raise BadRequestError(f"The second argument must be the model's tokenizer; this is a {type(tokenizer).__name__}.")
    values = as_array(logits)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or 0 in values.shape:
        raise RunShapeError(f"Logits are {values.shape}; they must be (position, vocabulary) of one text.")
    if not -len(values) <= position < len(values):
        raise RunShapeError(f"There is no position {position}; the logits have positions 0 to {len(values) - 1}.")
    row = values[position].astype(np.float64)
    logprobs = row - row.max()
    logprobs -= np.log(np.exp(logprobs).sum())
    order = np.argsort(-logprobs, kind="stable")[: max(1, top_k)]
    candidates = [
        TokenProbability(int(i), tokenizer.decode([int(i)]), float(np.exp(logprobs[i])), float(logprobs[i])) for i in order
    ]
    figure = prediction_bars(candidates)
    where = position % len(values)
    figure.update_layout(
        title={"text": f"{len(order)} likeliest tokens at position {where} of {values.shape[1]:,}", "font": {"size": 13}}
    )
    figure.update_layout(margin={"t": 40}, width=560, height=80 + 24 * len(order), paper_bgcolor=LIGHT.surface)
    return figure
