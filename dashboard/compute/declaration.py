"""What a kind of derived result declares.

No torch here: the web process only reads the declaration, a worker computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboard.contracts.derived import Derived, DerivedRequest, Value
from dashboard.contracts.job import OnProgress, Rank
from dashboard.contracts.run import ModelRun
from dashboard.contracts.streams import check
from dashboard.errors import BadRequestError

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter with its bounds.

    Attributes:
        name: the parameter's name. of: what an index counts ("token", "layer", "head"), which bounds it in every run.
        choices: the allowed values, if it is not an index. least, most: bounds of a number without either.
        longest: the most characters of a text parameter.
    """

    name: str
    of: str | None = None
    choices: tuple[Value, ...] = ()
    least: float | None = None
    most: float | None = None
    longest: int | None = None

    def check(self, run: ModelRun, value: Value) -> None:
        """Raise `BadSelectionError` or `BadRequestError` for a value out of bounds."""
        if self.of is not None:
            if isinstance(value, bool) or not isinstance(value, int):
                raise BadRequestError(f"{self.name} is {value!r}; give a whole number, 0 or more.")
            check(self.of, value, run.counts()[self.of])
        elif self.choices and value not in self.choices:
            raise BadRequestError(f"{self.name} is {value!r}; choose one of {', '.join(map(str, self.choices))}.")
        elif self.longest is not None:
            if not isinstance(value, str) or len(value) > self.longest:
                raise BadRequestError(f"{self.name} must be text of at most {self.longest} characters. Shorten it.")
        elif self.least is not None or self.most is not None:
            least, most = -math.inf if self.least is None else self.least, math.inf if self.most is None else self.most
            if isinstance(value, (bool, str)) or not least <= value <= most:
                ends = [f"{word} {end}" for word, end in (("from", self.least), ("to", self.most)) if end is not None]
                raise BadRequestError(f"{self.name} is {value!r}; give a number {' '.join(ends)}.")


@dataclass(frozen=True)
class Computed:
    """The result of a computation: arrays by name, and facts as JSON."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)


def never(_parameters: Parameters) -> bool:
    """A `Kind.quick` for results that all take long."""
    return False


@dataclass(frozen=True)
class Kind:
    """One kind of derived result.

    Attributes:
        name: lower case, with hyphens: the file's name. title: the name that begins a sentence.
        parameters: all must be given, and no others.
        check: raises a `DashboardError` if this run cannot have the result (`MissingArrayError` if its model does not
            provide it).
        compute: computes the result, in a process with torch, with the model that made the run; reports its progress,
            and the report raises to stop it.
        of_model: whether the result depends on the model alone, so that all runs of the same weights share it
            (docs/decisions/046).
        read: turns a run and the result into the value that `dashboard.derive` returns.
        quick: whether these parameters take only a moment, for the place a person is looking at: such a job comes
            before runs. Others come after them, one per visitor at a time.
        gives_way: whether other jobs may run between two of its reports, which come at least twice a second. Then the
            computation changes nothing in the model (no hooks, no mask inserted anywhere), and its results so far are
            kept. Reports from within `at_each_layer` only show progress. Declare this for long computations.

    Raises:
        ValueError: the kind is neither quick nor gives way, so that a run would wait for all of it.
    """

    name: str
    title: str
    parameters: tuple[Parameter, ...]
    check: Callable[[ModelRun, Parameters], None]
    compute: Callable[[LoadedModel, ModelRun, Parameters, OnProgress], Computed]
    read: Callable[[ModelRun, Derived], Any]
    quick: Callable[[Parameters], bool] = never
    gives_way: bool = False
    of_model: bool = False

    def __post_init__(self) -> None:
        if self.quick is never and not self.gives_way:
            raise ValueError(
                f"{self.name} would make runs wait for the whole of it. Say of which parameters it is computed in a "
                f"moment "
                "(quick), or that others' work may be done between two of its reports (gives_way=True)."
            )

    def rank(self, request: DerivedRequest) -> Rank:
        """Return the rank of a request of this kind among the jobs."""
        return Rank.QUICK if self.quick(dict(request.parameters)) else Rank.LONG

    def request(self, run: ModelRun, **parameters: Value) -> DerivedRequest:
        """Make the request for this result of a run.

        Raises:
            BadRequestError: a parameter is missing, unknown or out of bounds.
            BadSelectionError: an index is out of range.
        """
        parameters = {
            name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()
        }
        names = {parameter.name for parameter in self.parameters}
        if set(parameters) != names:
            wanted, given = (", ".join(sorted(some)) or "none" for some in (names, parameters))
            raise BadRequestError(
                f"{self.title} takes these parameters: {wanted}. Given were: {given}. Give exactly those."
            )
        for parameter in self.parameters:
            parameter.check(run, parameters[parameter.name])
        return DerivedRequest(run.key, self.name, tuple(parameters.items()), run.model_key if self.of_model else "")
