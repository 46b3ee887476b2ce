"""Patterns of heads, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.analysis.head_patterns import PATTERN_NAMES, head_tags
from dashboard.contracts.run import ModelRun
from tests.support.synthetic import make_parts


def run_with(**scores: float) -> ModelRun:
    """A run of an earlier version, of one layer and one head with these mean weights."""
    header, arrays = make_parts(layers=1, heads=1)
    given = {"previous": 0.0, "next": 0.0, "self": 0.0, "first": 0.0, "entropy_share": 0.0, **scores}
    older = {name: one for name, one in arrays.items() if not name.startswith(("decoder/beyond", "decoder/scores"))}
    return ModelRun(header, older | {f"decoder/scores/{name}": np.array([[value]]) for name, value in given.items()})


@pytest.mark.parametrize(
    ("scores", "pattern", "score"),
    [
        ({"previous": 0.9, "self": 0.05}, "previous", 0.9),
        ({"first": 0.7}, "first", 0.7),
        ({"next": 0.5, "self": 0.45}, "next", 0.5),
        ({"self": 0.39, "entropy_share": 0.9}, "spread", 0.9),
        ({"self": 0.39, "entropy_share": 0.5}, "mixed", 0.39),
        ({"self": 0.9, "entropy_share": 0.9}, "self", 0.9),
        ({"first": 0.7, "next": 0.5}, "next", 0.5),
    ],
)
def test_a_head_is_named_by_what_is_clearly_above_chance(scores: dict[str, float], pattern: str, score: float) -> None:
    [[tag]] = head_tags(run_with(**scores).attention_of())
    assert (tag.pattern, tag.score) == (pattern, pytest.approx(score))
    assert tag.pattern in PATTERN_NAMES


def test_there_is_a_tag_for_every_head() -> None:
    tags = head_tags(ModelRun(*make_parts(layers=3, heads=4)).attention_of())
    assert [len(row) for row in tags] == [4, 4, 4]
