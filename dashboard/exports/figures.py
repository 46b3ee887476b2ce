"""A view's figure as a standalone file, with its title, caption and provenance."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go

from dashboard.components.markup import isolates, plain
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Table
from dashboard.errors import AddressNotFoundError, BadRequestError, MissingArrayError
from dashboard.exports.cells import vector_cells
from dashboard.exports.fitting import fitted
from dashboard.exports.picture_target import DPI, SCREEN, Sheet
from dashboard.exports.provenance import PROGRAM, Provenance, file_name, location_name, of_figure, settings_of, wrapped
from dashboard.figures.text import isolated
from dashboard.figures.theme import LIGHT, Theme, in_theme
from dashboard.views.declaration import Extra, View, Words
from dashboard.views.library import Library, context_of
from dashboard.views.shown import alternative
from dashboard.views.state import ViewState

WIDTH, HEIGHT = 720, 520  # pixels of a figure that does not specify its size
CHARACTER = 5.9  # pixels of one character in a footer
LINE = 15  # pixels of one of its lines
PAD = 16
APART = {"b", "p", "div", "dt", "dd"}  # elements that the page separates with space


@dataclass(frozen=True)
class Standalone:
    """One figure of a view state.

    Attributes:
        name: of its files. title, caption, facts: text; facts is the card's line of exact numbers.
        spoken: the figure in words, for people who cannot see it.
        provenance, run, selection: where it comes from. reads: the selection fields that it depends on.
        drawn: draws it with named colours. whole, part: its numbers, all of them or those that the selection is about.
    """

    name: str
    title: str
    caption: str
    facts: str
    spoken: str
    provenance: Provenance
    run: ModelRun
    selection: Selection
    reads: tuple[str, ...]
    drawn: Callable[[], go.Figure]
    whole: Callable[[], Table | None]
    part: Callable[[], Table | None]

    def paint(self, theme: Theme) -> go.Figure:
        """The figure in a theme's colours."""
        return in_theme(self.drawn(), theme)

    def file_name(self, suffix: str, *more: str) -> str:
        return file_name(self.run, self.name, *location_name(self.selection, self.reads), *more, suffix=suffix)


def names(views: Sequence[View]) -> list[str]:
    """The names of all figures that can be exported."""
    return [name for view in views for name in (view.name, *(extra.name for extra in view.more))]


def standalone(name: str, state: ViewState, views: Sequence[View], library: Library) -> Standalone:
    """The figure called `name` in this view state.

    Raises:
        AddressNotFoundError: no figure has this name.
        MissingArrayError: there is nothing to draw; the message is the card's own.
    """
    for view in views:
        if name == view.name:
            return _of_view(view, context_of(view, replace(state, large=view.card), library))
        for extra in view.more:
            if name == extra.name:
                options = {**_by_setting(state, views), **state.options[view.name]}
                context = Context(library.run_of(state.selection), state.selection, options)
                used = library.kept_of(context.run, extra.uses(context)) if extra.uses else {}
                return _of_extra(extra, replace(context, results=used))
    raise AddressNotFoundError(f"There is no figure “{name[:40]}”. Choose one of these: {', '.join(names(views))}.")


def _by_setting(state: ViewState, views: Sequence[View]) -> dict[str, Any]:
    """Every view's options, by address parameter."""
    return {
        view.setting(control): state.options[view.name][control.name]
        for view in views
        if view.name in state.options
        for control in view.controls
        if control.name in state.options[view.name]
    }


def all_standalone(
    state: ViewState, views: Sequence[View], library: Library, also: Collection[str] = ()
) -> Iterator[tuple[str, Standalone | str]]:
    """Every figure of the open tabs and of the views named in `also`, with its title; a sentence in place of a figure
    that cannot be drawn."""
    shown = {view.name for view in state.open_views(views)} | set(also)
    for view in (view for view in views if view.name in shown):
        for name, title in ((view.name, view.title), *((extra.name, extra.title) for extra in view.more)):
            try:
                yield title, standalone(name, state, views, library)
            except MissingArrayError as error:
                yield title, str(error)


def _of_view(view: View, context: Context) -> Standalone:
    run, selection, options = context.run, context.selection, context.options
    words = view.text(context)
    if words.waiting:
        raise MissingArrayError(
            f"What {view.title} shows for token {selection.token} has not been computed yet. Select the token on the "
            "page, wait for the result, and export again."
        )
    if words.message is not None:
        raise MissingArrayError(text_of(words.message))
    draw, table = view.export or view.draw, view.table
    reads = view.fields(options) if view.export_reads is None else view.export_reads(options)

    def drawn() -> go.Figure:
        figure = draw(context)
        if figure is None:
            raise MissingArrayError(
                f"There is nothing to draw for {view.title.lower()} here. Select another token, layer or head."
            )
        return _sized(go.Figure(figure))

    return Standalone(
        name=view.name,
        title=text_of(words.title),
        caption=text_of(_lasting(words.caption)),
        facts=_facts(words),
        spoken=alternative(replace(words, caption=_lasting(words.caption))),
        provenance=of_figure(run, selection, view.title, settings_of(view, options, run), reads),
        run=run,
        selection=selection,
        reads=reads,
        drawn=drawn,
        whole=lambda: table(replace(context, whole=True)) if table else None,
        part=lambda: table(context) if table else None,
    )


def _lasting(caption: Any) -> Any:
    """A caption without remarks on results that are still being computed: a file never gets them."""
    return [part for part in caption if not hasattr(part, "data-waits")] if isinstance(caption, list) else caption


def _of_extra(extra: Extra, context: Context) -> Standalone:
    run, selection = context.run, context.selection
    words = extra.text(context)
    return Standalone(
        name=extra.name,
        title=text_of(words.title),
        caption=text_of(words.caption),
        facts=_facts(words),
        spoken=alternative(words),
        provenance=of_figure(run, selection, extra.title),
        run=run,
        selection=selection,
        reads=("layer", "head"),
        drawn=lambda: _sized(extra.draw(context)),
        whole=lambda: extra.table(replace(context, whole=True)),
        part=lambda: None,
    )


def _sized(figure: go.Figure) -> go.Figure:
    layout = figure.layout
    figure.update_layout(width=layout.width or WIDTH, height=layout.height or HEIGHT, meta=None)
    return figure


def _facts(words: Words) -> str:
    """The card's exact numbers, with separators where the page uses space."""
    return alternative(Words("", footer=words.footer)) if text_of(words.footer) else ""


def text_of(children: Any, between: str = "") -> str:
    """The text of a tree of Dash components, as one line."""
    return " ".join(between.join(_texts(plain(children))).split())


def _texts(nodes: Sequence[Any]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        else:
            space = " " if node[0] in APART else ""
            inside = "".join(_texts(node[2:]))
            yield space + (isolated(inside) if isolates(node[0], node[1]) else inside) + space


def laid_out(found: Standalone, theme: Theme = LIGHT, sheet: Sheet = SCREEN) -> tuple[go.Figure, str]:
    """The figure as a picture, and what did not fit: on its background, with title and caption above and provenance
    below, laid out for the sheet's width."""
    figure, left_out = found.paint(theme), ""
    if sheet.pixels is not None:
        figure, left_out = fitted(figure, sheet.pixels)
    figure.update_layout(paper_bgcolor=theme.surface, title=None)
    if sheet.titled:
        _add_words(figure, found, theme, sheet)
    if figure.layout.height - figure.layout.margin.t - figure.layout.margin.b <= 0:
        raise BadRequestError("The figure has no room left. Choose a smaller part of it.")
    return figure, left_out


def _add_words(figure: go.Figure, found: Standalone, theme: Theme, sheet: Sheet) -> None:
    """Add title and caption above the figure, and its source below."""
    margin = figure.layout.margin.to_plotly_json()
    top, right, bottom, left = (margin.get(side) or 0 for side in ("t", "r", "b", "l"))
    width = sheet.pixels or max(int(figure.layout.width), 480)
    inside = (width - 2 * PAD) / CHARACTER
    head = [(line, 15, theme.ink, True) for line in wrapped(found.title, int(inside * 0.72))]
    head += [(line, 11, theme.second_ink, False) for line in wrapped(found.caption, int(inside))]
    foot = [(line, 10, theme.muted, False) for line in found.provenance.foot(int(inside * 1.06))]
    above, below = _heights(head) + PAD, _heights(foot) + PAD
    figure.update_layout(
        width=width,
        height=int(figure.layout.height) + above + below,
        margin={"t": top + above, "r": right + width - int(figure.layout.width), "b": bottom + below, "l": left},
    )
    lines = [*_lines(head, PAD), *_lines(foot, int(figure.layout.height) - below + PAD // 2)]
    for text, y, size, colour in lines:
        figure.add_annotation(
            text=text,
            xref="paper",
            yref="paper",
            x=0,
            y=1,
            xshift=PAD - left,
            yshift=figure.layout.margin.t - y,
            xanchor="left",
            yanchor="top",
            align="left",
            showarrow=False,
            borderpad=0,
            font={"size": size, "color": colour},
        )


def _heights(lines: Sequence[tuple[str, int, str, bool]]) -> int:
    return sum(LINE + (4 if size > 12 else 0) for _text, size, _colour, _bold in lines)


def _lines(lines: Sequence[tuple[str, int, str, bool]], top: int) -> Iterator[tuple[str, int, int, str]]:
    for text, size, colour, bold in lines:
        escaped = html.escape(text, quote=False)
        yield (f"<b>{escaped}</b>" if bold else escaped), top, size, colour
        top += LINE + (4 if size > 12 else 0)


def picture_json(found: Standalone, theme: Theme, sheet: Sheet = SCREEN) -> str:
    """The JSON that a browser needs to make a PNG or SVG of the figure: the figure, its size and cells, its text and
    its name."""
    figure, left_out = laid_out(found, theme, sheet)
    cells, picture = vector_cells(figure)
    notes = " ".join(note for note in (left_out, picture) if note)
    described: Mapping[str, Any] = {
        "title": found.title,
        "description": " ".join(part for part in (found.spoken, notes) if part),
        "program": PROGRAM,
        "provenance": dict(found.provenance.entries),
        "ground": theme.surface,
        "width": figure.layout.width,
        "height": figure.layout.height,
        "millimetres": sheet.width,
        "dpi": DPI,
        "cells": cells,
        "notes": notes,
        "name": found.file_name("", *sheet.words),
    }
    return json.dumps(described, ensure_ascii=False)[:-1] + ', "figure": ' + str(figure.to_json()) + "}"
