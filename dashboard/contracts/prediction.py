"""What a model predicts at one position, and how a run's arrays encode it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dashboard.contracts.model_info import ModelKind

NO_TOKEN = -1  # the id that means "no token"

PredictionMode = Literal["given", "masked"]


@dataclass(frozen=True)
class TokenProbability:
    """One candidate of a prediction; `probability` in 0 … 1, `logprob` in nats, −∞ if the token is impossible."""

    id: int
    text: str
    probability: float
    logprob: float


@dataclass(frozen=True)
class Prediction:
    """What the model predicts at one position.

    Attributes:
        position: the position that was read. mode: "given" or "masked".
        candidates: the likeliest tokens, likeliest first.
        entropy: of the whole distribution, in nats.
        actual: the token that is really there (masked models) or comes next (causal models), or None at the end;
            its `probability` is exact even when it is not among the candidates. actual_rank: 1 is the likeliest.
        vocabulary: the number of tokens to choose from.
    """

    position: int
    mode: PredictionMode
    candidates: tuple[TokenProbability, ...]
    entropy: float
    actual: TokenProbability | None
    actual_rank: int | None
    vocabulary: int

    @property
    def finite(self) -> bool:
        """Whether there is a prediction: the logits at this position are numbers (−∞ makes a token impossible)."""
        return math.isfinite(self.entropy) and not any(math.isnan(c.logprob) for c in self.candidates)


@dataclass(frozen=True)
class PredictedPosition:
    """Where a prediction is read.

    Attributes:
        position, mode: as in `Prediction`. actual: vocabulary id of the token that the prediction is about, if any.
        vocabulary: the number of tokens to choose from.
    """

    position: int
    mode: PredictionMode
    actual: int | None
    vocabulary: int


def texts_of(arrays: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Return the text of every id that the predictions in `arrays` name."""
    raw = json.loads(bytes(np.asarray(arrays["vocabulary"])).decode())
    return {int(identifier): text for identifier, text in raw.items()}


def read_prediction(
    arrays: Mapping[str, np.ndarray], texts: Mapping[int, str], row: int, at: PredictedPosition, k: int | None = None
) -> Prediction:
    """Read the prediction in `row` of the arrays `<mode>/…` (`dashboard.contracts.run`), its `k` likeliest tokens."""
    mode = at.mode
    ids, logprobs = arrays[f"{mode}/top_ids"][row], arrays[f"{mode}/top_logprobs"][row]
    pairs = zip(ids[:k].tolist(), logprobs[:k].tolist(), strict=True)
    candidates = tuple(TokenProbability(i, texts[i], math.exp(p), p) for i, p in pairs)
    entropy = float(arrays[f"{mode}/entropy"][row])
    logprob, rank = float(arrays[f"{mode}/actual_logprob"][row]), int(arrays[f"{mode}/actual_rank"][row])
    if rank == 0 or at.actual is None:
        return Prediction(at.position, mode, candidates, entropy, None, None, at.vocabulary)
    actual = TokenProbability(at.actual, texts[at.actual], math.exp(logprob), logprob)
    return Prediction(at.position, mode, candidates, entropy, actual, rank, at.vocabulary)


def surprisal_of(arrays: Mapping[str, np.ndarray], kind: ModelKind) -> np.ndarray | None:
    """Read (token,) float32 nats from a run's arrays, as in `ModelRun.surprisal`; None if they do not hold it."""
    if kind == "causal":
        after = -np.asarray(arrays["given/actual_logprob"])
        return np.concatenate([[np.nan], after[:-1]]).astype(np.float32)
    return -np.asarray(arrays["masked/actual_logprob"]) if "masked/actual_logprob" in arrays else None
