"""Attention of many heads as one matrix, for texts where that takes seconds: rollout, and means and maxima over all
layers (dashboard/analysis/aggregates.py).

It is made of the run alone; the model is not asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dashboard.analysis.aggregates import SHARE, heads_of, largest_of, mean_of, rollout
from dashboard.compute.declaration import Computed, Kind, Parameter, Parameters
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

NAME = "attention-aggregate"
OVER_LAYERS = ("mean-all", "max-all", "rollout")


def canonical(aggregate: str, layer: int, share: float) -> dict[str, Any]:
    """The parameters of an aggregate; those that do not concern it have one fixed value."""
    follows = aggregate == "rollout"
    return {"of": aggregate, "layer": layer if follows else 0, "share": share if follows else SHARE}


def check(_run: ModelRun, parameters: Parameters) -> None:
    """Raise `BadRequestError` for a layer or a share that does not concern the aggregate."""
    if dict(parameters) != canonical(parameters["of"], parameters["layer"], parameters["share"]):
        raise BadRequestError("Only a rollout has a layer and a share of attention. Give layer 0 and share 0.5.")


def compute(_loaded: LoadedModel, run: ModelRun, parameters: Parameters, progress: OnProgress) -> Computed:
    """Compute `weights`, (query, key) float32, for the run's main stream.

    Raises:
        MissingArrayError: the run does not hold queries and keys.
    """
    attention, aggregate, layer = run.attention_of(), parameters["of"], parameters["layer"]
    heads = heads_of(attention, range(layer + 1 if aggregate == "rollout" else attention.layers))

    def step(done: int) -> None:
        progress(Progress("layers", done, len(heads), f"Attention of head {done} of {len(heads)}"))

    if aggregate == "rollout":
        return Computed({"weights": rollout(attention, layer, parameters["share"], step)})
    combine = largest_of if aggregate == "max-all" else mean_of
    return Computed({"weights": combine(attention, heads, step)})


def read(_run: ModelRun, result: Derived) -> np.ndarray:
    """Return the weights, (query, key) float32."""
    return np.asarray(result.arrays["weights"])


KIND = Kind(
    NAME,
    "Attention over layers",
    (Parameter("of", choices=OVER_LAYERS), Parameter("layer", of="layer"), Parameter("share", least=0, most=1)),
    check,
    compute,
    read,
    gives_way=True,
)
