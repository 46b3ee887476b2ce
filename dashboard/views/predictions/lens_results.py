"""The derived lens results that the prediction views show: one position, which is quick, and all positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dash import html

from dashboard.compute import logit_lens, position_lens
from dashboard.compute.position_lens import PositionLens
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.lens import LogitLens
from dashboard.contracts.run import ModelRun
from dashboard.figures.tokens import Names, distinct, run_names, token_label
from dashboard.views.controls import Choice
from dashboard.views.declaration import Words
from dashboard.views.explanation import named
from dashboard.views.predictions.messages import READS_MASKED, being_computed, no_predictions
from dashboard.views.token_spans import token_at, token_span

MODE = Choice(
    "mode",
    "The model reads the text",
    (("given", "As it stands"), ("masked", "With the selected position masked")),
    kinds=("masked",),
)


def masks(context: Context) -> bool:
    """Whether the options ask for the selected position with a mask there."""
    return context.run.model.kind == "masked" and context.options[MODE.name] == "masked"


def is_small(context: Context) -> bool:
    """Whether the card is in a small slot."""
    return context.slot == "small"


def whole_request(context: Context) -> DerivedRequest:
    """Request the lens of every position."""
    return DerivedRequest.of(context.run.key, logit_lens.NAME)


def position_request(context: Context, words: str = "") -> DerivedRequest:
    """Request the lens of the selected position, including these words."""
    mode = "masked" if masks(context) else "given"
    return DerivedRequest.of(
        context.run.key, position_lens.NAME, position=context.selection.token, mode=mode, words=" ".join(words.split())
    )


def usable(context: Context) -> tuple[DerivedRequest, ...]:
    """The lens of every position, which also covers the selected one if the text is read as it is."""
    run = context.run
    return (whole_request(context),) if run.has_predictions and not run.corrected and not masks(context) else ()


def whole_lens(context: Context) -> LogitLens | None:
    """The lens of every position, if it exists."""
    found = context.result(whole_request(context))
    return None if found is None else logit_lens.read(context.run, found)


def position_lens_of(context: Context, words: str = "") -> PositionLens | None:
    """The lens of the selected position, if it exists: by itself, or as part of the whole lens."""
    found = context.result(position_request(context, words))
    if found is not None:
        return position_lens.read(context.run, found)
    whole = None if words.split() or masks(context) else whole_lens(context)
    return None if whole is None else PositionLens(whole.at([context.selection.token]), ())


def labels_of_ids(run: ModelRun, lens: LogitLens, ids: Sequence[int]) -> dict[int, str]:
    """A card's labels for vocabulary tokens: each differs from all others in the card and the text."""
    known: Names = run_names(run)
    met = list(dict.fromkeys(ids))
    return dict(zip(met, distinct([token_label(lens.texts[i]) for i in met], met, known=known), strict=True))


def no_lens(run: ModelRun, title: str) -> Words | None:
    """Why there is no lens; None if there can be one.

    Raises:
        MissingArrayError: an earlier version computed the run.
    """
    if not run.has_predictions:
        return Words(title, message=no_predictions(run))
    run.check_current()
    return None


def waiting(context: Context, title: Any, request: DerivedRequest) -> Words:
    """The card's text while there is nothing to show yet."""
    how = READS_MASKED if masks(context) else "The prediction head is applied to this token's state after each layer."
    return Words(title, message=being_computed(request, how), waiting=True)


def from_place(lens: LogitLens) -> str:
    """Where the values of one position stop being finite: "from layer 4 on", "from the embeddings on"."""
    first = int(np.argmin(lens.finite[:, 0]))
    return f"from layer {first - 1} on" if first else "from the embeddings on"


def position_words(context: Context) -> list[Any]:
    """ "After ·to (15)", "At ·to (15)", "With ·to (15) masked": where the model predicts."""
    token = [token_at(context.run, context.selection.token), f"\u00a0({context.selection.token})"]
    if context.run.model.kind == "causal":
        return ["After ", *token]
    return ["With ", *token, " masked"] if masks(context) else ["At ", *token]


def where_predicted(context: Context) -> list[Any]:
    """ "after ·to (15)": where the model predicts."""
    token = named(context.run, context.selection.token)
    if context.run.model.kind == "causal":
        return ["after ", *token]
    return ["with ", *token, " masked"] if masks(context) else ["at ", *token, ", in the text as it stands,"]


def vocabulary_token(lens: LogitLens, labels: dict[int, str], identifier: int, strong: bool = False) -> html.Span:
    """A vocabulary token in the token font."""
    return token_span(lens.texts[identifier], labels[identifier], "tok strong" if strong else "tok")


def actual_id(context: Context, lens: PositionLens) -> int | None:
    """The token that comes next in the text (masked models: the token at the position), or None."""
    run, position = context.run, context.selection.token
    at = position + 1 if run.model.kind == "causal" else position
    return run.tokens[at].id if at < len(run) and int(lens.lens.actual_rank[-1, 0]) > 0 else None
