"""The residual stream before the final norm."""

from __future__ import annotations

import numpy as np

from dashboard.capture.captured import Captured
from dashboard.capture.forward import Forward, as_float32


def arrays(forward: Forward) -> dict[str, np.ndarray]:
    """`residual_final`: (token, hidden) float32; nothing if the family names no final norm."""
    return {} if forward.residual is None else {"residual_final": as_float32(forward.residual[0])}


CAPTURED = Captured("the residual stream before the final norm", arrays)
