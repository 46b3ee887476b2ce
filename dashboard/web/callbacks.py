"""The callbacks of the page.

form ──submit──► submitted-run ─┐
address bar ───► address ───────┴─► run-info ──reduce──► selection ──show──► each view's figure and text
graphs ────────► VIEW-picked ──────────────────reduce──► selection
strip, keys … ─► proposal ─────────────────────reduce──► selection

In the browser, `show` waits for answers from dashboard/web/routes/figures.py, which are requested as soon as something
is selected; `arrived` delivers those that come later. The text of a view says which derived results it waits for; the
page requests these through one more background callback:

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
from dashboard.contracts.stored_weights import check_weights
from dashboard.errors import BadRequestError, DashboardError, NewerRunError, RunNotFoundError, UnreadableRunError
from dashboard.views.cards import opening_tabs
from dashboard.views.declaration import View
from dashboard.views.run_info import apart, describe_run, location_in, opened_example, start_of
from dashboard.views.state import options_in, settings_of
from dashboard.web.model_picker import is_message, known_model, needed_tokenizer, second_text
from dashboard.web.services import Services, guarded

MOST_WANTED = 24  # derived results that one page may request at a time
GONE = {  # by what asked for the run
    "link": "This server no longer has the run that the link names. Run its text again to see it.",
    "step": "This server no longer has the run of this step. The current view stays: use Undo or Redo to continue.",
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
        State(ids.TEXT_PAIR, "value"),
        State(ids.TOKENIZER, "value"),
        State(ids.CHAT, "data"),
        background=True,
        progress=Output(ids.PROGRESS_STATE, "data"),
        cancel=[Input(ids.CANCEL, "n_clicks")],
        running=[(Output(ids.FORM_STATE, "data"), "running", "idle")],
        interval=services.settings.poll_milliseconds,
        prevent_initial_call=True,
    )
    def submit(clicks: int, model: str, text: str, text_pair: str | None, tokenizer: object, chat: object) -> JobSpec:
        lent, dtype = needed_tokenizer(services.catalog, model, tokenizer), services.settings.asked_dtype
        talks = is_message(services.catalog, model, lent, chat)
        second = second_text(services.catalog, model, text_pair, talks)
        request = RunRequest(model, text, text_pair=second, tokenizer=lent, dtype=dtype, chat=talks)
        check_tokens(services, request)
        return capture_job(services, request)


def capture_job(services: Services, request: RunRequest) -> JobSpec:
    """The job of a run, after what its model needs. Until that is done the job has a provisional name, because the
    final name holds a hash of the model's files, which may be gigabytes.
    """
    model = services.catalog.readiness(request.model_request)
    payload = {"request": request.to_json(), "fingerprint": model.fingerprint}
    needs = preparation(request.model_request) if model.preparable else None
    return JobSpec("capture", request.key(model.fingerprint), payload, needs)


def check_tokens(services: Services, request: RunRequest) -> None:
    """Raise `TextTooLongError` at once if the tokens can be counted here; otherwise the worker counts them."""
    entry, most = services.catalog.admit(request.model, request.tokenizer), services.settings.max_tokens
    check_characters(sum(map(len, request.texts)), entry.title, entry.limit, most)
    found = services.catalog.count(entry.name, request.text, request.text_pair, request.tokenizer, request.chat)
    tokens = found.tokens
    if tokens is not None and not found.typed:
        check_length(tokens, entry.title, entry.limit, most)
        if entry.stores_weights and entry.layers and entry.heads:
            check_weights(tokens, entry.title, entry.layers, entry.heads, services.settings.weights_megabytes)


def _derive(app: Dash, services: Services) -> None:
    """Register the callback for the missing derived results of the open cards: one set, which follows the selection."""

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
            raise BadRequestError("The requested results cannot be read. Reload the page.")
        return derived_jobs(services, raw["wants"])


def derived_jobs(services: Services, wants: Sequence[object]) -> JobSet:
    """The jobs of the missing derived results; a refused one states its reason and holds up no other.

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
    """The job of a derived result, after what its model needs; None if the result exists.

    Raises:
        DashboardError: the run is not here, or cannot have this result.
    """
    run = services.store.open(request.run)
    if services.store.derived(request, run.stamp) is not None:
        return None
    kind = check(run, request)
    key = request.name if request.model else f"{request.name}@{run.stamp}"  # the runs of a model share one job
    return JobSpec("derive", key, request.to_json(), _needed_by(run, services), kind.rank(request))


def _needed_by(run: ModelRun, services: Services) -> JobSpec | None:
    """The preparation of a run's model, if it needs one."""
    try:
        ready = services.catalog.readiness(run.request.model_request)
    except DashboardError:  # a notebook's own model, or a deleted one; the job itself will say what is wrong
        return None
    return preparation(run.request.model_request) if ready.preparable else None


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
            info, problem = guarded(lambda: _from_submit(services, views, submitted, selection))
        else:
            return no_update
        if info is None:
            return {"error": problem}
        known = known_model(services.catalog, info["model"], services.settings)
        return {**info, "name": services.opened(info["run"]), "known": known}


def _from_submit(services: Services, views: Sequence[View], submitted: dict[str, Any], raw: object) -> dict[str, Any]:
    run = services.store.open(str(submitted["run"]))
    before = selection = None
    if isinstance(raw, dict) and raw.get("run"):
        try:
            selection = Selection.from_json(raw)
            before = services.store.open(selection.run)
        except DashboardError:
            selection = None  # the previous run is no longer in the store, so there is nothing to carry over
    options: dict[str, Any] | None = {} if opened_example(run, before) else None  # examples use default options
    opens = opening_tabs(views, run)
    info = describe_run(run, services.settings.asked_dtype)
    return {**info, "start": start_of(run, before, selection), "options": options, "opens": opens}


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
    opens = opening_tabs(views, run)
    options, unknown = options_in({**opens, **address}, views)
    start, problem = apart({**start_of(run, None, None), **found}), " ".join([*problems, *unknown]) or None
    told = {"options": options, "opens": opens, "problem": problem, "opened": True, "via": via}
    return {**describe_run(run, services.settings.asked_dtype), "start": start, **told}


class _InBrowser:
    """Callbacks that run only in the browser; their functions are in assets/."""

    def __init__(self, app: Dash) -> None:
        self._app = app

    def __call__(self, name: str, *wires: Any, initial: bool = False) -> None:
        self._app.clientside_callback(ClientsideFunction("dashboard", name), *wires, prevent_initial_call=not initial)


def _selecting(browser: _InBrowser, views: Sequence[View]) -> None:
    """Callbacks that turn clicks into the selection, which has one writer, and show it in the steppers."""
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
    """Callbacks that make figures and text follow the selection and options, and options follow links and steps."""
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
    """Callbacks for the address, picker, form, notices, and news of derived results."""
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
    browser("tokenizerChosen", Input(ids.MODEL, "value"), Input(ids.TOKENIZER, "value"), Input(ids.CATALOG, "data"))
    browser("examplesKnown", Input(ids.EXAMPLES, "data"), initial=True)
    # separate, because Dash holds back a callback that also waits for a result
    browser("derivedProgress", Input(ids.DERIVED_PROGRESS, "data"))
    browser("derivedResult", Input(ids.DERIVED_RESULT, "data"))
    browser("formState", Input(ids.FORM_STATE, "data"))
    browser("progress", Input(ids.PROGRESS_STATE, "data"), Input(ids.FORM_STATE, "data"))
    browser("notice", Input(ids.SUBMITTED_RUN, "data"), Input(ids.RUN_INFO, "data"))
