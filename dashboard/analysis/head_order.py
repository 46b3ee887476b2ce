"""In which order a grid shows a model's heads: by layer, by a score, or by the similarity of what they do on a text.

Similar heads attend alike: the distance between two heads is the Euclidean distance between the square roots of their
weights (for each row, √2 times the Hellinger distance). Ward's method (1963) joins them into a tree, which is cut into
groups; within a group, heads that were joined first are neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dashboard.analysis.aggregates import Head
from dashboard.analysis.attention_reading import Aids
from dashboard.analysis.read_scores import are_readable, layers_read
from dashboard.contracts.streams import Attention
from dashboard.errors import MissingArrayError

MOST_HEADS = 2000  # heads to compare with one another: 16 MB of distances
Source = Literal["weights", "pictures"]


@dataclass(frozen=True)
class SimilarHeads:
    """Heads in groups of those that attend alike.

    Attributes:
        groups: the heads of each group, in the order of the tree. The group with the first head comes first.
        source: what was compared: weights, or the heads' small pictures if the text is long or the run holds no queries
            and keys.
    """

    groups: tuple[tuple[Head, ...], ...]
    source: Source

    def group_of(self, layers: int, heads: int) -> np.ndarray:
        """(layer, head) int: the group of each head, counted from 1."""
        found = np.zeros((layers, heads), dtype=int)
        for number, group in enumerate(self.groups, start=1):
            for place in group:
                found[place] = number
        return found


def by_score(values: np.ndarray) -> tuple[Head, ...]:
    """All heads by these (layer, head) scores, largest first. Heads of equal score keep the order of their layers;
    heads without a score come last."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    order = np.argsort(-np.where(np.isfinite(flat), flat, -np.inf), kind="stable")
    return _places(order.tolist(), values.shape[1])


def similar_heads(attention: Attention, aids: Aids, groups: int) -> SimilarHeads:
    """Group the heads of a run by what they do on its text.

    Args:
        aids: how to read the weights; if pictures are compared, they always cover all tokens.
        groups: the largest number of groups.

    Raises:
        MissingArrayError: the run holds neither weights nor pictures, or the model has more than `MOST_HEADS` heads.
    """
    count = attention.layers * attention.heads
    if count > MOST_HEADS:
        raise MissingArrayError(
            f"{count:,} heads are too many to compare with one another; {MOST_HEADS:,} can be. Choose another order."
        )
    source: Source = "weights" if are_readable(attention) else "pictures"

    def look() -> tuple[np.ndarray, list[int]]:
        return _tree(_features(attention, aids) if source == "weights" else _pictures(attention))

    children, leaves = attention.remember(("similar heads", aids if source == "weights" else source), look)
    parts = _cut(children, count, min(groups, count))
    order = {leaf: place for place, leaf in enumerate(leaves)}
    sorted_parts = sorted((sorted(part, key=lambda leaf: order[leaf]) for part in parts), key=min)
    return SimilarHeads(tuple(_places(part, attention.heads) for part in sorted_parts), source)


def _features(attention: Attention, aids: Aids) -> np.ndarray:
    """(head, row · column) float32 of all layers: the square root of each weight, 0 where it is not finite."""
    layers = [
        np.sqrt(np.nan_to_num(weights, nan=0, posinf=0, neginf=0)).reshape(attention.heads, -1)
        for _layer, weights in layers_read(attention, aids)
    ]
    return np.concatenate(layers)


def _pictures(attention: Attention) -> np.ndarray:
    """(head, row · column) float32: the pictures, whose shades are 255 times the square root of a weight."""
    pictures = np.asarray(attention.thumbnails)
    return pictures.reshape(attention.layers * attention.heads, -1).astype(np.float32) / 255


def _tree(features: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Join heads, given as (head, feature), into a tree.

    Returns:
        (join, 2), the two nodes that each step joins, where step i makes node head + i; and the leaves from left to
        right. Of two nodes, the one with the smaller first leaf is on the left.
    """
    from scipy.cluster.hierarchy import linkage  # comes with scikit-learn; slow to import

    count = len(features)
    if count == 1:
        return np.zeros((0, 2), dtype=int), [0]
    steps = linkage(_distances(features), method="ward")[:, :2].astype(int)
    leaves: dict[int, list[int]] = {leaf: [leaf] for leaf in range(count)}
    for place, (one, other) in enumerate(steps.tolist()):
        pair = sorted((leaves.pop(one), leaves.pop(other)), key=min)
        leaves[count + place] = pair[0] + pair[1]
    return steps, leaves[2 * count - 2]


def _distances(features: np.ndarray) -> np.ndarray:
    """(pair,) float64: Euclidean distances between rows of (head, feature), from one product, in the order of
    scipy's `pdist`."""
    values = features.astype(np.float64)
    products = values @ values.T
    squares = np.diagonal(products)
    pairs = np.triu_indices(len(values), 1)
    apart = squares[pairs[0]] + squares[pairs[1]] - 2 * products[pairs]
    return np.sqrt(np.maximum(apart, 0))


def _cut(children: np.ndarray, count: int, groups: int) -> list[list[int]]:
    """The leaves of each group when the closest nodes have been joined until `groups` are left."""
    parts: dict[int, list[int]] = {leaf: [leaf] for leaf in range(count)}
    for place, (one, other) in enumerate(children[: count - groups].tolist()):
        parts[count + place] = parts.pop(one) + parts.pop(other)
    return list(parts.values())


def _places(order: Sequence[int], heads: int) -> tuple[Head, ...]:
    return tuple((index // heads, index % heads) for index in order)
