"""How long what a token passes on through each head is: f(x) = (x W_V + b_V) W_O (Kobayashi et al. 2020).

A forward pass gives the values of every layer. The module that reads the heads' output, concatenated, is the output
projection: it is found by its input, which must be exactly what attention returned, and its output must be that input
times its weights plus its bias. Whatever does not fit (a gate in between, heads of another width) is not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from dashboard.capture.attention import Call, Recorder, recording
from dashboard.capture.forward import as_float32
from dashboard.capture.loader import LoadedModel
from dashboard.capture.model_probe import TOLERANCE, base_of, evaluating, keywords_of, model_probe
from dashboard.capture.tiles import Operands

CHUNK_BYTES = 32 * 2**20  # of what some tokens pass on through all heads, which is held at once


@dataclass(frozen=True)
class ValueNorms:
    """What the tokens of a text pass on in one layer.

    Attributes:
        norms: (head, token) float32, ‖f(x)‖.
        gram: (token, pair) float32, the inner products of what two heads pass on, f(x)·f'(x), for the pairs of heads
            (0, 0), (0, 1), …, (1, 1), …; None if they were not asked for.
    """

    norms: np.ndarray
    gram: np.ndarray | None


@dataclass
class _Values(Recorder):
    """Keeps the values of the latest call, and what attention returned."""

    value: torch.Tensor | None = None
    output: torch.Tensor | None = None
    layers: list[ValueNorms | None] = field(default_factory=list)

    def compute(self, operands: Operands) -> torch.Tensor:
        output, raw = self._tiles(operands.query.device).layer(operands, lambda: self.on_call(len(self.calls)))
        self.calls.append(Call(operands.recipe, raw))  # without query and key, which nobody needs here
        self.layers.append(None)
        self.value, self.output = operands.value, output
        return output


def value_norms(
    loaded: LoadedModel, inputs: dict[str, torch.Tensor], report: Callable[[int], None], gram: bool
) -> list[ValueNorms | None]:
    """Return each layer's norms, None for a layer whose output projection is not known.

    Args:
        inputs: what the model reads. report: called with each layer, repeatedly if the text is long; may raise.
        gram: whether the inner products between heads are wanted.
    """
    model, info = loaded.model, loaded.info
    known = model_probe(model, info)
    if known.own is not None or known.refusal:
        return [None] * info.layers
    values = _Values(info.title, report)
    base = base_of(model)
    with (
        known.lock,
        evaluating(model),
        torch.inference_mode(),
        recording(model, values),
        _projecting(base, values, gram),
    ):
        base(**inputs, **keywords_of(info))
    return values.layers if len(values.layers) == info.layers else [None] * info.layers


@contextmanager
def _projecting(base: nn.Module, values: _Values, gram: bool) -> Iterator[None]:
    """Let `values` compute a layer's norms when the module that reads attention's output has been called."""

    def hook(module: nn.Linear | Conv1D, args: tuple[Any, ...], output: Any) -> None:
        attended, value = values.output, values.value
        if attended is None or value is None or not args or not isinstance(args[0], torch.Tensor):
            return
        states = attended.to(args[0].dtype).reshape(1, attended.shape[0], -1)
        if args[0].shape != states.shape or not torch.equal(args[0], states):
            return
        values.value = values.output = None
        weight = _weight(module)
        if _is_linear(module, weight, args[0], output):
            values.layers[-1] = _norms(value, weight, attended.shape[1], gram)

    with ExitStack() as stack:
        for module in base.modules():
            if isinstance(module, nn.Linear | Conv1D):
                stack.callback(module.register_forward_hook(hook).remove)
        yield


def _weight(module: nn.Linear | Conv1D) -> torch.Tensor:
    """(in, out) float32."""
    weight: torch.Tensor = module.weight.detach().float()
    return weight if isinstance(module, Conv1D) else weight.T


def _is_linear(module: nn.Linear | Conv1D, weight: torch.Tensor, states: torch.Tensor, output: Any) -> bool:
    """Whether a module's output is its input times these weights, plus its bias: tried on the last token."""
    if not isinstance(output, torch.Tensor) or output.shape[-1] != weight.shape[1]:
        return False
    wanted, bias = states[0, -1].float() @ weight, getattr(module, "bias", None)
    wanted = wanted if bias is None else wanted + bias.float()
    found = output[0, -1].float()
    tolerance = TOLERANCE.get(output.dtype, max(TOLERANCE.values()))
    return bool((wanted - found).abs().max() <= tolerance * max(1e-3, float(found.abs().max())))


def _norms(value: torch.Tensor, weight: torch.Tensor, heads: int, gram: bool) -> ValueNorms:
    """Compute one layer's norms, some tokens at a time.

    Args:
        value: (key_head, token, d_value) with bias. weight: (head · d_value, hidden).
    """
    key_heads, tokens, width = value.shape
    by_head = weight.reshape(heads, width, -1)
    shared = value.float().repeat_interleave(heads // key_heads, dim=0)  # (head, token, d_value)
    chunk = max(1, CHUNK_BYTES // (4 * heads * by_head.shape[2]))
    rows, columns = torch.triu_indices(heads, heads)
    norms, products = [], []
    for first in range(0, tokens, chunk):
        passed = torch.bmm(shared[:, first : first + chunk], by_head)  # (head, token, hidden)
        norms.append(passed.norm(dim=2))
        if gram:
            of_tokens = passed.transpose(0, 1)
            products.append(torch.bmm(of_tokens, of_tokens.transpose(1, 2))[:, rows, columns])
    return ValueNorms(as_float32(torch.cat(norms, dim=1)), as_float32(torch.cat(products)) if gram else None)
