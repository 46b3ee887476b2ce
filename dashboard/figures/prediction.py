"""The most likely tokens at one position as bars, with exact probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.plain_outputs import as_array
from dashboard.analysis.token_text import piece_text
from dashboard.contracts.prediction import TokenProbability
from dashboard.errors import BadRequestError, RunShapeError
from dashboard.figures.bar_texts import Name, Numbers, labels_beside, written, written_by_page
from dashboard.figures.spec import Spec
from dashboard.figures.text import escape, isolated, probability_text
from dashboard.figures.theme import CHARACTER_WIDTH, COLOURS, LIGHT, axis, base_layout, empty_figure, in_theme
from dashboard.figures.tokens import NO_NAMES, Names


def prediction_bars(
    candidates: Sequence[TokenProbability], actual: int | None = None, known: Names = NO_NAMES
) -> go.Figure:
    """Horizontal bars, the most likely token on top, with exact values on hover.

    Args:
        candidates: most likely first.
        actual: vocabulary id of the actual token; its row is bold.
        known: labels of the text's own tokens, which no other token may have.
    """
    spec = written(page_bars(candidates, actual, known))
    [bars] = spec["data"]
    labels = [{**data, "label": escape(isolated(data["label"]))} for data in bars["customdata"]]
    hover = "%{customdata.label}: %{x:.6g} %<extra></extra>"
    return go.Figure({**spec, "data": [{**bars, "customdata": labels, "hovertemplate": hover, "hoverinfo": None}]})


def page_bars(candidates: Sequence[TokenProbability], actual: int | None = None, known: Names = NO_NAMES) -> Spec:
    """The same bars as plain data without text and hover, which the page adds itself."""
    names = [Name(c.text, c.id == actual, c.id) for c in candidates]
    whole = labels_beside(names, None, known)
    rows = list(range(len(candidates)))
    bars = {
        "type": "bar",
        "x": [100 * c.probability for c in candidates],
        "y": rows,
        "orientation": "h",
        "width": 0.62,
        "marker": {"color": [COLOURS.ink if name.bold else COLOURS.mark for name in names], "line": {"width": 0}},
        "customdata": [
            {"id": c.id, "probability": c.probability, "logprob": c.logprob, "label": label}
            for c, label in zip(candidates, whole, strict=True)
        ],
        "hoverinfo": "none",
    }
    width = round(max(map(len, labels_beside(names, known=known))) * CHARACTER_WIDTH) + 16 if names else 20
    y = axis(range=[len(rows) - 0.5, -0.5], showticklabels=False)
    x = axis(range=[0, 100], tickvals=[0, 25, 50, 75, 100], ticktext=["0", "25", "50", "75", "100 %"], showgrid=True)
    layout = {**base_layout(), "xaxis": x, "yaxis": y, "margin": {"l": width, "r": 62, "t": 2, "b": 22}}
    texts = [(probability_text(c.probability), name.bold) for c, name in zip(candidates, names, strict=True)]
    return {"data": [bars], "layout": {**layout, "meta": written_by_page(names, [Numbers(60, texts)], known)}}


def plot_token_probabilities(logits: Any, tokenizer: Any, position: int = -1, top_k: int = 10) -> go.Figure:
    """Draw the most likely tokens at one position, from plain Hugging Face outputs.

    Args:
        logits: (position, vocabulary) or (vocabulary,), with or without a batch axis of 1; a tensor or array.
        tokenizer: gives each id's piece (`convert_ids_to_tokens`; else its text, `decode`), labelled as on the page.
        position: which position; the last by default.
        top_k: how many tokens.

    Raises:
        RunShapeError: not the logits of one text, or no such position. BadRequestError: not a tokenizer.
    """
    if not (hasattr(tokenizer, "convert_ids_to_tokens") or hasattr(tokenizer, "decode")):
        raise BadRequestError(f"The second argument is a {type(tokenizer).__name__}; give the model's tokenizer.")
    values = as_array(logits)
    alone = values.ndim == 1
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if alone:
        values = values[None]
    if values.ndim != 2 or 0 in values.shape:
        raise RunShapeError(f"Logits are {values.shape}; give (position, vocabulary) of one text.")
    if not -len(values) <= position < len(values):
        raise RunShapeError(f"There is no position {position} in these logits. Choose one of 0 to {len(values) - 1}.")
    row = values[position].astype(np.float64)
    if np.isnan(row).any() or not np.isfinite(row.max()):
        words = (
            "The logits here are not finite (NaN or +∞), so there are no probabilities. Half-precision weights have "
            "probably overflowed."
        )
        nothing = empty_figure(words).update_layout(width=560, height=160, paper_bgcolor=COLOURS.surface)
        return in_theme(nothing, LIGHT)
    logprobs = row - row.max()
    logprobs -= np.log(np.exp(logprobs).sum())
    order = np.argsort(-logprobs, kind="stable")[: max(1, top_k)]
    candidates = [
        TokenProbability(int(i), piece_text(tokenizer, int(i)), float(np.exp(logprobs[i])), float(logprobs[i]))
        for i in order
    ]
    figure = prediction_bars(candidates)
    where = "" if alone else f" at position {position % len(values)}"
    title = f"The {len(order)} most likely of {values.shape[1]:,} tokens{where}"
    figure.update_layout(title={"text": title, "font": {"size": 13}})
    figure.update_layout(margin={"t": 40}, width=560, height=80 + 24 * len(order), paper_bgcolor=COLOURS.surface)
    return in_theme(figure, LIGHT)
