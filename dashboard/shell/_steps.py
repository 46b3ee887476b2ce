"""What the commands say while a model is fetched and loaded."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.contracts.job import Progress


def line_by_line(say: Callable[[str], None]) -> Callable[[Progress], None]:
    """A progress function that says each step once, and of a download or conversion every tenth."""
    said: list[tuple[str, str, int]] = []

    def progress(step: Progress) -> None:
        tenth = 10 * step.done // step.total if step.total else 0
        key = (step.phase, step.message.partition(":")[0], tenth)
        if key not in said[-1:]:
            said.append(key)
            say(step.message)

    return progress
