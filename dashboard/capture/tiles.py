"""Attention of one layer, streamed over tiles of rows, so a whole text's (head, query, key) weights never fill memory.

    weights = softmax(scores over the allowed keys), scores = scaling · q kᵀ          Vaswani et al. 2017, equation 1

A tile holds some rows of all heads. Its scores and weights stay in the cores' level-2 cache while the layer's output
and every per-head statistic are computed from them; then the next tile reuses the two buffers. Only the columns that a
tile's rows may read are computed: the causal half, or the window.

Statistics are gathered here as raw sums and rows; `dashboard.capture.statistics` turns them into what a run stores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from dashboard.contracts.attention_recipe import MaskKind, ScoreRecipe
from dashboard.contracts.repeats import Repeats
from dashboard.contracts.streams import THUMBNAIL

TILE_FLOATS = 131_072  # of one tile's scores per core; with its weights that is 1 MiB, a common level-2 cache
FEW_PAIRS = 16  # pairs of tokens are few if they are at most this part of a tile
FEW_BINS = 4  # a tile that touches at most this many thumbnail bins pools them one by one
FORBIDDEN = torch.finfo(torch.float32).min / 2  # finite, so that a forbidden weight times its score is 0 and not NaN
ROWS = ("previous", "next", "self", "first", "top_score", "top_weight", "dot", "mass", "duplicate", "induction")
PREVIOUS, NEXT, SELF, FIRST, TOP_SCORE, TOP_WEIGHT, DOT, MASS, DUPLICATE, INDUCTION = range(len(ROWS))

Pairs = torch.Tensor | tuple[torch.Tensor, torch.Tensor]  # (row, column) bool of a tile, or the indices of both


@dataclass(frozen=True)
class Operands:
    """The inputs of one layer's attention; all float32, on the model's device.

    Attributes:
        query: (head, token, d_head). key: (key_head, token, d_head). value: (key_head, token, d_value).
        recipe: how scores are computed from them.
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
            largest weight (before any sink); Σ weight · score; Σ weight (1, or less with a sink); the weight on earlier
            occurrences of the query's token, and on the tokens that followed them (`dashboard.contracts.repeats`), 0 if
            the ids are not known.
        received: (head, key): Σ over queries of the weight on each token.
        distance: (head,): Σ over queries and keys of weight · |i − j|, for full attention; None for causal attention,
            where it follows from `mass` and `received`.
        pooled: (head, t, t): the largest weight of each pair of bins of tokens; t is the number of tokens up to 32.
    """

    rows: torch.Tensor
    received: torch.Tensor
    distance: torch.Tensor | None
    pooled: torch.Tensor


@dataclass(frozen=True)
class Tile:
    """Rows `start` … `stop`, and the columns `left` … `right` that any of them may read.

    Attributes:
        forbidden: (row, last columns) float32, added to the scores of the last columns: 0, or `FORBIDDEN` where a row
            may not read a column (several times faster than filling with a boolean mask); None if it may read all.
        bins: the (bin, start, stop) of rows, counted from the tile's first row, that belong to each thumbnail bin it
            touches.
        gather: (head, bins, widest) int64, the same as row numbers across all heads (a bin's last row is repeated);
            None if there are few bins.
    """

    start: int
    stop: int
    left: int
    right: int
    forbidden: torch.Tensor | None
    bins: tuple[tuple[int, int, int], ...]
    gather: torch.Tensor | None

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)


def bin_edges(tokens: int) -> list[int]:
    """Return the first token of each thumbnail bin, and the end; token i belongs to bin floor(i · t / tokens)."""
    bins = min(tokens, THUMBNAIL)
    return [-(-index * tokens // bins) for index in range(bins + 1)]


def tiles(recipe: ScoreRecipe, heads: int, tokens: int, floats: int, device: torch.device) -> Iterator[Tile]:
    """Yield tiles from the top row to the bottom row, each of about `floats` scores."""
    edges = bin_edges(tokens)
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
        bins = _bins(edges, start, stop, tokens)
        gather = _members(bins, heads, stop - start, device) if len(bins) > FEW_BINS else None
        yield Tile(start, stop, left, right, _forbidden(recipe, start, stop, left, right, device), bins, gather)
        start = stop


def _tile_height(recipe: ScoreRecipe, start: int, tokens: int, floats: float) -> int:
    before = start if recipe.window is None else min(start, recipe.window)
    if recipe.mask == "full" and recipe.window is None:
        height = floats / tokens
    else:  # height · (before + height) = floats
        height = (math.sqrt(before**2 + 4 * floats) - before) / 2
    return max(1, int(height))


def _forbidden(
    recipe: ScoreRecipe, start: int, stop: int, left: int, right: int, device: torch.device
) -> torch.Tensor | None:
    if recipe.window is None:
        if recipe.mask == "full" or stop - start == 1:
            return None
        left = start  # left of this, every row may read everything
    distance = torch.arange(start, stop, device=device)[:, None] - torch.arange(left, right, device=device)
    forbidden = distance < 0 if recipe.mask == "causal" else distance < -(recipe.window or 0)
    if recipe.window is not None:
        forbidden |= distance >= recipe.window + (recipe.mask == "full")
    return torch.where(forbidden, FORBIDDEN, 0.0)


def _bins(edges: list[int], start: int, stop: int, tokens: int) -> tuple[tuple[int, int, int], ...]:
    bins = len(edges) - 1
    touched = range(start * bins // tokens, (stop - 1) * bins // tokens + 1)
    return tuple((b, max(edges[b], start) - start, min(edges[b + 1], stop) - start) for b in touched)


def _members(bins: tuple[tuple[int, int, int], ...], heads: int, height: int, device: torch.device) -> torch.Tensor:
    """(head, bins, widest) int64: each bin's rows in (head · height, …), the last one repeated."""
    widest = max(stop - start for _, start, stop in bins)
    rows = [[min(start + offset, stop - 1) for offset in range(widest)] for _, start, stop in bins]
    return torch.arange(0, heads * height, height, device=device)[:, None, None] + torch.tensor(rows, device=device)


def _pool(values: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """(head, row, column) → (head, bins, column): the largest of each bin's rows.

    Copies whole rows, which is fastest.
    """
    rows = values.view(-1, values.shape[2]).index_select(0, members.view(-1))
    return rows.view(*members.shape, -1).amax(dim=2)


class TiledAttention:
    """Computes layers one after the other in the same two buffers. Not thread-safe.

    Args:
        repeats: which queries repeat a token of the text, or None to leave out `duplicate` and `induction`.
    """

    def __init__(self, device: torch.device, repeats: Repeats | None = None) -> None:
        self._device = device
        self._repeats = repeats
        # by tile and mask, for all layers: which pairs count as duplicates, and which as induction
        self._counting: dict[tuple[int, int, int, int, MaskKind], list[Pairs | None]] = {}
        self._floats = TILE_FLOATS * (torch.get_num_threads() if device.type == "cpu" else 64)
        self._scores = torch.empty(0, device=device)
        self._weights = torch.empty(0, device=device)
        self._plans: dict[tuple[str, int | None, int, int], list[Tile]] = {}
        self._columns: dict[tuple[int, int], torch.Tensor] = {}

    def layer(
        self, operands: Operands, between: Callable[[], None] = lambda: None
    ) -> tuple[torch.Tensor, RawStatistics]:
        """Compute one layer's output (token, head, d_value) and its raw statistics.

        Args:
            between: called between two tiles; an exception from it stops the layer, which can take a second for a long
                text.
        """
        heads, tokens = operands.heads, operands.tokens
        new = operands.query.new_zeros
        output = operands.query.new_empty(tokens, heads, operands.value.shape[-1])
        raw = _empty(new, heads, tokens, operands.recipe)
        for tile in self._plan(operands.recipe, heads, tokens):
            if tile.start:
                between()
            scores = self._tile_scores(operands, tile)
            weights = self._tile_weights(operands, scores, raw, tile)
            grouped = weights.view(operands.key.shape[0], -1, weights.shape[2])
            product = torch.bmm(grouped, operands.value[:, tile.columns])
            output[tile.rows] = product.view(heads, weights.shape[1], -1).transpose(0, 1)
            _take(raw, weights, tile)
            self._take_repeats(raw, weights, tile, operands.recipe.mask)
            torch.sum(scores.mul_(weights), dim=-1, out=raw.rows[DOT][:, tile.rows])
        return output, replace(raw, pooled=self._pool_columns(raw.pooled))

    def given(
        self, weights: torch.Tensor, recipe: ScoreRecipe, between: Callable[[], None] = lambda: None
    ) -> tuple[RawStatistics, float]:
        """Gather the raw statistics of one layer's weights that the model itself computed.

        Its scores are taken to be the logarithms of its weights, which gives the same softmax.

        Args:
            weights: (head, query, key), of any floating-point type.
            recipe: which keys a query may read. between: as in `layer`.

        Returns:
            The raw statistics, and the largest weight found on a key that the recipe forbids. Weight on forbidden keys
            outside all tiles shows only in a row's `mass`, which is then too small.
        """
        heads, tokens = weights.shape[:2]
        raw, outside = _empty(self._scores.new_zeros, heads, tokens, recipe), 0.0
        for tile in self._plan(recipe, heads, tokens):
            if tile.start:
                between()
            seen = weights[:, tile.rows, tile.columns]
            part = self._weights[: seen.numel()].view(seen.shape).copy_(seen)
            if tile.forbidden is not None:
                edge = part[:, :, seen.shape[2] - tile.forbidden.shape[1] :]
                outside = max(outside, float(torch.where(tile.forbidden < 0, edge, 0.0).nan_to_num_(0.0).amax()))
            mass, top = part.sum(dim=-1), part.amax(dim=-1)
            for row, values in ((TOP_SCORE, top.log()), (TOP_WEIGHT, top / mass), (MASS, mass)):
                raw.rows[row][:, tile.rows] = values
            self._add_distance(raw, part, tile)
            _take(raw, part, tile)
            self._take_repeats(raw, part, tile, recipe.mask)
            raw.rows[DOT][:, tile.rows] = part.xlogy_(part).sum(dim=-1)
        return replace(raw, pooled=self._pool_columns(raw.pooled)), outside

    def _pool_columns(self, pooled: torch.Tensor) -> torch.Tensor:
        """(head, t, key) → (head, t, t)."""
        heads, bins, tokens = pooled.shape
        if bins == tokens:
            return pooled
        if (heads, tokens) not in self._columns:
            self._columns[heads, tokens] = _members(
                _bins(bin_edges(tokens), 0, tokens, tokens), heads, tokens, self._device
            )
        return _pool(pooled.transpose(1, 2).contiguous(), self._columns[heads, tokens]).transpose(1, 2)

    def _plan(self, recipe: ScoreRecipe, heads: int, tokens: int) -> list[Tile]:
        """Return the tiles of a layer; layers with the same mask share them."""
        key = (recipe.mask, recipe.window, heads, tokens)
        if key not in self._plans:
            plan = list(tiles(recipe, heads, tokens, self._floats, self._device))
            largest = heads * max((tile.stop - tile.start) * (tile.right - tile.left) for tile in plan)
            if self._scores.numel() < largest:
                self._scores = torch.empty(largest, device=self._device)
                self._weights = torch.empty(largest, device=self._device)
            self._plans[key] = plan
        return self._plans[key]

    def _tile_scores(self, operands: Operands, tile: Tile) -> torch.Tensor:
        """(head, row, column) scores; forbidden ones are about `FORBIDDEN`."""
        heads, height, width = operands.heads, tile.stop - tile.start, tile.right - tile.left
        scores = self._scores[: heads * height * width].view(heads, height, width)
        key_heads, _, d_head = operands.key.shape
        query = (operands.query[:, tile.rows] * operands.recipe.scaling).view(key_heads, -1, d_head)
        torch.bmm(query, operands.key[:, tile.columns].transpose(1, 2), out=scores.view(key_heads, -1, width))
        if operands.bias is not None:
            scores += operands.bias[:, tile.rows, tile.columns]
        if operands.recipe.softcap is not None:
            scores.div_(operands.recipe.softcap).tanh_().mul_(operands.recipe.softcap)
        if tile.forbidden is not None:
            scores[:, :, width - tile.forbidden.shape[1] :].add_(tile.forbidden)
        return scores

    def _tile_weights(self, operands: Operands, scores: torch.Tensor, raw: RawStatistics, tile: Tile) -> torch.Tensor:
        """(head, row, column) weights; stores each row's largest score, largest weight and sum, and all distances."""
        weights = self._weights[: scores.numel()].view(scores.shape)
        torch.softmax(scores, dim=-1, out=weights)
        top_score, top_weight = raw.rows[TOP_SCORE][:, tile.rows], raw.rows[TOP_WEIGHT][:, tile.rows]
        torch.amax(scores, dim=-1, out=top_score)
        torch.amax(weights, dim=-1, out=top_weight)
        if operands.sinks is None:
            raw.rows[MASS][:, tile.rows] = 1.0
        else:  # exp(lse) / (exp(lse) + exp(sink)) of each row goes to the keys, the rest to the sink
            lse = top_score - top_weight.log()
            share = torch.sigmoid(lse - operands.sinks[:, None])
            raw.rows[MASS][:, tile.rows] = share
            weights *= share[:, :, None]
        self._add_distance(raw, weights, tile)
        return weights

    def _add_distance(self, raw: RawStatistics, weights: torch.Tensor, tile: Tile) -> None:
        """Add a tile's Σ weight · |i − j| to `raw.distance`, where that is kept."""
        if raw.distance is not None:
            rows = torch.arange(tile.start, tile.stop, dtype=weights.dtype, device=self._device)
            columns = torch.arange(tile.left, tile.right, dtype=weights.dtype, device=self._device)
            distance = (rows[:, None] - columns).abs_()
            raw.distance.add_(weights.view(len(weights), -1) @ distance.view(-1))

    def _take_repeats(self, raw: RawStatistics, weights: torch.Tensor, tile: Tile, mask: MaskKind) -> None:
        """Store the weight that the rows of one tile give to tokens like their own and to what followed these."""
        if self._repeats is None:
            return
        place = (tile.start, tile.stop, tile.left, tile.right, mask)
        if place not in self._counting:
            found = self._repeats.within(range(*place[:2]), range(*place[2:4]), mask)
            self._counting[place] = [None if where is None else self._pairs(where) for where in found]
        for row, pairs in zip((DUPLICATE, INDUCTION), self._counting[place], strict=True):
            target = raw.rows[row][:, tile.rows]
            if isinstance(pairs, tuple):
                target.index_add_(1, pairs[0], weights[:, pairs[0], pairs[1]])
            elif pairs is not None:
                target.copy_((weights * pairs).sum(dim=-1))

    def _pairs(self, where: np.ndarray) -> Pairs:
        """Which (row, column) of a tile count: the indices if they are few, otherwise a mask."""
        if where.sum() > where.size // FEW_PAIRS:
            return torch.from_numpy(where).to(self._device)
        row, column = (torch.from_numpy(index).to(self._device) for index in np.nonzero(where))
        return row, column


def _empty(new: Callable[..., torch.Tensor], heads: int, tokens: int, recipe: ScoreRecipe) -> RawStatistics:
    """Return raw statistics of zeros; the columns of `pooled` are pooled last."""
    return RawStatistics(
        rows=new(len(ROWS), heads, tokens),
        received=new(heads, tokens),
        distance=new(heads) if recipe.mask == "full" else None,
        pooled=new(heads, min(tokens, THUMBNAIL), tokens),
    )


def _take(raw: RawStatistics, weights: torch.Tensor, tile: Tile) -> None:
    """Store diagonals, first column, column sums and pooled rows of one tile of (head, row, column) weights."""
    raw.received[:, tile.columns] += weights.sum(dim=1)
    _copy_diagonal(raw.rows[PREVIOUS], weights, tile, -1)
    _copy_diagonal(raw.rows[SELF], weights, tile, 0)
    if raw.distance is not None:  # causal attention never reads the next token
        _copy_diagonal(raw.rows[NEXT], weights, tile, 1)
    if tile.left == 0:
        raw.rows[FIRST][:, tile.rows] = weights[:, :, 0]
    _pool_rows(raw.pooled, weights, tile)


def _copy_diagonal(target: torch.Tensor, weights: torch.Tensor, tile: Tile, offset: int) -> None:
    """`target[:, i] = weight of key i + offset` for the rows i of the tile that have such a column."""
    start = max(tile.start, tile.left - offset)
    stop = min(tile.stop, tile.right - offset)
    if start < stop:
        rows = weights[:, start - tile.start : stop - tile.start]
        target[:, start:stop] = rows.diagonal(start + offset - tile.left, 1, 2)


def _pool_rows(pooled: torch.Tensor, weights: torch.Tensor, tile: Tile) -> None:
    """Raise each bin of queries in (head, t, key) `pooled` to the tile's largest weight in it."""
    if pooled.shape[1] == pooled.shape[2]:
        pooled[:, tile.rows, tile.columns] = weights
    elif tile.gather is not None:
        target = pooled[:, tile.bins[0][0] : tile.bins[-1][0] + 1, tile.columns]
        torch.maximum(target, _pool(weights, tile.gather), out=target)
    else:
        for index, start, stop in tile.bins:
            target = pooled[:, index, tile.columns]
            torch.maximum(target, weights[:, start:stop].amax(dim=1), out=target)
