"""Whether a run that comes from a file is whole: every field of its header and every array that this version reads.

The one set of rules for run files, whoever opens them: `open_run`, and the page. A run of this server's own was made by
this program. A run file may say anything: that it has 10⁹ heads, that a prediction names a token without a text, that a
title is a list. What passes here, every view can draw.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.classes import ENDS, ClassHead
from dashboard.contracts.finite import NotFinite
from dashboard.contracts.model_info import ModelInfo
from dashboard.contracts.prediction import texts_of
from dashboard.contracts.repeats import KINDS
from dashboard.contracts.request import LONGEST_NAME, MOST_CANDIDATES
from dashboard.contracts.run import ModelRun
from dashboard.contracts.streams import THUMBNAIL, Attention, Stream
from dashboard.contracts.token import Token, segments_of
from dashboard.errors import RunShapeError

MOST_HEADS = 20_000  # layers × heads; the largest models have some 16,000
SCORES = ("previous", "next", "self", "first", "entropy", "entropy_share", "distance", *KINDS)
SHARES = ("previous", "next", "self", *KINDS)  # shares of the weight beyond the first token
PREDICTED = ("top_ids", "top_logprobs", "entropy", "actual_logprob", "actual_rank")
WORDS = (
    "fingerprint",
    "version",
    "created",
    "no_predictions",
    "source",
)  # fields of a header that are text, if present
LONGEST_VOCABULARY = 32_000_000  # bytes of the texts of all tokens that the predictions name
LONGEST_WORDS = 1_000  # characters of a model's name or title
COMMA = ord(",")
MOST_COMMAS = 10_000  # commas in these texts, beyond two for each token named (one is between any two texts)
ROUNDING = 1e-3  # how far a weight or a probability may exceed 1
Shape = tuple[int | None, ...]  # None: any length
Expected = tuple[str, Shape]  # dtype, shape


def check_run(run: ModelRun) -> None:
    """Check a run whose header has been parsed (`ModelRun(header, arrays)`), and all arrays that this version knows.

    Raises:
        RunShapeError: a value is of the wrong type, out of range, or does not fit the others; the message names it.
    """
    check_declared(run)
    with _reading():
        _check_widths(run)
        _check_predictions(run)


def check_declared(run: ModelRun) -> None:
    """The part of `check_run` that needs the arrays' types and shapes alone, and none of their values."""
    with _reading():
        _check_header(run)
        for stream in run.streams.values():
            for i in range(stream.layers + 1):
                name = f"{stream.name}/hidden_states/{i}"
                _require(name in run.arrays, f"“{name}” is missing")
        for name, (dtype, shape) in _expected(run):  # one that is named twice must be what both say
            if name in run.arrays:
                _check_array(name, run.arrays[name], dtype, shape)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn any error that strange values raise into a sentence."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise RunShapeError("The file's header or arrays cannot be read. Export the run again.") from error


def unknown_arrays(run: ModelRun) -> list[str]:
    """The names of arrays that `check_run` does not check, sorted: derived results, and arrays of other versions."""
    known = {name for name, _expected in _expected(run)}
    return sorted(name for name in run.arrays if name not in known)


# header


def _check_header(run: ModelRun) -> None:
    header, model = run.header, run.model
    _check_words(run)
    _check_fields("model", model, ModelInfo)
    for name in ("layers", "heads", "key_heads", "hidden_size", "vocabulary", "limit"):
        _require(getattr(model, name) >= 1, f"the model's {name} is {getattr(model, name)}")
    _require(model.layers * model.heads <= MOST_HEADS, f"the model has {model.layers} layers of {model.heads} heads")
    _require(model.heads % model.key_heads == 0, f"{model.heads} heads cannot share {model.key_heads} key heads")
    for stream in run.streams.values():
        for i, token in enumerate(stream.tokens):
            _check_fields(f"token {i}", token, Token)
            _require(
                0 <= token.start <= token.end and token.id >= 0, f"token {i} has impossible offsets or a negative id"
            )
            spans = ((first, last) for first, last in token.unread)
            _require(
                all(0 <= first <= last <= len(token.text) for first, last in spans), f"token {i} has an invalid mark"
            )
    for kind, rows in header["recipes"].items():
        for layer, row in enumerate(rows):
            _check_fields(f"{kind} recipe {layer}", ScoreRecipe(**row), ScoreRecipe)
    for name in WORDS:
        _require(header.get(name) is None or isinstance(header[name], str), f"“{name}” is not text")
    unread = header.get("unread", [])
    _require(isinstance(unread, list) and all(isinstance(line, str) for line in unread), "“unread” is not a list")
    _require(run.request.chat == (run.request.rendered is not None), "its chat message is not rendered")
    _require(len(run.request.revision or "") <= LONGEST_NAME, "the name of its revision is too long")
    if run.class_head is not None:
        _check_classes(run.class_head, run)
    if header.get("not_finite") is not None:
        _check_fields("not_finite", NotFinite(**header["not_finite"]), NotFinite)


def _check_words(run: ModelRun) -> None:
    """Every text of the header can be written into a file, and no name fills a page."""
    header, model = run.header, run.model
    try:
        json.dumps(dict(header), ensure_ascii=False).encode()
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        _require(False, "its header holds text that cannot be written")
    for name in (model.name, model.title, model.family):
        _require(len(str(name)) <= LONGEST_WORDS, "the name of its model is too long")


def _check_classes(head: ClassHead, run: ModelRun) -> None:
    """The head belongs to a classifier, and one that answers questions has a start and an end as probabilities."""
    _require(run.is_classifier and run.model.kind == "encoder", "a model that is not a classifier has classes")
    _require(head.of != "answer" or (head.labels, head.scale) == (ENDS, "softmax"), "its answers have no start and end")


def _check_fields(what: str, value: object, kind: type) -> None:
    """Check that each field of a dataclass holds what its annotation says."""
    for name, annotation in _hints(kind).items():
        _require(_is(getattr(value, name), annotation), f"“{name}” of {what} is {str(getattr(value, name))[:40]!r}")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _is(value: object, annotation: Any) -> bool:
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return isinstance(value, str) and value in options
    if origin in (types.UnionType, typing.Union):
        return any(_is(value, option) for option in options)
    if origin is tuple:
        one = options[0]
        if options[-1] is not Ellipsis:
            return isinstance(value, tuple) and len(value) == len(options) and all(map(_is, value, options))
        return isinstance(value, tuple) and all(_is(part, one) for part in value)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


# arrays


def _expected(run: ModelRun) -> Iterator[tuple[str, Expected]]:
    """Yield each array's name with its dtype and shape."""
    for stream in run.streams.values():
        yield from _of_stream(stream)
    if run.class_head is not None:
        yield f"{run.main.name}/class_logits", ("f4", run.class_head.shape(len(run)))
    for attention in run.attentions.values():
        yield from _of_attention(attention, run)
    for mode in ("given", "masked"):
        for name, dtype in (("top_ids", "i4"), ("top_logprobs", "f4")):
            yield f"{mode}/{name}", (dtype, (len(run), None))
        for name, dtype in (("entropy", "f4"), ("actual_logprob", "f4"), ("actual_rank", "i4")):
            yield f"{mode}/{name}", (dtype, (len(run),))
    yield "vocabulary", ("u1", (None,))


def _of_stream(stream: Stream) -> Iterator[tuple[str, Expected]]:
    for i in range(stream.layers + 1):
        yield f"{stream.name}/hidden_states/{i}", ("f4", (len(stream), None))
    yield f"{stream.name}/residual_final", ("f4", (len(stream), None))
    yield f"{stream.name}/segments", ("i1", (len(stream),))


def _of_attention(attention: Attention, run: ModelRun) -> Iterator[tuple[str, Expected]]:
    start, heads = attention.kind, attention.heads
    keys = run.model.key_heads if start == run.main.name else None  # between two streams, any number that fits
    queries, answers = attention.shape
    per_head: Shape = (attention.layers, heads)
    for layer in range(attention.layers):
        recipe = attention.recipe(layer)
        if recipe.stored:
            yield f"{start}/{recipe.stored}", ("f4", (heads, queries, answers))
            continue
        yield f"{start}/query/{layer}", ("f4", (heads, queries, None))
        yield f"{start}/key/{layer}", ("f4", (keys, answers, None))
        yield f"{start}/rotary/{layer}", ("f4", (None, 3))
        if recipe.bias:
            yield f"{start}/{recipe.bias}", ("f4", (heads, queries, answers))
        if recipe.sinks:
            yield f"{start}/{recipe.sinks}", ("f4", (heads,))
    for name in SCORES:
        yield f"{start}/scores/{name}", ("f4", per_head)
    for name in SHARES:
        yield f"{start}/beyond_first/{name}", ("f4", per_head)
    yield f"{start}/received", ("f4", (*per_head, answers))
    rows, columns = (min(count, THUMBNAIL) for count in (queries, answers))
    yield f"{start}/thumbnails", ("u1", (*per_head, rows, columns))


def _check_array(name: str, array: np.ndarray, dtype: str, shape: Shape) -> None:
    fits = len(array.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(array.shape, shape, strict=True)
    )
    wanted = " × ".join("any" if side is None else str(side) for side in shape)
    _require(
        fits and array.dtype.newbyteorder("<") == np.dtype(dtype).newbyteorder("<") and 0 not in array.shape,
        f"“{name}” is {array.dtype} {array.shape} instead of {wanted}",
    )


def _check_widths(run: ModelRun) -> None:
    """Every state has the hidden width; queries and keys fit each other, and all layers have them or none."""
    for stream in run.streams.values():
        states = [*stream.hidden_states, *([stream.residual_final] if stream.has("residual_final") else [])]
        widths = {array.shape[1] for array in states}
        _require(widths == {run.model.hidden_size}, f"hidden states have the widths {sorted(widths)[:5]}")
        if stream.has("segments"):
            first = len(run.text) if len(run.texts) > 1 else None
            _require(
                np.array_equal(stream.segments, segments_of(stream.tokens, first)),
                "some tokens are assigned to the wrong text",
            )
    for attention in run.attentions.values():
        _check_weights(attention)


def _check_weights(attention: Attention) -> None:
    """Every layer has weights, or none has: computed from its queries and keys, or stored."""
    layers = range(attention.layers)
    recipes = [attention.recipe(layer) for layer in layers]
    wanted = [
        [recipe.stored] if recipe.stored else [f"query/{layer}", f"key/{layer}", recipe.bias, recipe.sinks]
        for layer, recipe in enumerate(recipes)
    ]
    there = [[attention.has(name) for name in names if name] for names in wanted]
    if not any(any(found) for found in there):
        return
    for layer, found in enumerate(there):
        _require(all(found), f"layer {layer} lacks its weights, queries or keys")
        stored = recipes[layer].stored
        if stored:
            weights = attention.array(stored, "the attention weights")
            fits = not ((weights < 0) | (weights > 1 + ROUNDING)).any()
            _require(fits, f"some weights of layer {layer} are outside 0 to 1")
        else:
            query, key = attention.query_and_key(layer)
            _require(query.shape[2] == key.shape[2], f"queries and keys of layer {layer} differ in width")
            _require(query.shape[0] % key.shape[0] == 0, f"the heads of layer {layer} cannot share its key heads")


def _check_predictions(run: ModelRun) -> None:
    """Each prediction is complete, and every token that it names has a text."""
    modes = [mode for mode in ("given", "masked") if any(name.startswith(f"{mode}/") for name in run.arrays)]
    _require(run.model.kind == "encoder" or "given" in modes, "the predictions “given” are missing")
    if run.model.kind == "encoder":
        _require(not modes, "an encoder without a prediction head has predictions")
    if not modes:
        return
    for mode in modes:
        names = [f"{mode}/{name}" for name in PREDICTED]
        _require(all(name in run.arrays for name in names), f"the predictions “{mode}” are not complete")
    _check_vocabulary(run, modes)
    texts = texts_of(run.arrays)
    _require(all(isinstance(text, str) for text in texts.values()), "the vocabulary holds something other than texts")
    known = np.fromiter(texts, np.int64, len(texts))
    for mode in modes:
        ids, logprobs, ranks = (run.arrays[f"{mode}/{name}"] for name in ("top_ids", "top_logprobs", "actual_rank"))
        _require(
            ids.shape == logprobs.shape and 1 <= ids.shape[1] <= MOST_CANDIDATES,
            f"the arrays of “{mode}” differ in length, or hold more than {MOST_CANDIDATES} candidates",
        )
        _require(
            not np.isposinf(logprobs).any() and not (logprobs > ROUNDING).any(), f"“{mode}” has probabilities above 1"
        )
        own, entropy = (run.arrays[f"{mode}/{name}"] for name in ("actual_logprob", "entropy"))
        _require(not (own > ROUNDING).any(), f"“{mode}” has probabilities of actual tokens above 1")
        _require(
            not np.isinf(entropy).any() and not (entropy < -ROUNDING).any(), f"“{mode}” has an entropy that cannot be"
        )
        actual = _actual(run, ranks)
        _require(
            bool(np.isin(ids, known).all() and np.isin(actual, known).all()), f"“{mode}” has tokens without a text"
        )


def _check_vocabulary(run: ModelRun, modes: Sequence[str]) -> None:
    """Check the size of the texts before they are parsed, which takes many times their memory."""
    content = run.arrays["vocabulary"]
    named = len(run) + sum(run.arrays[f"{mode}/top_ids"].size for mode in modes)
    _require(content.nbytes <= LONGEST_VOCABULARY, f"its vocabulary takes {content.nbytes / 1e6:,.0f} MB")
    commas = int(np.count_nonzero(content == COMMA))
    _require(commas <= 2 * named + MOST_COMMAS, "its vocabulary has more texts than its predictions name")


def _actual(run: ModelRun, ranks: np.ndarray) -> Sequence[int]:
    """The ids of the actual tokens whose rank the predictions hold."""
    ahead = int(run.model.kind == "causal")
    return [run.tokens[i + ahead].id for i in np.flatnonzero(ranks).tolist() if i + ahead < len(run)]


def _require(fits: bool, problem: str) -> None:
    if not fits:
        raise RunShapeError(f"This file is not a complete run: {problem}. Export the run again.")
