"""When a download counts as stalled."""

from __future__ import annotations

from dashboard.catalog.transfer import SLOWEST, Stall


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def seconds_until_over(rate: float, most: float, begun: float = 0.0) -> float | None:
    """When a transfer at `rate` bytes a second, after `begun` seconds at a hundred times the slowest, counts as
    stalled."""
    clock = Clock()
    stall, done = Stall(60.0, clock), 0.0
    for step in range(round(most / 0.2)):
        if stall.over(int(done)):
            return clock.now - 100.0
        clock.now += 0.2
        done += 0.2 * (100 * SLOWEST if step * 0.2 < begun else rate)
    return None


def test_a_slow_transfer_goes_on_and_one_of_which_almost_nothing_comes_does_not() -> None:
    assert seconds_until_over(SLOWEST * 1.1, 3600) is None
    assert seconds_until_over(0, 3600) == seconds_until_over(SLOWEST * 0.5, 3600)
    stalled = seconds_until_over(SLOWEST * 0.9, 3600, begun=30)
    assert stalled is not None
    assert 90 <= stalled < 92


def test_bytes_that_were_taken_back_are_not_waited_for_again() -> None:
    clock = Clock()
    stall = Stall(60.0, clock)
    assert not stall.over(10_000_000)
    clock.now += 30
    assert not stall.over(0), "the hub's library begins the file again"
    clock.now += 10
    assert not stall.over(700_000)
    clock.now += 59
    assert not stall.over(700_000)
    clock.now += 2
    assert stall.over(700_000)
