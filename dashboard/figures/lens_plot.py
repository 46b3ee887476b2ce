"""The logit lens from plain Hugging Face outputs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.analysis.lens import MEASURES
from dashboard.analysis.plain_outputs import as_array
from dashboard.compute.plain_lens import plain_lens
from dashboard.errors import BadRequestError, BadSelectionError, RunShapeError
from dashboard.figures.lens import LensMap, framed_lens, left_out_text
from dashboard.figures.pca_plot import layers_of
from dashboard.figures.theme import COLOURS, LIGHT, in_theme
from dashboard.figures.tokens import labels_of


def plot_logit_lens(
    hidden_states: Any,
    model: Any,
    tokenizer: Any,
    input_ids: Any,
    *,
    measure: str = "probability",
    token_idx: int | None = None,
    layer: int | None = None,
) -> go.Figure:
    """Draw what the model would predict if it stopped after each layer, from plain Hugging Face outputs.

    Each layer goes through the model's own final norm and prediction head. The last of `hidden_states` is already past
    that norm and skips it, so the last row is the model's own prediction.

    Args:
        hidden_states: the model's `hidden_states`: a sequence of (token, hidden) per layer, with or without a batch
            axis of 1.
        model: the transformers model that produced them, with its prediction head. tokenizer: its tokenizer.
        input_ids: (token,) ids of the text, with or without a batch axis of 1.
        measure: what the colour shows: "probability" of the most likely token, "entropy", "final-probability" and
            "final-rank" of the model's final prediction, "actual-probability" and "actual-rank" of the token that comes
            next in the text (masked models: the token at the position), or "kl", the divergence of the final prediction
            from each layer's.
        token_idx, layer: a column and a row to frame; layer −1 is the embeddings.

    Raises:
        RunShapeError: not hidden states of this text, or another model's. BadRequestError: no such measure.
        BadSelectionError: no such token or layer. MissingArrayError: it is not known how this model predicts from a
            layer.
        UnsupportedModelError: not a transformers model.
    """
    if measure not in MEASURES:
        raise BadRequestError(f"There is no measure {measure!r}. Choose one of {', '.join(MEASURES)}.")
    layers = layers_of(hidden_states, one_width=False)
    ids = _ids(input_ids)
    if len(ids) != len(layers[0]):
        raise RunShapeError(
            f"{len(ids)} ids for hidden states of {len(layers[0])} positions. Give those of the same text."
        )
    if token_idx is not None and not -len(ids) <= token_idx < len(ids):
        raise BadSelectionError(f"There is no token {token_idx} in this text. Choose one of 0 to {len(ids) - 1}.")
    if layer is not None and not -1 <= layer < len(layers) - 1:
        raise BadSelectionError(f"There is no layer {layer}. Choose one of -1 (the embeddings) to {len(layers) - 2}.")
    lens, vocabulary = plain_lens(model, tokenizer, layers, ids)
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(ids)]
    drawn = LensMap(lens, MEASURES[measure], vocabulary, labels_of(pieces))
    figure = framed_lens(drawn, None if token_idx is None else token_idx % len(ids), None, layer)
    lines = [
        "Logit lens: the most likely token after each layer",
        f"Colour: {drawn.measure.title.lower()}",
        *left_out_text(drawn),
    ]
    return _titled(figure, lines)


def _titled(figure: go.Figure, lines: Sequence[str]) -> go.Figure:
    """The figure with a title of these lines, the first one large, and room for them above it."""
    words = [line for text in lines for line in textwrap.wrap(text, 100)]
    title = "<br>".join(f"<sub>{line}</sub>" if index else line for index, line in enumerate(words))
    margin, height = figure.layout.margin, figure.layout.height
    figure.update_layout(title={"text": title, "font": {"size": 13}, "y": 1, "yref": "container", "yanchor": "top"})
    figure.update_layout(
        title={"pad": {"t": 10}}, margin={"t": margin.t + 22 + 18 * len(words)}, paper_bgcolor=COLOURS.surface
    )
    return in_theme(figure.update_layout(height=height + 22 + 18 * len(words)), LIGHT)


def _ids(input_ids: Any) -> Sequence[int]:
    found = as_array(input_ids)
    found = found[0] if found.ndim == 2 and found.shape[0] == 1 else found
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise RunShapeError(
            f"The ids are {found.dtype} {found.shape}; give the (token,) ids of one text, as input_ids[0]."
        )
    return [int(identifier) for identifier in found]
