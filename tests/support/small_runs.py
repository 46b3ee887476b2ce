"""Runs of two tokens and results of one number, for tests of the run store. Numpy only."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.model_info import ModelInfo
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.token import Token
from dashboard.store.run_store import RunStore
from dashboard.store.upgrades import made_now

CREATED = "2026-01-02T03:04:05+00:00"
HIDDEN = np.arange(2 * 4, dtype=np.float32).reshape(2, 4)


def header(text: str = "a b") -> dict[str, object]:
    request = RunRequest("tiny", text)
    info = ModelInfo("tiny", "Tiny", "llama", "causal", 1, 1, 1, 4, 10, 100, 64)
    tokens = [Token(1, "a", 0, 1), Token(2, " b", 1, 3)]
    recipes = [ScoreRecipe(0.5, "causal")]
    return ModelRun.make_header(request.key("weights"), request, info, tokens, recipes, created=CREATED, **made_now())


def result_of(key: str, value: float = 0.0) -> Derived:
    """A derived result of a run: one number."""
    return Derived(DerivedRequest.of(key, "masked-prediction", position=1), {"a": np.array([value])}, {"of": value})


def arrays(fill: float = 0.0, width: int = 4) -> dict[str, np.ndarray]:
    return {
        "decoder/hidden_states/0": HIDDEN,
        "decoder/hidden_states/1": np.full((2, width), fill, dtype=np.float32),
        "decoder/thumbnails": np.zeros((1, 1, 2, 2), dtype=np.uint8),
        "given/top_ids": np.array([[3], [4]], dtype=np.int32),
    }


def saved(store: RunStore, text: str = "a b", fill: float = 0.0, width: int = 4) -> str:
    top = header(text)
    key = str(top["key"])
    store.save(key, top, arrays(fill, width))
    return key


def file_of(store: RunStore, name: str) -> Path:
    return store.folder / f"{name}.safetensors"


def captured(store: RunStore, stamp: str, fill: float = 0.0, **more: object) -> str:
    top = {**header(), **made_now(), "stamp": stamp, **more}
    store.save(str(top["key"]), top, arrays(fill))
    return str(top["key"])


def derived_at(store: RunStore, key: str, position: int, floats: int, used: float) -> str:
    """A kept result of so many numbers, which was used then; gives its name."""
    request = DerivedRequest.of(key, "masked-prediction", position=position)
    store.save_derived(Derived(request, {"a": np.zeros(floats)}, {}))
    os.utime(file_of(store, request.name), (0, used))
    return request.name
