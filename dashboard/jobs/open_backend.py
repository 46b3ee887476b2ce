"""Which backend a server has. Callers see only a `JobBackend`."""

from __future__ import annotations

from dashboard.jobs.backend import JobBackend
from dashboard.jobs.diskcache_backend import DiskcacheBackend
from dashboard.jobs.in_process import Compute, InProcessBackend
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore


def open_backend(settings: Settings, store: RunStore, compute: Compute | None = None) -> JobBackend:
    """Open the backend for these settings.

    Args:
        compute: does a worker's job in this process (a notebook); None if there are workers.

    Raises:
        SettingsError: the cache folder cannot be written.
    """
    return DiskcacheBackend.from_settings(settings) if compute is None else InProcessBackend(store, compute)
