"""Every head's scores, the attention that each token receives, and the thumbnails of all heads."""

from __future__ import annotations

import numpy as np

from dashboard.capture.captured import Captured
from dashboard.capture.forward import Forward
from dashboard.capture.statistics import summarise


def arrays(forward: Forward) -> dict[str, np.ndarray]:
    """`scores/…`, `beyond_first/…`, `received` and `thumbnails`: those of `capture.statistics.summarise`."""
    return summarise([call.raw for call in forward.calls], [call.recipe for call in forward.calls], forward.repeats)


CAPTURED = Captured("the heads' scores and small pictures", arrays)
