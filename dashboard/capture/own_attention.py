"""Families with their own attention code, which do not use transformers' attention interface.

Such a model's attention modules return the weights among their outputs. A forward hook on each takes them and passes on
an empty tensor, so the model holds one layer's weights at a time. A short forward pass shows which output of which
module holds them: they have the shape (1, head, token, token), their rows sum to 1, and they equal what the model
reports with `output_attentions`. A second pass, with the hooks, must give the same weights and hidden states. Any other
model is refused by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from dashboard.capture.attention import COARSE_ROW, ROW_ERROR, Recorder, restored
from dashboard.contracts.attention_recipe import MaskKind
from dashboard.contracts.model_info import ModelInfo
from dashboard.errors import DashboardError, UnsupportedModelError

log = logging.getLogger(__name__)
EQUAL = {torch.float32: 1e-6, torch.float64: 1e-9}  # tolerance between two passes on the same inputs; 1e-2 otherwise


@dataclass(frozen=True)
class Place:
    """Where one layer's weights come from: the path of a module from the base model, and an index into its output."""

    path: str
    index: int


@dataclass(frozen=True)
class OwnAttention:
    """Where a model returns its weights.

    Attributes:
        places: one for each layer, in the order of their calls.
        asks: whether the forward pass must be asked for the weights (`output_attentions`).
        masks: each layer's mask. windows: each layer's window, as the family's file says.
    """

    places: tuple[Place, ...]
    asks: bool
    masks: tuple[MaskKind, ...]
    windows: tuple[int | None, ...]

    @property
    def keywords(self) -> dict[str, bool]:
        """Keyword arguments that the forward pass needs."""
        return {"output_attentions": True} if self.asks else {}


def find(
    model: PreTrainedModel,
    base: nn.Module,
    inputs: Mapping[str, Any],
    info: ModelInfo,
    windows: tuple[int | None, ...] | None,
) -> OwnAttention:
    """Find where `base` returns the attention weights of each layer, and verify that capture gets the same.

    Args:
        model: the whole model, `base` its part without a prediction head.
        inputs: keyword inputs for a short forward pass. windows: each layer's window; None for none.

    Raises:
        UnsupportedModelError: they are not found, or taking them changes what the model computes.
    """
    tokens = inputs["input_ids"].shape[1]
    shape = (1, info.heads, tokens, tokens)
    with _refusing(model, info.title), eagerly(model):
        modules = [type(module) for module in base.modules()]
        plain, _ = _watched(base, inputs, shape, asks=True)
        if modules != [type(module) for module in base.modules()]:
            raise refused(model, info.title, "it attends differently in short texts than in long ones")
        theirs = list(getattr(plain, "attentions", None) or ())
        if len(theirs) != info.layers or any(
            not isinstance(weights, torch.Tensor) or weights.shape != shape for weights in theirs
        ):
            raise refused(model, info.title, "it does not report the weights of every head and layer, token by token")
        if any(bool(((weights.float().sum(-1) - 1).abs() > _row_error(weights)).any()) for weights in theirs):
            raise refused(model, info.title, "the rows of its weights do not sum to 1")
        masks = _masks([weights[0] for weights in theirs], "causal" if info.kind == "causal" else "full")
        reason = "none of its modules returns the weights that it reports"
        for asks, outer in ((False, False), (True, False), (False, True), (True, True)):
            _, found = _watched(base, inputs, shape, asks)
            places = _places(found, theirs, outer)
            if places is not None:
                own = OwnAttention(places, asks, masks, windows or (None,) * info.layers)
                if _is_same(model, base, inputs, info, own, plain):
                    return own
                reason = "taking its weights out of its modules' outputs changes what it computes"
    raise refused(model, info.title, reason)


@contextmanager
def _refusing(model: PreTrainedModel, title: str) -> Iterator[None]:
    """Refuse a model that fails in a short forward pass: an unknown one may raise anything."""
    try:
        yield
    except DashboardError:
        raise
    except Exception as error:
        log.info("%s fails in a short forward pass", type(model).__name__, exc_info=True)
        raise refused(model, title, "a short trial run that asks for its weights fails") from error


def _watched(
    base: nn.Module, inputs: Mapping[str, Any], shape: tuple[int, ...], asks: bool
) -> tuple[Any, list[tuple[Place, torch.Tensor]]]:
    """Return the outputs of one forward pass, and every tensor of this shape that a module returned, in order."""
    found: list[tuple[Place, torch.Tensor]] = []

    def watch(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            for index, values in enumerate(output if isinstance(output, tuple | list) else ()):
                if isinstance(values, torch.Tensor) and values.shape == shape:
                    found.append((Place(path, index), values))

        return hook

    hooks = [module.register_forward_hook(watch(path)) for path, module in base.named_modules()]
    try:
        outputs = base(
            **inputs, output_hidden_states=True, return_dict=True, **({"output_attentions": True} if asks else {})
        )
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, found


def _places(
    found: list[tuple[Place, torch.Tensor]], theirs: list[torch.Tensor], outer: bool
) -> tuple[Place, ...] | None:
    """Return the first place that returned each layer's weights (the innermost module) or, if `outer`, the last one
    before the next layer's; None if a layer has none.
    """
    places, start = [], 0
    for weights in theirs:
        same = [index for index in range(start, len(found)) if _same(found[index][1], weights)]
        if not same:
            return None
        places.append(found[same[-1 if outer else 0]][0])
        start = same[-1] + 1
    return tuple(places)


def _is_same(
    model: PreTrainedModel,
    base: nn.Module,
    inputs: Mapping[str, Any],
    info: ModelInfo,
    own: OwnAttention,
    plain: Any,
) -> bool:
    """Whether a recorded forward pass gives the weights and the hidden states of the plain one."""
    recorder = Recorder(info.title, lambda _index: None)
    try:
        with taking(model, base, recorder, own):
            outputs = base(**inputs, output_hidden_states=True, return_dict=True, **own.keywords)
    except DashboardError:
        raise
    except Exception:
        log.info("%s fails without its attention weights", type(model).__name__, exc_info=True)
        return False
    calls = [call.weights for call in recorder.calls]
    pairs = list(zip([*calls, *outputs.hidden_states], [*plain.attentions, *plain.hidden_states], strict=False))
    whole = len(calls) == info.layers and len(outputs.hidden_states) == len(plain.hidden_states)
    return whole and all(ours is not None and _same(ours.view(theirs.shape), theirs) for ours, theirs in pairs)


@contextmanager
def taking(model: PreTrainedModel, base: nn.Module, recorder: Recorder, own: OwnAttention) -> Iterator[None]:
    """Let `recorder` take the weights of every forward pass in the block; each module passes on an empty tensor.

    The hooks come before all others, so that nothing else holds on to a layer's weights.
    """

    def take(place: Place) -> Callable[..., Sequence[Any]]:
        def hook(_module: nn.Module, _inputs: Any, output: Sequence[Any]) -> Sequence[Any]:
            layer = len(recorder.calls)
            recorder.on_call(layer)
            weights = output[place.index]
            if layer >= len(own.masks) or weights.ndim != 4 or weights.shape[::2] != (1, weights.shape[3]):
                raise UnsupportedModelError(
                    f"{recorder.name} attends in a way that a short trial did not show, so it cannot be captured. "
                    "Choose another model."
                )
            recorder.keep(weights[0], own.masks[layer], own.windows[layer])
            left = [weights.new_empty(0) if index == place.index else values for index, values in enumerate(output)]
            return tuple(left) if isinstance(output, tuple) else left

        return hook

    with eagerly(model):
        places = dict.fromkeys(own.places)
        hooks = [base.get_submodule(place.path).register_forward_hook(take(place), prepend=True) for place in places]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def eagerly(model: PreTrainedModel) -> Iterator[None]:
    """Use eager attention in every part of `model` inside the block: other implementations may return no weights."""
    with restored(model):
        for part in model.modules():
            if isinstance(part, PreTrainedModel):
                part.config._attn_implementation = "eager"
        yield


def refused(model: PreTrainedModel, title: str, reason: str) -> UnsupportedModelError:
    """Return the refusal of a model whose weights cannot be taken."""
    return UnsupportedModelError(
        f"{title} ({type(model).__name__}) has its own attention code, and {reason}, so it cannot be captured. "
        "Choose another model."
    )


def _masks(layers: Sequence[torch.Tensor], otherwise: MaskKind) -> tuple[MaskKind, ...]:
    """Return the mask of each layer's (head, query, key) weights: causal if no token attends to a later one.

    A layer whose values are not finite gets the mask of the layer before it, or `otherwise`.
    """
    masks: list[MaskKind] = []
    for weights in layers:
        if bool(torch.isfinite(weights).all()):
            masks.append("full" if bool(weights.triu(1).any()) else "causal")
        else:
            masks.append(masks[-1] if masks else otherwise)
    return tuple(masks)


def _row_error(weights: torch.Tensor) -> float:
    return ROW_ERROR.get(weights.dtype, COARSE_ROW)


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether two tensors hold the same values, including values that are not finite."""
    if ours.shape != theirs.shape:
        return False
    error = EQUAL.get(theirs.dtype, 1e-2)
    return torch.allclose(ours.to(theirs), theirs, rtol=error, atol=error, equal_nan=True)
