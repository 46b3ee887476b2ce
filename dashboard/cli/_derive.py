"""`--derive KIND NAME=VALUE …`: derived results to add to a run's file, and whose tabs a report shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dashboard.errors import UsageError

if TYPE_CHECKING:
    from dashboard.compute.declaration import Parameter
    from dashboard.contracts.derived import DerivedRequest, Value
    from dashboard.contracts.run import ModelRun
    from dashboard.views.declaration import View
    from dashboard.views.state import ViewState

ALL = "all"  # in place of an index: all that the run has


def requests_of(run: ModelRun, asked: Sequence[Sequence[str]]) -> list[DerivedRequest]:
    """The requests that the words of each `--derive` make of a run.

    Raises:
        UsageError: a word is not NAME=VALUE. DashboardError: no such kind or parameter, or a value out of bounds.
    """
    return [request for words in asked for request in _of_one(run, words)]


def check_words(asked: Sequence[Sequence[str]]) -> None:
    """Raise `UsageError`, before a model is loaded, for anything that is invalid for every run."""
    from dashboard.compute import all_kinds

    kinds = all_kinds()
    for words in asked:
        kind = kinds.get(words[0])
        if kind is None:
            raise UsageError(f"There is no derived result “{words[0][:40]}”. Choose one of {', '.join(kinds)}.")
        names = [parameter.name for parameter in kind.parameters]
        if sorted(_pairs(words)) != sorted(names):
            wanted = " ".join(f"{name}=…" for name in names)
            raise UsageError(f"{kind.title} takes other parameters. Write --derive {kind.name} {wanted}.")


def position_of(asked: Sequence[DerivedRequest]) -> int | None:
    """The token of all the results, if they share one."""
    found = {dict(request.parameters)["position"] for request in asked if "position" in dict(request.parameters)}
    return int(found.pop()) if len(found) == 1 else None


def options_of(view: View, asked: Sequence[DerivedRequest]) -> dict[str, Any]:
    """A view's options: the defaults, overridden by the parameters of requested results that have the same name."""
    given = {name: value for request in reversed(asked) for name, value in request.parameters}
    return {one.name: one.parse(given.get(one.name)) if view.needs else one.default for one in view.controls}


def shown_in(views: Sequence[View], run: ModelRun, state: ViewState, asked: Sequence[DerivedRequest]) -> set[str]:
    """The names of the views that need only kinds of results that were requested. `run` holds these results."""
    from dashboard.contracts.context import Context

    kinds = {request.kind for request in asked}
    wanted = {view.name: view.wanted(Context(run, state.selection, state.options[view.name])) for view in views}
    return {name for name, requests in wanted.items() if requests and {request.kind for request in requests} <= kinds}


def _of_one(run: ModelRun, words: Sequence[str]) -> list[DerivedRequest]:
    from dashboard.compute import kind_named

    kind, given = kind_named(words[0]), _pairs(words)
    choices = [
        _values(run, parameter, given[parameter.name]) for parameter in kind.parameters if parameter.name in given
    ]
    names = [parameter.name for parameter in kind.parameters if parameter.name in given]
    return [kind.request(run, **dict(zip(names, chosen, strict=True))) for chosen in itertools.product(*choices)]


def _pairs(words: Sequence[str]) -> dict[str, str]:
    found = dict(word.partition("=")[::2] for word in words[1:])
    if len(found) < len(words) - 1 or not all("=" in word for word in words[1:]):
        raise UsageError(
            f"--derive {' '.join(words)} cannot be read. Write a kind and NAME=VALUE for each of its parameters, once."
        )
    return found


def _values(run: ModelRun, parameter: Parameter, given: str) -> Sequence[Value]:
    if parameter.of is not None and given == ALL:
        return range(run.counts()[parameter.of])
    if parameter.of is not None and given.isascii() and given.isdigit():
        return [int(given[:9])]
    if parameter.choices:
        return [next((choice for choice in parameter.choices if str(choice) == given), given)]
    if parameter.least is not None or parameter.most is not None:
        try:
            return [float(given)]
        except ValueError:
            return [given]
    return [given]
