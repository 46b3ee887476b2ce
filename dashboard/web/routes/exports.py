"""Plain routes for files: figures, tables, runs and the report of the view state in an address.

    /export/figure/NAME.json|html|csv    NAME: a view, or an extra figure of one; json: the input for the browser's PNG
                                         and SVG; theme=dark, width=screen|170mm|85mm, titled=1|0
    /export/run.npz|safetensors          attention=1: with the derived weights
    /export/report.html

Each takes the query of the page's address. With `check=1` it answers only with the file's name and size, or with the
error, so that a page can show it before a download begins. Errors are one plain sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from dashboard.contracts.run import ModelRun
from dashboard.errors import (
    AddressNotFoundError,
    DashboardError,
    MissingArrayError,
    NoSpaceError,
    disk_error,
    is_full_disk,
)
from dashboard.exports.document import figure_page
from dashboard.exports.figures import Standalone, picture_json, standalone
from dashboard.exports.picture_target import Sheet
from dashboard.exports.provenance import file_name
from dashboard.exports.report import report, report_name
from dashboard.exports.run_files import RunFormat, attention_bytes, check_attention, write_run
from dashboard.exports.tables import csv_of, with_segments
from dashboard.figures.theme import theme_named
from dashboard.store.exports import ExportFile, ExportRoom
from dashboard.views.declaration import View
from dashboard.views.state import ViewState
from dashboard.web.security import asker
from dashboard.web.services import Services

PIECE = 1 << 18  # bytes to read from a temporary file at a time


def make_exports(services: Services, views: Sequence[View]) -> Blueprint:
    """Create the routes below /export/."""
    routes = Blueprint("exports", __name__)

    def state() -> ViewState:
        return ViewState.from_query(request.args, views)

    @routes.get("/figure/<name>.<any(json,html,csv):suffix>")
    def _figure(name: str, suffix: str) -> Response:
        found = standalone(name, state(), views, services)
        if suffix == "json":
            theme, sheet = theme_named(request.args.get("theme")), Sheet.from_query(request.args)
            return Response(picture_json(found, theme, sheet), mimetype="application/json")
        if suffix == "csv":
            return _table(found)
        title = found.file_name("html")
        return _answer(title) if _is_question() else _download(figure_page(found), "text/html", title)

    @routes.get("/report.html")
    def _report() -> Response:
        now = state()
        name = report_name(services.run_of(now.selection), now.selection)
        return (
            _answer(name) if _is_question() else _download(report(now, views, services, _server()), "text/html", name)
        )

    @routes.get("/run.<any(npz,safetensors):suffix>")
    def _run(suffix: str) -> Response:
        run = services.run_of(state().selection)
        run = run.with_derived(services.store.all_derived(run))
        attention = request.args.get("attention") == "1"
        name = file_name(run, *(["with-attention"] if attention else []), suffix=suffix)
        room, size = ExportRoom.from_settings(services.settings), _run_size(run, attention)
        if _is_question():
            room.check(asker(services.visitors), size)
            return _answer(name, size)
        made = room.open(asker(services.visitors), size)
        _write(made, run, cast(RunFormat, suffix), attention)
        return _sent(made, name)

    @routes.get("/<path:rest>")
    def _unknown(rest: str) -> Response:  # otherwise Dash answers with the page
        raise AddressNotFoundError(
            f"There is no file “{rest[:60]}” to export. Choose one in the Export menus of the page."
        )

    return routes


def _server() -> str:
    """The page's own address: from the requesting page (a proxy may report another host), or else from the request."""
    page = urlsplit(request.headers.get("Referer", ""))
    if page.netloc and request.headers.get("Sec-Fetch-Site") == "same-origin":
        return f"{page.scheme}://{page.netloc}{page.path}"
    return request.base_url.rsplit("/export/", 1)[0] + "/"


def _is_question() -> bool:
    """Whether the page asks, before a download, for the file's name and whether it is available now."""
    return request.args.get("check") == "1"


def _answer(name: str, size: int | None = None) -> Response:
    """The answer to such a question."""
    return jsonify({"name": name, "bytes": size})


def _run_size(run: ModelRun, attention: bool) -> int:
    """The size of a run's file in bytes; more than a file may hold is refused before the download begins."""
    if attention:
        check_attention(run)
    return sum(run.arrays[array].nbytes for array in run.arrays) + attention * attention_bytes(run)


def _table(found: Standalone) -> Response:
    table = found.whole()
    if table is None:
        raise MissingArrayError("This figure has no table of numbers. Export it as PNG, SVG or HTML.")
    if len(found.run.texts) > 1:
        table = with_segments(table, found.run.main.segments)
    name = found.file_name("csv")
    return _answer(name) if _is_question() else _download(csv_of(table, found.provenance), "text/csv", name)


def _write(made: ExportFile, run: ModelRun, kind: RunFormat, attention: bool) -> None:
    """Write a run's file to the disk of the cache folder, where it uses no memory; a failure leaves no file behind.

    Raises:
        NoSpaceError: the disk is full. OSError: any other error of the machine.
    """
    try:
        write_run(run, made.file, kind, attention)
        made.file.flush()
    except BaseException as error:
        made.close()
        problem = None if isinstance(error, DashboardError) else disk_error(error)
        if problem is not None and is_full_disk(problem):
            raise NoSpaceError(
                f"The file could not be written ({problem.strerror}). Free some space on the server's disk (or ask "
                "whoever runs this server), and export again."
            ) from error
        if problem is None or problem is error:
            raise
        raise problem from error  # closing the file failed too, and hid the reason


def _sent(made: ExportFile, name: str) -> Response:
    """The answer with a written file, which is deleted once it has been sent."""
    size = made.file.tell()
    made.file.seek(0)
    response = _attached(Response(_pieces(made), mimetype="application/octet-stream"), name)
    response.content_length = size
    response.call_on_close(made.close)
    return response


def _pieces(made: ExportFile) -> Iterator[bytes]:
    try:
        while piece := made.file.read(PIECE):
            yield piece
    finally:
        made.close()


def _download(content: str | Iterator[str], kind: str, name: str) -> Response:
    return _attached(Response(content, mimetype=kind), name)


def _attached(response: Response, name: str) -> Response:
    response.headers.set("Content-Disposition", "attachment", filename=name)
    response.headers["Cache-Control"] = "no-store"
    return response
