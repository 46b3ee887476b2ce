"""Everything a view may look at, as one value, so that a new input of views is one new field and not a parameter of
forty functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.streams import Attention, Stream

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What one card on one person's page should show.

    Attributes:
        run: the selection's run. results: those of its derived results that the view shows and that exist, by name.
        selection: what is selected in it; the run has everything it names (`Selection.checked`).
        options: the view's controls, the chosen value by the control's name.
        whole: True for a table as a file, with all its numbers;
            False for the part that the selection is about, short enough to read.
        slot: where on the page the card is, "large" or "small"; a standalone figure has the large slot.
    """

    run: ModelRun
    selection: Selection
    options: Options = field(default_factory=dict)
    whole: bool = False
    results: Mapping[str, Derived] = field(default_factory=dict)
    slot: str = "large"

    def result(self, request: DerivedRequest) -> Derived | None:
        """Return a derived result of the run; None if it has not been computed yet."""
        return self.results.get(request.name) or self.run.derived(request)

    @property
    def stream(self) -> Stream:
        """The stream that the selection is in."""
        return self.run.stream(self.selection.stream)

    @property
    def attention(self) -> Attention:
        """The attention within that stream."""
        return self.run.attention_of(self.stream.name)
