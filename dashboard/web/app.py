"""The only module that joins the parts: settings, store, job backend, catalog, page and callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dash
from flask_compress import Compress
from plotly.io.json import to_json_plotly

from dashboard.catalog.catalog import Catalog
from dashboard.components.scripts import ASSETS
from dashboard.jobs.in_process import Compute
from dashboard.jobs.manager import ResidentWorkerManager
from dashboard.jobs.open_backend import open_backend
from dashboard.settings import Settings, make_folders
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists
from dashboard.views import all_views
from dashboard.views.declaration import View
from dashboard.views.grid import load_with_first
from dashboard.web.below_path import below
from dashboard.web.callback_validation import guard
from dashboard.web.callbacks import connect
from dashboard.web.error_answers import answer_errors
from dashboard.web.layout import TITLE, layout
from dashboard.web.routes.exports import make_exports
from dashboard.web.routes.figures import make_figures
from dashboard.web.routes.health import make_health
from dashboard.web.routes.recent import make_recent
from dashboard.web.routes.runs import make_runs
from dashboard.web.routes.uploads import make_uploads
from dashboard.web.security import asker, name_visitors, refuse_other_hosts, secure, security_policy
from dashboard.web.services import Services

LATE = """
<style>@keyframes late{to{visibility:visible}}
.late{visibility:hidden;animation:late 0s 6s forwards;max-width:42em;margin:8px}
body:has(#page) .late{display:none}</style>
<div class="late" role="status"><p>The page’s scripts have not arrived yet.
They come from the same server as this line.</p>
<p>If this message stays and a proxy serves the dashboard below a path, start the dashboard with that path, such as
<code>DASHBOARD_PUBLIC_PATH=/tools/dash/</code> (see docs/serving.md). Otherwise reload the page.</p></div>
<noscript><p>This page needs JavaScript.</p></noscript>"""
LARGEST_REQUEST = 12_000_000  # bytes; the longest text as JSON fits, and no more


@dataclass(frozen=True)
class Embedding:
    """A page inside another program's page, without a worker (`dashboard.notebook`).

    Attributes:
        compute: does a worker's job in this process.
        ancestors: the pages that may contain this one, in Content-Security-Policy terms.
        path: where the application is on this server, "/…/". public_path: the same for the browser.
    """

    compute: Compute
    ancestors: tuple[str, ...]
    path: str
    public_path: str

    @property
    def in_front(self) -> str:
        """The path of a proxy in front, which may strip it or pass it on; "/" for none."""
        return self.public_path.removesuffix(self.path) + "/"


def create_app(settings: Settings, embedding: Embedding | None = None) -> dash.Dash:
    """Create the whole application, ready to serve. Dash's first-request set-up is done here, so that many simultaneous
    first requests all get the whole list of callbacks.

    Args:
        embedding: for a page inside another one, which shows runs but accepts no new text; None for the server's own.

    Raises:
        SettingsError: the cache folder cannot be written.
    """
    import_pandas()
    make_folders(settings)
    load_with_first()
    views = all_views()
    store = RunStore.from_settings(settings)
    backend = open_backend(settings, store, embedding.compute if embedding else None)
    catalog = Catalog(settings)
    visitors = None if embedding else VisitorLists.from_settings(settings)
    app = dash.Dash(
        "dashboard",
        title=TITLE,
        update_title="",
        assets_folder=str(ASSETS),
        assets_ignore=r".*LICENSE.*|.*\.md",
        background_callback_manager=ResidentWorkerManager(backend, store, settings, lambda: asker(visitors)),
        routes_pathname_prefix=embedding.path if embedding else "/",
        requests_pathname_prefix=embedding.public_path if embedding else settings.public_path,
        serve_locally=True,
        suppress_callback_exceptions=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">').replace(
        "{%app_entry%}", "{%app_entry%}" + LATE
    )
    # a function, because models may be fetched in the meantime
    app.layout = lambda: layout(settings, catalog.entries(), views, embedding is not None)
    services = Services(settings, store, catalog, visitors)
    connect(app, services, views)
    _add_routes(app, services, views, lambda: backend.health().to_json())
    _secure(app, services, embedding.ancestors if embedding else ())
    app.server.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST
    answer_errors(app.server)
    guard(app.server, app.callback_map, app.config.routes_pathname_prefix.rstrip("/"))
    Compress(app.server)
    app.server.wsgi_app = below(app.server.wsgi_app, embedding.in_front if embedding else settings.public_path)
    complete_setup(app)
    return app


def _add_routes(
    app: dash.Dash, services: Services, views: Sequence[View], health: Callable[[], dict[str, Any]]
) -> None:
    """Add all addresses besides Dash's own, and the list of runs if the server has visitors."""
    prefix = app.config.routes_pathname_prefix.rstrip("/")
    well = make_health(health, lambda: to_json_plotly(app.layout()), app.config.requests_pathname_prefix)
    app.server.register_blueprint(well, url_prefix=prefix or None)
    app.server.register_blueprint(make_runs(services), url_prefix=prefix or None)
    app.server.register_blueprint(make_figures(services, views), url_prefix=f"{prefix}/show")
    app.server.register_blueprint(make_exports(services, views), url_prefix=f"{prefix}/export")
    if services.visitors is not None:
        app.server.register_blueprint(make_recent(services.store, services.visitors))
        app.server.register_blueprint(make_uploads(services, services.visitors))


def _secure(app: dash.Dash, services: Services, ancestors: Sequence[str]) -> None:
    """Set the headers of every answer, and check hosts and set the visitor's cookie if the server has visitors."""
    secure(app.server, security_policy(app.csp_hashes(), ancestors), embedded=bool(ancestors))
    if services.visitors is not None:
        refuse_other_hosts(app.server, services.settings)
        name_visitors(app.server, services.visitors, services.settings.public_path)


def import_pandas() -> None:
    """Import pandas, if it is installed, before the first request.

    scikit-learn imports pandas with the first projection, in some thread. Plotly looks for it in `sys.modules` whenever
    it writes JSON; in any other thread it would find a half-imported module, and every request in that time would fail.
    """
    with contextlib.suppress(ImportError):
        import pandas  # noqa: F401


def complete_setup(app: dash.Dash) -> None:
    """Let Dash do its first-request set-up now, because that set-up is not thread-safe."""
    with app.server.test_client() as client:
        for path in ("/_dash-layout", "/_dash-dependencies"):
            client.get(app.config.routes_pathname_prefix.rstrip("/") + path).close()
