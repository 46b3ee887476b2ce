"""Recent: this browser's own runs, in a side panel. The panel is created when it is first opened
(assets/components/recent-runs.js), so it costs the page nothing before."""

from __future__ import annotations

import json

import dash_bootstrap_components as dbc
from dash import html

from dashboard.components import ids
from dashboard.components.markup import attributes
from dashboard.views.grid import grid

ROW_HEIGHT = 44  # pixels: two lines


def recent_slot() -> html.Div:
    """The panel's slot; until the panel is opened, it holds only a description."""
    return html.Div(
        id=ids.RECENT_SLOT, **attributes(data_panel=json.dumps(_panel(), default=lambda part: part.to_plotly_json()))
    )


def _panel() -> dbc.Offcanvas:
    return dbc.Offcanvas(
        [
            html.P(
                "Only this browser sees this list. When storage is full, the least recently used runs are deleted "
                "first, pinned runs last.",
                className="caption",
            ),
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
