"""The attention block of each layer (values, output projection, residual connection, LayerNorm), found during a forward
pass.

Each part is recognised by what it computes on this text, in the order of the calls, never by its class name:

- the output projection reads exactly what attention returned, and returns that times its weights plus its bias;
- the residual connection: a later module reads the projection's output plus what some module read before attention;
- the block's LayerNorm reads that sum and returns what its formula says, and the model continues from its output: a
  later module reads that output plus what another module computed from it. A pre-norm model continues from the sum.

Whatever does not fit (a gate in between, heads of another width, attention and MLP added in one step) is not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from dashboard.capture.attention import Call, Recorder, recording
from dashboard.capture.loader import LoadedModel
from dashboard.capture.model_probe import TOLERANCE, base_of, evaluating, keywords_of, model_probe
from dashboard.capture.tiles import SELF, Operands


@dataclass
class AttentionBlock:
    """What one layer's attention block did with a text.

    Attributes:
        value: (key_head, token, d_value) float32, with bias.
        attended: (token, head, d_value) float32, attention's output.
        own: (head, token) float32, each token's weight on itself.
        weight: (head · d_value, hidden) float32, weights of the output projection; None if it was not found.
        residual: (token, hidden), what the projection's output is added to; None if no such sum was found.
        total: (token, hidden), that sum.
        norm: the LayerNorm that reads the sum, if the model continues from its output.
    """

    value: torch.Tensor
    attended: torch.Tensor
    own: torch.Tensor
    weight: torch.Tensor | None = None
    residual: torch.Tensor | None = None
    total: torch.Tensor | None = None
    norm: nn.LayerNorm | None = None

    @property
    def heads(self) -> int:
        return int(self.attended.shape[1])


OnBlock = Callable[[int, AttentionBlock], None]
T = TypeVar("T")


def each_block(
    loaded: LoadedModel, inputs: dict[str, torch.Tensor], report: Callable[[int], None], on_block: OnBlock
) -> bool:
    """Let the model read a text, and call `on_block` with each layer's block once its layer is computed.

    Args:
        inputs: what the model reads.
        report: called with each layer, repeatedly if the text is long; may raise.
        on_block: called with each layer and its block.

    Returns:
        Whether every layer had a block; False if the model has its own attention code.
    """
    model, info = loaded.model, loaded.info
    known = model_probe(model, info)
    if known.own is not None or known.refusal:
        return False
    watcher = _Watcher(info.title, report, on_block=on_block, width=info.hidden_size)
    base = base_of(model)
    with known.lock, evaluating(model), torch.inference_mode(), recording(model, watcher), _watched(base, watcher):
        base(**inputs, **keywords_of(info))
        watcher.finish()
    return len(watcher.calls) == info.layers


def by_layer(
    loaded: LoadedModel,
    inputs: dict[str, torch.Tensor],
    report: Callable[[int], None],
    made_of: Callable[[AttentionBlock], T],
) -> list[T | None]:
    """Return what `made_of` makes of each layer's block, None for a layer whose output projection was not found.

    Args:
        inputs, report: as in `each_block`.
    """
    layers: list[T | None] = [None] * loaded.info.layers

    def take(layer: int, block: AttentionBlock) -> None:
        if block.weight is not None and layer < len(layers):
            layers[layer] = made_of(block)

    return layers if each_block(loaded, inputs, report, take) else [None] * loaded.info.layers


@dataclass
class _Watcher(Recorder):
    """Follows a forward pass, one block after the other."""

    on_block: OnBlock = lambda _layer, _block: None
    width: int = 0
    _search: _Search | None = None
    _read: list[torch.Tensor] = field(default_factory=list)  # what modules read since the last output projection

    def compute(self, operands: Operands) -> torch.Tensor:
        self.finish()
        output, raw = self._tiles(operands.query.device).layer(operands, lambda: self.on_call(len(self.calls)))
        self.calls.append(Call(operands.recipe, raw))  # without query and key: no caller needs them
        self._search = _Search(AttentionBlock(operands.value, output, raw.rows[SELF]), self.width, self._read)
        return output

    def saw(self, module: nn.Module, given: list[torch.Tensor], output: Any) -> None:
        """Note what a module read and returned."""
        if self._search is not None and self._search.see(module, given, output):
            self._read = []
        wide = [one for one in given if one.ndim and one.shape[-1] == self.width]
        self._read += [one for one in wide if not any(one is known for known in self._read)]

    def finish(self) -> None:
        """Report the block in progress, if there is one."""
        search, self._search = self._search, None
        if search is not None:
            self.on_block(len(self.calls) - 1, search.block)


@contextmanager
def _watched(base: nn.Module, watcher: _Watcher) -> Iterator[None]:
    def hook(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        watcher.saw(module, [one for one in (*args, *keywords.values()) if isinstance(one, torch.Tensor)], output)

    with ExitStack() as stack:
        for module in base.modules():
            if isinstance(module, nn.Linear | Conv1D) or next(module.children(), None) is None:
                stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield


class _Search:
    """Looks for the parts of one block in what the modules after attention read and return.

    Args:
        before: what modules read before attention.
    """

    def __init__(self, block: AttentionBlock, width: int, before: Iterable[torch.Tensor]) -> None:
        self.block, self._width = block, width
        self._before = list(before)
        self._projected: torch.Tensor | None = None
        self._norm: nn.LayerNorm | None = (
            None  # the LayerNorm that reads the sum; in a pre-norm model, it belongs to the MLP
        )
        self._normed: torch.Tensor | None = None
        self._made: list[torch.Tensor] = []  # what modules after it returned

    def see(self, module: nn.Module, given: list[torch.Tensor], output: Any) -> bool:
        """Examine a module's call; return whether it is the output projection's."""
        if self.block.weight is None:
            return self._try_projection(module, given, output)
        if self._projected is None or self.block.norm is not None:
            return False
        was_found = self._normed is not None
        for one in given:
            states = self._flat(one)
            if states is not None:
                self._try(module, states, output)
        made = self._flat(output)
        if was_found and made is not None:
            self._made.append(made)
        return False

    def _flat(self, states: Any) -> torch.Tensor | None:
        """(token, hidden) of one text's states, whatever their other axes; None for anything else."""
        size = self.block.attended.shape[0] * self._width
        if not isinstance(states, torch.Tensor) or states.numel() != size or states.shape[-1] != self._width:
            return None
        return states.reshape(-1, self._width)

    def _try_projection(self, module: nn.Module, given: list[torch.Tensor], output: Any) -> bool:
        if not isinstance(module, nn.Linear | Conv1D) or not given:
            return False
        attended = self.block.attended
        states = attended.to(given[0].dtype).reshape(1, attended.shape[0], -1)
        if given[0].shape != states.shape or not torch.equal(given[0], states):
            return False
        weight = _weight(module)
        if not _is_linear(module, weight, given[0], output):
            return False
        self.block.weight, self._projected = weight, self._flat(output)
        return True

    def _try(self, module: nn.Module, states: torch.Tensor, output: Any) -> None:
        """Check whether a module reads the sum, whether it is the LayerNorm, or whether it reads the next sum."""
        block = self.block
        if block.total is None:
            block.residual = self._added(states)
            block.total = None if block.residual is None else states
        if block.total is None:
            return
        if self._normed is None:
            normed = self._flat(output)
            if normed is None or not isinstance(module, nn.LayerNorm) or not _close(states, block.total):
                return
            if _normalises(module, states, normed):
                self._norm, self._normed = module, normed
        elif any(_close(states, self._normed, made) for made in self._made):
            block.norm, self._made = self._norm, []

    def _added(self, states: torch.Tensor) -> torch.Tensor | None:
        """What was added to the projection's output to get these states."""
        for one in reversed(self._before):  # the one read last: earlier ones may differ by less than rounding
            residual = self._flat(one)
            if residual is not None and self._projected is not None and _close(states, self._projected, residual):
                return residual
        return None


def _close(found: torch.Tensor, *parts: torch.Tensor) -> bool:
    """Whether (token, hidden) states are the sum of the parts; the last token is checked first."""
    tolerance = TOLERANCE.get(found.dtype, max(TOLERANCE.values()))
    for rows in (slice(-1, None), slice(None)):
        ours = found[rows].float()
        wanted = sum((part[rows].to(ours.device).float() for part in parts), torch.zeros_like(ours))
        if not bool((ours - wanted).abs().max() <= tolerance * max(1e-3, float(ours.abs().max()))):
            return False
    return True


def _normalises(module: nn.LayerNorm, states: torch.Tensor, normed: torch.Tensor) -> bool:
    """Whether a LayerNorm normalises the hidden axis, and has returned what its formula says."""
    if tuple(module.normalized_shape) != (states.shape[1],):
        return False
    gain, shift = (None if one is None else one.float() for one in (module.weight, module.bias))
    return _close(normed, nn.functional.layer_norm(states.float(), (states.shape[1],), gain, shift, module.eps))


def _weight(module: nn.Linear | Conv1D) -> torch.Tensor:
    """(in, out) float32."""
    weight: torch.Tensor = module.weight.detach().float()
    return weight if isinstance(module, Conv1D) else weight.T


def _is_linear(module: nn.Linear | Conv1D, weight: torch.Tensor, states: torch.Tensor, output: Any) -> bool:
    """Whether a module's output is its input times these weights, plus its bias, checked on the last token."""
    if not isinstance(output, torch.Tensor) or output.shape[-1] != weight.shape[1]:
        return False
    wanted, bias = states[0, -1].float() @ weight, getattr(module, "bias", None)
    wanted = wanted if bias is None else wanted + bias.float()
    found = output[0, -1].float()
    tolerance = TOLERANCE.get(output.dtype, max(TOLERANCE.values()))
    return bool((wanted - found).abs().max() <= tolerance * max(1e-3, float(found.abs().max())))
