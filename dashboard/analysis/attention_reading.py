"""Which attention matrix is shown, and how it is read: one definition for all views of attention.

A matrix is that of one head or an aggregate (`dashboard/analysis/aggregates.py`). The reading aids then leave tokens
out, keep one direction of a pair of texts, merge word pieces into words, and let the rows sum to 1 again, in this
order:

    rows, columns   the tokens that are kept; a token left out is neither query nor key
    words           the weights to a word's pieces are summed, those from its pieces averaged (Clark et al. 2019,
                    arXiv 1906.04341, section 4.1)
    rows sum to 1   each row that is left is divided by its sum
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from dashboard.analysis.aggregates import SHARE, Head, heads_of, largest_of, mean_of, rollout
from dashboard.contracts.attention_recipe import MaskKind
from dashboard.contracts.result_cache import ResultCache
from dashboard.contracts.streams import Attention, Stream
from dashboard.contracts.token import Token
from dashboard.errors import RunShapeError

Aggregate = Literal["head", "mean", "max", "mean-all", "max-all", "rollout"]
Direction = Literal["all", "aa", "ab", "ba", "bb"]
DIRECTIONS: dict[str, tuple[int, int]] = {"aa": (0, 0), "ab": (0, 1), "ba": (1, 0), "bb": (1, 1)}  # query, key
AT_ONCE = 2 * 10**7  # weights that are computed for an aggregate while a person waits: about a second
KEPT = 2  # aggregated matrices that a run keeps in memory: at 1,000 tokens, one takes 4 MB
Group = tuple[int, ...]  # the tokens of one row or column, in order


@dataclass(frozen=True)
class Aids:
    """How a matrix is read.

    Attributes:
        special, first: leave out special tokens, the first token. sums: let each row sum to 1 again.
        direction: of a pair of texts, keep only the queries of one and the keys of one ("ab": from the first text to
            the second); special tokens belong to neither. words: merge word pieces into words.
    """

    special: bool = False
    first: bool = False
    sums: bool = False
    direction: Direction = "all"
    words: bool = False

    @property
    def leaves_out(self) -> bool:
        """Whether weights are left out, so that a row may sum to less than it did."""
        return self.special or self.first or self.direction != "all"


NO_AIDS = Aids()


@dataclass(frozen=True)
class Mask:
    """Which pairs may have a weight: as in `ScoreRecipe`, for all the layers that a matrix combines."""

    kind: MaskKind
    window: int | None


@dataclass(frozen=True, eq=False)
class AttentionReading:
    """One attention matrix as it is shown. `read_attention` makes it; the weights are computed on request.

    Attributes:
        attention: where the weights come from. aggregate: how heads are combined. layer: the layer of the head or the
            aggregated heads, or the last one of a rollout; "mean-all" and "max-all" do not use it. head: only for
            "head". share: of attention in a rollout. heads: those that are combined. aids: how the matrix is read.
        rows, columns: the tokens of each row, and of each column. mask: which pairs may have a weight.
        given: the aggregated matrix, if it has been computed elsewhere.
    """

    attention: Attention
    aggregate: Aggregate
    layer: int
    head: int | None
    share: float
    heads: tuple[Head, ...]
    aids: Aids
    rows: tuple[Group, ...]
    columns: tuple[Group, ...]
    mask: Mask
    given: np.ndarray | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        return len(self.rows), len(self.columns)

    @property
    def is_plain(self) -> bool:
        """Whether it is one head's matrix with a row and a column for every token."""
        return self.aggregate == "head" and self.aids == NO_AIDS

    @property
    def is_long(self) -> bool:
        """Whether the aggregate takes so long that a worker should compute it (dashboard/compute/)."""
        rows, columns = self.attention.shape
        over_layers = self.aggregate in ("mean-all", "max-all", "rollout")
        return over_layers and len(self.heads) * rows * columns > AT_ONCE

    @property
    def has_sinks(self) -> bool:
        """Whether a row of it sums to less than 1 because an attention sink takes the rest."""
        sinks = (self.attention.recipe(layer).sinks for layer in {layer for layer, _head in self.heads})
        return self.aggregate != "rollout" and any(sink is not None for sink in sinks)

    @cached_property
    def queries(self) -> tuple[Token, ...]:
        """One token for each row; a merged word counts as one."""
        return tokens_of(self.attention.asks, self.rows)

    @cached_property
    def keys(self) -> tuple[Token, ...]:
        """One token for each column; a merged word counts as one."""
        return tokens_of(self.attention.answers, self.columns)

    def row_of(self, token: int) -> int | None:
        """The row that holds a token; None if it is left out."""
        return _place(self.rows, token)

    def column_of(self, token: int) -> int | None:
        """The column that holds a token; None if it is left out."""
        return _place(self.columns, token)

    def weights(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """(row, column) float32: the rows `first` … `last` (exclusive). Forbidden pairs are 0; a row that is not finite
        is NaN; a row without any weight, in `emptied`, is 0, whether rows are to sum to 1 or not.

        Raises:
            MissingArrayError: the run does not hold queries and keys.
        """
        found = self._kept(first, last)
        if not self.aids.sums:
            return found
        sums = found.sum(axis=1, keepdims=True, dtype=np.float64)
        return (found / np.where(sums == 0, 1, sums)).astype(np.float32)

    def shares(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """(row,) float64: how much of each row's attention is kept, before rows are made to sum to 1."""
        found: np.ndarray = self._kept(first, last).sum(axis=1, dtype=np.float64)
        return found

    def emptied(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """(row,) bool: whether the whole weight of a row is on what is left out."""
        return np.asarray(self.shares(first, last) == 0)

    def allowed(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """(row, column) bool: the pairs that may have a weight, for the rows `first` … `last` (exclusive)."""
        if not self.rows or not self.columns:
            return np.zeros((len(self.rows[first:last]), len(self.columns)), dtype=bool)
        queries, keys = (_ends(groups) for groups in (self.rows[first:last], self.columns))
        after = queries[0][:, None] - keys[1][None, :]  # how far the key's last token is before the query's first
        reach = queries[1][:, None] - keys[0][None, :]
        if self.mask.kind == "causal":
            found = reach >= 0
            return found if self.mask.window is None else found & (np.maximum(after, 0) < self.mask.window)
        apart = np.maximum(np.maximum(after, -reach), 0)
        return np.ones(apart.shape, dtype=bool) if self.mask.window is None else apart <= self.mask.window

    def _kept(self, first: int, last: int | None) -> np.ndarray:
        """The rows, with tokens left out and words merged."""
        groups = self.rows[first:last]
        if not groups or not self.columns:
            return np.zeros((len(groups), len(self.columns)), dtype=np.float32)
        begin, end = groups[0][0], groups[-1][-1] + 1
        found = self._base(begin, end)
        if self.is_plain:
            return found
        at = np.concatenate([np.array(group) for group in groups]) - begin
        found = _merged(found[at][:, np.concatenate([np.array(group) for group in self.columns])], self.columns, 1)
        merged = _merged(found, groups, 0)
        counts = np.array([len(group) for group in groups], dtype=np.float32)
        return merged / counts[:, None]

    def _base(self, first: int, last: int) -> np.ndarray:
        """(query, key) float32: rows of the matrix before any aid."""
        if self.given is not None:
            return self.given[first:last]
        if self.aggregate == "head":
            layer, head = self.heads[0]
            return self.attention.rows(layer, head, first, last)
        kept: ResultCache = self.attention.remember("aggregates", lambda: ResultCache(KEPT))
        name = (self.aggregate, self.heads, self.share)
        whole: np.ndarray = kept.remember(name, self._aggregated)
        return whole[first:last]

    def _aggregated(self) -> np.ndarray:
        if self.aggregate == "rollout":
            return rollout(self.attention, self.layer, self.share)
        combine = largest_of if self.aggregate in ("max", "max-all") else mean_of
        return combine(self.attention, self.heads)


def read_attention(
    attention: Attention,
    layer: int = 0,
    head: int | None = None,
    aggregate: Aggregate = "head",
    *,
    share: float = SHARE,
    heads: Sequence[Head] = (),
    aids: Aids = NO_AIDS,
    given: np.ndarray | None = None,
) -> AttentionReading:
    """The matrix that is shown, of one head or of several, read with these aids.

    Args:
        layer, head: the selected ones. aggregate: "head"; "mean" or "max" over the heads of the layer, or over `heads`;
            "mean-all" or "max-all" over all heads of all layers; "rollout" from layer 0 through `layer`.
        share: of attention in a rollout. heads: (layer, head) pairs that "mean" and "max" use instead of the layer's.
        given: (query, key) float32: the aggregated matrix, if it has been computed already.

    Raises:
        RunShapeError: a rollout between two streams, or "head" without a head.
    """
    if aggregate == "rollout" and attention.asks is not attention.answers:
        raise RunShapeError(
            "Rollout needs self-attention: queries and keys must belong to one stream. Choose another aggregate."
        )
    chosen = _heads_of(attention, layer, head, aggregate, heads)
    rows = _groups(attention.asks, aids, 0)
    columns = _groups(attention.answers, aids, 1)
    mask = _mask_of(attention, [one for one, _head in chosen], summed=aggregate == "rollout")
    own = head if aggregate == "head" else None
    return AttentionReading(attention, aggregate, layer, own, share, chosen, aids, rows, columns, mask, given)


def token_rows(reading: AttentionReading, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and what is allowed, token by token: (query, key) each, for the queries `first` … `last` (exclusive).

    What is left out has weight 0 and is not allowed. A word stands at its first token (`standing`); its other pieces
    are as if left out.
    """
    attention = reading.attention
    if reading.is_plain:
        return attention.rows(*reading.heads[0], first, last), attention.allowed(reading.layer, first, last)
    weights = np.zeros((last - first, len(attention.answers)), dtype=np.float32)
    allowed = np.zeros(weights.shape, dtype=bool)
    queries, keys = (
        standing(stream, reading.aids)[[group[0] for group in groups]]
        for stream, groups in ((attention.asks, reading.rows), (attention.answers, reading.columns))
    )
    begin, end = np.searchsorted(queries, (first, last)).tolist()
    if begin < end and len(keys):
        at = np.ix_(queries[begin:end] - first, keys)
        weights[at], allowed[at] = reading.weights(begin, end), reading.allowed(begin, end)
    return weights, allowed


def standing(stream: Stream, aids: Aids) -> np.ndarray:
    """(token,) int: the token that stands for each one: the first of its word if words are merged, otherwise itself."""
    if not aids.words:
        return np.arange(len(stream))

    def look() -> np.ndarray:
        return np.array([word[0] for word in words_of(stream) for _token in word], dtype=int)

    return stream.remember("words stand at", look)


def offered(stream: Stream) -> frozenset[str]:
    """Which reading aids change anything for a stream's text: "several" (it has more than one token), "special" (there
    are special tokens, and others), "pair" (two texts), "pieces" (a word of several tokens)."""
    special = [token.special for token in stream.tokens]
    found = {
        "several": len(stream) > 1,
        "special": any(special) and not all(special),
        "pair": stream.second_begins is not None,
        "pieces": any(len(group) > 1 for group in words_of(stream)),
    }
    return frozenset(name for name, holds in found.items() if holds)


def words_of(stream: Stream) -> tuple[Group, ...]:
    """The tokens of each word, in order; a special token is a word of its own.

    The tokenizer says which pieces make a word (`Token.word`). White space always ends a word, too: for a tokenizer
    without a pre-tokenizer, the whole text would otherwise be a single word.
    """
    return stream.remember("words", lambda: _grouped(stream))


def _grouped(stream: Stream) -> tuple[Group, ...]:
    groups: list[list[int]] = []
    texts = stream.segments
    for position, token in enumerate(stream.tokens):
        before = stream.tokens[position - 1] if position else None
        if before is not None and texts[position] == texts[position - 1] and _continues(before, token):
            groups[-1].append(position)
        else:
            groups.append([position])
    return tuple(map(tuple, groups))


def _continues(before: Token, token: Token) -> bool:
    """Whether a token belongs to the word of the one before it."""
    if before.special or token.special or token.word is None or token.word != before.word:
        return False
    return token.sign != "added" and not token.text[:1].isspace() and not before.text[-1:].isspace()


def _groups(stream: Stream, aids: Aids, side: int) -> tuple[Group, ...]:
    """The tokens of each row (side 0) or column (side 1)."""
    kept = np.ones(len(stream), dtype=bool)
    if aids.special:
        kept &= ~np.array([token.special for token in stream.tokens])
    if aids.first:
        kept[0] = False
    if aids.direction != "all":
        kept &= stream.segments == DIRECTIONS[aids.direction][side]
    groups: Iterable[Group] = words_of(stream) if aids.words else ((position,) for position in range(len(stream)))
    left = (tuple(position for position in group if kept[position]) for group in groups)
    return tuple(group for group in left if group)


def _heads_of(
    attention: Attention, layer: int, head: int | None, aggregate: Aggregate, heads: Sequence[Head]
) -> tuple[Head, ...]:
    if aggregate == "head":
        if head is None:
            raise RunShapeError("One head's attention needs a head. Choose one, or an aggregate.")
        return ((layer, head),)
    if aggregate in ("mean", "max"):
        return tuple(heads) or tuple(heads_of(attention, [layer]))
    return tuple(heads_of(attention, range(layer + 1) if aggregate == "rollout" else range(attention.layers)))


def _mask_of(attention: Attention, layers: Sequence[int], summed: bool) -> Mask:
    """The mask of several layers: a pair is allowed if it is in any of them; in a chain of layers (`summed`), if it can
    be reached through all of them."""
    recipes = [attention.recipe(layer) for layer in sorted(set(layers))]
    kind: MaskKind = "causal" if all(recipe.mask == "causal" for recipe in recipes) else "full"
    reaches = [
        None if recipe.window is None else recipe.window - (1 if recipe.mask == "causal" else 0) for recipe in recipes
    ]
    known = [reach for reach in reaches if reach is not None]
    if len(known) < len(reaches):
        return Mask(kind, None)
    reach = sum(known) if summed else max(known)
    return Mask(kind, reach + (1 if kind == "causal" else 0))


def _merged(values: np.ndarray, groups: Sequence[Group], axis: int) -> np.ndarray:
    """Sum the values of each group's tokens, which follow one another along an axis."""
    if all(len(group) == 1 for group in groups):
        return values
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    return np.asarray(np.add.reduceat(values, starts, axis=axis))


def tokens_of(stream: Stream, groups: Sequence[Group]) -> tuple[Token, ...]:
    """A token for each group: its own, or the word that its pieces make."""
    tokens = stream.tokens
    return tuple(tokens[group[0]] if len(group) == 1 else _word([tokens[at] for at in group]) for group in groups)


def _word(pieces: Sequence[Token]) -> Token:
    first = pieces[0]
    sign = first.sign if first.sign in ("added", "unknown") else ""
    return replace(
        first,
        id=hash(tuple(piece.id for piece in pieces)),  # equal words have one label
        text="".join(piece.text for piece in pieces),
        end=pieces[-1].end,
        sign=sign,
        unread=(),
        read=None,
        partial=False,
    )


def _place(groups: Sequence[Group], token: int) -> int | None:
    return next((at for at, group in enumerate(groups) if token in group), None)


def _ends(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last token of each group."""
    return np.array([group[0] for group in groups]), np.array([group[-1] for group in groups])
