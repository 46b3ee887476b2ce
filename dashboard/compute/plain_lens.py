"""The logit lens of a given model and hidden states, without a run: for `dashboard.plot_logit_lens`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dashboard.compute.logit_lens import arrays_of, with_texts
from dashboard.contracts.job import Progress
from dashboard.contracts.lens import LogitLens
from dashboard.contracts.model_info import ModelInfo
from dashboard.errors import MissingArrayError, RunShapeError


def plain_lens(
    model: Any, tokenizer: Any, hidden_states: Sequence[np.ndarray], ids: Sequence[int]
) -> tuple[LogitLens, int]:
    """Return what each layer would predict, and how many tokens there are to choose from.

    Args:
        model: a transformers model with its prediction head; it is left unchanged. tokenizer: gives each id's piece.
        hidden_states: per layer (token, hidden), entry 0 the embeddings. ids: (token,), those of the text.

    Raises:
        UnsupportedModelError: not a transformers model. RunShapeError: hidden states of more or fewer layers.
        MissingArrayError: it predicts no tokens, or its head or final norm is not known for certain.
    """
    from dashboard.capture.kind import kind_in_use
    from dashboard.capture.loader import LoadedModel
    from dashboard.capture.model_probe import evaluating
    from dashboard.capture.wrapping import unwrapped

    inner = unwrapped(model, "The model")
    with evaluating(inner):
        kind = kind_in_use(inner)
        title = type(inner).__name__
        if kind is None:
            raise MissingArrayError(
                f"{title} gives no logits over a vocabulary. Give the model with its prediction head."
            )
        config, layers = inner.config.get_text_config(), len(hidden_states) - 1
        if layers != config.num_hidden_layers:
            wanted = config.num_hidden_layers + 1
            raise RunShapeError(
                f"{title} has {wanted} hidden states and {layers + 1} are given. Give all, the embeddings first."
            )
        heads, width, vocabulary = config.num_attention_heads, config.hidden_size, config.vocab_size
        info = ModelInfo(title, title, inner.config.model_type, kind, layers, heads, heads, width, vocabulary, 0, 0)
        loaded = LoadedModel(inner, tokenizer, info, "")
        actual = [*ids[1:], -1] if kind == "causal" else list(ids)
        arrays = arrays_of(loaded, hidden_states, actual, _silent)
        return LogitLens(**with_texts(arrays, loaded, arrays["top_ids"], np.asarray(actual))), vocabulary


def _silent(_progress: Progress) -> None:
    return None
