"""What a run says of the model that computed it: kind, sizes, and why it predicts nothing if it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ModelKind = Literal["causal", "encoder", "masked"]
Without = Literal["", "embeddings", "classifier"]  # what kind of encoder


@dataclass(frozen=True)
class ModelInfo:
    """A run's description of its model.

    Attributes:
        name: catalog name, folder or hub id. title: the name shown to people. family: Hugging Face's `model_type`.
        kind: "causal" (predicts the next token), "masked" (predicts masked tokens), "encoder" (predicts no tokens: an
            embedding model or a classifier).
        layers, heads, key_heads, hidden_size, vocabulary, parameters: sizes; limit: the most tokens the model takes.
        final_norm: whether `hidden_states[-1]` is already past a final norm.
    """

    name: str
    title: str
    family: str
    kind: ModelKind
    layers: int
    heads: int
    key_heads: int
    hidden_size: int
    vocabulary: int
    parameters: int
    limit: int
    final_norm: bool = False


def no_predictions(title: str, without: Without = "embeddings", classes: bool = False) -> str:
    """Say in a sentence why a model predicts no tokens. `classes`: whether the run has those of a classifier."""
    if without == "classifier":
        return (
            f"{title} is a classifier: it predicts classes, not tokens."
            if classes
            else f"{title} is a classifier of a kind that is not supported; it has no token predictions."
        )
    return f"{title} produces embeddings; it has no token predictions."


def no_classes(title: str, kind: ModelKind, classifier: bool) -> str:
    """Say in a sentence why a run has no classes."""
    if classifier:
        return f"{title} is a classifier of a kind that is not supported."
    does = {"causal": "predicts the next token", "masked": "predicts masked tokens", "encoder": "produces embeddings"}
    return f"{title} {does[kind]}; it is not a classifier, so it has no classes."
