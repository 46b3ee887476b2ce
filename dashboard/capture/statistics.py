"""Raw statistics of every layer → the per-head scores, received attention and thumbnails that a run stores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dashboard.capture.tiles import ROWS, RawStatistics
from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.repeats import KINDS, Repeats


def summarise(
    raw: Sequence[RawStatistics], recipes: Sequence[ScoreRecipe], repeats: Repeats | None = None
) -> dict[str, np.ndarray]:
    """Summarise one text; each entry says which tokens its mean leaves out.

    Returns:
        scores/previous   (layer, head): mean weight on token i − 1, over i ≥ 1
        scores/next       (layer, head): mean weight on token i + 1, over i ≤ N − 2; 0 in causal attention
        scores/self       (layer, head): mean weight on token i
        scores/first      (layer, head): mean weight on token 0, over i ≥ 1 (row 0 of a causal model has no choice)
        scores/entropy    (layer, head) nats: mean over rows of −Σ w ln w (a sink's share is not a key and has no term)
        scores/entropy_share  (layer, head) 0 … 1: mean of a row's entropy / ln(allowed keys), without rows that have
                          only one key
        scores/distance   (layer, head) tokens: mean over rows of Σ w·|i − j|
        scores/duplicate  (layer, head): mean weight on earlier occurrences of the token, over tokens that have some
        scores/induction  (layer, head): mean weight on what followed earlier occurrences of the token, likewise
        beyond_first/…    (layer, head) of previous, next, self, duplicate, induction: the share that the score has of
                          the weight that is not on the first token: Σ w on it / Σ w on tokens ≥ 1, over the same rows
        received          (layer, head, token): mean over rows of the weight on each token
        thumbnails        (layer, head, t, t) uint8: 255·sqrt(weight), max-pooled; 0 only where nothing is read

        All are float32 except the thumbnails; NaN if a text is too short for a mean (N = 1), or if no token repeats.
    """
    rows = torch.stack([layer.rows.cpu() for layer in raw]).numpy()
    named = {name: rows[:, index] for index, name in enumerate(ROWS)}
    received = torch.stack([layer.received.cpu() for layer in raw]).numpy()
    tokens = received.shape[-1]
    entropy = _entropy(named)
    scores = {
        "previous": _mean(named["previous"][..., 1:]),
        "next": _mean(named["next"][..., :-1]),
        "self": _mean(named["self"]),
        "first": _mean(named["first"][..., 1:]),
        "entropy": _mean(entropy),
        "entropy_share": np.stack([_share(layer, recipe) for layer, recipe in zip(entropy, recipes, strict=True)]),
        "distance": _distance(raw, named["mass"], received) / tokens,
    }
    beyond = _beyond_first(named)
    if repeats is not None:
        for name in KINDS:
            pairs = [_of_repeats(name, named, layer, recipe, repeats) for layer, recipe in enumerate(recipes)]
            scores[name], beyond[name] = (np.stack(part) for part in zip(*pairs, strict=True))
    arrays: dict[str, np.ndarray] = {f"scores/{name}": values.astype(np.float32) for name, values in scores.items()}
    arrays |= {f"beyond_first/{name}": values.astype(np.float32) for name, values in beyond.items()}
    arrays["received"] = received / np.float32(tokens)
    arrays["thumbnails"] = _thumbnails(torch.stack([layer.pooled.cpu() for layer in raw])).numpy()
    return arrays


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis in float64; NaN if that is empty."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return values.mean(axis=-1, dtype=np.float64)


def _beyond_first(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(layer, head) of each: its share of all weight that is not on the first token."""
    whole = _sum(rows["mass"] - rows["first"])
    on = {"previous": rows["previous"][..., 2:], "next": rows["next"][..., :-1], "self": rows["self"][..., 1:]}
    return {name: _share_of(_sum(values), whole) for name, values in on.items()}


def _of_repeats(
    name: str, rows: dict[str, np.ndarray], layer: int, recipe: ScoreRecipe, repeats: Repeats
) -> tuple[np.ndarray, np.ndarray]:
    """(head,) each: the mean weight that one layer's queries with such a key give to it, and its share of their weight
    that is not on the first token."""
    asking = repeats.asking(recipe.mask)[KINDS.index(name)]
    weight, first = rows[name][layer][:, asking], rows["first"][layer][:, asking]
    beyond = weight - first * repeats.first[asking] if name == "duplicate" else weight
    return _mean(weight), _share_of(_sum(beyond), _sum(rows["mass"][layer][:, asking] - first))


def _sum(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = values.sum(axis=-1, dtype=np.float64)
    return found


def _share_of(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; NaN if there is no whole."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _entropy(rows: dict[str, np.ndarray]) -> np.ndarray:
    """(layer, head, query) nats.

    With w = m·exp(s − lse), the sum m of the row and −ln w = lse − ln m − s, the entropy −Σ w ln w is
    m·(lse − ln m) − Σ w·s; the log-sum-exp of the scores comes from the largest: lse = max s − ln max softmax(s).
    """
    mass = rows["mass"].astype(np.float64)
    lse = rows["top_score"].astype(np.float64) - np.log(rows["top_weight"].astype(np.float64))
    log_mass = np.log(np.maximum(mass, np.finfo(np.float64).tiny))
    return np.maximum(mass * (lse - log_mass) - rows["dot"], 0.0)


def _share(entropy: np.ndarray, recipe: ScoreRecipe) -> np.ndarray:
    """(head,): mean over the rows of one layer of entropy / ln(number of allowed keys)."""
    counts = allowed_counts(recipe, entropy.shape[-1])
    choice = counts > 1
    return _mean(entropy[:, choice] / np.log(counts[choice]))


def allowed_counts(recipe: ScoreRecipe, tokens: int) -> np.ndarray:
    """(query,): the number of keys each query may read."""
    index = np.arange(tokens)
    reach = tokens if recipe.window is None else recipe.window
    if recipe.mask == "causal":
        return np.minimum(index + 1, reach)
    return np.minimum(index + reach, tokens - 1) - np.maximum(index - reach, 0) + 1


def _distance(raw: Sequence[RawStatistics], mass: np.ndarray, received: np.ndarray) -> np.ndarray:
    """(layer, head): Σ w·|i − j|. In causal attention |i − j| = i − j, so this is Σ i·mass − Σ j·received."""
    index = np.arange(received.shape[-1], dtype=np.float64)
    causal = (mass * index).sum(axis=-1) - (received * index).sum(axis=-1)
    return np.stack(
        [
            np.maximum(causal[i], 0.0) if layer.distance is None else layer.distance.cpu().numpy()
            for i, layer in enumerate(raw)
        ]
    )


def _thumbnails(pooled: torch.Tensor) -> torch.Tensor:
    """(layer, head, t, t) float32 weights → uint8."""
    levels = pooled.sqrt().mul_(255.0).round_().clamp_(1.0, 255.0)
    return torch.where(pooled > 0, levels, 0.0).to(torch.uint8)
