"""The scores a head would have by chance, if it spread each row evenly over the keys that the mask allows."""

from __future__ import annotations

import numpy as np

from dashboard.contracts.attention_recipe import ScoreRecipe


def by_chance(recipe: ScoreRecipe, queries: int, keys: int) -> dict[str, float]:
    """The scores of a head that attends equally to every allowed key, by their names in a run (`scores/…`).

    Query i may attend to the keys low … high, so each gets 1 / (high − low + 1). The means cover the same rows as a
    run's: `previous` and `first` leave out query 0, `next` leaves out the last one.

    Returns:
        previous, next, self, first (weights), entropy (nats), distance (tokens); NaN if there is no row to average.
    """
    query = np.arange(queries, dtype=np.float64)
    low, high = _span(recipe, query, keys)
    count = np.maximum(high - low + 1, 1)

    def weight_on(key: np.ndarray) -> np.ndarray:
        return np.where((low <= key) & (key <= high), 1 / count, 0.0)

    before, after = query - low, high - query
    within = (before >= 0) & (after >= 0)
    near = (before * (before + 1) + after * (after + 1)) / 2 / count
    return {
        "previous": _mean(weight_on(query - 1)[1:]),
        "next": _mean(weight_on(query + 1)[:-1]),
        "self": _mean(weight_on(query)),
        "first": _mean(weight_on(np.zeros(queries))[1:]),
        "entropy": _mean(np.log(count)),
        "distance": _mean(np.where(within, near, np.abs(query - (low + high) / 2))),
    }


def _span(recipe: ScoreRecipe, query: np.ndarray, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """(query,) each: the first and the last key that a query may attend to."""
    zero, last = np.zeros_like(query), np.full_like(query, keys - 1)
    reach = np.inf if recipe.window is None else recipe.window
    if recipe.mask == "causal":
        return np.maximum(query - reach + 1, zero), np.minimum(query, last)
    return np.maximum(query - reach, zero), np.minimum(query + reach, last)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
