"""Hidden states, exactly as Hugging Face gives them."""

from __future__ import annotations

import numpy as np

from dashboard.capture.captured import Captured
from dashboard.capture.forward import Forward, as_float32


def arrays(forward: Forward) -> dict[str, np.ndarray]:
    """`hidden_states/{i}`: (token, hidden) float32; 0 is the embedding output."""
    return {f"hidden_states/{i}": as_float32(states[0]) for i, states in enumerate(forward.hidden_states)}


CAPTURED = Captured("the hidden states", arrays)
