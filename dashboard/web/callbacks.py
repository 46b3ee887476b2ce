"""The callbacks of the page.

form ──submit──► submitted-run ─┐
address bar ───► address ───────┴─► run-info ──reduce──► selection ──show──► each view's figure and text
graphs ────────► VIEW-picked ──────────────────reduce──► selection
strip, keys … ─► proposal ─────────────────────reduce──► selection

`show` waits in the browser for answers of dashboard/web/routes/figures.py, asked for when something was chosen; what
has not come by then, `arrived` brings. Views' words say which derived results they wait for; the page wants these
through one background callback more:

open cards ──derived-request──► derive (background) ──derived-progress, derived-result──► arrived ──show──► …
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, no_update

from dashboard.components import ids
from dashboard.compute.deriving import check
from dashboard.contracts.derived import DerivedRequest, is_result_name
from dashboard.contracts.job import JobSet, JobSpec, preparation
from dashboard.contracts.request import RunRequest, check_characters, check_length, is_run_key
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import BadRequestError, DashboardError, NewerRunError, RunNotFoundError, UnreadableRunError
from dashboard.views.declaration import View
from dashboard.views.run_info import apart, describe_run, location_in, opened_example, start_of
from dashboard.views.state import options_in, settings_of
from dashboard.web.model_picker import known_model
from dashboard.web.services import Services, guarded

MOST_WANTED = 24  # derived results that one page asks for at a time
GONE = {  # by what asked for the run
    "link": "This server no longer has the run that the link names. Run its text again to see it.",
    "step": "This server no longer has the run of this step. What was shown stays: go on from here with Undo or Redo.",
    "recent": "This server no longer has that run. Run its text again to see it.",
    "again": "This server no longer has the run that is shown. Run its text again to see it.",
}


def connect(app: Dash, services: Services, views: Sequence[View]) -> None:
    """Register every callback of the page."""
    _submit(app, services)
    _derive(app, services)
    _run_info(app, services, views)
    browser = _InBrowser(app)
    _selecting(browser, views)
    _showing(browser, views)
    _around(browser)


def _submit(app: Dash, services: Services) -> None:
    @app.callback(
        Output(ids.SUBMITTED_RUN, "data"),
        Input(ids.RUN, "n_clicks"),
        State(ids.MODEL, "value"),
        State(ids.TEXT, "value"),
        background=True,
        progress=Output(ids.PROGRESS_STATE, "data"),
        cancel=[Input(ids.CANCEL, "n_clicks")],
        running=[(Output(ids.FORM_STATE, "data"), "running", "idle")],
        interval=services.settings.poll_milliseconds,
        prevent_initial_call=True,
    )
    def submit(clicks: int, model: str, text: str) -> JobSpec:
        request = RunRequest(model, text)
        check_tokens(services, request)
        return capture_job(services, request)


def capture_job(services: Services, request: RunRequest) -> JobSpec:
    """The job of a run, with what its model needs first. Until that is done it has a provisional name, for the true one
    holds a hash of the model's files, which may be gigabytes.
    """
    model = services.catalog.readiness(request.model, request.revision)
    payload = {"request": request.to_json(), "fingerprint": model.fingerprint}
    needs = preparation(request.model, request.revision) if model.preparable else None
    return JobSpec("capture", request.key(model.fingerprint), payload, needs)


def check_tokens(services: Services, request: RunRequest) -> None:
    """Raise `TextTooLongError` at once where the tokens can be counted here; else the worker counts them."""
    entry, most = services.catalog.admit(request.model), services.settings.max_tokens
    check_characters(len(request.text), entry.title, entry.limit, most)
    tokens = services.catalog.count_tokens(entry.name, request.text)
    if tokens is not None:
        check_length(tokens, entry.title, entry.limit, most)


def _derive(app: Dash, services: Services) -> None:
    """The derived results that the open cards want and that are not there: one set, which changes with what is
    selected."""

    @app.callback(
        Output(ids.DERIVED_RESULT, "data"),
        Input(ids.DERIVED_REQUEST, "data"),
        background=True,
        progress=Output(ids.DERIVED_PROGRESS, "data"),
        interval=services.settings.poll_milliseconds,
        prevent_initial_call=True,
    )
    def derive(raw: object) -> JobSet:
        if not isinstance(raw, dict) or not isinstance(raw.get("wants"), list) or len(raw["wants"]) > MOST_WANTED:
            raise BadRequestError("What is to be computed cannot be read. Reload the page.")
        return derived_jobs(services, raw["wants"])


def derived_jobs(services: Services, wants: Sequence[object]) -> JobSet:
    """The jobs of those derived results that are not there; one that is refused says why, and holds up no other.

    Raises:
        BadRequestError: one cannot be read, and has no name by which the page knows it.
    """
    jobs, refused = [], {}
    for one in wants:
        name = one.get("name") if isinstance(one, dict) else None
        try:
            job = derived_job(services, DerivedRequest.from_json(one))
        except DashboardError as error:
            if not is_result_name(name):
                raise
            refused[str(name)] = error
            continue
        if job is not None:
            jobs.append(job)
    return JobSet(tuple(jobs), refused)


def derived_job(services: Services, request: DerivedRequest) -> JobSpec | None:
    """The job of a derived result, with what its model needs first; None where the result is there.

    Raises:
        DashboardError: the run is not here, or cannot have this result.
    """
    run = services.store.open(request.run)
    if services.store.derived(request, run.stamp) is not None:
        return None
    kind = check(run, request)
    return JobSpec(
        "derive", f"{request.name}@{run.stamp}", request.to_json(), _needed_by(run, services), kind.rank(request)
    )


def _needed_by(run: ModelRun, services: Services) -> JobSpec | None:
    """The preparation of a run's model, if it needs one."""
    try:
        ready = services.catalog.readiness(run.request.model, run.request.revision)
    except DashboardError:  # a notebook's own model, or one that left: who computes says what is wrong
        return None
    return preparation(run.request.model, run.request.revision) if ready.preparable else None


def _run_info(app: Dash, services: Services, views: Sequence[View]) -> None:
    @app.callback(
        Output(ids.RUN_INFO, "data"),
        Input(ids.SUBMITTED_RUN, "data"),
        Input(ids.ADDRESS, "data"),
        State(ids.SELECTION, "data"),
        prevent_initial_call=True,
    )
    def run_info(submitted: object, address: object, selection: object) -> Any:
        if ctx.triggered_id == ids.ADDRESS:
            info, problem = guarded(lambda: _from_address(services, views, address))
        elif isinstance(submitted, dict) and submitted.get("run"):
            info, problem = guarded(lambda: _from_submit(services, submitted, selection))
        else:
            return no_update
        if info is None:
            return {"error": problem}
        known = known_model(services.catalog, info["model"], services.settings.max_tokens)
        return {**info, "name": services.opened(info["run"]), "known": known}


def _from_submit(services: Services, submitted: dict[str, Any], raw: object) -> dict[str, Any]:
    run = services.store.open(str(submitted["run"]))
    before = selection = None
    if isinstance(raw, dict) and raw.get("run"):
        try:
            selection = Selection.from_json(raw)
            before = services.store.open(selection.run)
        except DashboardError:
            selection = None  # the run that was shown has left the store: nothing to carry over
    options: dict[str, Any] | None = {} if opened_example(run, before) else None  # an example is shown as it was meant
    return {**describe_run(run), "start": start_of(run, before, selection), "options": options}


def _from_address(services: Services, views: Sequence[View], address: object) -> dict[str, Any]:
    if not isinstance(address, dict) or not is_run_key(address.get("run")):
        raise BadRequestError("The address does not name a run. Check that the link was copied whole, or run a text.")
    via = next((name for name in GONE if name == address.get("via")), "link")
    try:
        run = services.store.open(address["run"])
    except (NewerRunError, UnreadableRunError):
        raise
    except RunNotFoundError as error:
        raise RunNotFoundError(GONE[via]) from error
    found, problems = location_in(run, address)
    options, unknown = options_in(address, views)
    start, problem = apart({**start_of(run, None, None), **found}), " ".join([*problems, *unknown]) or None
    return {**describe_run(run), "start": start, "options": options, "problem": problem, "opened": True, "via": via}


class _InBrowser:
    """Callbacks that run in the browser alone; the functions are in assets/."""

    def __init__(self, app: Dash) -> None:
        self._app = app

    def __call__(self, name: str, *wires: Any, initial: bool = False) -> None:
        self._app.clientside_callback(ClientsideFunction("dashboard", name), *wires, prevent_initial_call=not initial)


def _selecting(browser: _InBrowser, views: Sequence[View]) -> None:
    """What is chosen becomes the selection, which has one writer; then the steppers show it."""
    chosen = [Input(ids.picked_id(view.name), "data") for view in views if view.selects is not None]
    browser(
        "reduce",
        Output(ids.SELECTION, "data"),
        Input(ids.RUN_INFO, "data"),
        Input(ids.PROPOSAL, "data"),
        *chosen,
        State(ids.SELECTION, "data"),
    )
    for view in views:
        if view.selects == "points":
            browser("pick", Output(ids.picked_id(view.name), "data"), Input(ids.graph_id(view.name), "clickData"))
    browser(
        "paint",
        Output(ids.LAYER, "value"),
        Output(ids.HEAD, "value"),
        Input(ids.SELECTION, "data"),
        State(ids.RUN_INFO, "data"),
    )


def _showing(browser: _InBrowser, views: Sequence[View]) -> None:
    """Figures and words follow the selection and the options; options follow links and steps."""
    settings = [(one.id, one.property) for one in settings_of(views)]
    shown = [(ids.graph_id(view.name), "figure") for view in views] + [
        (ids.panel_id(view.name), "words") for view in views
    ]
    browser(
        "show",
        [Output(*one) for one in shown],
        Input(ids.SELECTION, "data"),
        Input(ids.ARRIVED, "data"),
        *[Input(*one) for one in settings],
        State(ids.RUN_INFO, "data"),
        State(ids.CONTROLS, "data"),
        *[State(*one) for one in shown],
    )
    browser(
        "placeOptions",
        [Output(*one) for one in settings],
        Input(ids.RUN_INFO, "data"),
        Input(ids.TRAVEL, "data"),
        State(ids.CONTROLS, "data"),
        *[State(*one) for one in settings],
    )
    browser("optionsChosen", *[Input(*one) for one in settings], State(ids.CONTROLS, "data"), initial=True)


def _around(browser: _InBrowser) -> None:
    """Address, picker, form, notices, and what is heard of derived results."""
    browser("openAddress", Output(ids.ADDRESS, "data"), Input(ids.CATALOG, "data"), initial=True)
    browser(
        "pickerLines",
        Output(ids.MODEL, "options"),
        Input(ids.MODEL, "search_value"),
        Input(ids.MODEL, "value"),
        Input(ids.RUN_INFO, "data"),
        State(ids.CATALOG, "data"),
        State(ids.MODEL, "options"),
    )
    browser("modelChosen", Input(ids.MODEL, "value"), Input(ids.CATALOG, "data"), initial=True)
    browser("examplesKnown", Input(ids.EXAMPLES, "data"), initial=True)
    # alone: Dash holds back what waits for a result as well
    browser("derivedProgress", Input(ids.DERIVED_PROGRESS, "data"))
    browser("derivedResult", Input(ids.DERIVED_RESULT, "data"))
    browser("formState", Input(ids.FORM_STATE, "data"))
    browser("progress", Input(ids.PROGRESS_STATE, "data"), Input(ids.FORM_STATE, "data"))
    browser("notice", Input(ids.SUBMITTED_RUN, "data"), Input(ids.RUN_INFO, "data"))
