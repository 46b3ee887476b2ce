"""Three sentences on what each tab of Predictions shows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dashboard.components.glossary import term
from dashboard.contracts.context import Context
from dashboard.contracts.lens import LogitLens
from dashboard.contracts.prediction import Prediction, TokenProbability
from dashboard.contracts.run import ModelRun
from dashboard.figures.text import probability_text
from dashboard.views.declaration import Explanation, Sentence, token_span
from dashboard.views.explanation import counted, named
from dashboard.views.predictions.lens_results import masks

Labels = Mapping[int, str]  # by vocabulary id
NOT_THERE: Sentence = ["It has not been computed yet."]


def next_token(run: ModelRun, token: int, prediction: Prediction | None, labels: Labels, reads: str) -> Explanation:
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
            NOT_THERE,
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
        why = "Nothing comes after the last token" if causal else "No token of the text stands here"
        why = "A mask stands here" if reads == "mask" else why
        return [f"{why}, so there is nothing to compare the prediction with."]
    which = "came next" if causal else "stands here"
    lead: Sentence = ["The token that really ", f"{which}, ", _token(actual, labels), ", has "]
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


def _where(context: Context) -> Sentence:
    """ "after ·to (15)": where the model predicts."""
    token = named(context.run, context.selection.token)
    if context.run.model.kind == "causal":
        return ["after ", *token]
    return ["with ", *token, " masked"] if masks(context) else ["at ", *token, ", in the text as it stands,"]


def lens(context: Context, found: LogitLens | None, labels: Labels) -> Explanation:
    """Explain what the lens asks, and its answer after the selected layer; `found` is for the selected position
    only."""
    layer = context.selection.layer
    asks: Sentence = ["The ", term("logit lens"), " shows what the model would predict ", *_where(context)]
    layers = context.run.model.layers
    asks += (
        [" if it stopped after its only ", term("layer"), "."]
        if layers == 1
        else [" if it stopped after one of its ", *counted(layers, "layer"), "."]
    )
    trained = "A model learns to predict after its last layer only, so earlier layers give no more than a hint."
    if found is None:
        return asks, NOT_THERE, [trained]
    place = layer + 1
    if not found.finite[place, 0]:
        return asks, [f"After layer {layer}, the values are not finite, so there is no prediction."], [trained]
    best = found.top(layer, 0)[0]
    share = probability_text(best.probability)
    says: Sentence = [f"After layer {layer}, the most likely token is ", _token(best, labels), f", with {share}"]
    if found.finite[-1, 0]:
        final = int(found.top_ids[-1, 0, 0])
        says += ["; the ", term("final prediction"), ", ", token_span(found.texts[final], labels[final])]
        says += [", has ", term("rank"), f"\u00a0{int(found.final_rank[place, 0]):,} there"]
    return asks, [*says, "."], [trained]


def through(context: Context, found: LogitLens | None, labels: Labels) -> Explanation:
    """Explain what a line is, the final prediction's rank after the selected layer, and where it starts to lead."""
    layer, vocabulary = context.selection.layer, context.run.model.vocabulary
    ranks: Sentence = [f"Of all {vocabulary:,} tokens, the most likely one has ", term("rank"), "\u00a01."]
    asks: Sentence = ["Each line follows one token and shows how likely it would be ", *_where(context)]
    asks += [" if the model stopped after a ", term("layer"), "."]
    if found is None:
        return asks, NOT_THERE, ranks
    if not found.finite[-1, 0]:
        none: Sentence = [
            "After the last layer the values are not finite, so there is no ",
            term("final prediction"),
            ".",
        ]
        return asks, none, ranks
    final = int(found.top_ids[-1, 0, 0])
    name: Sentence = [term("final prediction"), ", ", token_span(found.texts[final], labels[final])]
    place = layer + 1
    says: Sentence = [f"After layer {layer}, the ", *name, ", has ", term("rank")]
    says += [f"\u00a0{int(found.final_rank[place, 0]):,} of {vocabulary:,} and a ", term("probability"), " of "]
    says += [f"{probability_text(math.exp(float(found.final_logprob[place, 0])))}."]
    if not found.finite[place, 0]:
        says = [f"After layer {layer}, the values are not finite; the ", *name, ", has no rank there."]
    behind = np.flatnonzero((found.final_rank[:, 0] > 1) | np.isnan(found.final_logprob[:, 0]))
    since = int(behind[-1]) + 1 if behind.size else 0
    end = probability_text(math.exp(float(found.final_logprob[-1, 0])))
    where = "the embeddings" if since == 0 else f"layer {since - 1}"
    return asks, says, [f"It leads from {where} on, and ends with {end}."]
