"""One number per head, layer × head, from plain Hugging Face outputs: a weight, or what each head does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.head_scores import COLUMNS
from dashboard.analysis.plain_head_scores import SCORES, plain_scores
from dashboard.analysis.plain_outputs import as_array, of_layers
from dashboard.contracts.repeats import KINDS
from dashboard.errors import BadRequestError, BadSelectionError, RunShapeError
from dashboard.figures.head_scores import framed_scores, scores_map
from dashboard.figures.text import escape, isolated
from dashboard.figures.theme import COLOURS, LIGHT, in_theme
from dashboard.figures.tokens import labels_of

Weight = Literal["pair", "first", "received"]


def plot_attention_everywhere(
    attentions: Any,
    tokens: Sequence[Any],
    token_idx: int,
    second_idx: int | None = None,
    *,
    weight: Weight = "pair",
    layer: int | None = None,
    head: int | None = None,
) -> go.Figure:
    """Draw one weight in every head of every layer, from plain Hugging Face outputs: which heads attend from one token
    to another.

    Colour shows the weight's square root, from 0 to 1. A weight that a mask forbids is 0 in `attentions`, and drawn so.

    Args:
        attentions: the model's `attentions`: a sequence of (head, query, key) per layer, with or without a batch axis
            of 1; tensors or arrays; each weight 0 … 1.
        tokens: one label per token, as `tokenizer.convert_ids_to_tokens` gives them, or `run.tokens`.
        token_idx: the token that attends; with “received”, the one that is attended to. Negative indices count from the
            last.
        second_idx: the token that is attended to; for “pair” only.
        weight: “pair” (from `token_idx` to `second_idx`), “first” (from `token_idx` to the first token) or “received”
            (on `token_idx`, as a mean over all tokens that attend).
        layer, head: the head to frame.

    Raises:
        RunShapeError: this is not the attention of one text, or the number of tokens differs.
        BadSelectionError: there is no such token or head, or every layer is causal and the second token comes later.
        BadRequestError: there is no such weight, or “pair” lacks the second token.
    """
    layers = list(of_layers(attentions))
    _check_square(layers[0], len(tokens))
    if weight not in get_args(Weight):
        raise BadRequestError(f"There is no weight {str(weight)[:40]!r}. Choose one of {', '.join(get_args(Weight))}.")
    if weight == "pair" and second_idx is None:
        raise BadRequestError("“pair” is the weight between two tokens. Give second_idx, too, or another weight.")
    token = _token(token_idx, len(tokens))
    second = 0 if weight == "first" or second_idx is None else _token(second_idx, len(tokens))
    names = [f"{escape(isolated(label))} ({index})" for index, label in enumerate(labels_of(list(tokens)))]
    if weight == "received":
        values = np.stack([one[:, :, token].mean(axis=1, dtype=np.float64) for one in layers])
        words = f"How much attention {names[token]} receives in every head, on average"
    else:
        if second > token and all(not np.triu(np.nan_to_num(one), 1).any() for one in layers):
            raise BadSelectionError(
                f"Token {token} cannot attend to token {second}, which comes later: this attention is causal. "
                "Choose them the other way round."
            )
        values = np.stack([one[:, token, second] for one in layers])
        words = f"How much {names[token]} attends to {names[second]} in every head"
    figure = framed_scores(values, _place(values, layer, head))
    return _titled(figure, f"{words}; colour shows √weight", values)


def plot_head_scores(
    attentions: Any,
    score: str = "previous",
    tokens: Sequence[Any] | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
) -> go.Figure:
    """Draw one score of every head of every layer, from plain Hugging Face outputs: what heads do on average over a
    text.

    The scores (Clark et al. 2019, Vig and Belinkov 2019, Olsson et al. 2022, Wang et al. 2023), each a mean over the
    tokens that can have it:
        previous, next, self, first: the weight on the token before, the token after, itself, the text's first token.
        duplicate: the weight on earlier occurrences of the same token; on all others if attention is not causal.
        induction: the weight on what followed earlier occurrences of the same token; in causal attention only.
        entropy: −Σ w ln w over a token's weights w, in nats. distance: Σ w · |i − j|, in tokens.
    Attention is taken as causal if no layer has a weight above the diagonal.

    Args:
        attentions: as in `plot_attention_everywhere`.
        score: one of these names.
        tokens: one per position, equal for equal tokens: `input_ids[0]`, or labels. For duplicate and induction only.
        layer, head: the head to frame.

    Raises:
        RunShapeError: this is not the attention of one text, or the number of tokens differs.
        BadSelectionError: there is no such head.
        BadRequestError: there is no such score, it needs `tokens`, or the text gives it nothing to average.
    """
    if score not in SCORES:
        raise BadRequestError(f"There is no score {str(score)[:40]!r}. Choose one of {', '.join(SCORES)}.")
    if score in KINDS and tokens is None:
        raise BadRequestError(f"“{score}” asks which tokens are the same. Give tokens, such as input_ids[0], too.")
    layers = list(of_layers(attentions))
    ids = np.arange(layers[0].shape[2]) if tokens is None else _ids(tokens)
    _check_square(layers[0], len(ids))
    values = plain_scores(layers, score, ids)
    if np.isnan(values).all() and all(np.isfinite(one).all() for one in layers):
        raise BadRequestError(f"This text has nothing to average for “{score}”. Choose another score or a longer text.")
    share = score not in ("entropy", "distance")
    most = 1.0 if share else float(np.nan_to_num(values).max())
    figure = scores_map(values, COLUMNS[score].heading, most, share, _place(values, layer, head))
    return _titled(figure, f"{COLUMNS[score].heading}, mean of every head over {len(ids):,} tokens", values)


def _ids(tokens: Any) -> np.ndarray:
    """(token,) integers, equal for equal tokens."""
    values = as_array(tokens).reshape(-1).tolist() if hasattr(tokens, "shape") else list(tokens)
    known: dict[Any, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values])


def _check_square(weights: np.ndarray, count: int) -> None:
    if weights.shape[1:] != (count, count) or not count:
        raise RunShapeError(
            f"The attention weights have shape {weights.shape}, but there are {count} tokens; pass (head, query, key) "
            "weights of these tokens."
        )


def _token(index: int, count: int) -> int:
    if not -count <= index < count:
        raise BadSelectionError(f"There is no token {index}; there are tokens 0 to {count - 1}. Choose one of these.")
    return index % count


def _place(values: np.ndarray, layer: int | None, head: int | None) -> tuple[int, int] | None:
    if layer is None or head is None:
        return None
    layers, heads = values.shape
    if not (0 <= layer < layers and 0 <= head < heads):
        raise BadSelectionError(
            f"There is no head {head} in layer {layer}; there are layers 0 to {layers - 1} and heads 0 to {heads - 1}. "
            "Choose one of these."
        )
    return layer, head


def _titled(figure: go.Figure, words: str, values: np.ndarray) -> go.Figure:
    lost = int((~np.isfinite(values)).sum())
    words += (
        f"<br><sub>Empty where a weight is not finite (NaN, ∞): {lost} of {values.size} heads</sub>" if lost else ""
    )
    more = 30 + 18 * bool(lost)
    figure.update_layout(
        title={"text": words, "font": {"size": 13}, "y": 1, "yanchor": "top", "yref": "container", "pad": {"t": 12}},
        margin={"t": figure.layout.margin.t + more},
        height=figure.layout.height + more,
        paper_bgcolor=COLOURS.surface,
    )
    return in_theme(figure, LIGHT)
