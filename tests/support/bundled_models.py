"""The bundled models, loaded once for all tests of a process. Who changes one loads a model of its own."""

from __future__ import annotations

from functools import cache

from dashboard.capture.loader import LoadedModel, load_model


@cache
def bundled_model(name: str) -> LoadedModel:
    """A bundled model as `load_model` gives it."""
    return load_model(name)
