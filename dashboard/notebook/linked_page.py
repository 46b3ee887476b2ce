"""The linked page of a run in a notebook's cell: `dashboard.show(run)`.

Each kernel runs one server per way of reaching it, in a thread of the kernel, on 127.0.0.1 and a free port, below a
path that cannot be guessed. The server has no worker: it shows runs that were captured in the kernel, and with a loaded
model it computes what a run does not hold (derived results). Its runs are in a temporary folder of the kernel.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import html
import logging
import re
import secrets
import shutil
import socket
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlencode

from werkzeug.serving import WSGIRequestHandler, make_server

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import JobSpec
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, MissingArrayError, ModelError, SettingsError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.app import Embedding, create_app

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

HOST = "127.0.0.1"
NOTEBOOKS = (  # origins of notebooks served on the user's own machine; the last two are VS Code's
    "http://127.0.0.1:*",
    "http://localhost:*",
    "https://127.0.0.1:*",
    "https://localhost:*",
    "vscode-webview:",
    "vscode-file:",
)
ORIGIN = re.compile(r"https?://(\*\.)?[\w.-]+(:(\d+|\*))?|[a-z][a-z0-9+.-]*:")
FOLDER = "transformer-dashboard-notebook-"  # followed by a random suffix
LOCK = "lock"
HEIGHT = 1060
NEEDS_MODEL = (
    "The run does not hold this: the model has to compute it. Call dashboard.show(run, loaded), which computes it when "
    "the page needs it."
)
log = logging.getLogger(__name__)


def show(
    run: ModelRun,
    loaded: LoadedModel | None = None,
    *,
    token: int | None = None,
    second: int | None = None,
    layer: int | None = None,
    head: int | None = None,
    height: int = HEIGHT,
    port: int = 0,
    proxy: str | None = None,
    origins: Iterable[str] = (),
    other: int | None = None,
) -> LinkedPage:
    """Show the dashboard's linked page of one run in a notebook's cell: a click selects, and all cards follow.

    The browser must be able to reach the kernel's machine. On one machine (JupyterLab, Notebook, VS Code) this needs no
    options. Otherwise:

    - JupyterHub or a remote Jupyter with jupyter-server-proxy: `proxy="/proxy/{port}"`, on JupyterHub
      `proxy="/user/NAME/proxy/{port}"`: the path below which the notebook's own server forwards requests.
    - A tunnel (`ssh -L 8051:127.0.0.1:8051 …`, or VS Code's forwarded ports): `port=8051`, the same at both ends.
    - A notebook service that forwards a kernel's ports under its own address (Colab's `serve_kernel_port_as_iframe`):
      give it the result's `.port` and `.path`, and list in `origins` the addresses of the surrounding page. This has
      not been tried with each service.

    Args:
        run: from `capture_run`, of any model, including your own. It is copied to a temporary folder that is removed
            with the kernel.
        loaded: the run's model, kept as long as its page is open. Only a masked model with a long text needs it, for
            the prediction at a position that the run does not hold; without it, the card says so.
        token, second, layer, head: the initial selection; by default the last token in the middle layer.
        height: of the cell, in pixels.
        port: of the server; 0 chooses a free one.
        proxy: see above; `{port}` becomes the port.
        origins: pages around the cell, such as "https://notebooks.example:8443", besides those of this machine.
        other: the old name of `second`; using it issues a `DeprecationWarning`.

    Returns:
        The page, which a notebook displays; `.url` opens it in a tab, `.close()` closes it.

    Raises:
        BadRequestError: not a run, or an invalid option.
        BadSelectionError: the run has no such token, layer or head.
        ModelError: `loaded` is not the model of this run.
        SettingsError: the port is taken.
    """
    _check_arguments(run, loaded)
    if other is not None:
        warnings.warn("show(other=…) is now show(second=…).", DeprecationWarning, stacklevel=2)
        second = other if second is None else second
    location = {"token": token, "second": second, "layer": layer, "head": head}
    run.check(token=token, layer=layer, head=head)
    run.check(token=second)
    reach = Reach(int(port), proxy, tuple(origins))
    with _CHANGE:
        server = server_for(reach)
        server.add(run, loaded)
    query = urlencode({"run": run.key, **{name: value for name, value in location.items() if value is not None}})
    return LinkedPage(server, run, f"?{query}", int(height))


def _check_arguments(run: object, loaded: LoadedModel | None) -> None:
    """Raise the errors of `show` for anything but a run, or for a model other than the run's."""
    if not isinstance(run, ModelRun):
        raise BadRequestError(
            f"show() takes a run, but this is a {type(run).__name__}. Pass what capture_run(…) returns."
        )
    if loaded is not None and loaded.fingerprint != run.header.get("fingerprint", loaded.fingerprint):
        raise ModelError(f"{loaded.info.title} is not the model that made this run ({run.model.title}). Pass that one.")


@dataclass(frozen=True)
class Reach:
    """How a browser reaches a kernel's server; the fields are those of `show`."""

    port: int
    proxy: str | None
    origins: tuple[str, ...]

    def __post_init__(self) -> None:
        for origin in self.origins:
            if not ORIGIN.fullmatch(origin):
                raise BadRequestError(
                    f'The origin {origin!r} cannot be used; write it as "https://notebooks.example:8443".'
                )
        if self.proxy is not None and not re.fullmatch(r"/[\w./{}~%@-]*", self.proxy):
            raise BadRequestError(f'The proxy {self.proxy!r} cannot be used; give a path, such as "/proxy/{{port}}".')


class LinkedPage:
    """One run's page in the kernel's server; a notebook shows it as a frame.

    Attributes:
        run: the run that the page shows. height: of the frame, in pixels.
        port, path: where the page is on this machine; `url`: its address in the browser.
    """

    def __init__(self, server: NotebookServer, run: ModelRun, query: str, height: int) -> None:
        self._server, self._query = server, query
        self.run, self.height = run, height
        self._open = True

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def path(self) -> str:
        return self._server.path + self._query

    @property
    def url(self) -> str:
        return self._server.address + self._query

    def close(self) -> None:
        """Close this page. The run is removed with its last page, and the server stops with the last run. Closing twice
        does nothing."""
        with _CHANGE:
            if not self._open:
                return
            self._open = False
            self._server.remove(self.run.key)
            if not self._server.runs:
                for reach in [reach for reach, server in _SERVERS.items() if server is self._server]:
                    del _SERVERS[reach]
                self._server.end()

    def __repr__(self) -> str:
        return f"LinkedPage({self.run!r}, {self.url})"

    def _repr_html_(self) -> str:
        url = html.escape(self.url)
        title = html.escape(f"Linked page: {self.run.model.title}, {len(self.run)} tokens")
        return (
            f'<iframe src="{url}" title="{title}" width="100%" height="{self.height}" style="border: 0" '
            'allow="clipboard-write; fullscreen"></iframe>'
            f'<p style="font-size: 12px; margin: 4px 0 0">The kernel serves this page: if it is empty, run the cell '
            f"again, or "
            f'<a href="{url}" target="_blank" rel="noopener">open it in a tab</a>.</p>'
        )


class NotebookServer:
    """The server of one kernel: a thread that serves the shown runs.

    Attributes:
        folder: the folder created for its runs. port: on this machine.
        path: the path below which everything is; cannot be guessed. address: the same place as the browser sees it.
        runs: the keys of the shown runs, each with its model if one was given.

    Raises:
        SettingsError: the port is taken, or the temporary folder cannot be written.
    """

    def __init__(self, reach: Reach) -> None:
        try:
            listener = socket.create_server((HOST, reach.port))
        except (OSError, OverflowError) as error:
            raise SettingsError(
                f"Port {reach.port} on {HOST} cannot be used. Leave port out to take a free one."
            ) from error
        with listener:
            self.port: int = listener.getsockname()[1]
            self.path = f"/{secrets.token_urlsafe(16)}/"
            outside = "" if reach.proxy is None else reach.proxy.replace("{port}", str(self.port)).rstrip("/")
            self.address = (f"http://{HOST}:{self.port}" if reach.proxy is None else outside) + self.path
            self.runs: dict[str, LoadedModel | None] = {}
            self._pages: Counter[str] = Counter()
            self.folder, self._lock = private_folder()
            own = Settings.from_env()
            settings = replace(own, cache_dir=self.folder, models_dir=own.models_folder)
            origins = (*NOTEBOOKS, *reach.origins)
            self._app = create_app(settings, Embedding(self._compute, origins, self.path, outside + self.path))
            self.store = RunStore.from_settings(settings)
            self._ended = False
            self._server = make_server(
                HOST, self.port, self._answer, threaded=True, request_handler=QuietHandler, fd=listener.fileno()
            )
        threading.Thread(target=self._server.serve_forever, name="dashboard.show", daemon=True).start()

    def add(self, run: ModelRun, loaded: LoadedModel | None) -> None:
        """Also show this run, in place of an earlier capture of the same text. A model given earlier is kept."""
        if not self.store.has(run.key) or self.store.open(run.key).stamp != run.stamp:
            self.store.save(run.key, run.header, run.arrays)
        self.runs[run.key] = loaded or self.runs.get(run.key)
        self._pages[run.key] += 1

    def remove(self, key: str) -> None:
        """Remove one page of this run; with its last page, the run is no longer shown."""
        self._pages[key] -= 1
        if not self._pages[key]:
            del self._pages[key], self.runs[key]
            self.store.delete(key)

    def end(self) -> None:
        """Stop serving, and remove the folder."""
        self._ended = True
        self._server.shutdown()
        self._server.server_close()
        manager: Any = self._app._background_manager
        manager.backend.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The application. Connections that a browser keeps open outlive the server, and then get no answer."""
        if self._ended:
            start_response("410 Gone", [("Content-Type", "text/plain"), ("Connection", "close")])
            return [b"This page was closed. Run its cell again."]
        answer: Iterable[bytes] = self._app.server(environ, start_response)
        return answer

    def _compute(self, spec: JobSpec, store: RunStore) -> None:
        """Do a worker's job: compute a derived result of a shown run."""
        if spec.name != "derive":
            raise BadRequestError("This page shows runs of a notebook. Capture another text there.")
        from dashboard.compute.deriving import compute

        request = DerivedRequest.from_json(spec.payload)
        run = store.open(request.run)
        loaded = self.runs.get(run.key)
        if loaded is None:
            raise MissingArrayError(NEEDS_MODEL)
        store.save_derived(compute(loaded, run, request), run.stamp)


class QuietHandler(WSGIRequestHandler):
    """A request handler that writes nothing into the notebook and sends small answers at once."""

    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        log.debug(message, *args)


def private_folder() -> tuple[Path, IO[bytes]]:
    """Create a temporary folder for this user alone, with a lock that shows that its kernel is alive, after removing
    the folders of killed kernels.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError), (left / LOCK).open("r+b") as held:  # another user's, or still in use
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    lock = (folder / f"{LOCK}.new").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / f"{LOCK}.new").rename(folder / LOCK)
    return folder, lock


def server_for(reach: Reach) -> NotebookServer:
    """This kernel's server for this way of reaching it, started if necessary."""
    if not _SERVERS:
        atexit.unregister(_end_all)
        atexit.register(_end_all)
    if reach not in _SERVERS:
        _SERVERS[reach] = NotebookServer(reach)
    return _SERVERS[reach]


def _end_all() -> None:
    with _CHANGE:
        for server in _SERVERS.values():
            server.end()
        _SERVERS.clear()


_CHANGE = threading.RLock()
_SERVERS: dict[Reach, NotebookServer] = {}  # of this kernel, which belongs to one person
