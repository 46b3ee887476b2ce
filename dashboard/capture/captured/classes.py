"""What a classification head makes of the text."""

from __future__ import annotations

import numpy as np

from dashboard.capture.captured import Captured
from dashboard.capture.forward import Forward, as_float32


def arrays(forward: Forward) -> dict[str, np.ndarray]:
    """`class_logits`: (label,), (token, label) or (token, 2) float32; nothing of a model that is no classifier."""
    return {} if forward.class_logits is None else {"class_logits": as_float32(forward.class_logits)}


CAPTURED = Captured("the classes", arrays)
