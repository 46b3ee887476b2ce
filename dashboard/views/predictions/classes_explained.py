"""Three sentences on what the tab Classes shows."""

from __future__ import annotations

import numpy as np

from dashboard.components.glossary import term
from dashboard.contracts.classes import ClassHead, ClassScore
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.figures.classes import class_names, value_text
from dashboard.figures.text import isolated, probability_text
from dashboard.views.declaration import Explanation, Sentence
from dashboard.views.explanation import named

NOT_FINITE: Sentence = ["These values are not finite here, so there is nothing to show."]


def labels(context: Context, head: ClassHead, scores: tuple[ClassScore, ...], finite: bool) -> Explanation:
    """Explain what the head reads, its most likely label, and how the numbers relate."""
    count = f"{len(scores):,}\u00a0label" + ("" if len(scores) == 1 else "s")
    whose: Sentence = ["the text"] if head.of == "text" else named(context.run, context.selection.token)
    gives = "a value" if head.scale == "none" else "a probability"
    reads: Sentence = ["The ", term("classification head"), " gives each of its ", f"{count} {gives} for ", *whose, "."]
    if len(scores) == 1:
        reads = ["The ", term("classification head"), f" gives {gives} for ", *whose, "."]
    if not finite:
        return reads, NOT_FINITE, ["Select another token or another text."]
    best, names = scores[0], class_names(head.labels)
    number = value_text(best.logit if best.probability is None else best.probability, best.probability is not None)
    says: Sentence = [f"The highest is {isolated(names[best.index])}, with {number}."]
    made: Sentence = {
        "softmax": ["They come from the ", term("logits", "logit"), " and add up to 100\u00a0%."],
        "sigmoid": ["Each comes from its own ", term("logit"), "; several can apply, or none."],
        "none": ["It is the ", term("logit"), " itself; the model’s author decided what it stands for."],
    }[head.scale]
    return reads, says, made


def answer(run: ModelRun, token: int) -> Explanation:
    """Explain start and end, those of the selected token, and how an answer is chosen."""
    reads: Sentence = [
        "The ",
        term("classification head"),
        " says how likely the answer is to start, and to end, at each token.",
    ]
    shares = run.class_probabilities
    if shares is None or not np.isfinite(shares).all():
        return reads, NOT_FINITE, ["Select another text."]
    start, end = (probability_text(value) for value in shares[token].tolist())
    at = named(run, token)
    says: Sentence = ["The probability that the answer starts at ", *at, f" is {start}, and that it ends there {end}."]
    best = "The answer shown is the span with the highest product of the two probabilities"
    return reads, says, [f"{best}; it never ends before it starts."]
