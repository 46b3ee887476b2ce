"""Three sentences on what the next token's card shows, for its `?`; views/predictions/top_k.py asks for them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dashboard.components.glossary import term
from dashboard.contracts.prediction import Prediction, TokenProbability
from dashboard.contracts.run import ModelRun
from dashboard.figures.text import probability_text
from dashboard.views.declaration import Explanation, Sentence
from dashboard.views.explanation import NOT_COMPUTED, named
from dashboard.views.token_spans import token_span

Labels = Mapping[int, str]  # by vocabulary id


def explain_prediction(
    run: ModelRun, token: int, prediction: Prediction | None, labels: Labels, reads: str
) -> Explanation:
    """Explain probabilities, the most likely tokens, and the actual token.

    Args:
        prediction: None if it must be computed first. reads: "given", "masked", or "mask" if the text has a mask there.
    """
    leads = {"given": ["Reading ", " as it stands"], "masked": ["With ", " masked"], "mask": ["In place of ", ""]}
    before, after = ["After ", ""] if run.model.kind == "causal" else leads[reads]
    gives = f"{after}, the model gives each of the {run.model.vocabulary:,} tokens of its "
    what: Sentence = [before, *named(run, token), gives, term("vocabulary"), " a ", term("probability"), "."]
    if prediction is None:
        return (
            what,
            NOT_COMPUTED,
            ["The model reads the text once more for that, with this token hidden by a ", term("mask"), "."],
        )
    if not prediction.finite:
        return (
            what,
            ["Here these values are not finite, so there is no prediction."],
            ["Select another token or another text."],
        )
    best, *rest = prediction.candidates
    likely: Sentence = ["The most likely one is ", _token(best, labels), f", with {probability_text(best.probability)}"]
    if rest:
        likely += ["; the next, ", _token(rest[0], labels), f", has {probability_text(rest[0].probability)}"]
    return what, [*likely, "."], _actual(run, prediction, labels, reads)


def _actual(run: ModelRun, prediction: Prediction, labels: Labels, reads: str) -> Sentence:
    causal, actual = run.model.kind == "causal", prediction.actual
    if actual is None:
        why = "Nothing comes after the last token" if causal else "There is no token of the text here"
        why = "There is a mask here" if reads == "mask" else why
        return [f"{why}, so there is nothing to compare the prediction with."]
    which = "The token that really came next" if causal else "The actual token here"
    lead: Sentence = [f"{which}, ", _token(actual, labels), ", has "]
    lead += [term("rank"), f"\u00a0{prediction.actual_rank:,} and "]
    if math.isinf(actual.logprob):
        return [*lead, "a probability of 0: the model ruled it out."]
    return [
        *lead,
        "a ",
        term("surprisal"),
        f" of {abs(actual.logprob):.2f} nats; 0 would mean that the model was certain of it.",
    ]


def _token(token: TokenProbability, labels: Labels) -> object:
    return token_span(token.text, labels[token.id])
