"""What one forward of a model leaves behind, from which a run's arrays are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from dashboard.capture.attention import Call
from dashboard.contracts.repeats import Repeats


@dataclass(frozen=True)
class Forward:
    """The results of one forward; tensors are (1, token, hidden).

    Attributes:
        calls: every layer's attention call: (head, token, d_head) query and key, recipe, raw statistics.
        hidden_states: as Hugging Face gives them; 0 is the embedding output. last: the last of them, as the prediction
            head reads it.
        residual: the residual stream after the last layer, before the final norm; None if there is no such norm, or if
            its place is not known, so that the last of `hidden_states` may be past it.
        logits: (1, token, vocabulary), only if the family's head is not verified.
        class_logits: what a classification head says (`dashboard.capture.class_head.class_logits`); None without one.
        rotary: each layer's rotary pairs (`dashboard.capture.rotary`); empty if none are known.
        repeats: which tokens of the text repeat others.
        watched: what hooks of the files in dashboard/capture/captured/ kept, by name, in the order of the calls.
    """

    calls: Sequence[Call]
    hidden_states: Sequence[torch.Tensor]
    last: torch.Tensor
    residual: torch.Tensor | None
    logits: torch.Tensor | None
    class_logits: torch.Tensor | None = None
    rotary: Sequence[np.ndarray | None] = ()
    watched: Mapping[str, Sequence[torch.Tensor]] = field(default_factory=dict)
    repeats: Repeats | None = None


def as_float32(values: torch.Tensor) -> np.ndarray:
    """Return float32, contiguous values, sharing memory if possible."""
    return values.detach().float().contiguous().cpu().numpy()
