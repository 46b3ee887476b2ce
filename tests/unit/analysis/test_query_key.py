"""The terms of a score, against worked examples by hand and a softmax in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dashboard.analysis.query_key import Group, ScoreTerms, groups_of, rotary_pairs, running_sums, score_terms
from dashboard.contracts.run import ModelRun
from tests.support.synthetic import make_parts, make_run

QUERY, KEY = np.array([1.0, -2.0, 3.0, 0.5]), np.array([2.0, 1.0, -4.0, 8.0])  # products 2, −2, −12, 4; q·k = −8


def test_every_term_of_a_score_by_hand() -> None:
    terms = ScoreTerms(QUERY, KEY, 0.5, bias=1.0, softcap=2.0)
    assert terms.products.tolist() == [2, -2, -12, 4]
    assert terms.dot == -8
    capped = 2 * math.tanh(-3 / 2)  # −8 · 0.5 + 1 = −3
    names, amounts = zip(*terms.others(), strict=True)
    assert names == ("Scaling (× 0.5)", "Position bias", "Softcap (2)")
    assert amounts == pytest.approx([4, 1, capped + 3])
    assert terms.score == pytest.approx(capped)


def test_a_forbidden_pair_has_a_mask_of_minus_infinity() -> None:
    terms = ScoreTerms(QUERY, KEY, 0.5, allowed=False)
    assert list(terms.others()) == [("Scaling (× 0.5)", 4.0), ("Mask", -math.inf)]
    assert terms.score == -math.inf


def test_the_orders() -> None:
    products = QUERY * KEY
    pairs = np.array([[0, 2, 0.01], [1, 3, 0.5]], dtype=np.float32)
    assert [group.name for group in groups_of(products)] == ["2", "3", "0", "1"]
    assert [group.product for group in groups_of(products, "dimension")] == [2, -2, -12, 4]
    assert running_sums(groups_of(products)).tolist() == [-12, -8, -6, -8]
    turned = groups_of(products, "frequency", pairs)
    assert [(group.name, group.product) for group in turned] == [("1 + 3", 2), ("0 + 2", -10)]
    assert [group.wavelength for group in turned] == pytest.approx([4 * math.pi, 200 * math.pi], rel=1e-6)
    partly = groups_of(products, "frequency", pairs[:1])
    assert partly[1:] == [Group((1,), -2.0), Group((3,), 4.0)]
    assert groups_of(products, "frequency") == groups_of(products, "dimension")


def test_the_bound_of_rounding_holds_for_float32_sums_in_any_order() -> None:
    rng = np.random.default_rng(1)
    terms = ScoreTerms(*(rng.normal(size=256).astype(np.float32).astype(np.float64) for _ in range(2)), 1.0)
    products = terms.query.astype(np.float32) * terms.key.astype(np.float32)
    for _ in range(50):
        total = np.float32(0)
        for product in rng.permutation(products):
            total += product
        assert abs(float(total) - terms.dot) <= terms.rounding
    assert terms.rounding < 0.01


@pytest.mark.parametrize("extra", ["none", "bias", "sinks", "softcap", "window"])
def test_scores_give_the_runs_weights(extra: str) -> None:
    header, arrays = make_parts("causal")
    rng = np.random.default_rng(3)
    change: dict[str, object] = {
        "none": {},
        "bias": {"bias": "bias/0"},
        "sinks": {"sinks": "sinks/1"},
        "softcap": {"softcap": 1.5},
        "window": {"window": 3},
    }[extra]
    header["recipes"]["decoder"][1] |= change
    arrays["decoder/bias/0"] = rng.normal(size=(2, 6, 6)).astype(np.float32)
    arrays["decoder/sinks/1"] = np.array([0.5, 1.0], dtype=np.float32)
    run = ModelRun(header, arrays)
    attention = run.attention_of()
    for head in range(2):
        found = [score_terms(attention, 1, head, 4, key) for key in range(6)]
        powers = np.exp([terms.score for terms in found])
        total = powers.sum() + (math.exp(arrays["decoder/sinks/1"][head]) if extra == "sinks" else 0)
        np.testing.assert_allclose(powers / total, [terms.weight for terms in found], atol=1e-6)
        shares = [terms.sink for terms in found]
        if extra == "sinks":
            assert shares == pytest.approx([1 - powers.sum() / total] * 6, abs=1e-6)
        else:
            assert shares == [None] * 6


def test_a_run_without_frequencies_has_none() -> None:
    header, arrays = make_parts("causal")
    assert rotary_pairs(make_run("causal").attention_of(), 1) is None
    pairs = np.array([[0, 2, 1], [1, 3, 0.01]], dtype=np.float32)
    found = rotary_pairs(ModelRun(header, arrays | {"decoder/rotary/1": pairs}).attention_of(), 1)
    np.testing.assert_array_equal(found, pairs)
