"""What a view declares. Views hold no callbacks; dashboard/web/routes/figures.py serves each view's figure and text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go
from dash import html
from dash.development.base_component import Component

from dashboard.analysis.attention_reading import offered
from dashboard.components import ids
from dashboard.components.markup import attributes
from dashboard.contracts.context import Context, Options
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.table import Table
from dashboard.errors import MissingArrayError
from dashboard.figures.spec import Spec
from dashboard.views.controls import SHOW, Control

Sentence = list[Any]  # text, tokens and glossary terms, as children of a Dash component
Explanation = tuple[Sentence, Sentence, Sentence]
CARDS = {"attention": "Attention", "hidden": "Hidden states", "prediction": "Predictions"}  # by name, in page order


@dataclass(frozen=True)
class Words:
    """The text around a figure, each part as Dash children.

    Attributes:
        title, caption: the card's sentence and the line below it. footer: exact numbers.
        body: beside the figure. message: replaces the figure if there is nothing to draw.
        waiting: whether the message only lasts until a job is done.
        spoken: numbers for people who cannot see the figure, unless title, body and footer already give them.
    """

    title: Any
    caption: Any = ""
    footer: Any = ()
    body: Any = ()
    message: Any = None
    waiting: bool = False
    spoken: Any = ()


@dataclass(frozen=True)
class Extra:
    """An additional figure of a card that exists only as a file: on the page, something else shows the same content.

    Attributes:
        name: of its files, different from that of every view and every other extra. title: in the menu.
        draw, text, table, uses: as in `View`. `Context.options` holds the options of the view that it belongs to by
            their names, and those of all other views by their address parameters.
    """

    name: str
    title: str
    draw: Callable[[Context], go.Figure]
    text: Callable[[Context], Words]
    table: Callable[[Context], Table]
    uses: Callable[[Context], tuple[DerivedRequest, ...]] | None = None


@dataclass(frozen=True)
class View:
    """One tab of a card. Pure functions make everything it shows from a `Context` alone.

    Attributes:
        name: makes the ids (`<name>-graph`). title: before there is a run. card: which card it is a tab of (`CARDS`).
        tab: its label; order: its place among the tabs.
        adapts: whether it draws a different figure in a small slot than in the large one (`Context.slot`).
        invitation: headline and sentence before there is a run.
        figure_reads: selection fields whose change needs a new figure. reads: the same for given options, if they
            change the fields (`fields` returns the ones that apply); export_reads: fields of the exported figure, if
            they differ: it includes the marks that the browser adds on the page.
        draw: the figure, as plain data if it is drawn often (figures/spec.py); or None if there is nothing to draw
            (then `text` gives a message).
        text: title, caption, body and footer; reads the whole selection.
        explain: the content of the card's `?`: three short sentences for people who are new to the field, true of every
            run, with its own numbers (dashboard/views/explanation.py).
        controls: what the card's options offer; a view with a table offers that too, unless it `is_table` already.
        mentions: shared controls of its card that do not apply to it: it does not offer them, and says so where one is
            in force.
        beside, above: build a component left of the figure, and a line above it. late: builds a Dash component over the
            figure when the tab is first opened (assets/state/late-tables.js), for anything large to load.
        needs: the derived results that it shows, whether they exist or not; a worker computes the missing ones.
        uses: other results that, if they already exist, it shows instead of those it would wait for.
        export: the standalone figure, with labels, marks of the selection, units and hover; None if there is nothing to
            draw. A view without an export uses `draw`.
        table: the numbers behind the figure (`Context.whole`). None if there is nothing to show.
        more: further figures that can be exported.
        opens: whether its card opens with it instead of its first tab, for a run of this kind of model.
        selects: what can be selected in its figure: "points", whose `customdata` holds fields of the selection
            (`{"token": 3, "layer": 5}`); "axes", whose `layout.meta` says what its axes stand for
            (assets/overlays/axes.js); or "drawn", which the view's own script draws over it. selects_nothing: why
            nothing can be selected; a view has one of the two.
    """

    name: str
    title: str
    card: str
    tab: str
    order: int
    invitation: tuple[str, str]
    figure_reads: tuple[str, ...]
    draw: Callable[[Context], go.Figure | Spec | None]
    text: Callable[[Context], Words]
    explain: Callable[[Context], Explanation]
    controls: tuple[Control, ...] = ()
    mentions: tuple[Control, ...] = ()
    beside: Callable[[], Any] | None = None
    above: Callable[[], Any] | None = None
    late: Callable[[], Component] | None = None
    needs: Callable[[Context], tuple[DerivedRequest, ...]] | None = None
    uses: Callable[[Context], tuple[DerivedRequest, ...]] | None = None
    export: Callable[[Context], go.Figure | None] | None = None
    table: Callable[[Context], Table | None] | None = None
    reads: Callable[[Options], tuple[str, ...]] | None = None
    export_reads: Callable[[Options], tuple[str, ...]] | None = None
    more: tuple[Extra, ...] = ()
    opens: Callable[[ModelRun], bool] | None = None
    selects: Literal["points", "axes", "drawn"] | None = None
    selects_nothing: str = ""
    adapts: bool = False
    is_table: bool = False

    def __post_init__(self) -> None:
        if (self.selects is None) == (not self.selects_nothing):
            raise ValueError(
                f"{self.name}: say what of its figure can be chosen (selects), or why nothing can be (selects_nothing)."
            )
        if self.card not in CARDS:
            raise ValueError(f"{self.name} is a tab of “{self.card}”; choose one of these cards: {', '.join(CARDS)}.")
        if self.table is not None and not self.is_table and SHOW not in self.controls:
            object.__setattr__(self, "controls", (SHOW, *self.controls))

    def setting(self, control: Control) -> str:
        """The id and address parameter of one of its controls."""
        return ids.control_id(self.card if control.shared else self.name, control.name)

    def options_in(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """The options of its controls, and of those it mentions, in an address."""
        own = self.options(tuple(query.get(self.setting(control)) for control in self.controls))
        return own | {one.name: one.parse(query.get(self.setting(one))) for one in self.mentions}

    def applying(self, run: ModelRun, options: Options) -> tuple[Control, ...]:
        """Those of its controls that change something for this run with these options, in order."""
        offers = offered(run.main)
        found: dict[str, Control] = {}
        for control in self.controls:
            fits = run.model.kind in control.kinds and (not control.needs or control.needs in offers)
            values = {name: options.get(name, one.default) for name, one in found.items()}
            chosen = any(name in values and values[name] in wanted for name, wanted in control.when)
            if fits and (chosen or not control.when):
                found[control.name] = control
        return tuple(found.values())

    def fields(self, options: Options) -> tuple[str, ...]:
        """The selection fields that the figure depends on with these options."""
        return self.figure_reads if self.reads is None else self.reads(options)

    def wanted(self, context: Context) -> tuple[DerivedRequest, ...]:
        """The derived results that the view shows."""
        return () if self.needs is None else self.needs(context)

    def explanation(self, context: Context) -> tuple[Sentence, ...]:
        """The three sentences; none if the run lacks an array that they describe, which the card says itself.

        Raises:
            ValueError: there are not exactly three.
        """
        try:
            sentences = self.explain(context)
        except MissingArrayError:
            return ()
        if len(sentences) != 3:
            raise ValueError(f"{self.name} is explained in {len(sentences)} sentences; explain gives three.")
        return sentences

    def awaits(self, context: Context) -> tuple[DerivedRequest, ...]:
        """The wanted results that must be computed first; empty if everything can be shown."""
        return tuple(request for request in self.wanted(context) if context.result(request) is None)

    def invited(self) -> Words:
        """The card's text before there is a run."""
        headline, sentence = self.invitation
        return Words(self.title, message=[html.B(headline), html.P(sentence)])

    def options(self, raw: tuple[Any, ...]) -> dict[str, Any]:
        """Map each control's name to its value, in order; anything unknown becomes the default."""
        return {control.name: control.parse(value) for control, value in zip(self.controls, raw, strict=True)}


def waits(request: DerivedRequest) -> Any:
    """Attributes, passed with `**`, that mark an element as waiting for a computed result: the browser shows the
    progress in it, and the reason if the job fails (assets/state/derived.js).
    """
    return attributes(data_waits=request.name)
