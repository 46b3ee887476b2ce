"""A model as the program knows it: one value, whether it is bundled, in a folder, a GGUF file, or on the hub. No
torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dashboard.contracts.model_info import ModelKind, Without

Source = Literal["bundled", "folder", "gguf", "hub"]


@dataclass(frozen=True)
class ModelCard:
    """One model that can be chosen. Every source of models gives such cards; what a run says of the model that
    computed it is `ModelInfo`.

    Attributes:
        name: as in requests. title: for people. kind: what it predicts; None where that is not known here, or is
            nothing of the three.
        layers, heads, parameters, limit: sizes, 0 where they are not known; `limit` is the most tokens it takes,
            `parameters` counts tied weights once.
        here: loads without a network. folder: where its files are, or None.
        note: "" for a bundled model that is here; otherwise what choosing it means.
        monospace: its texts are formulas.
        source: where it comes from. refusal: why it cannot be run, as a clause, or "".
        without: what it is where it predicts no tokens. unread: what of its files nothing reads ("pooler
            (bert.pooler.dense)").
        vocabulary: how many embeddings its configuration gives it, 0 where that is not known.
        megabytes: of its download, where that is known before. reads_text: it has a vocabulary, and no eyes or ears.
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
    unread: tuple[str, ...] = ()
    vocabulary: int = 0
    megabytes: int = 0
    reads_text: bool = True

    @property
    def kind_word(self) -> str:
        """What it predicts, in a word; "" where that is not known."""
        return "classifier" if self.without == "classifier" else self.kind or ""
