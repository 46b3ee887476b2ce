"""The attention function that captures every family.

transformers lets a program register an attention function and hands it query and key after rotary embedding and
normalisation, whatever the family. `recording` selects ours for the length of one forward. It computes the layer's
output, keeps query, key and the score recipe, and has the statistics computed tile by tile.

It refuses by name anything it does not know, rather than ignore it: an ignored softcap or sink gives weights that look
right but are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from dashboard.capture.tiles import MASS, Operands, RawStatistics, TiledAttention
from dashboard.contracts.attention_recipe import MaskKind, ScoreRecipe
from dashboard.contracts.repeats import Repeats
from dashboard.errors import UnsupportedModelError

IMPLEMENTATION = "dashboard_capture"  # no "flash" in it: transformers would look for a kernel to download
ROW_ERROR = {torch.float32: 1e-4, torch.float64: 1e-4}  # a row of weights may miss 1 by this
COARSE_ROW = 3e-2  # in other types
HARMLESS = frozenset(  # keywords that say no more about the scores than the mask does
    {
        *("cache_position", "position_embeddings", "position_ids", "past_key_values", "token_type_ids", "use_cache"),
        *("cu_seq_lens_k", "cu_seq_lens_q", "max_length_k", "max_length_q", "num_items_in_batch"),
        *("deterministic", "is_causal", "sliding_window", "logits_to_keep", "return_dict"),
        *("output_attentions", "output_hidden_states", "output_router_logits"),
    }
)


@dataclass(frozen=True)
class Call:
    """One layer's attention call.

    Attributes:
        recipe: how its weights are made, or that they are kept. raw: its statistics.
        query, key: (head, token, d_head) and (key_head, token, d_head) float32; None if the weights are kept.
        bias, sinks: (head, query, key) and (head,) float32, None if the layer has none.
        weights: (head, query, key) float32, of a model with its own attention code; else None.
    """

    recipe: ScoreRecipe
    raw: RawStatistics
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    sinks: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    @property
    def heads(self) -> int:
        return int(self.raw.received.shape[0])


@dataclass
class Recorder:
    """The attention calls of one forward, in order: ALBERT uses one module for all its layers, so calls are counted.

    Attributes:
        name: the model's name, for messages.
        on_call: called with the index of each call before it is computed, and again between its tiles; may raise to
            stop the forward.
        repeats: which tokens of the text repeat others; None leaves out the statistics of that.
        statistics_only: keep no queries, keys, biases or weights.
    """

    name: str
    on_call: Callable[[int], None]
    repeats: Repeats | None = None
    statistics_only: bool = False
    calls: list[Call] = field(default_factory=list)
    _masks: list[tuple[torch.Tensor, tuple[MaskKind, int | None]]] = field(default_factory=list)
    _biases: list[torch.Tensor] = field(default_factory=list)
    _tiled: dict[torch.device, TiledAttention] = field(default_factory=dict)  # a model may be spread over several

    def compute(self, operands: Operands) -> torch.Tensor:
        """Return the layer's output, (token, head, d_value) float32; keep its query, key and statistics."""
        output, raw = self._tiles(operands.query.device).layer(operands, lambda: self.on_call(len(self.calls)))
        kept = () if self.statistics_only else (operands.query, operands.key, operands.bias, operands.sinks)
        self.calls.append(Call(operands.recipe, raw, *kept))
        return output

    def keep(self, weights: torch.Tensor, mask: MaskKind, window: int | None) -> None:
        """Keep one layer's (head, query, key) weights, which the model itself computed, and their statistics.

        Raises:
            UnsupportedModelError: a row does not sum to 1 over the keys that the mask allows.
        """
        recipe = ScoreRecipe(1.0, mask, window, stored=f"attention/{len(self.calls)}")
        raw, outside = self._tiles(weights.device).given(weights, recipe, lambda: self.on_call(len(self.calls)))
        if outside > 0 or bool(((raw.rows[MASS] - 1).abs() > ROW_ERROR.get(weights.dtype, COARSE_ROW)).any()):
            raise UnsupportedModelError(
                f"The weights in layer {len(self.calls)} of {self.name} do not sum to 1 over the tokens that it may "
                "attend to, so they cannot be shown as attention. Choose another model."
            )
        kept = None if self.statistics_only else weights.detach().to("cpu", torch.float32).contiguous()
        self.calls.append(Call(recipe, raw, weights=kept))

    def _tiles(self, device: torch.device) -> TiledAttention:
        if device not in self._tiled:
            self._tiled[device] = TiledAttention(device, self.repeats)
        return self._tiled[device]

    def bias_name(self, bias: torch.Tensor) -> str:
        """Name a position bias; layers that share one (T5) share its name."""
        for index, known in enumerate(self._biases):
            if known is bias:
                return f"bias/{index}"
        self._biases.append(bias)
        return f"bias/{len(self._biases) - 1}"

    def mask(self, mask: torch.Tensor | None, tokens: int, causal: bool) -> tuple[MaskKind, int | None]:
        """Return (kind, window) of the additive mask, read and verified once for each mask that the model makes.

        Raises:
            UnsupportedModelError: no score recipe can express the mask.
        """
        if mask is None:
            return "full", None
        for known, shape in self._masks:
            if known is mask:
                return shape
        shape = read_mask(mask, tokens, causal, self.name)
        self._masks.append((mask, shape))
        return shape


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def read_mask(mask: torch.Tensor, tokens: int, causal: bool, name: str = "This model") -> tuple[MaskKind, int | None]:
    """Read an additive attention mask as (kind, window) of a `ScoreRecipe`.

    Args:
        mask: (1, 1, query, key), 0 where a key may be read and the dtype's lowest value (or −inf) where it may not.
        tokens: N; the mask must be N × N.
        causal: the kind to return if the mask does not tell (N = 1).

    Raises:
        UnsupportedModelError: the mask is neither full nor causal, with or without one sliding window.
    """
    message = (
        f"{name} uses an attention mask that is neither full, causal nor a sliding window, so it cannot be captured. "
        "Choose another model."
    )
    if tuple(mask.shape) != (1, 1, tokens, tokens):
        raise UnsupportedModelError(message)
    values = mask[0, 0]
    allowed = values if values.dtype == torch.bool else values == 0
    if values.dtype != torch.bool and not bool((allowed | (values <= torch.finfo(values.dtype).min / 2)).all()):
        raise UnsupportedModelError(message)
    kind: MaskKind = "full"
    if (not bool(allowed[0, 1:].any()) and tokens > 1) or (causal and tokens == 1):
        kind = "causal"
    reach = int(allowed[-1 if kind == "causal" else 0].sum())
    window = None if reach >= tokens else reach if kind == "causal" else reach - 1
    if not torch.equal(allowed, _allowed(kind, window, tokens, mask.device)):
        raise UnsupportedModelError(message)
    return kind, window


def _allowed(kind: MaskKind, window: int | None, tokens: int, device: torch.device) -> torch.Tensor:
    """(query, key) bool of a recipe, like `contracts.attention_recipe.allowed_keys`."""
    ones = torch.ones(tokens, tokens, dtype=torch.bool, device=device)
    if kind == "causal":
        return ones.tril() if window is None else ones.tril().triu(1 - window)
    return ones if window is None else ones.tril(window).triu(-window)


def captured_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: Any = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    position_bias: torch.Tensor | None = None,
    s_aux: torch.Tensor | None = None,
    **keywords: Any,
) -> tuple[torch.Tensor, None]:
    """The registered attention function: compute and record one layer.

    Args:
        module: the attention module that calls.
        query: (1, head, token, d_head). key, value: (1, key_head, token, d_head).
        attention_mask: (1, 1, query, key) additive, or None: every token reads every token.
        scaling: factor on q·k; d_head^−½ if not given. softcap: as in Gemma 2.
        position_bias: (1, head, query, key) added to the scores, as in T5. s_aux: (head,) sink logits, as in gpt-oss.

    Returns:
        The output (1, token, head, d_value) in the model's dtype, and no weights.

    Raises:
        UnsupportedModelError: the layer does something that a recipe cannot express; the message names it.
    """
    recorder = _RECORDER.get()
    if recorder is None:
        raise UnsupportedModelError("The capturing attention function was called outside a capture. Call capture_run.")
    refuse_unknown(recorder.name, keywords, dropout)
    _refuse_unlike(recorder.name, query, key)
    tokens = query.shape[2]
    kind, window = recorder.mask(attention_mask, tokens, bool(getattr(module, "is_causal", False)))
    recorder.on_call(len(recorder.calls))
    recipe = ScoreRecipe(
        scaling=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        mask=kind,
        window=window,
        softcap=None if softcap is None else float(softcap),
        bias=None if position_bias is None else recorder.bias_name(position_bias),
        sinks=None if s_aux is None else f"sinks/{len(recorder.calls)}",
    )
    bias = None if position_bias is None else position_bias.float().expand(1, query.shape[1], tokens, tokens)[0]
    sinks = None if s_aux is None else s_aux.float().reshape(-1)
    operands = Operands(_plain(query), _plain(key), value[0].float(), recipe, bias, sinks)
    return recorder.compute(operands)[None].to(query.dtype), None


def _refuse_unlike(name: str, query: torch.Tensor, key: torch.Tensor) -> None:
    """Raise unless the layer's queries and keys come from the same text."""
    if query.shape[0] != 1 or key.shape[2] != query.shape[2] or query.shape[1] % key.shape[1]:
        raise UnsupportedModelError(
            f"{name} attends from {tuple(query.shape[:3])} to {tuple(key.shape[:3])} (batch, head, token); "
            "only self attention over one text can be captured. Choose another model."
        )


def _plain(states: torch.Tensor) -> torch.Tensor:
    """(1, head, token, d) → (head, token, d) float32, sharing no memory with what the model still uses."""
    return states[0].to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def refuse_unknown(name: str, keywords: dict[str, Any], dropout: float = 0.0) -> None:
    """Raise `UnsupportedModelError` for a keyword that changes the scores in a way unknown here."""
    if dropout:
        raise UnsupportedModelError(f"{name} applies dropout {dropout} to its attention; put it in evaluation mode.")
    for keyword, value in keywords.items():
        if keyword not in HARMLESS and not _is_empty(value):
            raise UnsupportedModelError(
                f"{name} makes its attention scores with “{keyword}”, which capture does not know. Choose another "
                f"model."
            )


def _is_empty(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 0
    return value is None or value is False or value == 0 or value == () or value == [] or value == {}


@contextmanager
def recording(model: PreTrainedModel, recorder: Recorder) -> Iterator[None]:
    """Make `model` attend through `recorder` inside the block, and restore it exactly afterwards, whatever happens."""
    AttentionInterface.register(IMPLEMENTATION, captured_attention)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
    token = _RECORDER.set(recorder)
    try:
        with restored(model):
            model.set_attn_implementation(IMPLEMENTATION)
            yield
    finally:
        _RECORDER.reset(token)


@contextmanager
def restored(model: PreTrainedModel) -> Iterator[None]:
    """Put every part of `model` in evaluation mode inside the block; afterwards restore that, and how each attends."""
    modules = list(model.modules())
    configs = [part.config for part in modules if isinstance(part, PreTrainedModel)]
    before = [(config, config._attn_implementation) for config in configs]
    training = [module for module in modules if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation
        for module in training:
            module.training = True


def exposes(model: PreTrainedModel) -> bool:
    """Whether the model's attention goes through transformers' attention interface."""
    return bool(model._can_set_attn_implementation())


def not_exposed(model: PreTrainedModel, name: str) -> UnsupportedModelError:
    """Return the refusal of a family with its own attention code."""
    return UnsupportedModelError(
        f"{name} ({type(model).__name__}) does not expose its attention to transformers' attention interface, so it "
        f"cannot "
        "be captured. Choose another model."
    )
