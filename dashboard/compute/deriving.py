"""Computing derived results, for the worker, a notebook's kernel and the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.compute import kind_named
from dashboard.compute.declaration import Kind
from dashboard.contracts.derived import Derived, DerivedRequest, Value
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, ModelError

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel


def check(run: ModelRun, request: DerivedRequest) -> Kind:
    """Return the kind of a request, if it can be computed for this run.

    Raises:
        DashboardError: it cannot be computed; the message says why.
    """
    kind, parameters = kind_named(request.kind), dict(request.parameters)
    if kind.request(run, **parameters) != request:
        raise BadRequestError("The requested result belongs to another run or model. Reload the page.")
    run.check_current()
    kind.check(run, parameters)
    return kind


def compute(loaded: LoadedModel, run: ModelRun, request: DerivedRequest, progress: OnProgress | None = None) -> Derived:
    """Compute a derived result with the model that made the run.

    Raises:
        ModelError: `loaded` is another model, or computes in another dtype. DashboardError: the run cannot have this
            result, or `progress` raised it.
    """
    kind = check(run, request)
    if run.header.get("fingerprint") not in (None, loaded.fingerprint):
        raise ModelError(
            f"This is not {run.request.model} as it was for this run: its weights, its configuration or its tokenizer "
            "differ. Run the text again."
        )
    if run.dtype != loaded.dtype:
        raise ModelError(
            f"This run was computed in {run.dtype}, but this model computes in {loaded.dtype}. "
            f'Pass one that was loaded with dtype="{run.dtype}".'
        )
    found = kind.compute(loaded, run, dict(request.parameters), progress or _silent)
    return Derived(request, found.arrays, found.facts)


def derive(
    loaded: LoadedModel, run: ModelRun, kind: str, progress: OnProgress | None = None, **parameters: Value
) -> Any:
    """Compute a derived result of a run now.

    Args:
        loaded: the model that made the run. kind: the kind's name, such as "masked-prediction"; `dashboard.compute` has
            a file for each.
        progress: called with each step; an exception from it stops the computation.
        **parameters: those of the kind.

    Returns:
        The value that the kind's file defines: for "masked-prediction", a `Prediction`.

    Raises:
        BadRequestError: no such kind or parameter. MissingArrayError: this model does not provide such a result.
        ModelError: another model made the run.
    """
    chosen = kind_named(kind)
    return chosen.read(run, compute(loaded, run, chosen.request(run, **parameters), progress))


def _silent(_progress: Progress) -> None:
    return None
