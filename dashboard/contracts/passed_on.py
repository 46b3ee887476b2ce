"""What the tokens of a text pass on in each layer: the derived results "attention-norms" and "block-norms"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

# how far the attention block is followed: heads and residual connection, or the LayerNorm after their sum, too
Stage = Literal["residual", "layernorm"]
STAGES: tuple[Stage, ...] = ("residual", "layernorm")


@dataclass(frozen=True)
class PassedOn:
    """What the tokens of a text pass on in every layer.

    Attributes:
        norms: (layer, head, token) float32, ‖f(x)‖; NaN in a layer whose output projection is not known.
        grams: per layer (token, pair) float32, the inner products f_h(x)·f_g(x) of the pairs of heads (0, 0),
            (0, 1), …, (1, 1), …; None in a layer without them.
    """

    norms: np.ndarray
    grams: tuple[np.ndarray | None, ...]


@dataclass(frozen=True)
class BlockNorms:
    """What each token gets through a layer's attention block (Kobayashi et al. 2021, arXiv 2109.07152).

    With a_ij = Σ_h α_h,ij f_h(x_j), token i gets a_ij from every other token j, and a_ii + x_i from itself; past
    LayerNorm, each such vector less its mean, divided by the standard deviation of the whole sum, times γ.

    Attributes:
        own: (stage, layer, token) float32, the norm of what a token gets from itself, in the order of `STAGES`.
        others: (stage, layer, token) float32, the norm of what it gets from all others together, as one vector.
        deviation: (layer, token) float32, √(variance + ε) of the sum that LayerNorm reads, biases included.
        grams: per layer (token, pair) float32, as in `PassedOn` but of each f_h(x) less its mean, times γ; None in a
            layer without them.

    All are NaN in layers where such a sum, or a LayerNorm after it, was not found.
    """

    own: np.ndarray
    others: np.ndarray
    deviation: np.ndarray
    grams: tuple[np.ndarray | None, ...]

    def has(self, stage: Stage, layer: int) -> bool:
        """Whether the residual connection, or the LayerNorm, of a layer is known."""
        return not bool(np.isnan(self.own[STAGES.index(stage), layer]).all())

    def mixing_ratio(self, stage: Stage, layer: int) -> np.ndarray:
        """(token,) float64 from 0 to 1: others / (others + own), the share of what comes from other tokens; NaN where
        nothing comes at all."""
        own, others = (one[STAGES.index(stage), layer].astype(np.float64) for one in (self.own, self.others))
        total = own + others
        return np.divide(others, total, out=np.full(len(own), np.nan), where=total > 0)
