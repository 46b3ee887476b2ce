"""What a masked model predicts at one position when the mask token stands there, of texts too long to mask everywhere
at once."""

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
    """Raise `MissingArrayError` where the model fills no masked tokens."""
    if run.model.kind != "masked" or not run.has_predictions:
        raise MissingArrayError(f"{run.model.title} fills no masked tokens. Choose a masked language model.")


def compute(loaded: LoadedModel, run: ModelRun, parameters: Parameters, progress: OnProgress) -> Computed:
    """The arrays `masked/…` of a run, but for one position, and their `vocabulary` (`masked_fill`)."""
    from dashboard.capture.predictions import masked_fill

    request = run.request
    return Computed(
        masked_fill(loaded, request.text, parameters["position"], request.options.top_k, request.text_pair, progress)
    )


def read(run: ModelRun, result: Derived) -> Prediction:
    """The prediction at the position that was masked."""
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
