"""All that a view may look at, as one value: a new input of views is a new field, and no parameter of forty
functions."""

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
    """What one card of one person's page is asked to show.

    Attributes:
        run: the selection's run. results: what was computed of it later, as far as the view shows it and it is there,
            by name.
        selection: what is selected in it; every place that it names is there (`Selection.checked`).
        options: the view's controls, the chosen value by the control's name.
        whole: a table is asked for as a file, with all its numbers;
            otherwise as the part that the selection is about, which a person can read.
        slot: where on the page it is shown, "large" or "small"; by itself, a figure has the large slot.
    """

    run: ModelRun
    selection: Selection
    options: Options = field(default_factory=dict)
    whole: bool = False
    results: Mapping[str, Derived] = field(default_factory=dict)
    slot: str = "large"

    def result(self, request: DerivedRequest) -> Derived | None:
        """A derived result of the run; None where it is not computed yet."""
        return self.results.get(request.name) or self.run.derived(request)

    @property
    def stream(self) -> Stream:
        """The stream that the selection is in."""
        return self.run.stream(self.selection.stream)

    @property
    def attention(self) -> Attention:
        """The attention within that stream."""
        return self.run.attention_of(self.stream.name)
