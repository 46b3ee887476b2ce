"""Building blocks of the sentences behind a card's `?`; each view makes its own three (`View.explain`)."""

from __future__ import annotations

from dashboard.components.glossary import term
from dashboard.contracts.run import ModelRun
from dashboard.contracts.streams import Stream
from dashboard.views.declaration import Explanation, Sentence
from dashboard.views.token_spans import token_at

NOT_COMPUTED: Sentence = ["It has not been computed yet."]


def counted(number: int, noun: str) -> Sentence:
    """ "1 layer", "30 layers"; the noun is a glossary term."""
    return [f"{number:,}\u00a0", term(noun if number == 1 else f"{noun}s", noun)]


def named(tokens: ModelRun | Stream, index: int) -> Sentence:
    """ "·to (15)"."""
    return [token_at(tokens, index), f"\u00a0({index})"]


def without_predictions(run: ModelRun) -> Explanation:
    """The explanation for a model that predicts no tokens."""
    makes: Sentence = ["Predictions are what a ", term("prediction head"), " makes of the last layer’s hidden states."]
    if run.class_head is not None:
        makes = ["Its ", term("classification head"), " turns the hidden states into classes; see the Classes tab."]
    return (
        [run.without_predictions],
        makes,
        [
            "This run has the ",
            term("hidden states", "hidden state"),
            " of ",
            *counted(len(run), "token"),
            f" instead, {run.model.hidden_size:,} numbers each, and the ",
            term("attention"),
            " between them.",
        ],
    )
