"""A model run: what one model did with one text, as an immutable value of numpy arrays.

docs/glossary.md defines the axes. Arrays are read lazily from the run's mapping, so that opening a run costs little
whatever its size. Their names begin with the stream ("decoder", "encoder"), or with the kind of attention
("decoder", "encoder", "cross"; dashboard/contracts/streams.py). N tokens, d hidden width, H heads, H_kv key heads:

    STREAM/hidden_states/{i}     (token, hidden) float32, i = 0 … layers; 0 is the embedding output; as Hugging Face
                                 gives them, so in a pre-norm model the last one is past the final norm
    STREAM/residual_final        (token, hidden) float32, the residual stream before the final norm; absent if the last
                                 of hidden_states already is that, or if the family is not known
    STREAM/segments              (token,) int8, of a pair of texts: 0 or 1, the text that a token belongs to, −1 for a
                                 token that the tokenizer added
    KIND/query/{layer}           (head, query, d_head) float32    KIND/key/{layer}  (key_head, key, d_head) float32
                                 as the scores are made of them: after any rotary embedding and normalisation
    KIND/rotary/{layer}          (pair, 3) float32: two dimensions of query and key that a rotary embedding turns
                                 together, and by how many radians per token; absent if there is none or it is not known
    KIND/bias/… , KIND/sinks/…   what a score recipe names
    KIND/attention/{layer}       (head, query, key) float32, each row sums to 1: the weights themselves, instead of
                                 query and key, if the family has its own attention code
    KIND/thumbnails              (layer, head, q, k) uint8, 255·sqrt(weight), max-pooled where N > k; 0 is "none or
                                 forbidden"
    KIND/scores/{name}           (layer, head) float32: mean weight on the previous, next, self, first token; entropy
                                 (nats), entropy_share (of the largest possible, 0 … 1), distance (tokens); mean weight
                                 on earlier occurrences of the token (duplicate) and on what followed them (induction),
                                 over the tokens that have some; NaN where there is nothing to average
    KIND/beyond_first/{name}     (layer, head) float32: of the weight that is not on the first token, the share on the
                                 previous, next, same token (self), duplicate, induction
    STREAM/class_logits          (label,) float32; (token, label) if it classifies tokens; (token, 2) start and end
                                 of an answer; classifiers only (dashboard/contracts/classes.py)
    KIND/received                (layer, head, key) float32, the attention that each token receives, mean over queries
    given/… , masked/…           predictions: top_ids (position, k) int32, top_logprobs (position, k) float32, entropy
                                 (position,) nats, actual_logprob (position,), actual_rank (position,) int32, 1 is the
                                 likeliest; NaN and 0 where there is no actual token. `given`: the model reads the text
                                 as it is; `masked`: each position replaced by the mask token in turn (masked models
                                 only)
    derived/KIND-…/…             results computed later, in files that hold them (`with_derived`)
    vocabulary                   uint8, UTF-8 JSON {id: text} of every id that occurs in the predictions

A run must have the hidden states of its streams. All other arrays are optional: a run stored by an earlier version, or
one of a family that does not provide them, lacks some. Reading an absent array raises `MissingArrayError`, which says
how to get it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.derived import BESIDE, Derived, DerivedRequest, model_key, read_beside, write_beside
from dashboard.contracts.finite import NotFinite, first_not_finite
from dashboard.contracts.model_info import ModelInfo, no_predictions
from dashboard.contracts.precision import device_of, dtype_of
from dashboard.contracts.prediction import (
    PredictedPosition,
    Prediction,
    PredictionMode,
    TokenProbability,
    read_prediction,
    surprisal_of,
    texts_of,
)
from dashboard.contracts.request import RunRequest
from dashboard.contracts.result_cache import ResultCache
from dashboard.contracts.run_classes import RunClasses
from dashboard.contracts.run_header import check_names, make_header, results_in, stamp_of
from dashboard.contracts.streams import (
    ENDS,
    NO_TOKENS,
    STREAMS,
    Attention,
    AttentionKind,
    Part,
    Stream,
    StreamName,
    check,
)
from dashboard.contracts.token import NO_SEGMENT, Token
from dashboard.errors import BadSelectionError, MissingArrayError, RunShapeError

REMEMBERED = 64  # results of its own analysis that one run keeps
T = TypeVar("T")


class ModelRun(RunClasses):
    """One run, built from a JSON-able header and a mapping of named arrays (see the module docstring); never changed.

    Attributes:
        outdated: what this version of the program computes differently, in words; empty if the run is up to date.
            Capturing the text again brings it up to date.
        corrected: those of them that change stored numbers; what is computed today would not match the others.
        stamp: names this capture, whereas `key` names every capture of the same text, model and options.
        streams: by name; `main` is the one whose tokens are predicted. attentions: by kind.
        tokens, hidden_states: those of the main stream.

    Raises (from the methods):
        BadSelectionError: an index is out of range.
        MissingArrayError: the model has no such numbers (predictions from a model without a prediction head).
    """

    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._header = dict(header)
        self.arrays = arrays
        self.key: str = header["key"]
        self.request = RunRequest.from_json(header["request"])
        self.model = ModelInfo(**header["model"])
        self.outdated: tuple[str, ...] = tuple(header.get("outdated", ()))
        self.corrected: tuple[str, ...] = tuple(header.get("corrected", ()))
        self.stamp: str = stamp_of(header)
        self._beside = results_in(header)
        self._memory = ResultCache(REMEMBERED)
        check_names(header["tokens"], header["recipes"])
        recipes = {kind: [ScoreRecipe(**recipe) for recipe in rows] for kind, rows in header["recipes"].items()}
        self.streams: Mapping[str, Stream] = {
            name: self._stream(name, header["tokens"][name], len(recipes[name]))
            for name in STREAMS
            if name in header["tokens"]
        }
        if not self.streams:
            raise RunShapeError(NO_TOKENS)
        self.attentions: Mapping[str, Attention] = {
            kind: self._attention(kind, found) for kind, found in recipes.items()
        }
        self.main = next(iter(self.streams.values()))
        if self.main.layers != self.model.layers:
            raise RunShapeError(f"{self.main.layers} score recipes for {self.model.layers} layers. Run the text again.")
        self.tokens, self.hidden_states = self.main.tokens, self.main.hidden_states

    def _part(self, name: str) -> Part:
        return Part(name, self.arrays, self._memory, again=bool(self.outdated))

    def _stream(self, name: StreamName, rows: Sequence[Sequence[Any]], layers: int) -> Stream:
        tokens = [Token.from_row(row) for row in rows]
        first = len(self.text) if len(self.texts) > 1 else None
        return Stream(self._part(name), tokens, layers, self.model.final_norm, self.model.title, first)

    def _attention(self, kind: AttentionKind, recipes: Sequence[ScoreRecipe]) -> Attention:
        asks, answers = ENDS[kind]
        return Attention(self._part(kind), self.streams[asks], self.streams[answers], self.model.heads, recipes)

    make_header = staticmethod(make_header)

    @property
    def header(self) -> dict[str, Any]:
        return dict(self._header)

    @property
    def dtype(self) -> str:
        """The dtype that the model computed in ("bfloat16"); the arrays are float32 all the same."""
        return dtype_of(self._header)

    @property
    def device(self) -> str:
        """What it computed on: "cpu", "cuda (NVIDIA H200)"."""
        return device_of(self._header)

    @property
    def model_key(self) -> str:
        """The key of the model, shared by all runs of the same weights in the same dtype; "" if the run does not say
        which weights made it."""
        fingerprint = self._header.get("fingerprint")
        return model_key(str(fingerprint), self.dtype) if fingerprint else ""

    @property
    def text(self) -> str:
        """What the model read; of a chat message, the rendered template (`request.text` is the message)."""
        return self.request.texts[0]

    @property
    def file(self) -> str | None:
        """The name of the file that the run was opened from on the page; None for a run of this server's own."""
        found = self._header.get("file")
        return str(found["name"]) if isinstance(found, Mapping) and "name" in found else None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or both texts of a pair; `Stream.segments` says which of them a token belongs to."""
        return self.request.texts

    @property
    def source(self) -> str:
        """What the tokens' offsets refer to: the texts, one after the other without anything between."""
        return "".join(self.texts)

    def span(self, position: int) -> tuple[int, int, int] | None:
        """Return the text (0 or 1) of a token of the main stream, and its first and last (exclusive) character there.

        None for a token that the tokenizer added.
        """
        self.check(token=position)
        token, segment = self.tokens[position], int(self.main.segments[position])
        shift = len(self.text) if segment == 1 else 0
        return None if segment == NO_SEGMENT else (segment, token.start - shift, token.end - shift)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        size = f"{len(self)} tokens, {self.model.layers} layers × {self.model.heads} heads"
        return f"ModelRun({self.model.name!r}, {size}{', computed by an earlier version' if self.outdated else ''})"

    def stream(self, name: str | None = None) -> Stream:
        """Return a stream by its name, by default the main stream.

        Raises:
            BadSelectionError: the run has no such stream.
        """
        found = self.main if name is None else self.streams.get(name)
        if found is None:
            raise BadSelectionError(f"This run has no {name} stream. Name its {' or '.join(self.streams)} stream.")
        return found

    def attention_of(self, kind: str | None = None) -> Attention:
        """Return the attention of one kind; by default (or for "self"), that within the main stream.

        Raises:
            MissingArrayError: the model has no attention of this kind.
        """
        found = self.attentions.get(self.main.name if kind in (None, "self") else str(kind))
        if found is None:
            there = " and ".join(self.attentions)
            raise MissingArrayError(f"{self.model.title} has no {kind} attention. Ask for its {there} attention.")
        return found

    def counts(self, stream: str | None = None) -> dict[str, int]:
        """Return how many tokens, layers and heads a stream has, by the names that indices use (`Index.of`)."""
        found = self.stream(stream)
        return {"token": len(found), "layer": found.layers, "head": self.model.heads}

    def check(
        self, token: int | None = None, layer: int | None = None, head: int | None = None, stream: str | None = None
    ) -> None:
        """Raise `BadSelectionError` for an index or a stream that this run does not have."""
        counts = self.counts(stream)
        for name, value in (("token", token), ("layer", layer), ("head", head)):
            check(name, value, counts[name])

    def recipe(self, layer: int) -> ScoreRecipe:
        """Return how `layer` of the main stream computes weights from query and key."""
        return self.attention_of().recipe(layer)

    def attention(self, layer: int, head: int, kind: str | None = None) -> np.ndarray:
        """Return the attention of one head: (query, key) float32, each row sums to 1, from the stored query and key
        (or as it is stored, `ScoreRecipe.stored`).

        Heads are query heads; in a grouped-query model several of them share a key head.

        Args:
            kind: "decoder", "encoder" or "cross"; by default, attention within the main stream.
        """
        return self.attention_of(kind).weights(layer, head)

    def attention_rows(self, layer: int, head: int, first: int, last: int, kind: str | None = None) -> np.ndarray:
        """Rows `first` … `last` (exclusive) of `attention`: (query, key) float32; the others are not computed."""
        return self.attention_of(kind).rows(layer, head, first, last)

    @property
    def residual_final(self) -> np.ndarray:
        """(token, hidden) float32 of the main stream (`Stream.residual_final`)."""
        return self.main.residual_final

    def after_layer(self, layer: int) -> np.ndarray:
        """(token, hidden) float32 of the main stream (`Stream.after_layer`)."""
        return self.main.after_layer(layer)

    @cached_property
    def not_finite(self) -> NotFinite | None:
        """Where non-finite values begin; None if all are finite.

        They come from the header, or for older runs from the arrays.
        """
        known = self._header.get("not_finite")
        if known is not None:
            return NotFinite(**known)
        return (
            None if "not_finite" in self._header else first_not_finite(self.arrays, self.model.layers, self.main.name)
        )

    @property
    def has_predictions(self) -> bool:
        return "given/top_ids" in self.arrays

    @property
    def without_predictions(self) -> str:
        """Say in a sentence why the run has no predictions."""
        return str(self._header.get("no_predictions") or no_predictions(self.model.title))

    def has_masked(self, position: int) -> bool:
        """Whether this run stores the prediction with `position` masked."""
        return "masked/top_ids" in self.arrays and 0 <= position < len(self)

    @cached_property
    def _texts(self) -> dict[int, str]:
        return texts_of(self.arrays)

    def prediction(self, position: int, mode: PredictionMode = "given", k: int | None = None) -> Prediction:
        """Return what the model predicts at `position` (causal: the token after it; masked: the token there)."""
        self.check(token=position)
        if not self.has_predictions:
            raise MissingArrayError(self.without_predictions)
        if f"{mode}/top_ids" not in self.arrays:
            raise MissingArrayError(
                f"This run does not store “{mode}” predictions. Leave `mode` out for those of the text as it stands."
            )
        return read_prediction(self.arrays, self._texts, position, self._predicted(position, mode), k)

    def check_current(self) -> None:
        """Raise `MissingArrayError` if newly computed arrays would not match those of the run."""
        if self.corrected:
            raise MissingArrayError(
                "An earlier version of this program computed this run and did not store this result. Run the text "
                "again to see it.",
                again=True,
            )

    def prediction_beside(self, arrays: Mapping[str, np.ndarray], position: int, k: int | None = None) -> Prediction:
        """Return the prediction with `position` masked, from arrays computed later (one row, see `masked_fill`)."""
        self.check(token=position)
        return read_prediction(arrays, texts_of(arrays), 0, self._predicted(position, "masked"), k)

    def top_k(self, position: int, k: int = 10, mode: PredictionMode = "given") -> tuple[TokenProbability, ...]:
        """Return the `k` likeliest tokens at `position`, likeliest first."""
        return self.prediction(position, mode, k).candidates

    def _predicted(self, position: int, mode: PredictionMode) -> PredictedPosition:
        """Say what a prediction at `position` is about: the next token (causal models) or the token there (masked)."""
        at = position + 1 if self.model.kind == "causal" else position
        return PredictedPosition(position, mode, self.tokens[at].id if at < len(self) else None, self.model.vocabulary)

    @cached_property
    def surprisal(self) -> np.ndarray | None:
        """(token,) float32 nats, NaN where a token has none; None if the model predicts nothing.

        Causal models: −log p(token | what came before). Masked models: −log p(token | the rest, with it masked), if
        that was computed for every position.
        """
        return surprisal_of(self.arrays, self.model.kind) if self.has_predictions else None

    def remember(self, name: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once for this run even if several threads ask: only for results that depend on
        the run alone. Of `REMEMBERED` results, the least recently used is dropped.
        """
        return self._memory.remember(name, compute)

    def derived(self, request: DerivedRequest) -> Derived | None:
        """Return a derived result that this run holds (`with_derived`); None if it does not hold it."""
        row = self._beside.get(request.suffix)
        return None if row is None else read_beside(request, row, self.arrays)

    def with_derived(self, results: Iterable[Derived]) -> ModelRun:
        """Return a run that also holds these results, for a file of its own: arrays as `derived/KIND-…/…`."""
        found = list(results)
        if not found:
            return self
        rows, arrays = write_beside(found)
        header = {**self._header, BESIDE: {**self._beside, **rows}}
        return ModelRun(header, ChainMap(arrays, self.arrays))  # type: ignore[arg-type]

    def with_arrays(self, extra: Mapping[str, np.ndarray]) -> ModelRun:
        """Return a run that also has these arrays (a new value; this one stays as it is)."""
        return ModelRun(self._header, ChainMap(dict(extra), self.arrays))  # type: ignore[arg-type]
