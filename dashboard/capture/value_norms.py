"""How long what a token passes on through each head is: f(x) = (x W_V + b_V) W_O (Kobayashi et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dashboard.capture.attention_block import AttentionBlock, by_layer
from dashboard.capture.forward import as_float32
from dashboard.capture.loader import LoadedModel

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


def value_norms(
    loaded: LoadedModel, inputs: dict[str, torch.Tensor], report: Callable[[int], None], gram: bool
) -> list[ValueNorms | None]:
    """Return each layer's norms, None for a layer whose output projection is not known.

    Args:
        inputs: what the model reads. report: called with each layer, repeatedly if the text is long; may raise.
        gram: whether the inner products between heads are wanted.
    """
    return by_layer(loaded, inputs, report, lambda block: _norms(block, gram))


def _norms(block: AttentionBlock, gram: bool) -> ValueNorms:
    """Compute one layer's norms, some tokens at a time."""
    norms, products = [], []
    for _tokens, passed in passed_on(block):
        norms.append(passed.norm(dim=2))
        if gram:
            products.append(pair_products(passed))
    return ValueNorms(as_float32(torch.cat(norms, dim=1)), as_float32(torch.cat(products)) if gram else None)


def passed_on(block: AttentionBlock) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield some tokens at a time, and what they pass on through each head: (head, token, hidden) float32, f(x).

    Raises:
        ValueError: the block's output projection is not known.
    """
    if block.weight is None:
        raise ValueError("The output projection of this block is not known.")
    key_heads, tokens, width = block.value.shape
    by_head = block.weight.reshape(block.heads, width, -1)
    shared = block.value.float().repeat_interleave(block.heads // key_heads, dim=0)  # (head, token, d_value)
    chunk = max(1, CHUNK_BYTES // (4 * block.heads * by_head.shape[2]))
    for first in range(0, tokens, chunk):
        some = slice(first, min(tokens, first + chunk))
        yield some, torch.bmm(shared[:, some], by_head)


def pair_products(passed: torch.Tensor) -> torch.Tensor:
    """(head, token, hidden) → (token, pair): the inner products of the pairs of heads (0, 0), (0, 1), …, (1, 1), …"""
    rows, columns = torch.triu_indices(len(passed), len(passed))
    of_tokens = passed.transpose(0, 1)
    return torch.bmm(of_tokens, of_tokens.transpose(1, 2))[:, rows, columns]
