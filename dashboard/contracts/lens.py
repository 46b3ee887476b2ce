"""The logit lens as a value: what each layer would predict at each position (computed by
dashboard/compute/logit_lens.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dashboard.contracts.prediction import TokenProbability, texts_of
from dashboard.contracts.streams import check
from dashboard.errors import RunShapeError

NAMES = ("top_ids", "top_logprobs", "entropy", "actual_logprob", "actual_rank", "final_logprob", "final_rank", "kl")


@dataclass(frozen=True)
class LogitLens:
    """What each layer would predict. On the place axis, 0 is the embeddings and i + 1 comes after layer i.

    Attributes:
        top_ids: (place, position, k) int32, likeliest first; top_logprobs: the same in nats.
        entropy: (place, position) nats.
        actual_logprob, actual_rank: (place, position), of the token that really comes next (masked models: is there);
            NaN and 0 where there is none. 1 is the likeliest.
        final_logprob, final_rank: (place, position), of the token that the last layer finds likeliest at that position.
        kl: (place, position) nats, KL(last layer's distribution ‖ this one's); 0 at the last.
        vocabulary: uint8, UTF-8 JSON {id: text} of the ids that occur.

    Raises:
        RunShapeError: the arrays disagree about places and positions.
    """

    top_ids: np.ndarray
    top_logprobs: np.ndarray
    entropy: np.ndarray
    actual_logprob: np.ndarray
    actual_rank: np.ndarray
    final_logprob: np.ndarray
    final_rank: np.ndarray
    kl: np.ndarray
    vocabulary: np.ndarray

    def __post_init__(self) -> None:
        shapes = {name: getattr(self, name).shape[:2] for name in NAMES}
        if len(set(shapes.values())) > 1 or 0 in self.top_ids.shape or self.top_ids.shape != self.top_logprobs.shape:
            raise RunShapeError(f"The arrays of a logit lens have the shapes {shapes}. Run the lens again.")

    @property
    def places(self) -> int:
        """The number of places: the layers, plus the embeddings."""
        return int(self.top_ids.shape[0])

    @property
    def positions(self) -> int:
        return int(self.top_ids.shape[1])

    @cached_property
    def finite(self) -> np.ndarray:
        """(place, position) bool: whether there is a prediction; there is none if the values are not finite."""
        return np.isfinite(self.top_logprobs[:, :, 0])

    @cached_property
    def texts(self) -> dict[int, str]:
        """The text of every id that occurs."""
        return texts_of({"vocabulary": self.vocabulary})

    def top(self, layer: int, position: int) -> tuple[TokenProbability, ...]:
        """Return the likeliest tokens after `layer` (−1: from the embeddings) at `position`.

        Raises:
            BadSelectionError: there is no such layer or position.
        """
        check("layer", layer + 1, self.places)
        check("token", position, self.positions)
        pairs = zip(
            self.top_ids[layer + 1, position].tolist(), self.top_logprobs[layer + 1, position].tolist(), strict=True
        )
        return tuple(TokenProbability(i, self.texts[i], float(np.exp(p)), p) for i, p in pairs)

    def at(self, positions: Sequence[int]) -> LogitLens:
        """Return the lens at these positions only, in this order."""
        chosen = np.asarray(positions, dtype=np.intp)
        return LogitLens(**{name: getattr(self, name)[:, chosen] for name in NAMES}, vocabulary=self.vocabulary)
