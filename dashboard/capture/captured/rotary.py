"""The rotary embedding of each layer: which dimensions of query and key form a pair, and how fast it turns."""

from __future__ import annotations

import numpy as np

from dashboard.capture.captured import Captured
from dashboard.capture.forward import Forward


def arrays(forward: Forward) -> dict[str, np.ndarray]:
    """`rotary/{layer}`: (pair, 3) float32, first dimension, second dimension, radians per token. A layer without a
    rotary embedding has none, and neither has one whose pairs are not known.
    """
    return {f"rotary/{layer}": pairs.copy() for layer, pairs in enumerate(forward.rotary) if pairs is not None}


CAPTURED = Captured("the frequencies of the rotary embedding", arrays)
