"""What a run says of its classes: the part of `ModelRun` that reads what a classification head gave."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dashboard.contracts.classes import AnswerSpan, ClassHead, ClassScore, best_answer, probabilities, ranked
from dashboard.contracts.model_info import ModelInfo, no_classes
from dashboard.contracts.request import RunRequest
from dashboard.contracts.streams import Stream
from dashboard.contracts.token import Token
from dashboard.errors import BadSelectionError, MissingArrayError, RunShapeError

T = TypeVar("T")


class RunClasses:
    """The classes of a run, for `ModelRun`, which provides everything that is declared here."""

    _header: Mapping[str, Any]
    main: Stream
    model: ModelInfo
    outdated: tuple[str, ...]
    request: RunRequest
    tokens: Sequence[Token]

    if TYPE_CHECKING:

        def check(self, token: int | None = None) -> None: ...
        def remember(self, name: Hashable, compute: Callable[[], T]) -> T: ...

    @cached_property
    def class_head(self) -> ClassHead | None:
        """What the model's classification head classifies, and its labels; None if the run has no classes."""
        raw = self._header.get("classes")
        return None if raw is None else ClassHead.from_json(raw)

    @property
    def is_classifier(self) -> bool:
        """Whether the model is a classifier, even one whose classes the run does not hold."""
        return self._header.get("without") == "classifier"

    def check_classes(self) -> None:
        """Raise `MissingArrayError` if an earlier version computed the run of a classifier, without its classes."""
        if self.class_head is not None or (self.is_classifier and self.outdated):
            self.main.array("class_logits", "its classes")

    @property
    def class_logits(self) -> np.ndarray:
        """float32, as the head gives them: (label,) of the text, (token, label), or (token, 2) start and end.

        Raises:
            MissingArrayError: the run has no classes.
        """
        head = self._head()
        found = self.main.array("class_logits", "its classes")
        if found.shape != head.shape(len(self.tokens)):
            raise RunShapeError(f"The run has {found.shape} classes for {len(self.tokens)} tokens. Run its text again.")
        return found

    @property
    def class_probabilities(self) -> np.ndarray | None:
        """The same as probabilities, float64; None if the logits are values (regression)."""
        return self.remember("class probabilities", lambda: probabilities(self.class_logits, self._head()))

    def classes(self, position: int | None = None) -> tuple[ClassScore, ...]:
        """Return every label with its logit and probability, likeliest first.

        Args:
            position: the token, if the model classifies tokens; none if it classifies the text.

        Raises:
            MissingArrayError: the run has no classes. BadSelectionError: a position is missing, or was not expected.
        """
        head = self._head()
        if head.of == "answer":
            raise BadSelectionError(f"{self.model.title} marks an answer and has no classes. Ask for run.answer().")
        if (position is None) == (head.of == "tokens"):
            raise BadSelectionError(
                "This model classifies each token. Name one: run.classes(position)."
                if position is None
                else "This model classifies the text as a whole. Leave the position out: run.classes()."
            )
        self.check(token=position)
        return ranked(self.class_logits if position is None else self.class_logits[position], head)

    def answer(self) -> AnswerSpan | None:
        """Return the most likely answer of a model that answers questions; None if the text has no token for it.

        Raises:
            MissingArrayError: the model answers no questions.
        """
        head, shares = self._head(), self.class_probabilities
        if head.of != "answer" or shares is None:
            raise MissingArrayError(f"{self.model.title} answers no questions. Ask for run.classes().")
        texts = self.request.texts[0], self.request.text_pair
        return self.remember("answer", lambda: best_answer(shares, self.tokens, *texts))

    def _head(self) -> ClassHead:
        self.check_classes()
        if self.class_head is None:
            raise MissingArrayError(self.without_classes)
        return self.class_head

    @property
    def without_classes(self) -> str:
        """Say in a sentence why the run has no classes."""
        return no_classes(self.model.title, self.model.kind, self.is_classifier)
