"""One text, read once by one model: everything the views need, as a `ModelRun`.

One forward gives query, key and statistics of every layer (`dashboard.capture.attention`), the hidden states exactly as
Hugging Face gives them, and the residual stream before the final norm. The predictions follow from the last hidden
state through the model's whole head (`dashboard.capture.predictions`). Nothing is padded, and no tokens are added
except those of the model's own tokenizer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from dashboard.capture import predictions
from dashboard.capture.attention import Call, Recorder, not_exposed, recording
from dashboard.capture.captured import arrays_of, watching
from dashboard.capture.chat import with_rendered
from dashboard.capture.class_head import class_logits
from dashboard.capture.configuration import first_line, refuse_encoder_decoder
from dashboard.capture.forward import Forward
from dashboard.capture.loader import LoadedModel
from dashboard.capture.model_probe import (
    ModelProbe,
    at_each_layer,
    base_of,
    evaluating,
    keywords_of,
    model_probe,
    norm_module,
)
from dashboard.capture.own_attention import taking
from dashboard.capture.tokens import separates, tokenize
from dashboard.capture.vocabulary import check_ids, embedding_rows, logits_of
from dashboard.catalog.pairs import check_pairs
from dashboard.contracts.finite import first_not_finite
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.model_info import ModelInfo, no_predictions
from dashboard.contracts.precision import CPU
from dashboard.contracts.prediction import NO_TOKEN
from dashboard.contracts.repeats import Repeats
from dashboard.contracts.request import CaptureOptions, RunRequest, check_characters, check_length
from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_header import stream_of
from dashboard.contracts.stored_weights import WEIGHTS_MEGABYTES, check_weights
from dashboard.contracts.token import Token, segments_of
from dashboard.errors import BadRequestError, UnsupportedModelError
from dashboard.store.upgrades import made_now
from dashboard.version import __version__


def capture_run(
    loaded: LoadedModel,
    text: str,
    text_pair: str | None = None,
    *,
    chat: bool = False,
    progress: OnProgress | None = None,
    request: RunRequest | None = None,
    max_tokens: int | None = None,
    weights_megabytes: float = WEIGHTS_MEGABYTES,
    **options: Any,
) -> ModelRun:
    """Read `text` with a loaded model.

    Args:
        loaded: the model, its tokenizer and what is known of it.
        text: what the model reads. text_pair: the second text of a pair, for a model whose tokenizer separates two
            texts (BERT's `[SEP]`), or None.
        chat: `text` is a user's message: the model reads it in its chat template, with the prompt that opens the
            answer; the run's `text` is the rendered one, and `request.text` the message.
        progress: called for every layer (repeatedly, if the text is long) and for every chunk of predictions; an
            exception from it stops the capture and reaches the caller, leaving the model as it was.
        request: names the run, if there was one; by default it is made from the other arguments. Its `dtype` becomes
            the model's.
        max_tokens: the most tokens that this server takes, which may be less than the model's own limit.
        weights_megabytes: the most that the run's attention weights may take, if the model has its own attention code,
            so that they have to be stored.
        **options: fields of `CaptureOptions` (`top_k`), if there is no request.

    Returns:
        A run with the arrays that `dashboard.contracts.run` describes, float32, not writable.

    Raises:
        EmptyTextError, BadTextError, BadRequestError: the text or an option cannot be used.
        TextTooLongError: more tokens than the model or the server takes; raised before anything is computed.
        NoPairsError: there are two texts, and the model takes one.
        NoChatTemplateError, ChatTemplateError: the model has no chat template, or it cannot render the message.
        UnsupportedModelError: the model does something that capture does not know; the message names it.
    """
    started = time.perf_counter()
    request = with_rendered(loaded, _request(loaded, text, text_pair, request, options, chat), max_tokens)
    report = progress or _silent
    without = _why_no_predictions(loaded)
    loaded = loaded if without is None else replace(loaded, info=replace(loaded.info, kind="encoder"))
    model, info = loaded.model, loaded.info
    refuse_encoder_decoder(model.config, info.title)
    inputs, tokens = _inputs(loaded, request, max_tokens)
    known = _supported(loaded, len(tokens), weights_megabytes)
    with known.lock, evaluating(model), torch.inference_mode():
        forward = _forward(loaded, known, inputs, report)
        stream = stream_of(call.recipe.mask for call in forward.calls)
        arrays = arrays_of(forward, stream)
        if text_pair is not None:
            arrays[f"{stream}/segments"] = segments_of(tokens, len(text))
        arrays |= _predict(loaded, known, forward, inputs, tokens, request.options.top_k, report)
    named = replace(info, final_norm=known.past_norm)
    recipes = [call.recipe for call in forward.calls]
    more = {**_origin(loaded, started), **_remarks(loaded, without), **_finiteness(arrays, info.layers, stream)}
    header = ModelRun.make_header(request.key(loaded.fingerprint), request, named, tokens, recipes, **more)
    return ModelRun(header, _read_only(arrays))


def _supported(loaded: LoadedModel, tokens: int, weights_megabytes: float) -> ModelProbe:
    """Return what is known of a model that can be captured; raises like `capture_run`, before any computation."""
    known, info = _known(loaded), loaded.info
    if known.refusal:
        raise UnsupportedModelError(known.refusal)
    if known.own is not None:
        check_weights(tokens, info.title, info.layers, info.heads, weights_megabytes)
    return known


def _finiteness(arrays: dict[str, np.ndarray], layers: int, stream: str) -> dict[str, Any]:
    """Return what the header says of values that are not finite."""
    broken = first_not_finite(arrays, layers, stream)
    return {"not_finite": None if broken is None else asdict(broken)}


def _read_only(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for values in arrays.values():
        values.flags.writeable = False
    return arrays


def _inputs(
    loaded: LoadedModel, request: RunRequest, max_tokens: int | None
) -> tuple[dict[str, torch.Tensor], tuple[Token, ...]]:
    """Return the model's inputs, on its device, and the tokens; raises like `capture_run`, before any computation."""
    model, info = loaded.model, loaded.info
    text, text_pair = request.texts[0], request.text_pair
    if text_pair is not None:
        check_pairs(info.title, separates(loaded.tokenizer))
    check_characters(len(text) + len(text_pair or ""), info.title, info.limit, max_tokens)

    def check(count: int) -> None:
        check_length(count, info.title, info.limit, max_tokens)

    inputs, tokens = tokenize(loaded.tokenizer, text, text_pair, check, adds=not request.chat)
    check_ids(model, info.title, inputs, tokens, loaded.tokenizer_of is not None)
    return {name: values.to(model.device) for name, values in inputs.items()}, tokens


def _remarks(loaded: LoadedModel, without: str | None) -> dict[str, Any]:
    """Return the header fields that need content to appear: source, unread weights, what the model predicts if it
    predicts no tokens, numbers and device other than float32 and the CPU."""
    said: dict[str, Any] = {"source": loaded.source, "no_predictions": without, "unread": list(loaded.unread)}
    said |= {"without": loaded.without, "classes": loaded.classes and loaded.classes.to_json()}
    said |= {"dtype": loaded.asked_dtype, "device": "" if loaded.device == CPU else loaded.device}
    return {name: value for name, value in said.items() if value}


def _known(loaded: LoadedModel) -> ModelProbe:
    """Probe the model; refuse, with a message, a family whose parts the probe cannot find."""
    try:
        return model_probe(loaded.model, loaded.info)
    except (AttributeError, TypeError, LookupError, NotImplementedError, AssertionError, ValueError) as error:
        raise UnsupportedModelError(
            f"{loaded.info.title} ({type(loaded.model).__name__}) is built in a way that capture does not know "
            f"({first_line(error)}). Choose another model."
        ) from error


def _why_no_predictions(loaded: LoadedModel) -> str | None:
    """Return why a run of this model counts as an encoder's; None if the run has predictions."""
    info = loaded.info
    if info.kind == "encoder":
        return no_predictions(info.title, loaded.without, loaded.classes is not None)
    if info.kind == "masked" and loaded.tokenizer.mask_token_id is None:
        return (
            f"{info.title} predicts masked tokens, but its tokenizer has no mask token, so nothing can be masked here."
        )
    if info.kind == "masked" and loaded.tokenizer.mask_token_id >= embedding_rows(loaded.model):
        return f"{info.title} has no embedding for its tokenizer's mask token, so nothing can be masked here."
    return None


def _origin(loaded: LoadedModel, started: float) -> dict[str, Any]:
    """Return how a run was made: schema and numbers, fingerprint of the weights, version, time and duration."""
    return {
        **made_now(),
        "stamp": uuid.uuid4().hex[:16],
        "fingerprint": loaded.fingerprint,
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 4),
    }


def _silent(_progress: Progress) -> None:
    return None


def _request(
    loaded: LoadedModel,
    text: str,
    text_pair: str | None,
    request: RunRequest | None,
    options: dict[str, Any],
    chat: bool,
) -> RunRequest:
    if request is None:
        try:
            chosen = CaptureOptions(**options)
        except TypeError as error:
            raise BadRequestError(f"Unknown capture option: {error}. Give top_k, or none.") from error
        name, lent, dtype = loaded.info.name, loaded.tokenizer_of, loaded.asked_dtype
        return RunRequest(name, text, text_pair=text_pair, options=chosen, tokenizer=lent, dtype=dtype, chat=chat)
    if options or chat not in (False, request.chat) or (request.text, request.text_pair) != (text, text_pair):
        raise BadRequestError(
            "The run's request and the text or options given beside it differ. Give the request alone."
        )
    return replace(request, dtype=loaded.asked_dtype)


def _forward(loaded: LoadedModel, known: ModelProbe, inputs: dict[str, torch.Tensor], report: OnProgress) -> Forward:
    """Run one recorded forward of the base model, or of the whole model if its head is not verified, or classifies."""
    model, info = loaded.model, loaded.info

    def on_call(index: int) -> None:
        report(Progress("layers", index + 1, info.layers, f"Layer {index + 1} of {info.layers}"))

    repeats = Repeats(inputs["input_ids"][0].cpu().numpy())
    recorder = Recorder(info.title, on_call, repeats)
    residuals: list[torch.Tensor] = []
    base = base_of(model)
    norm = norm_module(base, known.final_norm)
    predicts = info.kind != "encoder" and not known.has_head
    whole = predicts or loaded.classes is not None
    hook = norm.register_forward_pre_hook(lambda _module, args: residuals.append(args[0])) if norm is not None else None
    try:
        attending = recording(model, recorder) if known.own is None else taking(model, base, recorder, known.own)
        keywords = keywords_of(info) | ({} if known.own is None else known.own.keywords)
        with attending, watching(base) as watched:
            reader = model if whole else base
            outputs = reader(**inputs, output_hidden_states=True, return_dict=True, **keywords)
    finally:
        if hook is not None:
            hook.remove()
    _check_calls(model, info, recorder.calls, outputs.hidden_states)
    logits = logits_of(outputs) if predicts else None
    if predicts and logits is None:
        raise UnsupportedModelError(
            f"{info.title} ({type(model).__name__}) gives no logits, so its predictions are unknown. Choose another "
            f"model."
        )
    return Forward(
        calls=recorder.calls,
        hidden_states=outputs.hidden_states,
        last=outputs.hidden_states[-1] if whole else outputs.last_hidden_state,
        residual=residuals[0] if residuals else None,
        logits=logits,
        class_logits=None if loaded.classes is None else class_logits(outputs, loaded.classes),
        rotary=known.rotary,
        watched=watched,
        repeats=repeats,
    )


def _check_calls(model: PreTrainedModel, info: ModelInfo, calls: Sequence[Call], hidden_states: Any) -> None:
    if not calls:
        raise not_exposed(model, info.title)
    if len(calls) != info.layers:
        raise UnsupportedModelError(
            f"{info.title} exposes the attention of {len(calls)} layers and has {info.layers}; capture needs all of "
            f"them. "
            "Choose another model."
        )
    if any(call.heads != info.heads for call in calls):
        raise UnsupportedModelError(
            f"{info.title} has layers with different numbers of heads, so it cannot be captured. Choose another model."
        )
    if hidden_states is None or len(hidden_states) != info.layers + 1:
        raise UnsupportedModelError(
            f"{info.title} does not give a hidden state for each of its layers. Choose another model."
        )


def _predict(
    loaded: LoadedModel,
    known: ModelProbe,
    forward: Forward,
    inputs: dict[str, torch.Tensor],
    tokens: Sequence[Token],
    top_k: int,
    report: OnProgress,
) -> dict[str, np.ndarray]:
    """Return `given/…`, `masked/…` if that is cheap, and `vocabulary`; nothing for a model that predicts nothing."""
    info = loaded.info
    if info.kind == "encoder":
        return {}
    ids = inputs["input_ids"][0]
    none = torch.full_like(ids[:1], NO_TOKEN)
    masks = [token.sign == "mask" for token in tokens]
    actual = torch.cat([ids[1:], none]) if info.kind == "causal" else _without(ids, masks)

    def on_block(done: int) -> None:
        report(Progress("predictions", done, len(tokens), f"Predictions {done + 1} to {len(tokens)}"))

    on_block(0)
    given = predictions.Reduction(actual, top_k, on_block)
    if forward.logits is not None:
        given.add(forward.logits[0])
    else:
        predictions.reduce_hidden(loaded.model, known, forward.last[0], given)
    arrays = given.arrays("given")
    if info.kind == "masked" and predictions.masked_cost(loaded.model, len(tokens)) <= predictions.MASKED_FLOP:
        arrays |= _predict_masked(loaded, known, inputs, tokens, top_k, report)
    found = [values for name, values in arrays.items() if name.endswith("top_ids")]
    return arrays | {"vocabulary": predictions.vocabulary(loaded.tokenizer, known, *found, actual.cpu().numpy())}


def _predict_masked(
    loaded: LoadedModel,
    known: ModelProbe,
    inputs: dict[str, torch.Tensor],
    tokens: Sequence[Token],
    top_k: int,
    report: OnProgress,
) -> dict[str, np.ndarray]:
    """Return `masked/…`: every position masked in turn.

    The tokenizer's special tokens, and masks, have candidates but no actual token; a typed mask stays in place while
    other positions are masked.
    """
    ids = inputs["input_ids"][0]
    actual = _without(ids, [not predictions.is_answer(token) for token in tokens])
    positions = torch.arange(len(tokens), device=ids.device)
    total = len(tokens)

    def on_block(done: int) -> None:
        report(Progress("predictions", done, total, f"Masking token {done + 1} of {total}"))

    reduction = predictions.Reduction(actual, top_k, on_block)
    with at_each_layer(loaded.model, lambda: on_block(reduction.done)):
        for logits in predictions.masked_logits(loaded.model, known, inputs, loaded.tokenizer.mask_token_id, positions):
            reduction.add(logits)
    return reduction.arrays("masked")


def _without(ids: torch.Tensor, left_out: Sequence[bool]) -> torch.Tensor:
    """(token,) ids, without those at the positions to leave out."""
    return torch.where(torch.tensor(left_out, device=ids.device), NO_TOKEN, ids)
