"""Families with their own attention code that capture cannot read, each with the reason.

Written by `python -m tests.support.refused_families`, which tries a small random model of each. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Refused(NamedTuple):
    """`title`: the family's name for people. `reason`: why its attention cannot be read; "" if it has none."""

    title: str
    reason: str

    @property
    def clause(self) -> str:
        """Say why the family is refused, to follow its name."""
        if not self.reason:
            return "has no attention from token to token"
        return f"has its own attention code, and {self.reason}"


REFUSED: Mapping[str, Refused] = MappingProxyType(
    {
        "big_bird": Refused("BigBird", "it attends differently in short texts than in long ones"),
        "convbert": Refused("ConvBert", "it does not report the weights of every head and layer, token by token"),
        "cpmant": Refused("CpmAnt", "the rows of its weights do not sum to 1"),
        "falcon_mamba": Refused("FalconMamba", ""),
        "fnet": Refused("FNet", ""),
        "funnel": Refused("Funnel", "it does not report the weights of every head and layer, token by token"),
        "longformer": Refused("Longformer", "it does not report the weights of every head and layer, token by token"),
        "mamba": Refused("Mamba", ""),
        "mamba2": Refused("Mamba2", ""),
        "mra": Refused("Mra", "it does not report the weights of every head and layer, token by token"),
        "perceiver": Refused("Perceiver", ""),
        "reformer": Refused("Reformer", "taking its weights out of its modules' outputs changes what it computes"),
        "rwkv": Refused("Rwkv", ""),
        "squeezebert": Refused("SqueezeBert", "the rows of its weights do not sum to 1"),
        "xlnet": Refused("XLNet", "none of its modules returns the weights that it reports"),
        "xlstm": Refused("xLSTM", ""),
        "yoso": Refused("Yoso", "it does not report the weights of every head and layer, token by token"),
    }
)
