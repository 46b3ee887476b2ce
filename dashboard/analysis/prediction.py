"""Two predictions side by side: what the model predicts at each position, with both probabilities."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.contracts.prediction import Prediction


@dataclass(frozen=True)
class BoundedProbability:
    """A token's probability at one position, 0 … 1; for a token that was not kept there, the upper bound."""

    probability: float
    known: bool = True


@dataclass(frozen=True)
class SharedCandidate:
    """One token that is likely at either position: its vocabulary id and text, and its probability at each."""

    id: int
    text: str
    one: BoundedProbability
    other: BoundedProbability

    @property
    def difference(self) -> tuple[float, float]:
        """The smallest and largest possible excess of `one` over `other` (negative: below); equal if both are known."""
        low = (self.one.probability if self.one.known else 0.0) - self.other.probability
        high = self.one.probability - (self.other.probability if self.other.known else 0.0)
        return low, high


def shared_candidates(one: Prediction, other: Prediction, count: int) -> tuple[SharedCandidate, ...]:
    """The `count` tokens that are most likely at either position, by the greater of their two probabilities."""
    chances = [_chances(one), _chances(other)]
    names = {c.id: c.text for prediction in (one, other) for c in prediction.candidates}
    order = sorted(names, key=lambda i: (-max(chance.get(i, 0.0) for chance in chances), i))[:count]
    return tuple(
        SharedCandidate(i, names[i], _bounded(one, chances[0], i), _bounded(other, chances[1], i)) for i in order
    )


def _chances(prediction: Prediction) -> dict[int, float]:
    """Every probability that one prediction keeps, by vocabulary id."""
    found = {c.id: c.probability for c in prediction.candidates}
    if prediction.actual is not None:
        found.setdefault(prediction.actual.id, prediction.actual.probability)
    return found


def _bounded(prediction: Prediction, chances: dict[int, float], identifier: int) -> BoundedProbability:
    if identifier in chances:
        return BoundedProbability(chances[identifier])
    return BoundedProbability(prediction.candidates[-1].probability, known=False)
