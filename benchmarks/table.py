"""One line of a benchmark's table: what was measured, beside the goal and what other tools were measured at."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

HEAD = f"{'':<58} {'N':>6} {'p50':>9} {'p95':>9} {'goal':>9} {'':<4} {'n':>4}  peers"


@dataclass
class Row:
    """Measured values; the goal is for their 95th percentile (None where there is none).

    Attributes:
        what, size: the row's name and its number of tokens. unit: of the values.
        peer: what another tool was measured at, with its name; docs of the figures: benchmarks/README.md.
        missed: how often the effect was not seen.
    """

    what: str
    size: int | None
    unit: str
    goal: float | None = None
    peer: str = ""
    values: list[float] = field(default_factory=list)
    missed: int = 0

    def add(self, value: float | None) -> None:
        if value is None:
            self.missed += 1
        else:
            self.values.append(value)

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None where there is none, or nothing was measured."""
        if self.goal is None or not self.values:
            return None
        return not self.missed and percentile(self.values, 0.95) <= self.goal

    def line(self) -> str:
        size = f"{self.size:,}" if self.size else ""
        goal = f"≤ {self.goal:,.0f}" if self.goal is not None else "–"
        middle, high = percentile(self.values, 0.5), percentile(self.values, 0.95)
        sign = {True: "✓", False: "✗", None: " "}[self.holds]
        missed = f"   {self.missed} not seen" if self.missed else ""
        numbers = f"{middle:>9,.1f} {high:>9,.1f} {goal:>9} {self.unit:<4} {len(self.values):>4}"
        return f"{self.what:<58} {size:>6} {numbers} {sign} {self.peer}{missed}".rstrip()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; NaN of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def load_average() -> str:
    """Over 1, 5 and 15 minutes. Above 1 before a measurement, something else computes."""
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())
