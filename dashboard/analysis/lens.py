"""The measures that can colour a logit lens, each with its name, unit and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dashboard.contracts.lens import LogitLens

Scale = Literal["share", "rank", "nats"]  # 0 … 1; whole numbers from 1; 0 upwards, without bound


@dataclass(frozen=True)
class Measure:
    """A number that each cell of a lens has.

    Attributes:
        name: in addresses and `plot_logit_lens`. title: what it is. scale: its range and unit. of: the token that it
            describes: "top" the most likely in the cell, "final" the last layer's most likely, "actual" the token in
            the text, "" if it describes no token.
    """

    name: str
    title: str
    scale: Scale
    of: Literal["", "top", "final", "actual"] = ""


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("probability", "Probability of the most likely token", "share", "top"),
        Measure("entropy", "Entropy", "nats"),
        Measure("final-probability", "Probability of the final prediction", "share", "final"),
        Measure("final-rank", "Rank of the final prediction", "rank", "final"),
        Measure("actual-probability", "Probability of the actual token", "share", "actual"),
        Measure("actual-rank", "Rank of the actual token", "rank", "actual"),
        Measure("kl", "KL divergence from the final prediction", "nats"),
    )
}


def measured(lens: LogitLens, measure: Measure) -> np.ndarray:
    """(place, position) float64. NaN where there is no actual token or no final prediction, or where values are not
    finite. KL may be ∞."""
    if measure.name == "entropy" or measure.name == "kl":
        return np.asarray(getattr(lens, measure.name), dtype=np.float64)
    if measure.scale == "rank":
        ranks = np.asarray(getattr(lens, f"{measure.of}_rank"), dtype=np.float64)
        return np.where(_known(lens, measure) & (ranks > 0), ranks, np.nan)
    logprobs = lens.top_logprobs[:, :, 0] if measure.of == "top" else getattr(lens, f"{measure.of}_logprob")
    return np.where(_known(lens, measure), np.exp(np.asarray(logprobs, dtype=np.float64)), np.nan)


def _known(lens: LogitLens, measure: Measure) -> np.ndarray:
    """(place, position): whether there is a value; without a final prediction, earlier layers have none either."""
    return lens.finite & lens.finite[-1] if measure.of == "final" else lens.finite


def largest(values: np.ndarray) -> float:
    """The largest finite value; 0 if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def strength(values: np.ndarray, scale: Scale, most: float) -> np.ndarray:
    """How strong each value's colour is, 0 … 1; NaN where there is no value.

    Shares use a square-root scale, as attention weights do. Ranks use a logarithmic scale on which 1 (the most likely)
    is strongest and `most` weakest. Nats run from 0 to `most`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        if scale == "share":
            found = np.sqrt(values)
        elif scale == "rank":
            found = 1 - np.log(values) / math.log(most) if most > 1 else np.where(np.isnan(values), np.nan, 1.0)
        else:
            found = np.where(np.isnan(values), np.nan, 0.0) if most <= 0 else values / most
    return np.clip(found, 0, 1)


def ticks(scale: Scale, most: float) -> list[float]:
    """The values that a legend names, weakest first."""
    if scale == "share":
        return [0, 0.0625, 0.25, 0.5625, 1]
    if scale == "rank":
        return [10.0**power for power in range(int(math.log10(most) + 1e-9), -1, -1)] if most > 1 else [1]
    return [0, most / 4, most / 2, 3 * most / 4, most] if most > 0 else [0]
