"""What the tokens of a text pass on through the heads of each layer: the derived result "attention-norms"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
