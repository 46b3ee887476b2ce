"""A model as the program describes it: one value, whether it is bundled, in a folder, a GGUF file, or on the hub.

No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dashboard.contracts.classes import ClassesOf
from dashboard.contracts.model_info import ModelKind, Without
from dashboard.contracts.stored_weights import fitting_tokens

Source = Literal["bundled", "folder", "gguf", "hub"]


@dataclass(frozen=True)
class ModelCard:
    """One model to choose from.

    Every source of models gives such cards; a run's description of the model that computed it is `ModelInfo`.

    Attributes:
        name: as in requests. title: for people. kind: what it predicts; None if that is unknown here, or none of the
            three.
        layers, heads, parameters, limit: sizes, 0 if unknown; `limit` is the most tokens it takes, `parameters` counts
            tied weights once.
        here: loads without a network. folder: where its files are, or None.
        note: "" for a bundled model that is here; otherwise what choosing it means.
        monospace: its texts are formulas.
        source: where it comes from. refusal: why it cannot be run, as a clause, or "".
        without: what it is if it predicts no tokens. classes: what a classifier classifies (`ClassHead.of`), if that
            is read, or "". unread: which weights in its files nothing reads ("pooler (bert.pooler.dense)").
        vocabulary: how many embeddings its configuration gives it, 0 if unknown.
        stores_weights: its family has its own attention code, so that a run stores all attention weights.
        megabytes: size of its download, if known beforehand. reads_text: it has a vocabulary, and takes no images or
            sound. pairs: it takes a pair of texts, which its tokenizer separates. chat: its tokenizer's files
            hold a chat template.
        base, base_folder: for an adapter, the name of the model that it changes, and where that one's files are; ""
            and None otherwise. tokenizer: where its tokenizer is, if that is not `folder`. mute: it has no tokenizer,
            and reads texts only with another model's.
    """

    name: str
    title: str
    kind: ModelKind | None = None
    layers: int = 0
    heads: int = 0
    parameters: int = 0
    limit: int = 0
    here: bool = False
    folder: Path | None = None
    note: str = ""
    monospace: bool = False
    source: Source = "hub"
    refusal: str = ""
    without: Without = ""
    classes: ClassesOf | Literal[""] = ""
    unread: tuple[str, ...] = ()
    vocabulary: int = 0
    stores_weights: bool = False
    megabytes: int = 0
    reads_text: bool = True
    pairs: bool = False
    chat: bool = False
    base: str = ""
    base_folder: Path | None = None
    tokenizer: Path | None = None
    mute: bool = False

    def fitting_tokens(self, megabytes: float) -> int | None:
        """Return the most tokens of a text whose stored weights take at most `megabytes`; None if none are stored, or
        the model's sizes are unknown.
        """
        if not (self.stores_weights and self.layers and self.heads):
            return None
        return fitting_tokens(self.layers, self.heads, megabytes)

    @property
    def kind_word(self) -> str:
        """What the model predicts, in a word; "" if that is unknown."""
        if self.without == "classifier":
            return {
                "": "classifier",
                "text": "classifier",
                "tokens": "token classifier",
                "answer": "answers questions",
            }[self.classes]
        return self.kind or ""
