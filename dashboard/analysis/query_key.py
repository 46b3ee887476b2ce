"""How the score of one query and one key adds up: the dimensions of q·k, and what the layer does with their sum.

score = softcap(scaling · Σ_d q_d k_d + bias) + mask      Vaswani et al. 2017, equation 1; Gemma 2 for the softcap
weight = exp(score) / Σ exp(scores)                       over the keys that the mask allows, and the sink
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dashboard.contracts.streams import Attention

Order = Literal["size", "dimension", "frequency"]


@dataclass(frozen=True)
class ScoreTerms:
    """The score of one pair of tokens in one head, term by term.

    Attributes:
        query, key: (d_head,) float64, after any rotary embedding and normalisation.
        scaling: factor on q·k. bias: the position bias that is added, or None. softcap: or None.
        allowed: whether the mask lets the query attend to the key.
        weight: after the softmax; NaN if it is not known. sink: the share of the softmax that goes to the attention
            sink, or None.
    """

    query: np.ndarray
    key: np.ndarray
    scaling: float
    bias: float | None = None
    softcap: float | None = None
    allowed: bool = True
    weight: float = math.nan
    sink: float | None = None

    @property
    def products(self) -> np.ndarray:
        """(d_head,) float64: q_d · k_d."""
        return self.query * self.key

    @property
    def dot(self) -> float:
        """The sum of the products, q·k."""
        return float(self.products.sum())

    @property
    def score(self) -> float:
        """What the softmax gets; −∞ if the mask forbids the key."""
        return self.dot + sum(amount for _name, amount in self.others())

    def others(self) -> Iterator[tuple[str, float]]:
        """Yield (name, amount) of each term besides the products; with q·k, they add up to the score."""
        score = self.dot * self.scaling
        yield f"Scaling (× {self.scaling:.6g})", score - self.dot
        if self.bias is not None:
            yield "Position bias", self.bias
            score += self.bias
        if self.softcap is not None:
            yield f"Softcap ({self.softcap:g})", self.softcap * math.tanh(score / self.softcap) - score
        if not self.allowed:
            yield "Mask", -math.inf

    @property
    def rounding(self) -> float:
        """The most by which a float32 sum of the products may differ from `dot`, in any order of adding.

        Σ|q_d k_d| · n·u / (1 − n·u) with u = 2⁻²⁴ and n = d_head (Higham 2002, section 3.1).
        """
        part = len(self.query) * 2.0**-24
        return float(np.abs(self.products).sum()) * part / (1 - part)


@dataclass(frozen=True)
class Group:
    """One bar: a dimension, or two that a rotary embedding turns together.

    Attributes:
        dimensions: one or two. product: the sum of their products.
        wavelength: in tokens, after which the embedding has turned them once; None if it does not turn them.
    """

    dimensions: tuple[int, ...]
    product: float
    wavelength: float | None = None

    @property
    def name(self) -> str:
        """ "17", or "3 + 35"."""
        return " + ".join(map(str, self.dimensions))


def score_terms(attention: Attention, layer: int, head: int, query: int, key: int) -> ScoreTerms:
    """Return the terms of one pair's score.

    Raises:
        MissingArrayError: the run does not hold queries and keys, because its model returns none.
    """
    recipe = attention.recipe(layer)
    queries, keys = attention.query_and_key(layer)
    key_head = head // (queries.shape[0] // keys.shape[0])
    row = attention.rows(layer, head, query, query + 1)[0]
    biases = attention.array(recipe.bias, "position biases") if recipe.bias else None
    return ScoreTerms(
        query=queries[head, query].astype(np.float64),
        key=keys[key_head, key].astype(np.float64),
        scaling=recipe.scaling,
        bias=None if biases is None else float(biases[head, query, key]),
        softcap=recipe.softcap,
        allowed=bool(attention.allowed(layer, query, query + 1)[0, key]),
        weight=float(row[key]),
        sink=None if recipe.sinks is None else 1 - float(row.sum(dtype=np.float64)),
    )


def rotary_pairs(attention: Attention, layer: int) -> np.ndarray | None:
    """(pair, 3) float32: first and second dimension, radians per token; None if the run does not hold them."""
    name = f"rotary/{layer}"
    return attention.array(name, "the frequencies of the rotary embedding") if attention.has(name) else None


def groups_of(products: np.ndarray, order: Order = "size", pairs: np.ndarray | None = None) -> list[Group]:
    """Return the bars of a score in their order.

    Args:
        products: (d_head,). order: "size", the largest absolute product first; "dimension", as they are; "frequency",
            pairs of dimensions, the fastest first, and then those that no rotary embedding turns.
        pairs: as from `rotary_pairs`, needed for "frequency"; without it the dimensions stay as they are.
    """
    fastest = [] if pairs is None else sorted(pairs.tolist(), key=lambda pair: -abs(pair[2]))
    waves = {int(dimension): _wavelength(radians) for *two, radians in fastest for dimension in two}
    singles = [Group((index,), float(product), waves.get(index)) for index, product in enumerate(products)]
    if order == "size":
        return sorted(singles, key=lambda group: -abs(group.product))
    if order == "dimension" or pairs is None:
        return singles
    turned = [
        Group((int(first), int(second)), float(products[int(first)] + products[int(second)]), _wavelength(radians))
        for first, second, radians in fastest
    ]
    return [*turned, *(group for group in singles if group.wavelength is None)]


def _wavelength(radians: float) -> float:
    return 2 * math.pi / abs(radians) if radians else math.inf


def running_sums(groups: Sequence[Group]) -> np.ndarray:
    """(group,) float64: the sum of the products up to and including each group."""
    return np.cumsum([group.product for group in groups])
