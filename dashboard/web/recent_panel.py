"""Recent: this browser's own runs, in a side panel. The panel is created when it is first opened
(assets/components/recent-runs.js), so it costs the page nothing before."""

from __future__ import annotations

import json

import dash_bootstrap_components as dbc
from dash import html

from dashboard.components import ids
from dashboard.components.markup import attributes
from dashboard.settings import Settings
from dashboard.views.grid import grid

ROW_HEIGHT = 44  # pixels: two lines


def recent_slot(settings: Settings) -> html.Div:
    """The panel's slot; until the panel is opened, it holds only a description."""
    return html.Div(
        id=ids.RECENT_SLOT,
        **attributes(data_panel=json.dumps(_panel(settings), default=lambda part: part.to_plotly_json())),
    )


def _panel(settings: Settings) -> dbc.Offcanvas:
    return dbc.Offcanvas(
        [
            html.P(
                "Only this browser sees this list. Runs listed from the command line are visible to everyone. When "
                "storage is full, the least recently used runs are deleted first, pinned runs last.",
                className="caption",
            ),
            *([_run_file(settings)] if settings.upload_megabytes else []),
            html.Div(id=ids.RECENT_TOP, disable_n_clicks=True),
            html.Div(
                grid(ids.RECENT_ROWS, "key", "No matching runs.", rowHeight=ROW_HEIGHT, ensureDomOrder=True),
                className="recent-grid",
            ),
            html.P(id=ids.RECENT_SAID, className="recent-said", role="status", disable_n_clicks=True),
        ],
        id=ids.RECENT_PANEL,
        title=html.H2("Recent runs", id=ids.RECENT_TITLE, disable_n_clicks=True),
        labelledby=ids.RECENT_TITLE,
        placement="end",
        is_open=True,
        class_name="recent",
    )


def _run_file(settings: Settings) -> html.Div:
    """The control that opens a run file, which a notebook, the shell or another server has saved."""
    button = html.Button(
        "Open a run file …",
        id=ids.RUN_FILE,
        title=f"A run that was saved as .npz or .safetensors, at most {settings.upload_megabytes:,.0f} MB",
        **attributes(data_most=str(settings.upload_bytes)),
    )
    return html.Div(
        [button, html.Span(id=ids.RUN_FILE_SAID, className="recent-said", role="status", disable_n_clicks=True)],
        className="run-file",
    )
