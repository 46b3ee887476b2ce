"""Norms of what each token gives another through the whole attention block: attention, residual connection, LayerNorm.

The block's output at token i is LN(x_i + Σ_j a_ij + b_O), where a_ij = Σ_h α_h,ij f_h(x_j). LayerNorm is linear except
for s_i, the standard deviation of the whole sum: the vector that j gives i is L(a_ij) / s_i, and
L(a_ii + x_i) / s_i for i itself, where L subtracts a vector's mean and multiplies by γ (Kobayashi et al. 2021,
arXiv 2109.07152, section 3). The value's bias is in f; the output projection's bias and β belong to no token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dashboard.capture.attention_block import AttentionBlock, by_layer
from dashboard.capture.forward import as_float32
from dashboard.capture.loader import LoadedModel
from dashboard.capture.value_norms import pair_products, passed_on

ROUNDING = 1e-6  # relative rounding error of float32 sums


@dataclass(frozen=True)
class LayerBlock:
    """What the tokens of a text get in one layer.

    Attributes:
        own: (2, token) float32; row 0: ‖a_ii + x_i‖; row 1: the same after LayerNorm.
        others: (2, token) float32, the same for Σ a_ij over all j ≠ i as one vector. NaN where the residual connection
            or the LayerNorm was not found.
        deviation: (token,) float32, s_i; NaN without a LayerNorm.
        gram: (token, pair) float32, inner products of L(f_h(x)) of two heads; None without a LayerNorm, or if they were
            not requested.
    """

    own: np.ndarray
    others: np.ndarray
    deviation: np.ndarray
    gram: np.ndarray | None


def block_norms(
    loaded: LoadedModel, inputs: dict[str, torch.Tensor], report: Callable[[int], None], gram: bool
) -> list[LayerBlock | None]:
    """Return each layer's norms, None for a layer whose output projection was not found.

    Args:
        inputs: what the model reads.
        report: called with each layer, repeatedly if the text is long; may raise.
        gram: whether to compute the inner products between heads.
    """
    return by_layer(loaded, inputs, report, lambda block: _of(block, gram))


def _of(block: AttentionBlock, gram: bool) -> LayerBlock:
    tokens = block.value.shape[1]
    own, others = (torch.full((2, tokens), torch.nan) for _ in range(2))
    deviation, products = torch.full((tokens,), torch.nan), []
    if block.weight is None or block.residual is None or block.total is None:
        return LayerBlock(as_float32(own), as_float32(others), as_float32(deviation), None)
    norm = block.norm
    if norm is not None:
        deviation = (block.total.float().var(dim=1, correction=0) + norm.eps).sqrt().cpu()
    for some, passed in passed_on(block):
        from_self = torch.einsum("ht,hto->to", block.own[:, some].to(passed.device), passed)
        together = block.attended[some].reshape(len(from_self), -1) @ block.weight
        from_others = _without_rounding(together - from_self, together)
        with_residual = from_self + block.residual[some].to(passed.device).float()
        own[0, some], others[0, some] = with_residual.norm(dim=1).cpu(), from_others.norm(dim=1).cpu()
        if norm is not None:
            own[1, some] = _linear(with_residual, norm.weight).norm(dim=1).cpu() / deviation[some]
            others[1, some] = _linear(from_others, norm.weight).norm(dim=1).cpu() / deviation[some]
            if gram:
                products.append(pair_products(_linear(passed, norm.weight)))
    grams = as_float32(torch.cat(products)) if products else None
    return LayerBlock(as_float32(own), as_float32(others), as_float32(deviation), grams)


def _without_rounding(rest: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """(token, hidden), with vectors that are only rounding error of `whole` set to 0: the first token of a causal model
    attends to itself alone."""
    return rest * (rest.norm(dim=1, keepdim=True) > ROUNDING * whole.norm(dim=1, keepdim=True))


def _linear(vectors: torch.Tensor, gain: torch.Tensor | None) -> torch.Tensor:
    """(…, hidden) → (…, hidden): L, the part of LayerNorm that is linear."""
    centred = vectors - vectors.mean(dim=-1, keepdim=True)
    return centred if gain is None else centred * gain.float().to(centred.device)
