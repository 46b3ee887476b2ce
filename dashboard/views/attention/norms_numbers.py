"""The numbers of *Norms*: which results they need, what a layer lacks, and the norms and weights of some queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dashboard.analysis.attention_norms import head_norms, layer_norms, layernorm_norms, mean_weights, residual_norms
from dashboard.compute import attention_norms, block_norms
from dashboard.contracts.context import Context, Options
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.passed_on import STAGES, BlockNorms, PassedOn, Stage
from dashboard.errors import MissingArrayError
from dashboard.views.controls import Choice

ALL, RESIDUAL = "All heads of its layer", "All heads and residual connection"
LAYERNORM = "All heads, residual connection and LayerNorm"
HEADS = Choice(
    "heads",
    "Norms of",
    (("one", "The selected head"), ("all", ALL), ("residual", RESIDUAL), ("layernorm", LAYERNORM)),
)
VALUE = Choice("value", "Show", (("norm", "Norms: weight × length of what is passed on"), ("weight", "Weights alone")))


@dataclass(frozen=True)
class Row:
    """One query's numbers for every key: (key,) `values` as shown, `weights` (their mean over heads), `norms`."""

    values: np.ndarray
    weights: np.ndarray
    norms: np.ndarray


@dataclass(frozen=True)
class Results:
    """What the tokens pass on, and what residual connection and LayerNorm make of it; None where it is not asked."""

    passed: PassedOn
    block: BlockNorms | None = None


def is_of_one(context: Context) -> bool:
    """Whether the norms are those of the selected head."""
    return bool(context.options["heads"] == "one")


def stage_of(context: Context) -> Stage | None:
    """How far the attention block is followed after its heads; None if the heads are all."""
    return next((stage for stage in STAGES if stage == context.options["heads"]), None)


def requests(context: Context) -> tuple[DerivedRequest, ...]:
    """The results that the options need."""
    names = (attention_norms.NAME, *([] if stage_of(context) is None else [block_norms.NAME]))
    return tuple(DerivedRequest.of(context.run.key, name) for name in names)


def refusal(context: Context) -> str:
    """Why this run has no norms; "" if it can have them."""
    try:
        attention_norms.check(context.run, {})
    except MissingArrayError as error:
        return str(error)
    return ""


def needs(context: Context) -> tuple[DerivedRequest, ...]:
    return () if context.run.corrected or refusal(context) else requests(context)


def reads(options: Options) -> tuple[str, ...]:
    return ("run", "stream", "layer", "head") if options["heads"] == "one" else ("run", "stream", "layer")


def results_of(context: Context) -> Results | None:
    """What the norms are made of; None if it is not computed, or cannot be."""
    if refusal(context):
        return None
    passed, *more = (context.result(asked) for asked in requests(context))
    if passed is None or None in more:
        return None
    block = None if more == [] or more[0] is None else block_norms.read(context.run, more[0])
    return Results(attention_norms.read(context.run, passed), block)


def lacks(context: Context, results: Results) -> str:
    """Why the selected layer has no such norms, as a sentence; "" if it has."""
    layer, stage, block = context.selection.layer, stage_of(context), results.block
    if np.isnan(results.passed.norms[layer]).all() and context.run.not_finite is None:
        return f"The output projection of layer {layer} is not known, so it has no norms. Select another layer."
    if block is not None and stage is not None and not block.has(stage, layer):
        return _not_found(context, block)
    gram = block.grams[layer] if block is not None and stage == "layernorm" else results.passed.grams[layer]
    if not is_of_one(context) and gram is None:
        size = attention_norms.gram_bytes(context.run) / 1e6
        return (
            f"The norms over all heads need {size:,.0f}\u00a0MB for a text of this length, which is too much to store. "
            "Choose one head in Options, or run a shorter text."
        )
    return ""


def _not_found(context: Context, block: BlockNorms) -> str:
    """Why a layer has no norms with residual connection, or with LayerNorm."""
    layer = context.selection.layer
    if block.has("residual", layer):
        return (
            f"In layer {layer}, no LayerNorm follows the sum of attention and residual connection (a pre-norm "
            f"model). Choose “{RESIDUAL}” in Options."
        )
    if context.run.not_finite is not None:
        return (
            f"Some numbers of this run are not finite, so the residual connection of layer {layer} could not be "
            f"verified. "
            f"Choose “{ALL}” in Options."
        )
    return (
        f"In layer {layer}, no plain sum of attention and residual connection was found (a norm, a factor or the MLP "
        f"may be involved). Choose “{ALL}” in Options."
    )


def norms_of(context: Context, results: Results, first: int, last: int) -> np.ndarray:
    """(query, key) norms of these queries, whatever is shown."""
    attention, selection, passed, block = context.attention, context.selection, results.passed, results.block
    if is_of_one(context):
        return head_norms(attention, passed, selection.layer, selection.head, first, last)
    if block is None:
        return layer_norms(attention, passed, selection.layer, first, last)
    if stage_of(context) == "residual":
        return residual_norms(attention, passed, block, selection.layer, first, last)
    return layernorm_norms(attention, block, selection.layer, first, last)


def weights_of(context: Context, first: int, last: int) -> np.ndarray:
    """(query, key) weights of these queries: of the head, or their mean over the heads of its layer."""
    attention, selection = context.attention, context.selection
    if is_of_one(context):
        return attention.rows(selection.layer, selection.head, first, last)
    return mean_weights(attention, selection.layer, first, last)


def shown(context: Context) -> np.ndarray | None:
    """(query, key) of the figure; None if there is nothing to show."""
    results = results_of(context)
    if results is None or lacks(context, results):
        return None
    count, weight = len(context.attention.asks), context.options["value"] == "weight"
    values = weights_of(context, 0, count) if weight else norms_of(context, results, 0, count)
    return values if np.isfinite(values).any() else None


def row_of(context: Context, results: Results) -> Row:
    """The numbers of the selected query."""
    query = context.selection.token
    weights = weights_of(context, query, query + 1)[0]
    norms = norms_of(context, results, query, query + 1)[0]
    return Row(weights if context.options["value"] == "weight" else norms, weights, norms)


@dataclass(frozen=True)
class Mixing:
    """What each token gets from itself and from all others together: (token,) norms, and the mixing ratio, 0 to 1."""

    own: np.ndarray
    others: np.ndarray
    ratio: np.ndarray


def mixing_of(context: Context, results: Results) -> Mixing | None:
    """The mixing ratios of the selected layer; None without the residual connection."""
    layer, stage, block = context.selection.layer, stage_of(context), results.block
    if stage is None or block is None:
        return None
    index = STAGES.index(stage)
    return Mixing(block.own[index, layer], block.others[index, layer], block.mixing_ratio(stage, layer))
