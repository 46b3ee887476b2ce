"""Kinds of derived results: what their parameters may be. Numpy only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dashboard.cli._derive import _values
from dashboard.compute import kind_named
from dashboard.compute.declaration import Parameter
from dashboard.compute.logit_lens import rows_of_a_step
from dashboard.contracts.derived import DerivedRequest, Value
from dashboard.contracts.job import Rank
from dashboard.errors import BadRequestError
from tests.support.synthetic import make_run


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "words"),
    [
        ({"most": 5}, (-3, 0, 5.0), (5.1, "5", True), "give a number to 5"),
        ({"least": -1}, (-1, 7.5), (-2, "x", False), "give a number from -1"),
        ({"least": 0, "most": 1}, (0, 1, 0.5), (-0.1, 2), "give a number from 0 to 1"),
    ],
)
def test_a_number_has_the_bounds_that_are_declared(bounds: Any, good: Any, bad: Any, words: str) -> None:
    run, parameter = make_run(), Parameter("share", **bounds)
    for value in good:
        parameter.check(run, value)
    for value in bad:
        with pytest.raises(BadRequestError, match=words):
            parameter.check(run, value)


@pytest.mark.parametrize(("given", "meant"), [("5", 5), ("0.5", 0.5), ("True", True), ("all", "all")])
def test_a_choice_that_is_a_number_can_be_given_on_the_shell(given: str, meant: Value) -> None:
    parameter = Parameter("which", choices=(5, 0.5, True, "all"))
    [found] = _values(make_run(), parameter, given)
    assert (found, type(found)) == (meant, type(meant))
    parameter.check(make_run(), found)


def test_an_index_may_come_from_numpy() -> None:
    run, kind = make_run("masked"), kind_named("masked-prediction")
    asked = kind.request(run, position=np.argmax([0, 3, 1]))  # type: ignore[arg-type]
    assert asked == kind.request(run, position=1)
    assert type(dict(asked.parameters)["position"]) is int


@pytest.mark.parametrize(
    ("kind", "parameters", "rank"),
    [
        ("masked-prediction", {"position": 1}, Rank.QUICK),
        ("position-lens", {"position": 1, "mode": "masked", "words": ""}, Rank.QUICK),
        ("logit-lens", {}, Rank.LONG),
    ],
)
def test_what_a_person_waits_for_at_one_place_comes_before_runs(kind: str, parameters: Any, rank: Rank) -> None:
    assert kind_named(kind).rank(DerivedRequest.of("0" * 64, kind, **parameters)) == rank


def test_a_kind_is_quick_or_long_by_its_parameters() -> None:
    kind = replace(kind_named("logit-lens"), quick=lambda parameters: "position" in parameters)
    assert kind.rank(DerivedRequest.of("0" * 64, kind.name, position=3)) == Rank.QUICK
    assert kind.rank(DerivedRequest.of("0" * 64, kind.name)) == Rank.LONG


def test_a_kind_is_quick_or_gives_way() -> None:
    """Else a run would wait for the whole of it; whoever adds one is told so when it is imported."""
    with pytest.raises(
        ValueError, match=r"^logit-lens would make runs wait for the whole of it\. Say .*quick.*gives_way=True"
    ):
        replace(kind_named("logit-lens"), gives_way=False)


@pytest.mark.parametrize(
    ("hidden_size", "vocabulary", "rows"),
    [(576, 49_152, 170), (4_096, 128_256, 19), (384, 512, 16_384), (10**5, 10**6, 1)],
)
def test_a_step_of_the_lens_is_short_and_small(hidden_size: int, vocabulary: int, rows: int) -> None:
    """By hand: 32 MiB of float32 logits, and 2·10¹⁰ multiplications and additions."""
    assert rows_of_a_step(hidden_size, vocabulary) == rows
