"""Which dimensions of query and key a rotary embedding turns together, and how fast: tried on the loaded model.

Rotary embedding (Su et al. 2021, equation 15) turns each pair of dimensions by an angle that is proportional to the
position. transformers hands every layer the cosines and sines of these angles (`position_embeddings`), but not which
dimensions form a pair: (i, i + r/2) in Llama, (2i, 2i + 1) in Cohere. A short forward pass shows it: if all tokens
enter a layer with the same state, its queries differ only by the rotation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from dashboard.capture.attention import Recorder, recording

log = logging.getLogger(__name__)
GROWING = frozenset({"dynamic", "longrope"})  # kinds of rotary embedding whose angles depend on the length of the text
CLOSE = 2e-2  # relative: a model in half precision keeps its frequencies in float32 beside the rounded cosines
Angles = tuple[torch.Tensor, torch.Tensor]  # cos and sin, (token, width) float64
Rotary = tuple[np.ndarray | None, ...]


def rotary_pairs(
    model: PreTrainedModel,
    base: nn.Module,
    layers: Sequence[nn.Module],
    inputs: Mapping[str, Any],
    tolerance: float,
) -> Rotary:
    """Return each layer's rotary pairs, (pair, 3) float32: first dimension, second dimension, radians per token.

    Args:
        layers: the modules that are called once for each layer. inputs: of a forward pass of a few tokens.
        tolerance: by which a rotated query may differ, relative to the largest number of a query.

    Returns:
        None for a layer without a rotary embedding that can be verified; nothing at all if no layer has one, or if its
        angles depend on the length of the text.
    """
    if _grows(model.config) or not any(name.endswith("inv_freq") for name, _buffer in base.named_buffers()):
        return ()
    given: list[Angles | None] = []
    recorder = Recorder(type(model).__name__, lambda _index: None)
    try:
        with recording(model, recorder), _same_states(layers, given):
            base(**inputs)
    except Exception:  # an unknown model may raise anything
        log.info("%s: its rotary embedding cannot be tried", type(model).__name__, exc_info=True)
        return ()
    if len(given) != len(recorder.calls):
        return ()
    known = [buffer.cpu().double() for name, buffer in base.named_buffers() if name.endswith("inv_freq")]
    found = tuple(
        None if angles is None or call.query is None else _pairs(call.query.cpu().double(), angles, tolerance, known)
        for angles, call in zip(given, recorder.calls, strict=True)
    )
    return found if any(pairs is not None for pairs in found) else ()


def _grows(config: Any) -> bool:
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    return any(kind.get("rope_type") in GROWING for kind in kinds)


@contextmanager
def _same_states(layers: Sequence[nn.Module], given: list[Angles | None]) -> Iterator[None]:
    """Give each layer the first token's state at every position, and keep the cosines and sines that it receives."""

    def hook(_module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        angles = keywords.get("position_embeddings")
        if isinstance(angles, tuple) and len(angles) == 2 and all(values.ndim == 3 for values in angles):
            given.append((angles[0][0].cpu().double(), angles[1][0].cpu().double()))
        else:
            given.append(None)
        if args:
            return (args[0][:, :1].expand_as(args[0]), *args[1:]), keywords
        states = keywords["hidden_states"]
        return args, {**keywords, "hidden_states": states[:, :1].expand_as(states)}

    hooks = [layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in dict.fromkeys(layers)]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _pairs(query: torch.Tensor, angles: Angles, tolerance: float, known: Sequence[torch.Tensor]) -> np.ndarray | None:
    """(pair, 3) float32 of one layer, from its (head, token, d_head) queries of equal states; None if no known way of
    pairing explains them.
    """
    for cos, sin in _one_for_each_pair(angles):
        count = cos.shape[1]
        if 2 * count > query.shape[2] or not bool((sin[0] == 0).all()):
            continue
        for pairing in PAIRINGS:
            first, second = pairing(count)
            if _explains(query, first, second, cos / cos[0], sin / cos[0], tolerance):
                radians = _precise(torch.atan2(sin[1], cos[1]), known)
                return torch.stack([first.double(), second.double(), radians], dim=1).float().numpy()
    return None


def _one_for_each_pair(angles: Angles) -> Iterator[Angles]:
    """Cosines and sines with one column for each pair: models repeat them as a whole, one by one, or not."""
    cos, sin = angles
    half = cos.shape[1] // 2
    if half and torch.equal(cos[:, :half], cos[:, half:]):
        yield cos[:, :half], sin[:, :half]
    if half and torch.equal(cos[:, ::2], cos[:, 1::2]):
        yield cos[:, ::2], sin[:, ::2]
    yield cos, sin


def _halves(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(count), torch.arange(count) + count


def _neighbours(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return 2 * torch.arange(count), 2 * torch.arange(count) + 1


PAIRINGS: tuple[Callable[[int], tuple[torch.Tensor, torch.Tensor]], ...] = (_halves, _neighbours)


def _explains(
    query: torch.Tensor, first: torch.Tensor, second: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, error: float
) -> bool:
    """Whether turning the first token's query by each position's angles gives all queries, in every dimension."""
    turned = query[:, :1].expand_as(query).clone()
    one, other = query[:, :1, first], query[:, :1, second]
    turned[:, :, first] = one * cos - other * sin
    turned[:, :, second] = other * cos + one * sin
    largest = float(query.abs().max())
    apart = float((query - query[:, :1]).abs().max())
    return apart > 10 * error * largest and bool((turned - query).abs().max() <= error * largest)


def _precise(radians: torch.Tensor, known: Sequence[torch.Tensor]) -> torch.Tensor:
    """The model's own frequencies if these angles are rounded values of them."""
    same = (one for one in known if one.shape == radians.shape and torch.allclose(one, radians, rtol=CLOSE, atol=0))
    return next(same, radians)
