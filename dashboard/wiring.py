"""The three kinds of callbacks: submit (background), reduce (in the browser), draw (one pair a view).

form ──submit──► submitted-run ─┐
address bar ───► address ───────┴─► run-info ──reduce──► selection ─────► words
clicks, keys ──► proposal ─────────────────────reduce──► <view>-drawn ──► figure
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update

from dashboard import ids
from dashboard.contracts.job import JobSpec, fill_name
from dashboard.contracts.request import RunRequest, check_length, is_run_key, longest_text
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import BROKEN, BadRequestError, DashboardError, RunNotFoundError, TextTooLongError
from dashboard.figures.spec import Spec, spec_of
from dashboard.figures.theme import empty_figure, theme_named
from dashboard.markup import Plain, plain
from dashboard.models.catalog import Catalog
from dashboard.run_info import describe_run, opened_example, place_in, start_of
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists, visitor_in
from dashboard.views.declaration import SHOW, View, Words
from dashboard.views.shown import alternative, shown_table
from dashboard.views.state import controls_of, options_in

log = logging.getLogger(__name__)
GONE = {  # by what asked for the run
    "link": "This server no longer has the run that the link names. Run its text again to see it.",
    "step": "This server no longer has the run of this step. What was shown stays; Undo and Redo go on from here.",
    "recent": "This server no longer has that run. Run its text again to see it.",
}


@dataclass(frozen=True)
class Shelf:
    """What the callbacks read: runs, models, settings, and where there are any, the visitors' lists of runs."""

    settings: Settings
    store: RunStore
    catalog: Catalog
    visitors: VisitorLists | None = None

    def opened(self, key: str) -> str:
        """Note that this request's visitor has opened a run; gives their name for it. What fails here fails no run."""
        visitor = visitor_in(ctx.cookies or {})
        if self.visitors is None or visitor is None:
            return ""
        try:
            return self.visitors.opened(visitor, key).name
        except OSError:  # the disk is full, perhaps
            log.exception("a visitor's list of runs cannot be kept")
            return ""

    def run_of(self, selection: Selection, later: bool = False) -> ModelRun:
        """The selection's run; where `later` asks for it, with the predictions at the selected and the second position
        that second jobs computed (`fill/POSITION/…`), where there are any.
        """
        run = self.store.open(selection.run)
        selection.checked(run)
        if not later or run.model.kind != "masked":
            return run
        for position in (selection.token, selection.other):
            if position is not None and not run.has_masked(position):
                run = self._with_fill(run, position)
        return run

    def _with_fill(self, run: ModelRun, position: int) -> ModelRun:
        try:
            arrays = self.store.open_arrays(fill_name(run.key, position))
        except RunNotFoundError:
            return run
        return run.with_arrays({f"fill/{position}/{name}": arrays[name] for name in arrays})


def connect(app: Dash, shelf: Shelf, views: Sequence[View]) -> None:
    """Register every callback of the page."""
    _submit(app, shelf)
    _fill(app, shelf)
    _run_info(app, shelf, views)
    _browser(app, views)
    _tell(app, shelf, views)
    for view in views:
        _draw(app, shelf, view)


def guarded(function: Callable[..., Any]) -> Any:
    """Call a draw function; a `DashboardError` is its message, any other error is logged and is ours."""
    try:
        return function(), None
    except DashboardError as error:
        return None, str(error)
    except Exception:
        log.exception("a view failed")
        return None, BROKEN


def _submit(app: Dash, shelf: Shelf) -> None:
    @app.callback(
        Output(ids.SUBMITTED_RUN, "data"),
        Input(ids.RUN, "n_clicks"),
        State(ids.MODEL, "value"),
        State(ids.TEXT, "value"),
        background=True,
        progress=Output(ids.PROGRESS_STATE, "data"),
        cancel=[Input(ids.CANCEL, "n_clicks")],
        running=[(Output(ids.FORM_STATE, "data"), "running", "idle")],
        interval=shelf.settings.poll_milliseconds,
        prevent_initial_call=True,
    )
    def submit(clicks: int, model: str, text: str) -> JobSpec:
        request = RunRequest(model, text)
        check_tokens(shelf, request)
        fingerprint = shelf.catalog.fingerprint(model)
        return JobSpec("capture", request.key(fingerprint), {"request": request.to_json(), "fingerprint": fingerprint})


def check_tokens(shelf: Shelf, request: RunRequest) -> None:
    """Raise `TextTooLongError` at once where the tokens can be counted here; else the worker counts them."""
    entry, most = shelf.catalog.admit(request.model), shelf.settings.max_tokens
    if len(request.text) > longest_text(most):
        raise TextTooLongError(f"{len(request.text):,} characters; this server takes at most {most:,} tokens. Shorten the text.")
    tokens = shelf.catalog.count_tokens(entry.name, request.text)
    if tokens is not None:
        check_length(tokens, entry.title, entry.limit, most)


def _fill(app: Dash, shelf: Shelf) -> None:
    """The predictions at the selected and the second position, masked, where the run does not hold them."""
    for request, filled in ids.FILL_LANES:
        told = {"progress": Output(ids.FILL_PROGRESS, "data")} if request == ids.FILL_REQUEST else {}
        app.callback(
            Output(filled, "data"),
            Input(request, "data"),
            background=True,
            **told,
            interval=shelf.settings.poll_milliseconds,
            prevent_initial_call=True,
        )(_fill_builder(shelf))


def _fill_builder(shelf: Shelf) -> Callable[[object], JobSpec]:
    def fill(raw: object) -> JobSpec:
        if not isinstance(raw, dict) or not is_run_key(raw.get("run")) or not isinstance(raw.get("position"), int):
            raise BadRequestError("There is no position to fill. Select a token.")
        run = shelf.store.open(raw["run"])
        run.check(token=raw["position"])
        payload = {"run": run.key, "position": raw["position"]}
        return JobSpec("fill", fill_name(run.key, raw["position"]), payload)

    return fill


def _run_info(app: Dash, shelf: Shelf, views: Sequence[View]) -> None:
    @app.callback(
        Output(ids.RUN_INFO, "data"),
        Input(ids.SUBMITTED_RUN, "data"),
        Input(ids.ADDRESS, "data"),
        State(ids.SELECTION, "data"),
        prevent_initial_call=True,
    )
    def run_info(submitted: object, address: object, selection: object) -> Any:
        if ctx.triggered_id == ids.ADDRESS:
            info, problem = guarded(lambda: _from_address(shelf, views, address))
        elif isinstance(submitted, dict) and submitted.get("run"):
            info, problem = guarded(lambda: _from_submit(shelf, submitted, selection))
        else:
            return no_update
        return {**info, "name": shelf.opened(info["run"])} if problem is None else {"error": problem}


def _from_submit(shelf: Shelf, submitted: dict[str, Any], raw: object) -> dict[str, Any]:
    run = shelf.store.open(str(submitted["run"]))
    before = selection = None
    if isinstance(raw, dict) and raw.get("run"):
        try:
            selection = Selection.from_json(raw)
            before = shelf.store.open(selection.run)
        except DashboardError:
            selection = None  # the run that was shown has left the store: nothing to carry over
    options: dict[str, str] | None = {} if opened_example(run, before) else None  # an example is shown as it was meant
    return {**describe_run(run), "start": start_of(run, before, selection), "options": options}


def _from_address(shelf: Shelf, views: Sequence[View], address: object) -> dict[str, Any]:
    if not isinstance(address, dict) or not is_run_key(address.get("run")):
        raise BadRequestError("The address does not name a run. Check that the link was copied whole, or run a text.")
    via = next((name for name in GONE if name == address.get("via")), "link")
    try:
        run = shelf.store.open(address["run"])
    except RunNotFoundError as error:
        raise RunNotFoundError(GONE[via]) from error
    found, problems = place_in(run, address)
    options, unknown = options_in(address, views)
    start, problem = {**start_of(run, None, None), **found}, " ".join([*problems, *unknown]) or None
    return {**describe_run(run), "start": start, "options": options, "problem": problem, "opened": True, "via": via}


def _browser(app: Dash, views: Sequence[View]) -> None:
    """What the browser does alone; the functions are in assets/."""

    def browser(name: str, *wires: Any, initial: bool = False) -> None:
        app.clientside_callback(ClientsideFunction("dashboard", name), *wires, prevent_initial_call=not initial)

    browser(
        "reduce",
        Output(ids.SELECTION, "data"),
        *[Output(ids.drawn_id(view.name), "data") for view in views],
        Input(ids.PROPOSAL, "data"),
        Input(ids.RUN_INFO, "data"),
        State(ids.SELECTION, "data"),
        *[State(ids.drawn_id(view.name), "data") for view in views],
        *[State(ids.reads_id(view.name), "data") for view in views],
    )
    browser(
        "paint",
        Output(ids.LAYER, "value"),
        Output(ids.HEAD, "value"),
        Input(ids.SELECTION, "data"),
        State(ids.RUN_INFO, "data"),
    )
    for name, (request, _filled) in zip(("fillRequest", "fillRequestSecond"), ids.FILL_LANES, strict=True):
        browser(
            name,
            Output(request, "data"),
            Input(ids.SELECTION, "data"),
            Input(ids.control_id("prediction", "mode"), "value"),
            State(ids.RUN_INFO, "data"),
            State(request, "data"),
        )
    browser("openAddress", Output(ids.ADDRESS, "data"), Input(ids.CATALOG, "data"), initial=True)
    browser("initTheme", Output(ids.THEME, "data"), Input(ids.CATALOG, "data"), initial=True)
    browser(
        "pickerLines",
        Output(ids.MODEL, "options"),
        Input(ids.MODEL, "search_value"),
        Input(ids.MODEL, "value"),
        State(ids.CATALOG, "data"),
        State(ids.MODEL, "options"),
    )
    browser("modelChosen", Input(ids.MODEL, "value"), Input(ids.CATALOG, "data"), initial=True)
    browser("examplesKnown", Input(ids.EXAMPLES, "data"), initial=True)
    controls = [name for name, _control in controls_of(views)]
    browser(
        "placeOptions",
        [Output(name, "value") for name in controls],
        Input(ids.RUN_INFO, "data"),
        Input(ids.TRAVEL, "data"),
        State(ids.CONTROLS, "data"),
        *[State(name, "value") for name in controls],
    )
    browser("optionsChosen", *[Input(name, "value") for name in controls], State(ids.CONTROLS, "data"), initial=True)
    browser("fillProgress", Input(ids.FILL_PROGRESS, "data"), Input(ids.FILL_REQUEST, "data"), Input(ids.FILLED, "data"))
    browser("formState", Input(ids.FORM_STATE, "data"))
    browser("progress", Input(ids.PROGRESS_STATE, "data"), Input(ids.FORM_STATE, "data"))
    browser(
        "notice",
        Input(ids.SUBMITTED_RUN, "data"),
        Input(ids.RUN_INFO, "data"),
        *[Input(filled, "data") for _request, filled in ids.FILL_LANES],
    )


def _draw(app: Dash, shelf: Shelf, view: View) -> None:
    """The callbacks of one view: its figure, and which fields that depends on."""
    controls = [Input(ids.control_id(view.name, control.name), "value") for control in view.controls]
    computed = [Input(filled, "data") for _request, filled in ids.FILL_LANES] if view.later else []

    @app.callback(
        Output(ids.graph_id(view.name), "figure"),
        Input(ids.drawn_id(view.name), "data"),
        Input(ids.THEME, "data"),
        *controls,
        *computed,
        State(ids.SELECTION, "data"),
        prevent_initial_call=True,
    )
    def draw(_part: object, theme: object, *rest: Any) -> Any:
        raw, options = rest[-1], view.options(rest[: len(controls)])
        if raw is None:
            return no_update
        if options.get(SHOW.name) == "table":
            return no_update
        figure, problem = guarded(lambda: _figure(shelf, view, raw, options, theme))
        return figure or empty_figure(problem, theme_named(theme))

    if view.reads is not None:
        reads = view.reads

        @app.callback(Output(ids.reads_id(view.name), "data"), *controls, prevent_initial_call=True)
        def reading(*rest: Any) -> Any:
            return reads(view.options(rest))


def _tell(app: Dash, shelf: Shelf, views: Sequence[View]) -> None:
    """The words of all views in one answer: each callback more costs the page several milliseconds at every click."""
    names = [name for name, _control in controls_of(views)]

    @app.callback(
        Output(ids.WORDS, "data"),
        Input(ids.SELECTION, "data"),
        *[Input(name, "value") for name in names],
        *[Input(filled, "data") for _request, filled in ids.FILL_LANES],
        prevent_initial_call=True,
    )
    def words(raw: object, *rest: Any) -> Any:
        chosen, outcome = dict(zip(names, rest, strict=False)), rest[len(names)]
        told = {view.name: _told(shelf, view, raw, chosen, outcome if view.later else None) for view in views}
        return {"of": place_name(raw), "views": told}

    app.clientside_callback(ClientsideFunction("dashboard", "words"), Input(ids.WORDS, "data"), prevent_initial_call=True)


def _told(shelf: Shelf, view: View, raw: object, chosen: dict[str, Any], outcome: object) -> dict[str, Any]:
    """One view's words as the browser takes them; its invitation on the empty page."""
    if raw is None:
        found, table = view.invited(), None
    else:
        options = view.options(tuple(chosen[ids.control_id(view.name, control.name)] for control in view.controls))
        found, table = _words(shelf, view, raw, options, outcome)
    return {**_placed(found), "alternative": alternative(found), "table": table}


def _words(shelf: Shelf, view: View, raw: object, options: dict[str, str], outcome: object) -> tuple[Words, list[Plain] | None]:
    """A view's words, and the table that stands in place of its figure where the options ask for it; the sentence of
    what went wrong in place of both, where something did.
    """

    def find() -> tuple[Words, Selection, list[Plain] | None]:
        selection = Selection.from_json(raw)
        run = shelf.run_of(selection, view.later)
        table = view.table(run, selection, options, False) if view.table and options[SHOW.name] == "table" else None
        return view.words(run, selection, options), selection, None if table is None else plain(shown_table(table))

    found, problem = guarded(find)
    if found is None:
        return Words(view.title, message=[html.B(problem)]), None
    words, selection, table = found
    failure = _failure(outcome, fill_name(selection.run, selection.token)) if words.waiting else None
    return (words if failure is None else replace(words, message=[html.B(failure)])), table


def _failure(outcome: object, key: str) -> str | None:
    """The message of the job `key`, where `outcome` is its failure; None for any other outcome."""
    if not isinstance(outcome, dict) or not outcome.get("error") or outcome.get("cancelled") or outcome.get("key") != key:
        return None
    return str(outcome["error"])


def _figure(shelf: Shelf, view: View, raw: object, options: dict[str, str], theme: object) -> Spec | None:
    selection = Selection.from_json(raw)
    figure = view.draw(shelf.run_of(selection, view.later), selection, options, theme_named(theme))
    if figure is None:
        return None
    spec = spec_of(figure)  # with what the browser needs to know of the figure that it marks
    meta = {"run": selection.run, "layer": selection.layer, "head": selection.head}
    spec["layout"]["meta"] = {**(spec["layout"].get("meta") or {}), **meta}
    return spec


def _placed(words: Words) -> dict[str, list[Plain]]:
    """The words as plain trees, which assets/45-build.js puts around the figure."""
    heading = [html.H2(words.title), html.P(words.caption, className="caption")]
    body = words.body
    if words.message is not None:
        body = html.Div(html.Div(words.message), className="card-message")
    return {"heading": plain(heading), "body": plain(body), "footer": plain(words.footer)}


def place_name(raw: object) -> str:
    """What a selection's words are of: "run-token-second-layer-head", the run by its first eight digits."""
    if not isinstance(raw, dict):
        return ""
    places = [raw.get(name) for name in ("token", "other", "layer", "head")]
    return "-".join([str(raw.get("run"))[:8], *("" if place is None else str(place) for place in places)])
