"""Scores and tags of heads on attention made by hand, and what chance gives on three tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dashboard.analysis.head_patterns import PATTERN_NAMES, head_tags
from dashboard.analysis.head_scores import (
    NAMES,
    Marks,
    beyond_first,
    beyond_first_by_chance,
    head_scores,
    text_by_chance,
)
from dashboard.contracts.attention_recipe import ScoreRecipe, allowed_keys
from dashboard.contracts.repeats import Repeats
from dashboard.contracts.run import ModelRun
from dashboard.contracts.token import Token
from tests.support.synthetic import make_parts

CAUSAL, FULL = ScoreRecipe(1.0, "causal"), ScoreRecipe(1.0, "full")


def by_definition(weights: np.ndarray, ids: Sequence[int], mask: str) -> tuple[dict[str, float], dict[str, float]]:
    """Scores, and shares beyond the first token, of one head's (query, key) weights, one pair after the other."""
    size, pairs = len(ids), {"previous": [], "next": [], "self": [], "duplicate": [], "induction": []}  # type: ignore[var-annotated]
    for i in range(size):
        pairs["previous"] += [(i, i - 1)] if i else []
        pairs["next"] += [(i, i + 1)] if i < size - 1 else []
        pairs["self"] += [(i, i)]
        for j in range(size):
            if ids[i] == ids[j] and (j < i if mask == "causal" else j != i):
                pairs["duplicate"].append((i, j))
                if mask == "causal" and j + 1 < i:
                    pairs["induction"].append((i, j + 1))
    scores, beyond = {}, {}
    for name, found in pairs.items():
        rows = {i for i, _j in found}
        scores[name] = sum(weights[i, j] for i, j in found) / len(rows) if rows else np.nan
        rows = rows if name in ("duplicate", "induction") else set(range(size))
        left = sum(weights[i, 1:].sum() for i in rows)
        beyond[name] = sum(weights[i, j] for i, j in found if j > 0) / left if rows and left else np.nan
    return scores, beyond


def run_of(
    weights: np.ndarray, ids: Sequence[int], texts: Sequence[str] | None = None, mask: str = "causal"
) -> ModelRun:
    """A run of one layer and one head with these (query, key) weights."""
    kind, stream = ("causal", "decoder") if mask == "causal" else ("encoder", "encoder")
    header, arrays = make_parts(kind, texts or [f" t{i}" for i in ids], layers=1, heads=1)  # type: ignore[arg-type]
    header["tokens"] = {stream: [[i, *row[1:]] for i, row in zip(ids, header["tokens"][stream], strict=True)]}
    scores, beyond = by_definition(weights, ids, mask)
    logs = np.log(np.where(weights > 0, weights, 1))
    entropy, allowed = -(weights * logs).sum(1), allowed_keys(ScoreRecipe(1.0, mask), len(ids), len(ids)).sum(1)  # type: ignore[arg-type]
    more = {"first": weights[1:, 0].mean(), "entropy": entropy.mean()}
    more["entropy_share"] = (entropy[allowed > 1] / np.log(allowed[allowed > 1])).mean()
    arrays |= {
        f"{stream}/scores/{name}": np.array([[value]], dtype=np.float32) for name, value in (scores | more).items()
    }
    arrays |= {f"{stream}/beyond_first/{name}": np.array([[value]], np.float32) for name, value in beyond.items()}
    arrays[f"{stream}/received"] = weights.mean(0)[None, None].astype(np.float32)
    return ModelRun(header, arrays)


def even(recipe: ScoreRecipe, size: int) -> np.ndarray:
    allowed = allowed_keys(recipe, size, size)
    return allowed / allowed.sum(axis=1, keepdims=True)


def test_chance_on_three_tokens_by_hand() -> None:
    """a b a: rows (1), (1/2, 1/2), (1/3, 1/3, 1/3); only the last token repeats another."""
    found = text_by_chance(CAUSAL, Marks.of_ids([5, 6, 5]))
    assert found["previous"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found["first"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found["self"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found["duplicate"] == pytest.approx(1 / 3)
    assert found["induction"] == pytest.approx(1 / 3)
    assert found["entropy"] == pytest.approx((np.log(2) + np.log(3)) / 3)
    assert found["distance"] == pytest.approx((0 + 1 / 2 + 3 / 3) / 3)
    assert np.isnan([found["separator"], found["punctuation"]]).all()
    beyond = beyond_first_by_chance(CAUSAL, Marks.of_ids([5, 6, 5]))
    left = 1 / 2 + 2 / 3  # of all rows, on other tokens than the first
    assert beyond["previous"] == pytest.approx((1 / 3) / left), "the second token's previous one is the first"
    assert beyond["self"] == pytest.approx((1 / 2 + 1 / 3) / left)
    assert beyond["induction"] == pytest.approx((1 / 3) / (2 / 3))
    assert beyond["duplicate"] == 0, "the only earlier occurrence is the first token"


def test_chance_for_separators_and_punctuation_by_hand() -> None:
    """[CLS] , [SEP] in full attention: each token has a third of each row."""
    tokens = [Token(1, "[CLS]", 0, 0, special=True), Token(2, ",", 0, 1), Token(3, "[SEP]", 1, 1, special=True)]
    found = text_by_chance(FULL, Marks.of(tokens))
    assert (found["separator"], found["punctuation"]) == pytest.approx((1 / 3, 1 / 3))
    assert (Marks.of(tokens).separator.tolist(), Marks.of(tokens).punctuation.tolist()) == (
        [False, False, True],
        [False, True, False],
    )
    beyond = beyond_first_by_chance(FULL, Marks.of(tokens))
    assert (beyond["separator"], beyond["punctuation"]) == pytest.approx((1 / 2, 1 / 2))


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("mask", ["causal", "full"])
def test_chance_is_what_even_rows_give(mask: Any, window: int | None) -> None:
    ids = [1, 2, 1, 3, 2, 2, 1, 4]
    recipe = ScoreRecipe(1.0, mask, window)
    scores, beyond = by_definition(even(recipe, len(ids)), ids, mask)
    found, shares = text_by_chance(recipe, Marks.of_ids(ids)), beyond_first_by_chance(recipe, Marks.of_ids(ids))
    assert {name: found[name] for name in scores} == pytest.approx(scores, nan_ok=True)
    assert {name: shares[name] for name in beyond} == pytest.approx(beyond, nan_ok=True)


def test_scores_of_separators_and_punctuation_leave_out_the_first_token() -> None:
    weights = np.array([[0.2, 0.3, 0.5], [0.1, 0.3, 0.6], [0.6, 0.3, 0.1]])
    run = run_of(weights, [1, 2, 3], ["(", ",", "x"], mask="full")
    found = head_scores(run.attention_of())
    assert list(found) == [name for name in NAMES if name in found], "in one order"
    assert float(found["punctuation"][0, 0]) == pytest.approx(0.3)
    assert np.isnan(found["separator"]).all()
    assert float(beyond_first(run.attention_of())["punctuation"][0, 0]) == pytest.approx(0.9 / 2.1)


def sunk(weights: np.ndarray, sink: float) -> np.ndarray:
    """The weights with this much of each row on the first token instead."""
    found = weights * (1 - sink)
    found[:, 0] += sink
    return found


REPEATED = [9, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]  # a first token, and five tokens twice


def aimed(name: str) -> np.ndarray:
    """Attention that does one thing, and looks at itself where it cannot."""
    size, weights = len(REPEATED), np.zeros((len(REPEATED),) * 2)
    for i in range(size):
        aims = {"previous": i - 1, "self": i, "first": 0, "duplicate": i - 5, "induction": i - 4}
        late = name not in ("duplicate", "induction") or i > 5
        weights[i, aims[name] if late and aims[name] >= 0 else 0] = 1
    return weights


@pytest.mark.parametrize("sink", [0.0, 0.5, 0.85])
@pytest.mark.parametrize("name", ["previous", "self", "duplicate", "induction"])
def test_a_sink_does_not_hide_what_a_head_does(name: str, sink: float) -> None:
    [[tag]] = head_tags(run_of(sunk(aimed(name), sink), REPEATED).attention_of())
    if sink == 0.85 and name in ("duplicate", "induction"):  # its first six rows are all on the first token
        assert tag.pattern == "first"
        return
    assert tag.pattern == name
    assert tag.score == pytest.approx(1)


def test_a_head_that_leaves_next_to_nothing_is_named_by_the_first_token() -> None:
    [[tag]] = head_tags(run_of(sunk(aimed("previous"), 0.95), REPEATED).attention_of())
    assert (tag.pattern, tag.score) == ("first", pytest.approx(0.955, abs=0.01))


def test_even_attention_gets_no_tag_however_short_the_text() -> None:
    for size in (2, 3, 4, 8, 30):
        for recipe in (CAUSAL, FULL):
            [[tag]] = head_tags(run_of(even(recipe, size), range(size), mask=recipe.mask).attention_of())
            assert tag.pattern == "spread", (size, recipe.mask)


def test_one_repetition_names_no_head() -> None:
    ids = [9, 1, 2, 3, 1, 4]
    weights = np.eye(6) * 0.1 + 0.9 * np.eye(6)[[0, 0, 0, 0, 2, 0]]
    [[tag]] = head_tags(run_of(weights, ids).attention_of())
    assert tag.pattern != "induction"
    assert set(PATTERN_NAMES) >= {"induction", tag.pattern}


def test_a_mask_is_no_separator_and_repeats_go_by_ids() -> None:
    tokens = [
        Token(1, "<s>", 0, 0, special=True),
        Token(4, "[MASK]", 0, 6, special=True, sign="mask"),
        Token(1, "</s>", 6, 6, special=True),
    ]
    marks = Marks.of(tokens)
    assert marks.separator.tolist() == [False, False, True]
    assert marks.counts("full") == {"separator": 1, "punctuation": 0, "duplicate": 2, "induction": 0}
    assert len(Repeats([1, 4, 1])) == 3
