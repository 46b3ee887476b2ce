"""The one module whose import has an effect: `server` is what gunicorn serves."""

from __future__ import annotations

import threading

from dashboard.app import create_app
from dashboard.settings import Settings

server = create_app(Settings.from_env()).server


def _import_early() -> None:
    """scikit-learn takes a second to import: better now than in front of the first figure."""
    import sklearn.decomposition  # noqa: F401


threading.Timer(0.5, _import_early).start()
