"""The only module whose import has an effect: gunicorn serves its `server`."""

from __future__ import annotations

import threading

from dashboard.settings import Settings
from dashboard.web.app import create_app
from dashboard.web.memory_watch import watch_memory

settings = Settings.from_env()
server = create_app(settings).server
watch_memory(settings)


def _import_early() -> None:
    """Import scikit-learn, which takes a second, now rather than before the first figure."""
    import sklearn.decomposition  # noqa: F401


threading.Timer(0.5, _import_early).start()
