"""What a view reads of its context is what it declares: a stale figure cannot come from a forgotten declaration."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.views import all_views
from dashboard.views.controls import SHOW, Control
from dashboard.views.declaration import View
from tests.support.synthetic import CLASSIFIERS, make_classifier, make_run, make_whole_run, values_of

KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")
PLACES = frozenset(field.name for field in fields(Selection)) - {"stamp"}  # which capture is meant stands for the run


class NotedSelection(Selection):
    """A selection that notes which of its fields are read."""

    def __getattribute__(self, name: str) -> Any:
        if name in PLACES:
            object.__getattribute__(self, "__dict__").setdefault("noted", set()).add(name)
        return object.__getattribute__(self, name)


class NotedOptions(dict[str, Any]):
    """Options that note which controls are asked for by name."""

    def __init__(self, chosen: dict[str, Any]) -> None:
        super().__init__(chosen)
        self.noted: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.noted.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.noted.add(name)
        return super().get(name, default)


class NotedContext(Context):
    """A context that notes whether the run is read."""

    def __getattribute__(self, name: str) -> Any:
        if name == "run":
            object.__getattribute__(self, "__dict__").setdefault("noted", set()).add(name)
        return object.__getattribute__(self, name)


run_of = functools.cache(make_run)  # what a run remembers is computed once
classifier_of = functools.cache(make_classifier)
whole_of = functools.cache(make_whole_run)  # the same with its derived results


def contexts(run: ModelRun, options: dict[str, Any], whole: bool = False) -> Iterator[NotedContext]:
    """Without a second token and with one, at a place of its own each."""
    for token, other in ((3, None), (2, 5)):
        yield NotedContext(run, NotedSelection(run.key, token, 1, 0, other), NotedOptions(options), whole=whole)


def read(function: Callable[[Context], Any], options: dict[str, Any], whole: bool = False) -> tuple[set[str], set[str]]:
    """(fields of the selection, controls) that a function reads, of runs of every kind together."""
    places: set[str] = set()
    controls: set[str] = set()
    for run in (*(made(kind) for kind in KINDS for made in (run_of, whole_of)), *map(classifier_of, CLASSIFIERS)):
        for context in contexts(run, options, whole):
            result = function(context)
            rows = getattr(result, "rows", None)  # of a table, which are made as they are read
            if rows is not None:
                list(itertools.islice(rows, 3))
            places |= context.__dict__.get("noted", set()) | context.selection.__dict__.get("noted", set())
            assert isinstance(context.options, NotedOptions)
            controls |= context.options.noted
    return places, controls


MOST_COMBINATIONS = 150


def every_choice(controls: Sequence[Control]) -> list[dict[str, Any]]:
    """Every combination of what the controls offer; where these are many, each choice of each control alone."""
    values = [values_of(control) for control in controls]
    if math.prod(len(found) for found in values) > MOST_COMBINATIONS:
        standard = {control.name: control.default for control in controls}
        alone = [{control.name: value} for control, found in zip(controls, values, strict=True) for value in found[1:]]
        return [standard, *(standard | change for change in alone)]
    return [
        dict(zip([control.name for control in controls], chosen, strict=True)) for chosen in itertools.product(*values)
    ]


def one_choice(controls: Sequence[Control]) -> list[dict[str, Any]]:
    """The defaults, and the last choice of each control alone."""
    standard = {control.name: control.default for control in controls}
    return [standard, *({**standard, control.name: values_of(control)[-1]} for control in controls)]


def choices() -> list[Any]:
    """(view, options) of every view, over all options; whether figure or table is shown changes neither."""
    return [
        pytest.param(view, options, id="-".join([view.name, *map(str, options.values())]))
        for view in all_views()
        for options in every_choice([control for control in view.controls if control is not SHOW])
    ]


def undeclared(view: View, options: dict[str, Any]) -> str:
    """What to change where a view's figure reads other fields of the selection than the view says; "" where it does
    not."""
    found, declared = read(view.draw, options)[0], set(view.fields(options))
    missing = f"also reads {sorted(found - declared)}, and would be out of date when that changes: name it in"
    idle = f"does not read {sorted(declared - found)}, and would be drawn again for nothing: take it out of"
    wrong = [said for said, fields in ((missing, found - declared), (idle, declared - found)) if fields]
    where = "figure_reads" if view.reads is None else "reads"
    return "; ".join(f"With {options}, the figure of {view.name} {said} {where}" for said in wrong)


@pytest.mark.parametrize(("view", "options"), choices())
def test_a_figure_reads_what_it_declares(view: View, options: dict[str, Any]) -> None:
    assert undeclared(view, options) == ""


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_every_control_is_read(view: View) -> None:
    controls = [control for control in view.controls if control is not SHOW]
    found: set[str] = set()
    for options in one_choice(controls):
        for function in (view.draw, view.text, view.needs, view.export, view.table):
            if function is not None:
                found |= read(function, options)[1]
    unread = [control.name for control in controls if control.name not in found and not control.beside]
    assert not unread, f"{view.name} offers {unread} and asks nowhere for context.options[…] of that name"


def test_a_forgotten_field_is_noticed() -> None:
    def draw(context: Context) -> None:
        assert context.attention.received[context.selection.layer].shape
        context.options["count"]

    assert read(draw, {"count": "10"}) == ({"run", "stream", "layer"}, {"count"})
    view = replace(all_views()[0], name="new", draw=draw, figure_reads=("run", "stream", "head"), reads=None)  # type: ignore[arg-type]
    assert undeclared(view, {"count": "10"}) == (
        "With {'count': '10'}, the figure of new also reads ['layer'], and would be out of date when that changes: "
        "name it in "
        "figure_reads; With {'count': '10'}, the figure of new does not read ['head'], and would be drawn again for "
        "nothing: "
        "take it out of figure_reads"
    )
