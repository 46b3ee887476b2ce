"""A masked model's prediction at one masked position, for texts too long to mask at every position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.compute.declaration import Computed, Kind, Parameter, Parameters
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import OnProgress
from dashboard.contracts.prediction import Prediction
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

NAME = "masked-prediction"


def check(run: ModelRun, _parameters: Parameters) -> None:
    """Raise `MissingArrayError` if the model does not fill masked tokens."""
    if run.model.kind != "masked" or not run.has_predictions:
        raise MissingArrayError(f"{run.model.title} does not predict masked tokens. Choose a masked language model.")


def compute(loaded: LoadedModel, run: ModelRun, parameters: Parameters, progress: OnProgress) -> Computed:
    """Compute the arrays `masked/…` of a run, for one position only, and their `vocabulary` (`masked_fill`)."""
    from dashboard.capture.predictions import masked_fill

    request = run.request
    position, top_k, pair = parameters["position"], request.options.top_k, request.text_pair
    return Computed(masked_fill(loaded, run.text, position, top_k, pair, progress, adds=not request.chat))


def read(run: ModelRun, result: Derived) -> Prediction:
    """Return the prediction at the masked position."""
    return run.prediction_beside(result.arrays, int(dict(result.request.parameters)["position"]))


KIND = Kind(
    NAME,
    "The prediction at a masked position",
    (Parameter("position", of="token"),),
    check,
    compute,
    read,
    quick=lambda _parameters: True,
)
