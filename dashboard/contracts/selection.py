"""What is selected: a small value made in the browser, parsed once at the edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboard.contracts.request import is_run_key
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadSelectionError, ReplacedRunError

LONGEST_STAMP = 64  # characters
REPLACED = "This run was computed again. Reload the page to see the new one."


@dataclass(frozen=True)
class Selection:
    """One selection, which every view reads and every view can propose to change.

    Attributes:
        run: key of the run that is shown.
        token, layer, head: indices from 0.
        other: a second token, or None.
        other_run: key of a second run, or None.
        stamp: which capture of the run is meant (`ModelRun.stamp`), or None for the one that is there.
    """

    run: str
    token: int
    layer: int
    head: int
    other: int | None = None
    other_run: str | None = None
    stamp: str | None = None

    @classmethod
    def from_json(cls, raw: object) -> Selection:
        """Parse a decoded JSON object. Numbers may come as text ("3"). A second token that is the first is none.

        Raises:
            BadSelectionError: a field is missing or is not what it must be.
        """
        if not isinstance(raw, dict) or not is_run_key(raw.get("run")):
            raise BadSelectionError("The selection names no run. Reload the page, or run a text.")
        other_run = raw.get("other_run")
        if other_run is not None and not is_run_key(other_run):
            raise BadSelectionError("The selection's second run is not a run's name. Reload the page.")
        stamp = raw.get("stamp")
        if stamp is not None and (not isinstance(stamp, str) or len(stamp) > LONGEST_STAMP):
            raise BadSelectionError("The selection's stamp names no run. Reload the page.")
        token = _index(raw, "token")
        other = None if raw.get("other") is None else _index(raw, "other")
        return cls(
            run=raw["run"],
            token=token,
            layer=_index(raw, "layer"),
            head=_index(raw, "head"),
            other=None if other == token else other,
            other_run=other_run,
            stamp=stamp,
        )

    def checked(self, run: ModelRun) -> Selection:
        """This selection, if `run` has everything it names.

        Raises:
            BadSelectionError: it has not. ReplacedRunError: another capture of the run is meant.
        """
        if self.stamp is not None and self.stamp != run.stamp:
            raise ReplacedRunError(REPLACED)
        run.check(token=self.token, layer=self.layer, head=self.head)
        run.check(token=self.other)
        return self


def _index(raw: dict[str, Any], name: str) -> int:
    value = raw.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise BadSelectionError(f"The selection's {name} is {repr(value)[:40]}; it must be a whole number from 0.")
    return value
