"""The content of the views, as plain answers that depend only on their address (docs/decisions/020 and 032).

    /show/figure/VIEW    the view's figure as Plotly's JSON
    /show/words/VIEW     the text around it: plain trees for assets/core.js

Both take the query of the page's address (`dashboard.views.state`). The browser requests them as soon as something is
selected, and one Dash callback passes them to the cards (assets/state/card-content.js). A figure is requested only if
it depends on what has changed: its `layout.meta` says for which selection it was drawn (each field by name), on which
fields it depends (`reads`), and, with `whole: false`, that a part is still being computed, so that a later answer may
differ.

A complete answer has status 200, and the browser caches it if its address names the capture of the run (`stamp`) and
the program's build. Any other answer has status 202 and is never cached. If the run has since been computed again, the
answer is 412 and the page opens the run again, so that it never mixes two captures.
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
from dashboard.contracts.selection import LOCATION, SEVERAL, Selection
from dashboard.contracts.table import Table
from dashboard.errors import AddressNotFoundError, MissingArrayError
from dashboard.figures.spec import Spec, spec_of
from dashboard.figures.theme import empty_figure
from dashboard.views.controls import SHOW
from dashboard.views.declaration import Sentence, View, Words
from dashboard.views.library import context_of
from dashboard.views.shown import FEW_ROWS, alternative, long_table, shown_table
from dashboard.views.state import ViewState
from dashboard.web.build import FOR_EVER, build
from dashboard.web.services import Services, guarded


def make_figures(services: Services, views: Sequence[View]) -> Blueprint:
    """Create the routes below /show/. An unknown address gives 404, one without a view state 400, each with one
    sentence."""
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
    def _unknown(rest: str) -> Response:  # otherwise Dash answers with the page
        raise AddressNotFoundError(f"There is nothing to show at “{rest[:60]}”. Reload the page.")

    return routes


def _answer(found: Mapping[str, Any], whole: bool) -> Response:
    response = Response(to_json_plotly(found), 200 if whole else 202, mimetype="application/json")
    lasts = whole and request.args.get("stamp") and request.args.get("build") == build()
    # another version of this program may answer differently
    response.headers["Cache-Control"] = FOR_EVER if lasts else "no-store"
    return response


def figure_of(services: Services, view: View, state: ViewState) -> Spec:
    """A view's figure as plain data; on an error, an empty figure with the error's sentence."""
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
    reads = meta.get("reads", list(view.fields(options)))  # a figure may depend on less than its view does in general
    told = {**selection.to_json(), "reads": reads, "whole": not view.awaits(context)}
    spec["layout"]["meta"] = {**meta, **told}
    return spec


def words_of(services: Services, view: View, state: ViewState) -> dict[str, Any]:
    """A view's text.

    Returns:
        "view". "run", "stamp", "of": what the text describes (`state_name`). "awaits": the derived results that must be
        computed first, each as its request, with its `name`. "whole": whether every later answer will be the same.
        `heading`, `body`, `footer` (plain trees), `about` (the three sentences behind the card's `?`, a plain tree
        each), `alternative` (the figure in words) and `table` (a plain tree, the data of a long one, or None).
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


Shown = list[Plain] | dict[str, Any] | None
Told = tuple[Words, Sequence[Sentence], Shown, Sequence[DerivedRequest]]


def _told(services: Services, view: View, state: ViewState) -> Told:
    """A view's text, its explanation, the table that replaces its figure if the options ask for it, and the results
    that it waits for."""
    context = context_of(view, state, services)
    try:
        return _said(view, context)
    except MissingArrayError as error:
        return Words(view.title, message=_missing(error)), (), None, ()


def _missing(error: MissingArrayError) -> list[Any]:
    """What a run does not hold and, if that would help, the offer to run its text again (assets/state/versions.js)."""
    again = html.Button("Run again", type="button", className="strong", **attributes(data_run_again=""))
    return [html.B(str(error)), *([html.P(again)] if error.again else [])]


def _said(view: View, context: Context) -> Told:
    table = view.table(context) if view.table and context.options.get(SHOW.name) == "table" else None
    words = view.text(context)
    return words, view.explanation(context), _shown(table), view.awaits(context)


def _shown(table: Table | None) -> Shown:
    if table is None:
        return None
    return long_table(table) if table.count > FEW_ROWS else bound(plain(shown_table(table)))


def _placed(words: Words) -> dict[str, list[Plain]]:
    """The text as plain trees, which assets/core.js puts around the figure."""
    heading = [html.H2(words.title), html.P(words.caption, className="caption")]
    body = words.body
    if words.message is not None:
        body = html.Div(html.Div(words.message), className="card-message")
    return {"heading": bound(plain(heading)), "body": bound(plain(body)), "footer": bound(plain(words.footer))}


def state_name(selection: Selection) -> str:
    """The name of the state that a text describes: the first eight digits of the run's key, and each index in the order
    of `Selection`; then what was added, if anything was."""
    location = [getattr(selection, field.name) for field in LOCATION]
    added = (field.plain(getattr(selection, field.name)) for field in SEVERAL)
    indices = ("" if index is None else str(index) for index in location)
    return "-".join([selection.run[:8], *indices, *filter(None, added)])
