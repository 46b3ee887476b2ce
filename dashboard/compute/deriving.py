"""Computes derived results: for the worker, a kernel and the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.compute import kind_named
from dashboard.compute.declaration import Kind
from dashboard.contracts.derived import Derived, DerivedRequest, Value
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.run import ModelRun
from dashboard.errors import ModelError

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel


def check(run: ModelRun, request: DerivedRequest) -> Kind:
    """The kind of a request that can be computed of this run.

    Raises:
        DashboardError: it cannot; the message says why.
    """
    kind, parameters = kind_named(request.kind), dict(request.parameters)
    kind.request(run, **parameters)
    run.check_current()
    kind.check(run, parameters)
    return kind


def compute(loaded: LoadedModel, run: ModelRun, request: DerivedRequest, progress: OnProgress | None = None) -> Derived:
    """Compute a derived result with the model that made the run.

    Raises:
        ModelError: it is another model. DashboardError: the run cannot have this result; what `progress` raises.
    """
    kind = check(run, request)
    if run.header.get("fingerprint") not in (None, loaded.fingerprint):
        raise ModelError(f"The files of {run.request.model} have changed since this run. Run the text again.")
    found = kind.compute(loaded, run, dict(request.parameters), progress or _silent)
    return Derived(request, found.arrays, found.facts)


def derive(
    loaded: LoadedModel, run: ModelRun, kind: str, progress: OnProgress | None = None, **parameters: Value
) -> Any:
    """A derived result of a run, computed now.

    Args:
        loaded: the model that made the run. kind: its name, such as "masked-prediction"; `dashboard.compute` has a file
            for each.
        progress: told of each step; what it raises stops the computation.
        **parameters: of this kind.

    Returns:
        What the kind's file says: a `Prediction` of "masked-prediction".

    Raises:
        BadRequestError: no such kind or parameter. MissingArrayError: this model gives no such result.
        ModelError: another model made the run.
    """
    chosen = kind_named(kind)
    return chosen.read(run, compute(loaded, run, chosen.request(run, **parameters), progress))


def _silent(_progress: Progress) -> None:
    return None
