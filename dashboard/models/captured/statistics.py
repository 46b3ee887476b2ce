"""Every head's scores, the attention that each token receives, and the small pictures of all heads."""

from __future__ import annotations

import numpy as np

from dashboard.models.captured import Captured
from dashboard.models.forward import Forward
from dashboard.models.statistics import summarise


def arrays(forward: Forward) -> dict[str, np.ndarray]:
    """`scores/…`, `received` and `thumbnails`, as `dashboard.models.statistics.summarise` says."""
    return summarise([call.raw for call in forward.calls], [call.recipe for call in forward.calls])


CAPTURED = Captured("the heads' scores and small pictures", arrays)
