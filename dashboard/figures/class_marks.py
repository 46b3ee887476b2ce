"""How a strip of tokens shows what a classifier says of each: a colour for each group of labels, and a word below.

Labels that mark where an entity begins (B-PER, I-PER; also with E, L, S and U) are one group, PER; the outside label O
has no colour. Of a model that answers questions, the tokens of the most likely answer are one group.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError
from dashboard.figures.classes import class_names, value_text
from dashboard.figures.text import elide, isolated, probability_text
from dashboard.figures.theme import LIGHT

COLOURED = len(LIGHT.classes)  # groups with a colour of their own; all others share one
PREFIX = re.compile(r"[BIELSU][-_](?=.)")
OUTSIDE = "O"
LONGEST = 12  # characters of a word below a token


@dataclass(frozen=True)
class ClassMarks:
    """Marks of a run's tokens.

    Attributes:
        what: what the colours mean, for a sentence. groups: names, the most frequent in the text first.
        of: per token, its group's index, or None. below: a word per token. said: the same in full, with its number.
    """

    what: str
    groups: tuple[str, ...]
    of: tuple[int | None, ...]
    below: tuple[str, ...]
    said: tuple[str, ...]

    def colour(self, token: int) -> str:
        """The end of the name of a token's colour: a number, "more", or "" for none."""
        group = self.of[token]
        return "" if group is None else str(group) if group < COLOURED else "more"


def class_marks(run: ModelRun) -> ClassMarks | None:
    """The marks of a run's tokens; None if its model classifies no tokens, or the run does not hold their classes."""
    head = run.class_head
    if head is None or head.of == "text" or head.scale == "none":
        return None
    try:
        return run.remember("class marks", lambda: _answer(run) if head.of == "answer" else _labels(run))
    except MissingArrayError:
        return None


def _labels(run: ModelRun) -> ClassMarks | None:
    head, shares = run.class_head, run.class_probabilities
    if head is None or shares is None or not np.isfinite(shares).all():
        return None
    names, best = class_names(head.labels), shares.argmax(axis=1).tolist()
    bio = OUTSIDE in head.labels
    groups = [None if bio and name == OUTSIDE else PREFIX.sub("", name, count=1) if bio else name for name in names]
    shown = [None if token.given else groups[index] for token, index in zip(run.tokens, best, strict=True)]
    order = [group for group, _count in Counter(group for group in shown if group is not None).most_common()]
    return ClassMarks(
        "each token’s most likely class",
        tuple(order),
        tuple(None if group is None else order.index(group) for group in shown),
        tuple(
            "" if token.given else elide(names[index], LONGEST) for token, index in zip(run.tokens, best, strict=True)
        ),
        tuple(
            f"class {isolated(names[index])}, {value_text(float(shares[token, index]), True)}"
            for token, index in enumerate(best)
        ),
    )


def _answer(run: ModelRun) -> ClassMarks | None:
    found, shares = run.answer(), run.class_probabilities
    if found is None or shares is None:
        return None
    inside = [found.first <= token <= found.last for token in range(len(run))]
    below = [""] * len(run)
    below[found.first], below[found.last] = "start", "end"
    if found.first == found.last:
        below[found.first] = "answer"
    said = [
        f"starts the answer {probability_text(start)}, ends it {probability_text(end)}"
        for start, end in shares.tolist()
    ]
    return ClassMarks(
        "the most likely answer", ("answer",), tuple(0 if one else None for one in inside), tuple(below), tuple(said)
    )
