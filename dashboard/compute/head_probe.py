"""Repeated random tokens: what every head does with a text in which only repetition can be found.

A result of the model, not of the text: it is computed once for all runs of the same weights. The model reads its own
first token (BOS, [CLS]) and up to 50 different random tokens twice, three times with other tokens. A head's induction
score is its mean attention from each token of the second copy to the token after its first occurrence (Elhage et al.
2021; Olsson et al. 2022, arXiv 2209.11895); the duplicate-token score goes to that occurrence itself (Wang et al. 2023,
arXiv 2211.00593).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboard.compute.declaration import Computed, Kind, Parameters
from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.run import ModelRun

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

NAME = "head-probe"
SEEDS = (0, 1, 2)
IDS = "ids"


@dataclass(frozen=True)
class HeadProbe:
    """Every head's scores on repeated random tokens.

    Attributes:
        scores: by name (those of a run, `ModelRun.attention_of().scores()`), each (seed, layer, head) float32; NaN
            where a model cannot have a score: there is no induction without causal attention.
        beyond_first: likewise, the share of each score in the attention that is not on the first token.
        ids: (seed, token) int32, what the model read. length: how many random tokens were repeated.
        recipes: each layer's mask and window.
    """

    scores: Mapping[str, np.ndarray]
    beyond_first: Mapping[str, np.ndarray]
    ids: np.ndarray
    length: int
    recipes: tuple[ScoreRecipe, ...]

    def mean(self, name: str) -> np.ndarray:
        """(layer, head) float64: a score's mean over the seeds."""
        found: np.ndarray = np.asarray(self.scores[name], dtype=np.float64).mean(axis=0)
        return found

    def spread(self, name: str) -> np.ndarray:
        """(layer, head) float64: its standard deviation over the seeds (n − 1)."""
        found: np.ndarray = np.asarray(self.scores[name], dtype=np.float64).std(axis=0, ddof=1)
        return found


def check(_run: ModelRun, _parameters: Parameters) -> None:
    """Every model whose runs have attention can be probed, as far as its files say."""


def compute(loaded: LoadedModel, _run: ModelRun, _parameters: Parameters, progress: OnProgress) -> Computed:
    """Compute `scores/…` and `beyond_first/…`, (seed, layer, head) float32, and `ids`.

    The facts are `length`, `seeds`, and each layer's `recipes`: mask and window.

    Raises:
        UnsupportedModelError: the model has no room or vocabulary for the probe, or its attention cannot be captured.
    """
    from dashboard.capture.head_probe import frame_of, head_scores, length_of

    frame = frame_of(loaded)
    length = length_of(loaded, frame)
    found, texts = [], []
    recipes: list[ScoreRecipe] = []
    for index, seed in enumerate(SEEDS):
        step = Progress("layers", index, len(SEEDS), f"Repeated random tokens: {index + 1} of {len(SEEDS)}")
        progress(step)  # others may have their turn here, and not within the forward
        texts.append(frame.text(length, seed))
        scores, recipes = head_scores(loaded, texts[-1], functools.partial(progress, step))
        found.append(scores)
    progress(Progress("layers", len(SEEDS), len(SEEDS), "Repeated random tokens"))
    arrays = {name: np.stack([scores[name] for scores in found]) for name in found[0]}
    told = [[recipe.mask, recipe.window] for recipe in recipes]
    facts: dict[str, Any] = {"length": length, "seeds": list(SEEDS), "recipes": told}
    return Computed({**arrays, IDS: np.stack(texts).astype(np.int32)}, facts)


def read(_run: ModelRun, result: Derived) -> HeadProbe:
    """Return the scores of every seed."""
    recipes = tuple(ScoreRecipe(1.0, mask, window) for mask, window in result.facts["recipes"])
    scores, beyond = (
        {name.removeprefix(start): result.arrays[name] for name in result.arrays if name.startswith(start)}
        for start in ("scores/", "beyond_first/")
    )
    return HeadProbe(scores, beyond, result.arrays[IDS], int(result.facts["length"]), recipes)


KIND = Kind(NAME, "Repeated random tokens", (), check, compute, read, gives_way=True, of_model=True)
