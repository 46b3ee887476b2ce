"""What the views show, as plain answers that depend on nothing but their address (docs/decisions/020 and 032).

    /show/figure/VIEW    the view's figure as Plotly's JSON
    /show/words/VIEW     what stands around it: plain trees for assets/core.js

Both take the query of the page's address (`dashboard.views.state`). The browser asks for them
as soon as something is selected, and one callback of Dash gives them to the cards (assets/state/show.js). A figure is
asked for only where it depends on what has changed: it says in `layout.meta` for which selection it was drawn (each
field by its name), on which of these it depends (`reads`), and with `whole: false` that a part of it is still being
computed, so that it may be another one later.

An answer that is whole has status 200, and a browser keeps it where its address names the capture of the run (`stamp`)
and the program's build. Any other one has status 202 and is never kept. Where the run was computed again since, the
answer is 412, and the page opens the run again: what it shows is never of two captures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html
from flask import Blueprint, Response, request
from plotly.io.json import to_json_plotly

from dashboard.components.markup import Plain, attributes, bound, plain
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.selection import LOCATION, Selection
from dashboard.errors import AddressNotFoundError, MissingArrayError
from dashboard.figures.spec import Spec, spec_of
from dashboard.figures.theme import empty_figure
from dashboard.views.controls import SHOW
from dashboard.views.declaration import Sentence, View, Words
from dashboard.views.library import context_of
from dashboard.views.shown import alternative, shown_table
from dashboard.views.state import ViewState
from dashboard.web.build import FOR_EVER, build
from dashboard.web.services import Services, guarded


def make_figures(services: Services, views: Sequence[View]) -> Blueprint:
    """/show/…; an address that leads to nothing gives 404, one that names no view state 400, and one sentence."""
    routes = Blueprint("pictures", __name__)
    by_name = {view.name: view for view in views}

    @routes.get("/figure/<name>")
    def _figure(name: str) -> Response:
        view, state = _named(name), ViewState.from_query(request.args, views)
        found = figure_of(services, view, state)
        return _answer(found, found["layout"]["meta"]["whole"])

    @routes.get("/words/<name>")
    def _words(name: str) -> Response:
        view, state = _named(name), ViewState.from_query(request.args, views)
        found = words_of(services, view, state)
        return _answer(found, found["whole"])

    def _named(name: str) -> View:
        if name not in by_name:
            raise AddressNotFoundError(f"There is no view “{name[:40]}”. Choose one of these: {', '.join(by_name)}.")
        return by_name[name]

    @routes.get("/<path:rest>")
    def _unknown(rest: str) -> Response:  # else Dash answers with the page
        raise AddressNotFoundError(f"There is nothing to show at “{rest[:60]}”. Reload the page.")

    return routes


def _answer(found: Mapping[str, Any], whole: bool) -> Response:
    response = Response(to_json_plotly(found), 200 if whole else 202, mimetype="application/json")
    lasts = whole and request.args.get("stamp") and request.args.get("build") == build()
    # another version of this program may show another
    response.headers["Cache-Control"] = FOR_EVER if lasts else "no-store"
    return response


def figure_of(services: Services, view: View, state: ViewState) -> Spec:
    """A view's figure as plain data; one with the sentence of what went wrong, where something did."""
    found, problem = guarded(lambda: _drawn(services, view, state))
    if found is None:
        found = spec_of(empty_figure(problem))
        told = {"run": state.selection.run, "stamp": state.selection.stamp}
        found["layout"]["meta"] = {**told, "reads": list(view.figure_reads), "whole": False}
    return found


def _drawn(services: Services, view: View, state: ViewState) -> Spec:
    context = context_of(view, state, services)
    selection, options = context.selection, context.options
    figure = view.draw(context)
    spec = spec_of(empty_figure() if figure is None else figure)
    meta = spec["layout"].get("meta") or {}
    reads = meta.get("reads", list(view.fields(options)))  # a figure may depend on less than its view in general
    told = {**selection.to_json(), "reads": reads, "whole": not view.awaits(context)}
    spec["layout"]["meta"] = {**meta, **told}
    return spec


def words_of(services: Services, view: View, state: ViewState) -> dict[str, Any]:
    """A view's words.

    Returns:
        "view". "run", "stamp", "of": what they are of (`state_name`). "awaits": the derived results that must be
        computed first, each as its request, with its `name`. "whole": whether they will be the same whenever they are
        asked for. `heading`, `body`, `footer` (plain trees), `about` (the three sentences behind the card's `?`, a
        plain tree each), `alternative` (the figure in words) and `table` (a plain tree, or None).
    """
    found, problem = guarded(lambda: _told(services, view, state))
    words, about, table, awaits = found or (Words(view.title, message=[html.B(problem)]), (), None, ())
    return {
        "view": view.name,
        "run": state.selection.run,
        "stamp": state.selection.stamp,
        "of": state_name(state.selection),
        "awaits": [{"name": one.name, **one.to_json()} for one in awaits],
        "whole": found is not None and not awaits,
        **_placed(words),
        "about": [bound(plain(sentence)) for sentence in about],
        "alternative": alternative(words),
        "table": table,
    }


Told = tuple[Words, Sequence[Sentence], list[Plain] | None, Sequence[DerivedRequest]]


def _told(services: Services, view: View, state: ViewState) -> Told:
    """A view's words, what explains it, the table in place of its figure where the options ask for it, and which
    results it waits for."""
    context = context_of(view, state, services)
    try:
        return _said(view, context)
    except MissingArrayError as error:
        return Words(view.title, message=_missing(error)), (), None, ()


def _missing(error: MissingArrayError) -> list[Any]:
    """What a run does not hold, and where that would bring it, the offer to run its text again
    (assets/state/versions.js)."""
    again = html.Button("Run again", type="button", className="strong", **attributes(data_run_again=""))
    return [html.B(str(error)), *([html.P(again)] if error.again else [])]


def _said(view: View, context: Context) -> Told:
    table = view.table(context) if view.table and context.options.get(SHOW.name) == "table" else None
    words = view.text(context)
    shown = None if table is None else bound(plain(shown_table(table)))
    return words, view.explanation(context), shown, view.awaits(context)


def _placed(words: Words) -> dict[str, list[Plain]]:
    """The words as plain trees, which assets/core.js puts around the figure."""
    heading = [html.H2(words.title), html.P(words.caption, className="caption")]
    body = words.body
    if words.message is not None:
        body = html.Div(html.Div(words.message), className="card-message")
    return {"heading": bound(plain(heading)), "body": bound(plain(body)), "footer": bound(plain(words.footer))}


def state_name(selection: Selection) -> str:
    """What words are of: the run by its first eight digits, and each index in the order of `Selection`."""
    location = [getattr(selection, field.name) for field in LOCATION]
    return "-".join([selection.run[:8], *("" if index is None else str(index) for index in location)])
