"""What the commands print while a model is fetched and loaded, and if there is no model of that name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dashboard.contracts.job import OnProgress, Progress
from dashboard.errors import ModelNotFoundError
from dashboard.settings import Settings

STOPPED = 130  # a shell's exit code for a program ended by Ctrl+C
EXIT_CODES = (  # of a command that finishes
    "Exit codes: 0 done; 1 it failed, and a sentence on standard error says why; 2 wrong usage; 130 stopped with "
    "Ctrl+C."
)
EXIT_CODES_OF_SERVICES = (
    "Exit codes: 0 ended; 1 it could not start, and a sentence on standard error says why; 2 wrong usage."
)


def line_by_line(say: Callable[[str], None]) -> OnProgress:
    """A progress function that prints each step once, and every tenth of a download or conversion."""
    said: list[tuple[str, str, int]] = []

    def progress(step: Progress) -> None:
        tenth = 10 * step.done // step.total if step.total else 0
        key = (step.phase, step.message.partition(":")[0], tenth)
        if key not in said[-1:]:
            said.append(key)
            say(step.message)

    return progress


@contextmanager
def suggesting(name: str, settings: Settings) -> Iterator[None]:
    """Add similar names to the error if the model `name` is not found."""
    from dashboard.catalog.catalog import Catalog

    try:
        yield
    except ModelNotFoundError as error:
        near = Catalog(settings).near(name)
        if not near:
            raise
        raise type(error)(f"{error} Did you mean {' or '.join(near)}?") from error
