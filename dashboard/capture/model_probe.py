"""Verified facts about one loaded model: its family's claims, tried on a short probe."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from dashboard.capture.attention import exposes
from dashboard.capture.families import Family, families, generic
from dashboard.capture.own_attention import OwnAttention, find
from dashboard.capture.rotary import Rotary, rotary_pairs
from dashboard.capture.vocabulary import embedding_rows, logits_of
from dashboard.catalog.refused_families import REFUSED
from dashboard.contracts.model_info import ModelInfo
from dashboard.errors import UnsupportedModelError

PROBE_TOKENS = 5
# of what is verified, relative to the largest value; a model is verified in the numbers that it computes in, and in
# bfloat16 (2^−8 each) some steps of rounding make 3 %, within which two different formulas could pass for one
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6, torch.float16: 5e-3, torch.bfloat16: 3e-2}


@dataclass(frozen=True)
class ModelProbe:
    """Verified knowledge of one model. Holds no reference to the model itself, so that the model can be freed.

    Attributes:
        family: the family file that describes it, or the fallback.
        final_norm: path of the final norm from the base model, verified, or None.
        past_norm: whether `hidden_states[-1]` is past a final norm, even if that norm's place is not certain.
        has_head: whether `family.head` gives the model's own logits; if not, they come from the model's whole forward.
        own: where the model returns its attention weights; None if they go through transformers' attention interface.
        refusal: why its attention cannot be captured, as a sentence; "" if it can.
        rotary: the rotary pairs of each layer (`dashboard.capture.rotary`), verified; empty if none are known.
        lock: held while the model computes.
        texts: vocabulary id → text, filled as ids occur; an entry never changes.
    """

    family: Family
    final_norm: str | None
    past_norm: bool
    has_head: bool
    own: OwnAttention | None = None
    refusal: str = ""
    rotary: Rotary = ()
    lock: Any = field(default_factory=threading.RLock)
    texts: dict[int, str] = field(default_factory=dict)


_KNOWN: weakref.WeakKeyDictionary[nn.Module, ModelProbe] = weakref.WeakKeyDictionary()
_KNOWN_LOCK = threading.Lock()
_HOOKED: ContextVar[bool] = ContextVar("hooked", default=False)  # whether layers have the hooks of `at_each_layer`


def model_probe(model: PreTrainedModel, info: ModelInfo) -> ModelProbe:
    """Return what is known of this model, probed once, then remembered as long as the model lives."""
    with _KNOWN_LOCK:
        if model not in _KNOWN:
            _KNOWN[model] = _examine(model, info)
        return _KNOWN[model]


def base_of(model: PreTrainedModel) -> nn.Module:
    """Return the model without its prediction head (the model itself, if it has none)."""
    base = model.base_model
    # a prefix that names none of the model's parts (Llama 4's text model)
    if base is model and model.get_output_embeddings() is not None:
        parts = [part for part in model.children() if isinstance(part, PreTrainedModel)]
        base = parts[0] if len(parts) == 1 else base
    return base


def family_head(model: PreTrainedModel, known: ModelProbe, hidden: torch.Tensor) -> torch.Tensor:
    """(…, hidden) past any final norm → (…, vocabulary) logits, as the model computes them."""
    if not known.has_head or known.family.head is None:
        raise ValueError("The head of this family is not verified.")
    return known.family.head(model, hidden)


def norm_module(base: nn.Module, path: str | None) -> nn.Module | None:
    """Return the module at `path`, or None if the model has none there (some sizes of OPT)."""
    if path is None:
        return None
    module: Any = base
    for part in path.split("."):
        module = getattr(module, part, None)
        if module is None:
            return None
    return module


@contextmanager
def at_each_layer(model: PreTrainedModel, call: Callable[[], None]) -> Iterator[None]:
    """Call `call` before every layer of every forward in the block; an exception from it stops the forward."""
    hooks = [layer.register_forward_pre_hook(lambda _module, _args: call()) for layer in layer_modules(base_of(model))]
    before = _HOOKED.set(True)
    try:
        yield
    finally:
        _HOOKED.reset(before)
        for hook in hooks:
            hook.remove()


def has_hooks() -> bool:
    """Whether the caller is inside `at_each_layer`, where another forward of the same model would also call `call`."""
    return _HOOKED.get()


def layer_modules(base: nn.Module) -> list[nn.Module]:
    """Return the items of the outermost module lists: a model's layers, or the group that ALBERT uses for them all."""
    found: list[nn.Module] = []
    for child in base.children():
        found += list(child) if isinstance(child, nn.ModuleList) else layer_modules(child)
    return found


def _examine(model: PreTrainedModel, info: ModelInfo) -> ModelProbe:
    with evaluating(model), torch.inference_mode():
        return _probe(model, info)


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Put every part of the model in evaluation mode (no dropout) inside the block, then restore each."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _probe(model: PreTrainedModel, info: ModelInfo) -> ModelProbe:
    inputs = probe_inputs(model)
    base = base_of(model)
    family = families().get(info.family)
    own, refusal = (None, "") if exposes(model) else _own_attention(model, info, family)
    if family is None:
        family = generic.FAMILY
        path = generic.find_final_norm(base, lambda: base(**inputs).last_hidden_state)
    else:
        path = family.final_norm if norm_module(base, family.final_norm) is not None else None
    residual, last = _run_base(base, inputs, path)
    logits = None if info.kind == "encoder" else logits_of(model(**inputs))
    has_head = _agree(_try_head(family, model, last), logits)
    norm = norm_module(base, path)
    verified = False
    if norm is not None and residual is not None:
        normed = norm(residual)
        verified = _agree(_try_head(family, model, normed), logits) if has_head else _agree(normed, last)
    rotary = _rotary(model, base, inputs) if exposes(model) else ()
    return ModelProbe(family, path if verified else None, path is not None, has_head, own, refusal, rotary)


def _rotary(model: PreTrainedModel, base: nn.Module, inputs: dict[str, Any]) -> Rotary:
    tolerance = TOLERANCE.get(model.dtype, max(TOLERANCE.values()))
    return rotary_pairs(model, base, layer_modules(base), inputs, tolerance)


def _own_attention(model: PreTrainedModel, info: ModelInfo, family: Family | None) -> tuple[OwnAttention | None, str]:
    """Find where the model returns its weights, or say why it cannot be captured.

    This comes before any other forward, which may change how the model attends.
    """
    entry = REFUSED.get(info.family)
    if entry is not None:
        kind = type(model).__name__
        return None, f"{info.title} ({kind}) {entry.clause}, so it cannot be captured. Choose another model."
    try:
        windows = None if family is None or family.windows is None else family.windows(model.config)
        return find(model, base_of(model), probe_inputs(model) | keywords_of(info), info, windows), ""
    except UnsupportedModelError as error:
        return None, str(error)


def keywords_of(info: ModelInfo) -> dict[str, Any]:
    """Return what a forward of the model is given beside its inputs: it keeps nothing for a next token."""
    return {"use_cache": False} if info.kind == "causal" else {}


def probe_inputs(model: PreTrainedModel) -> dict[str, Any]:
    """Return the inputs of a short forward: a few ids from all over the vocabulary."""
    vocabulary = embedding_rows(model)
    ids = torch.arange(1, PROBE_TOKENS + 1, device=model.device) * max(1, (vocabulary - 1) // (PROBE_TOKENS + 1))
    ids = ids.clamp(max=vocabulary - 1)[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _run_base(
    base: nn.Module, inputs: dict[str, torch.Tensor], path: str | None
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return (the final norm's input, or None; the last hidden state)."""
    given: list[torch.Tensor] = []
    norm = norm_module(base, path)
    hook = norm.register_forward_pre_hook(lambda _module, args: given.append(args[0])) if norm is not None else None
    try:
        last = base(**inputs).last_hidden_state
    finally:
        if hook is not None:
            hook.remove()
    return (given[0] if len(given) == 1 else None), last


def _try_head(family: Family, model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor | None:
    if family.head is None:
        return None
    try:
        return family.head(model, hidden)
    except (AttributeError, TypeError, RuntimeError, ValueError):
        return None  # the file does not fit this model; its logits then come from its own forward


def _agree(ours: torch.Tensor | None, theirs: torch.Tensor | None) -> bool:
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return False
    tolerance = TOLERANCE.get(theirs.dtype, max(TOLERANCE.values()))
    return bool((ours - theirs).abs().max() <= tolerance * max(1e-3, float(theirs.abs().max())))
