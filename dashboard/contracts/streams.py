"""What a run holds for one sequence of tokens, and for one kind of attention between two sequences.

A decoder or an encoder reads one sequence, its stream. An encoder–decoder model has both, and a third kind of
attention in which the decoder's tokens are the queries and the encoder's tokens the keys, so a matrix of weights need
not be square. The names of a run's arrays begin with the stream's or the kind's name (dashboard/contracts/run.py).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from dashboard.contracts.attention_recipe import ScoreRecipe, allowed_keys, attention_weights
from dashboard.contracts.result_cache import ResultCache
from dashboard.contracts.token import Token, segments_of
from dashboard.errors import BadSelectionError, MissingArrayError, RunShapeError

NO_TOKENS = "A run without tokens cannot be shown. Run its text again."
THUMBNAIL = 32  # rows and columns of one head's thumbnail, if the text has more tokens than this

StreamName = Literal["encoder", "decoder"]
AttentionKind = Literal["encoder", "decoder", "cross"]
STREAMS: tuple[StreamName, ...] = ("decoder", "encoder")  # the first that a run has is its main stream
ENDS: Mapping[AttentionKind, tuple[StreamName, StreamName]] = {  # the stream of the queries, and that of the keys
    "decoder": ("decoder", "decoder"),
    "encoder": ("encoder", "encoder"),
    "cross": ("decoder", "encoder"),
}
T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """The arrays under one name ("decoder/…"), and a cache for results that depend on them alone.

    Attributes:
        again: whether an earlier version stored the run, so running its text again adds the missing arrays.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    memory: ResultCache
    again: bool = True

    def has(self, name: str) -> bool:
        """Whether the run holds `name`."""
        return f"{self.name}/{name}" in self.arrays

    def array(self, name: str, what: str) -> np.ndarray:
        """Return the array `name`.

        Raises:
            MissingArrayError: the run does not hold it; the message says that `what` is missing and how to get it.
        """
        if self.has(name):
            return self.arrays[f"{self.name}/{name}"]
        if self.again:
            raise MissingArrayError(f"This run does not hold {what}. Run its text again to compute them.", again=True)
        raise MissingArrayError(f"This run does not hold {what}: its model provides none. Choose another model.")

    def names(self) -> Iterator[str]:
        """Yield the names of the arrays, without this part's own name."""
        return (name.removeprefix(f"{self.name}/") for name in self.arrays if name.startswith(f"{self.name}/"))

    def remember(self, name: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once for this part of the run (`ResultCache.remember`)."""
        return self.memory.remember((self.name, name), compute)


class Layers(Sequence[np.ndarray]):
    """`run.hidden_states`: (token, hidden) float32 per layer, read on access; 0 is the embedding output."""

    def __init__(self, part: Part, count: int) -> None:
        self._part, self._count = part, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"layer index {index} is outside 0 … {self._count - 1}")
        return self._part.array(f"hidden_states/{index % self._count}", "the hidden states")

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(self._count))


class Holder:
    """The owner of the arrays under one name in a run."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def has(self, name: str) -> bool:
        """Whether the run holds the array of this name."""
        return self._part.has(name)

    def array(self, name: str, what: str) -> np.ndarray:
        """Return an array by its name; `what` names it in an error message.

        Raises:
            MissingArrayError: the run does not hold it.
        """
        return self._part.array(name, what)


class Stream(Holder):
    """One sequence of tokens, and its way through the layers.

    Attributes:
        name: "decoder" or "encoder". tokens: what the stream reads. layers: the number of layers. title: the model's.
        final_norm: whether the last of `hidden_states` is already past a final norm.
        hidden_states: per layer (token, hidden) float32; 0 is the embedding output.

    Args:
        first_text: characters of the first text of a pair, where the offsets of the second begin; None for one text.
    """

    def __init__(
        self,
        part: Part,
        tokens: Sequence[Token],
        layers: int,
        final_norm: bool,
        title: str,
        first_text: int | None = None,
    ) -> None:
        if not tokens:
            raise RunShapeError(NO_TOKENS)
        super().__init__(part)
        self.name, self._first_text = part.name, first_text
        self.tokens, self.layers, self.final_norm = tuple(tokens), layers, final_norm
        self.hidden_states = Layers(part, layers + 1)
        self.title = title

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def residual_final(self) -> np.ndarray:
        """(token, hidden) float32: the residual stream after the last layer, before the final norm.

        Raises:
            MissingArrayError: the model has a final norm that its family file does not name.
        """
        if self.has("residual_final"):
            return self.array("residual_final", "the residual stream")
        if self.final_norm:
            raise MissingArrayError(
                f"The state before {self.title}'s final norm is not known for this family. "
                "Use hidden_states[-1], which comes after that norm."
            )
        return self.hidden_states[-1]

    @property
    def segments(self) -> np.ndarray:
        """(token,) int8: the text that each token belongs to, 0 or 1; −1 for a token that the tokenizer added."""
        if self.has("segments"):
            return self.array("segments", "the texts of the tokens")
        return self.remember("segments", lambda: segments_of(self.tokens, self._first_text))

    @property
    def second_begins(self) -> int | None:
        """The position of the first token of the second text; None in a run of one text."""
        found = np.flatnonzero(self.segments == 1)
        return int(found[0]) if len(found) else None

    def after_layer(self, layer: int) -> np.ndarray:
        """(token, hidden) float32: the residual stream after `layer`, before any final norm if the run has that."""
        check("layer", layer, self.layers)
        last = layer == self.layers - 1 and self.has("residual_final")
        return self.residual_final if last else self.hidden_states[layer + 1]

    def remember(self, name: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once for this stream: only for results that depend on it alone."""
        return self._part.remember(name, compute)


class Attention(Holder):
    """Attention of one kind: queries of one stream, keys of the same or another stream.

    Attributes:
        kind: "decoder", "encoder" (within that stream) or "cross". asks: the stream of the queries; answers: that of
            the keys.
        layers, heads: how many there are; heads are query heads, several of which may share a key head.
    """

    def __init__(self, part: Part, asks: Stream, answers: Stream, heads: int, recipes: Sequence[ScoreRecipe]) -> None:
        if len(recipes) != asks.layers:
            raise RunShapeError(f"{len(recipes)} score recipes for {asks.layers} layers. Run the text again.")
        super().__init__(part)
        self.kind = part.name
        self.asks, self.answers, self.heads, self.layers = asks, answers, heads, len(recipes)
        self._recipes = tuple(recipes)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of queries and keys: (query, key)."""
        return len(self.asks), len(self.answers)

    def recipe(self, layer: int) -> ScoreRecipe:
        """Return how `layer` computes weights from query and key."""
        check("layer", layer, self.layers)
        return self._recipes[layer]

    def query_and_key(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """(head, query, d_head) and (key_head, key, d_head) float32.

        Raises:
            MissingArrayError: the run does not hold them, or its model returns none (`ScoreRecipe.stored`).
        """
        if self.recipe(layer).stored is not None:
            raise MissingArrayError(
                f"{self.asks.title} has its own attention code, so its weights are stored, and its queries and keys "
                "are not available. Choose another model to see them."
            )
        query, key = (self.array(f"{name}/{layer}", "queries and keys") for name in ("query", "key"))
        for name, array, count in (("query", query, len(self.asks)), ("key", key, len(self.answers))):
            if array.shape[1] != count:
                raise RunShapeError(
                    f"{name}/{layer} has {array.shape[1]} positions for {count} tokens. Run the text again."
                )
        return query, key

    def weights(self, layer: int, head: int) -> np.ndarray:
        """(query, key) float32 of one head: each row sums to 1 (less with a sink); from query and key, or as stored."""
        return self.rows(layer, head, 0, len(self.asks))

    def rows(self, layer: int, head: int, first: int, last: int) -> np.ndarray:
        """Rows `first` … `last` (exclusive) of `weights`: (query, key) float32; the others are not computed or read."""
        check("head", head, self.heads)
        recipe = self.recipe(layer)
        if not 0 <= first < last <= len(self.asks):
            raise BadSelectionError(
                f"Rows {first} to {last} are not rows of this run. Choose rows between 0 and {len(self.asks)}."
            )
        if recipe.stored is not None:
            return self._stored_rows(layer, head, first, last)
        query, key = self.query_and_key(layer)
        bias = self.array(recipe.bias, "position biases")[head][first:last] if recipe.bias else None
        sink = float(self.array(recipe.sinks, "sink logits")[head]) if recipe.sinks else None
        key_head = head // (query.shape[0] // key.shape[0])
        return attention_weights(query[head][first:last], key[key_head], recipe, bias, sink, first)

    def _stored_rows(self, layer: int, head: int, first: int, last: int) -> np.ndarray:
        """`rows` of stored weights. A row that is not finite is 0 at its forbidden pairs, as a computed one is."""
        rows = self._stored(layer)[head, first:last].copy()
        if not np.isfinite(rows).all():
            rows[~self.allowed(layer, first, last)] = 0.0
        return rows

    def _stored(self, layer: int) -> np.ndarray:
        """(head, query, key) float32 of a layer whose weights are stored: memory-mapped, and read on access."""
        name = self.recipe(layer).stored or ""
        found = self.array(name, "the attention weights")
        if found.shape != (self.heads, *self.shape):
            raise RunShapeError(f"{name} is {found.shape}, not {(self.heads, *self.shape)}. Run the text again.")
        return found

    def made_of(self, layer: int, head: int) -> tuple[np.ndarray, ...]:
        """Return the arrays that one head's weights come from: the layer's query and key, or the stored weights."""
        if self.recipe(layer).stored is not None:
            return (self._stored(layer)[head],)
        return self.query_and_key(layer)

    def allowed(self, layer: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """(query, key) bool: which keys the queries `first` … `last` (exclusive) may read."""
        last = len(self.asks) if last is None else last
        return allowed_keys(self.recipe(layer), last - first, len(self.answers), first)

    @property
    def thumbnails(self) -> np.ndarray:
        """(layer, head, query, key) uint8: thumbnails of all heads, max-pooled."""
        return self.array("thumbnails", "the small pictures of all heads")

    @property
    def received(self) -> np.ndarray:
        """(layer, head, key) float32: the attention that each key receives, averaged over queries."""
        return self.array("received", "the attention that each token receives")

    def score(self, name: str) -> np.ndarray:
        """(layer, head) float32: one score of every head, averaged over the queries of this text."""
        return self.array(f"scores/{name}", "the heads' scores")

    def scores(self) -> tuple[str, ...]:
        """The names of the scores that the run holds."""
        return tuple(name.removeprefix("scores/") for name in self._part.names() if name.startswith("scores/"))

    def remember(self, name: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once: only for results that depend on this attention alone."""
        return self._part.remember(("attention", name), compute)


def check(name: str, value: int | None, count: int) -> None:
    """Raise `BadSelectionError` if the index is out of range."""
    if value is not None and not 0 <= value < count:
        raise BadSelectionError(
            f"There is no {name} {value} in this run; it has {name}s 0 to {count - 1}. Choose one of these."
        )
