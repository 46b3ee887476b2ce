"""Attention of one layer, streamed over tiles of rows, so that no (head, query, key) block of a whole text is held.

    weights = softmax(scores over the allowed keys), scores = scaling · q kᵀ          Vaswani et al. 2017, equation 1

A tile holds some rows of all heads. Its scores and its weights stay in the cores' level-2 cache while the layer's
output and every per-head statistic are taken from them; then the two buffers serve the next tile. Only the columns
that a tile's rows may read are computed: the causal half, or the window.

Statistics are gathered here as raw sums and rows; `dashboard.models.statistics` turns them into what a run stores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dashboard.contracts.scores import ScoreRecipe

TILE_FLOATS = 262_144  # of one tile of scores for each core: 1 MiB, half of a common level-2 cache
THUMBNAIL = 32  # rows and columns of a thumbnail where the text has more tokens than that
FORBIDDEN = torch.finfo(torch.float32).min  # finite, so that a forbidden weight times its score is 0 and not NaN
ROWS = ("previous", "next", "self", "first", "top_score", "top_weight", "dot", "mass")


@dataclass(frozen=True)
class Operands:
    """What one layer's attention is made of; all float32, on the model's device.

    Attributes:
        query: (head, token, d_head). key: (key_head, token, d_head). value: (key_head, token, d_value).
        recipe: how scores are made of them.
        bias: (head, query, key) added to the scores, or None.
        sinks: (head,) sink logits, or None.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    recipe: ScoreRecipe
    bias: torch.Tensor | None = None
    sinks: torch.Tensor | None = None

    @property
    def heads(self) -> int:
        return self.query.shape[0]

    @property
    def tokens(self) -> int:
        return self.query.shape[1]


@dataclass(frozen=True)
class RawStatistics:
    """Raw statistics of one layer.

    Attributes:
        rows: (len(ROWS), head, query): the weight on the previous, next, own and first token; the largest score; the
            largest weight (before any sink); Σ weight · score; Σ weight (1, or less where there is a sink).
        received: (head, key): Σ over queries of the weight on each token.
        distance: (head,): Σ over queries and keys of weight · |i − j|, for full attention; None for causal attention,
            where it follows from `mass` and `received`.
        pooled: (head, t, key): the largest weight of each bin of queries; t is the number of tokens up to 32.
    """

    rows: torch.Tensor
    received: torch.Tensor
    distance: torch.Tensor | None
    pooled: torch.Tensor


@dataclass(frozen=True)
class Tile:
    """Rows `start` … `stop`, and the columns `left` … `right` that any of them may read."""

    start: int
    stop: int
    left: int
    right: int


def bin_edges(tokens: int) -> list[int]:
    """First token of each thumbnail bin, and the end; token i belongs to bin floor(i · t / tokens)."""
    bins = min(tokens, THUMBNAIL)
    return [-(-index * tokens // bins) for index in range(bins + 1)]


def tiles(recipe: ScoreRecipe, heads: int, tokens: int, floats: int) -> Iterator[Tile]:
    """Tiles from the top row to the bottom one, each of about `floats` scores."""
    start = 0
    while start < tokens:
        stop = min(tokens, start + _tile_height(recipe, start, tokens, floats / heads))
        left, right = 0, tokens
        if recipe.mask == "causal":
            right = stop
        elif recipe.window is not None:
            right = min(tokens, stop + recipe.window)
        if recipe.window is not None:
            left = max(0, start - recipe.window)
        yield Tile(start, stop, left, right)
        start = stop


def _tile_height(recipe: ScoreRecipe, start: int, tokens: int, floats: float) -> int:
    if recipe.window is not None:
        before = min(start, recipe.window)
        height = (math.sqrt(before**2 + 4 * floats) - before) / 2
    elif recipe.mask == "causal":
        height = (math.sqrt(start**2 + 4 * floats) - start) / 2
    else:
        height = floats / tokens
    return max(1, int(height))


class TiledAttention:
    """Computes layers one after the other in the same two buffers. Not for two threads at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._floats = TILE_FLOATS * (torch.get_num_threads() if device.type == "cpu" else 64)
        self._scores = torch.empty(0, device=device)
        self._weights = torch.empty(0, device=device)

    def layer(self, operands: Operands) -> tuple[torch.Tensor, RawStatistics]:
        """One layer's output (token, head, d_value) and its raw statistics."""
        heads, tokens = operands.heads, operands.tokens
        new = operands.query.new_zeros
        output = operands.query.new_empty(tokens, heads, operands.value.shape[-1])
        raw = RawStatistics(
            rows=new(len(ROWS), heads, tokens),
            received=new(heads, tokens),
            distance=new(heads) if operands.recipe.mask == "full" else None,
            pooled=new(heads, min(tokens, THUMBNAIL), tokens),
        )
        for tile in tiles(operands.recipe, heads, tokens, self._floats):
            scores = self._tile_scores(operands, tile)
            weights = self._tile_weights(operands, scores, raw, tile)
            grouped = weights.view(operands.key.shape[0], -1, tile.right - tile.left)
            product = torch.bmm(grouped, operands.value[:, tile.left : tile.right])
            output[tile.start : tile.stop] = product.view(heads, tile.stop - tile.start, -1).transpose(0, 1)
            _gather(raw, weights, tile)
            torch.sum(scores.mul_(weights), dim=-1, out=raw.rows[6][:, tile.start : tile.stop])
        return output, raw

    def _tile_scores(self, operands: Operands, tile: Tile) -> torch.Tensor:
        """(head, row, column) scores, forbidden ones at `FORBIDDEN`."""
        height, width = tile.stop - tile.start, tile.right - tile.left
        self._reserve(operands.heads * height * width)
        scores = self._scores[: operands.heads * height * width]
        query = (operands.query[:, tile.start : tile.stop] * operands.recipe.scaling).view(
            operands.key.shape[0], -1, operands.query.shape[-1]
        )
        key = operands.key[:, tile.left : tile.right].transpose(1, 2)
        torch.bmm(query, key, out=scores.view(query.shape[0], -1, width))
        scores = scores.view(operands.heads, height, width)
        if operands.bias is not None:
            scores += operands.bias[:, tile.start : tile.stop, tile.left : tile.right]
        if operands.recipe.softcap is not None:
            scores.div_(operands.recipe.softcap).tanh_().mul_(operands.recipe.softcap)
        self._forbid(scores, operands.recipe, tile)
        return scores

    def _forbid(self, scores: torch.Tensor, recipe: ScoreRecipe, tile: Tile) -> None:
        if recipe.window is None:
            if recipe.mask == "causal" and tile.stop - tile.start > 1:
                square = scores[:, :, tile.start - tile.left :]  # left of it, every row may read everything
                square.masked_fill_(torch.ones(square.shape[1:], dtype=torch.bool, device=self._device).triu_(1), FORBIDDEN)
            return
        distance = self._offsets(tile)
        if recipe.mask == "causal":
            scores.masked_fill_((distance < 0) | (distance >= recipe.window), FORBIDDEN)
        else:
            scores.masked_fill_(distance.abs_() > recipe.window, FORBIDDEN)

    def _offsets(self, tile: Tile) -> torch.Tensor:
        """(row, column) int64: i − j."""
        rows = torch.arange(tile.start, tile.stop, device=self._device)
        return rows[:, None] - torch.arange(tile.left, tile.right, device=self._device)

    def _tile_weights(self, operands: Operands, scores: torch.Tensor, raw: RawStatistics, tile: Tile) -> torch.Tensor:
        """(head, row, column) weights; keeps each row's largest score, largest weight, sum, and all distances."""
        weights = self._weights[: scores.numel()].view(scores.shape)
        torch.softmax(scores, dim=-1, out=weights)
        top_score, top_weight, mass = (raw.rows[index][:, tile.start : tile.stop] for index in (4, 5, 7))
        torch.amax(scores, dim=-1, out=top_score)
        torch.amax(weights, dim=-1, out=top_weight)
        if operands.sinks is None:
            mass.fill_(1.0)
        else:  # exp(lse) / (exp(lse) + exp(sink)) of each row goes to the keys, the rest to the sink
            lse = top_score - top_weight.log()
            torch.sigmoid(lse - operands.sinks[:, None], out=mass)
            weights *= mass[:, :, None]
        if raw.distance is not None:
            distance = self._offsets(tile).abs_().to(weights.dtype)
            raw.distance.add_(weights.view(len(weights), -1) @ distance.view(-1))
        return weights

    def _reserve(self, floats: int) -> None:
        if self._scores.numel() < floats:
            self._scores = torch.empty(floats, device=self._device)
            self._weights = torch.empty(floats, device=self._device)


def _gather(raw: RawStatistics, weights: torch.Tensor, tile: Tile) -> None:
    """Take diagonals, the first column, the column sums and the pooled rows of one tile of (head, row, column) weights."""
    raw.received[:, tile.left : tile.right] += weights.sum(dim=1)
    for index, offset in ((0, -1), (1, 1), (2, 0)):
        _copy_diagonal(raw.rows[index], weights, tile, offset)
    if tile.left == 0:
        raw.rows[3][:, tile.start : tile.stop] = weights[:, :, 0]
    _pool(raw.pooled, weights, tile)


def _copy_diagonal(target: torch.Tensor, weights: torch.Tensor, tile: Tile, offset: int) -> None:
    """`target[:, i] = weight of key i + offset` for the rows i of the tile that have such a column."""
    start = max(tile.start, tile.left - offset)
    stop = min(tile.stop, tile.right - offset)
    if start < stop:
        rows = weights[:, start - tile.start : stop - tile.start]
        target[:, start:stop] = rows.diagonal(start + offset - tile.left, 1, 2)[:, : stop - start]


def _pool(pooled: torch.Tensor, weights: torch.Tensor, tile: Tile) -> None:
    """Raise each bin of queries in (head, t, key) `pooled` to the largest weight that the tile has in it."""
    columns = slice(tile.left, tile.right)
    bins, tokens = pooled.shape[1], pooled.shape[2]
    if bins == tokens:
        pooled[:, tile.start : tile.stop, columns] = weights
        return
    edges = bin_edges(tokens)
    for index in range(tile.start * bins // tokens, (tile.stop - 1) * bins // tokens + 1):
        start, stop = max(edges[index], tile.start), min(edges[index + 1], tile.stop)
        rows = weights[:, start - tile.start : stop - tile.start]
        torch.maximum(pooled[:, index, columns], rows.amax(dim=1), out=pooled[:, index, columns])
