"""What a classification head makes of a text, and how a run's header and arrays encode it.

A head gives one row of logits for the whole text, one for each token, or, if it answers questions, how likely each
token starts and ends the answer. Probabilities are computed here, in float64, from the float32 logits that a run holds
(`STREAM/class_logits`, dashboard/contracts/run.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from dashboard.contracts.token import Token
from dashboard.errors import RunShapeError

ClassesOf = Literal["text", "tokens", "answer"]
Scale = Literal["softmax", "sigmoid", "none"]
ENDS = ("start", "end")  # the labels of a head that answers questions
APPLIES = 0.5  # probability from which a label that stands by itself is said to apply


@dataclass(frozen=True)
class ClassHead:
    """One classification head.

    Attributes:
        of: what it classifies: "text" as a whole, each of its "tokens", or where an "answer" starts and ends.
        scale: how its logits become probabilities. "softmax": one label applies (of an answer: one token starts it, and
            one ends it); "sigmoid": each label applies or not, by itself; "none": the logits are values (regression).
        labels: the model's own names, in the order of the logits.
    """

    of: ClassesOf
    scale: Scale
    labels: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_json(cls, raw: object) -> ClassHead:
        """Read the head from a run's header.

        Raises:
            RunShapeError: it is no such head.
        """
        if isinstance(raw, Mapping) and raw.get("of") in get_args(ClassesOf) and raw.get("scale") in get_args(Scale):
            labels = raw.get("labels")
            if isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels):
                return cls(raw["of"], raw["scale"], tuple(labels))
        raise RunShapeError("The run's classes cannot be read. Run its text again.")

    def shape(self, tokens: int) -> tuple[int, ...]:
        """The shape of the logits for a text of so many tokens: (label,) or (token, label)."""
        return (len(self.labels),) if self.of == "text" else (tokens, len(self.labels))


@dataclass(frozen=True)
class ClassScore:
    """One label. `index`: in the order of the logits; `probability`: 0 … 1, None of a value (regression)."""

    index: int
    label: str
    logit: float
    probability: float | None


@dataclass(frozen=True)
class AnswerSpan:
    """The most likely answer: the tokens `first` to `last`, inclusive.

    Attributes:
        probability: of its start times that of its end. text: as it stands in the text that was read.
        nothing: the same product for the first token, if the tokenizer added that one; models trained on questions
            without answers point there where there is none. None without such a token.
    """

    first: int
    last: int
    probability: float
    text: str
    nothing: float | None


def scale_of(of: ClassesOf, problem: str | None, labels: int) -> Scale:
    """Return how logits become probabilities, by transformers' own rule for training.

    Args:
        problem: the configuration's `problem_type`, which concerns heads for texts alone. labels: how many there are; a
            single one is a value.
    """
    if of == "text" and problem == "multi_label_classification":
        return "sigmoid"
    return "none" if labels == 1 or (of == "text" and problem == "regression") else "softmax"


def probabilities(logits: np.ndarray, head: ClassHead) -> np.ndarray | None:
    """Return probabilities as float64 in the shape of the logits; None if the logits are values.

    Softmax runs over the labels; of an answer, over the tokens.
    """
    values = np.asarray(logits, dtype=np.float64)
    if head.scale == "none":
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        if head.scale == "sigmoid":
            return 1 / (1 + np.exp(-values))
        axis = 0 if head.of == "answer" else -1
        powers = np.exp(values - values.max(axis=axis, keepdims=True))
        found: np.ndarray = powers / powers.sum(axis=axis, keepdims=True)
        return found


def ranked(logits: np.ndarray, head: ClassHead) -> tuple[ClassScore, ...]:
    """Return every label of one row of logits, (label,), the highest first; equal ones in the model's order."""
    known = probabilities(logits, head)
    order = np.argsort(-np.asarray(logits, dtype=np.float64), kind="stable").tolist()
    return tuple(
        ClassScore(i, head.labels[i], float(logits[i]), None if known is None else float(known[i])) for i in order
    )


def best_answer(shares: np.ndarray, tokens: Sequence[Token], text: str, text_pair: str | None) -> AnswerSpan | None:
    """Return the most likely answer, of any length, among the tokens of the second text (of the only one, if there is
    no second); None if these have no tokens, or the probabilities are not finite.

    Args:
        shares: (token, 2) probabilities of start and end.
    """
    begin = 0 if text_pair is None else len(text)
    may = np.array([not token.given and token.start >= begin and not token.special for token in tokens])
    if not may.any() or not np.isfinite(shares).all():
        return None
    starts, ends = np.where(may, shares[:, 0], -1.0), np.where(may, shares[:, 1], -1.0)
    later = np.maximum.accumulate(ends[::-1])[::-1]  # the best end at or after each token
    products = np.where(may, starts * later, -1.0)
    first = int(products.argmax())
    last = first + int(ends[first:].argmax())
    source = text + (text_pair or "")
    said = source[tokens[first].start : tokens[last].end].strip()
    nothing = float(shares[0, 0] * shares[0, 1]) if tokens[0].given else None
    return AnswerSpan(first, last, float(products[first]), said, nothing)
