"""Scores of heads with the reading aids applied: against loops over every pair, by hand, and what a run stores."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from dashboard.analysis import read_scores
from dashboard.analysis.attention_reading import NO_AIDS, Aids
from dashboard.analysis.head_scores import NAMES, head_scores, marks_of, text_by_chance
from dashboard.analysis.read_scores import are_readable, read_by_chance, scores_read
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from tests.support.synthetic import make_run
from tests.unit.analysis.test_attention_reading import stored

TEXTS = ("[CLS]", "no", "t", " a", ",", " no", "t", " a", "[SEP]")
WORDS = (None, 0, 0, 1, 2, 3, 3, 4, None)
IDS = (1, 5, 6, 7, 8, 5, 6, 7, 2)
GROUPS = ((0,), (1, 2), (3,), (4,), (5, 6), (7,), (8,))  # the words
AIDS = (
    Aids(special=True),
    Aids(first=True),
    Aids(words=True),
    Aids(special=True, sums=True),
    Aids(first=True, words=True, sums=True),
    Aids(special=True, words=True),
)


def attended(kind: ModelKind = "encoder", seed: int = 3) -> tuple[ModelRun, np.ndarray]:
    """A run of two layers of two heads with random attention, and that attention (layer, head, query, key)."""
    size = len(TEXTS)
    logits = np.random.default_rng(seed).normal(size=(2, 2, size, size)) * 2
    if kind == "causal":
        logits[:, :, ~np.tril(np.ones((size, size), dtype=bool))] = -np.inf
    weights = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    changes: dict[str, Any] = {
        f"at{i}": {"id": IDS[i], "word": WORDS[i], "special": WORDS[i] is None} for i in range(size)
    }
    return stored(weights, TEXTS, kind, **changes), weights


def by_loops(weights: np.ndarray, aids: Aids, causal: bool) -> dict[str, float]:
    """Every score of one head, pair by pair, straight from the definitions."""
    units = GROUPS if aids.words else tuple((i,) for i in range(len(TEXTS)))
    names = [tuple(IDS[i] for i in unit) for unit in units]
    out = {0, 8} if aids.special else {0} if aids.first else set()
    kept = [u for u, unit in enumerate(units) if not set(unit) <= out]
    between = {
        (q, k): sum(weights[i, j] for i in units[q] for j in units[k]) / len(units[q])
        for q, k in itertools.product(kept, repeat=2)
    }
    sums = {q: sum(between[q, k] for k in kept) for q in kept}
    rows = [q for q in kept if sums[q] > 0]
    if aids.sums:
        between = {(q, k): weight / (sums[q] or 1) for (q, k), weight in between.items()}

    def allowed(query: int, key: int) -> bool:
        return not causal or key <= query

    def repeats(query: int, key: int) -> bool:
        return names[query] == names[key] and (key < query if causal else key != query)

    def induces(query: int, key: int) -> bool:
        return causal and 1 <= key < query and names[key - 1] == names[query]

    special, comma = {u for u in kept if u in (0, len(units) - 1)} - {0}, [u for u in kept if units[u] == (4,)]
    looks = {
        "previous": lambda q, k: k == q - 1,
        "next": lambda q, k: k == q + 1,
        "self": lambda q, k: k == q,
        "first": lambda q, k: k == 0 and q > 0,
        "separator": lambda q, k: k in special,
        "punctuation": lambda q, k: k in comma,
        "duplicate": repeats,
        "induction": induces,
    }
    found = {}
    for name, look in looks.items():
        asking = rows if name in ("separator", "punctuation") else [q for q in rows if any(look(q, k) for k in kept)]
        some = any(look(q, k) for q, k in between)
        values = [sum(between[q, k] for k in kept if look(q, k)) for q in asking]
        found[name] = sum(values) / len(values) if values and some else math.nan

    def entropy(query: int) -> float:
        return -sum(between[query, k] * math.log(between[query, k]) for k in kept if between[query, k] > 0)

    choice = {q: sum(allowed(q, k) for k in kept) for q in rows}
    shares = [entropy(q) / math.log(choice[q]) for q in rows if choice[q] > 1]
    found["entropy"] = sum(map(entropy, rows)) / len(rows)
    found["entropy_share"] = sum(shares) / len(shares)
    found["distance"] = sum(between[q, k] * abs(q - k) for q in rows for k in kept) / len(rows)
    return found


@pytest.mark.parametrize("kind", ["encoder", "causal"])
@pytest.mark.parametrize("aids", AIDS, ids=str)
def test_scores_are_means_over_what_the_aids_leave(kind: ModelKind, aids: Aids) -> None:
    run, weights = attended(kind)
    found = scores_read(run.attention_of(), aids)
    assert tuple(found) == NAMES
    for layer, head in itertools.product(range(2), repeat=2):
        wanted = by_loops(weights[layer, head].astype(np.float32).astype(float), aids, kind == "causal")
        own = {name: float(values[layer, head]) for name, values in found.items()}
        assert own == pytest.approx(wanted, rel=1e-5, nan_ok=True)


def test_three_words_by_hand() -> None:
    """Pieces a b | c: the row of the word is the mean of two rows, its column the sum of two columns."""
    weights = np.array([[[[0.2, 0.2, 0.6], [0.4, 0.4, 0.2], [0.1, 0.3, 0.6]]]])
    run = stored(weights, ("a", "b", " c"), at0={"word": 0}, at1={"word": 0}, at2={"word": 1})
    found = {name: values[0, 0] for name, values in scores_read(run.attention_of(), Aids(words=True)).items()}
    assert found["next"] == pytest.approx(0.4)  # (0.6 + 0.2) / 2
    assert found["previous"] == found["first"] == pytest.approx(0.4)
    assert found["self"] == pytest.approx(0.6)  # (0.6 + 0.6) / 2
    assert found["distance"] == pytest.approx(0.4)
    assert math.isnan(found["separator"])


@pytest.mark.parametrize("kind", ["causal", "encoder", "masked"])
def test_without_aids_they_are_what_the_capture_streamed(kind: ModelKind) -> None:
    """A run's own scores come from other code (dashboard/capture/statistics.py), over the same weights."""
    attention = stored_scores(kind).attention_of()
    wanted, found = head_scores(attention), scores_read(attention, NO_AIDS)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)


def stored_scores(kind: ModelKind) -> ModelRun:
    """A run whose stored scores are recomputed by plain means over its weights."""
    run = make_run(kind)
    attention = run.attention_of()
    size = len(run)
    heads = range(attention.heads)
    every = np.array([[attention.weights(layer, head) for head in heads] for layer in range(attention.layers)], float)
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    entropy = -(every * np.log(np.where(every > 0, every, 1))).sum(axis=-1)
    counts = np.array([attention.allowed(0)[query].sum() for query in range(size)])
    scores = {
        "previous": np.diagonal(every, -1, 2, 3).mean(axis=-1),
        "next": np.diagonal(every, 1, 2, 3).mean(axis=-1),
        "self": np.diagonal(every, 0, 2, 3).mean(axis=-1),
        "first": every[:, :, 1:, 0].mean(axis=-1),
        "entropy": entropy.mean(axis=-1),
        "entropy_share": (entropy[:, :, counts > 1] / np.log(counts[counts > 1])).mean(axis=-1),
        "distance": (every * apart).sum(axis=-1).mean(axis=-1),
    }
    arrays = {name: values for name, values in run.arrays.items() if "/scores/" not in name}
    arrays |= {f"{attention.kind}/scores/{name}": values.astype(np.float32) for name, values in scores.items()}
    arrays[f"{attention.kind}/received"] = every.mean(axis=2).astype(np.float32)
    return ModelRun(run.header, arrays)


@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_chance_is_the_score_of_a_head_that_spreads_evenly(kind: ModelKind) -> None:
    run, _weights = attended(kind)
    allowed = run.attention_of().allowed(0)
    even = allowed / allowed.sum(axis=1, keepdims=True)
    for aids in AIDS:
        wanted = by_loops(even, aids, kind == "causal")
        assert read_by_chance(run.attention_of(), 0, aids) == pytest.approx(wanted, rel=1e-5, nan_ok=True)
    plain = text_by_chance(run.recipe(0), marks_of(run.attention_of()))
    assert read_by_chance(run.attention_of(), 0, NO_AIDS) == pytest.approx(plain, rel=1e-5, nan_ok=True)


def test_a_row_without_weight_counts_for_nothing_and_one_that_is_not_finite_for_all() -> None:
    _run, weights = attended()
    weights[0, 0, 3] = 0
    weights[0, 0, 3, 0] = 1  # all of it on [CLS], which is left out
    weights[1, 1, 4, 2] = np.nan
    changed = stored(weights, TEXTS, at0={"special": True}, at8={"special": True})
    found = scores_read(changed.attention_of(), Aids(special=True))
    own = weights[0, 0]
    assert found["self"][0, 0] == pytest.approx(np.mean([own[i, i] for i in (1, 2, 4, 5, 6, 7)]), rel=1e-5)
    assert math.isnan(found["self"][1, 1])
    assert math.isfinite(found["self"][1, 0])


def test_long_texts_and_runs_without_queries_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("causal")
    assert are_readable(run.attention_of())
    without = ModelRun(run.header, {name: values for name, values in run.arrays.items() if "/query/" not in name})
    assert not are_readable(without.attention_of())
    monkeypatch.setattr(read_scores, "MOST_WEIGHTS", 2 * 2 * 6 * 6 - 1)
    assert not are_readable(run.attention_of())
