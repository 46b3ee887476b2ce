"""Which backend a server has. Whoever opens it sees a `JobBackend` and no more."""

from __future__ import annotations

from dashboard.jobs.backend import JobBackend
from dashboard.jobs.diskcache_backend import DiskcacheBackend
from dashboard.jobs.in_process import Compute, InProcessBackend
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore


def open_backend(settings: Settings, store: RunStore, compute: Compute | None = None) -> JobBackend:
    """The backend of these settings.

    Args:
        compute: does in this process what a worker would do (a notebook); None where workers do it.

    Raises:
        SettingsError: the cache folder cannot be written.
    """
    return DiskcacheBackend.from_settings(settings) if compute is None else InProcessBackend(store, compute)
