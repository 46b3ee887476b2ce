"""Tables with many rows: dash-ag-grid in the page's colours; a script in assets/components sets rows and columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dash_ag_grid as dag
from dash.fingerprint import build_fingerprint

SCRIPT = "dash_ag_grid.min.js"
THEME = {  # the page's colours, light and dark
    **{"accentColor": "var(--selected)", "foregroundColor": "var(--ink)", "headerTextColor": "var(--second-ink)"},
    **{name: "var(--surface)" for name in ("backgroundColor", "headerBackgroundColor", "selectedRowBackgroundColor")},
    **{
        "borderColor": "var(--hairline)",
        "rowHoverColor": "var(--page)",
        "wrapperBorder": False,
        "wrapperBorderRadius": 0,
    },
    **{"fontFamily": "inherit", "fontSize": 12, "headerFontSize": 12, "iconSize": 12, "browserColorScheme": "inherit"},
    **{"rowHeight": 26, "headerHeight": 36, "cellHorizontalPadding": 5},
}


LONG = "VIEW-rows"  # the id of a view's table of many rows


def load_with_first() -> None:
    """Leave ag-grid's script out of the page; assets/state/late-tables.js loads it with the first table."""
    for script in dag._js_dist:
        if script["relative_package_path"] == SCRIPT:
            script["dynamic"] = True


def script_address() -> str:
    """The address of that script, below the page's address; named like Dash's scripts, so that browsers cache it."""
    changed = int((Path(dag.__file__).parent / SCRIPT).stat().st_mtime)
    return f"_dash-component-suites/dash_ag_grid/{build_fingerprint(SCRIPT, dag.__version__, changed)}"


def grid(name: str, row_id: str, nothing: str, **options: Any) -> dag.AgGrid:
    """An empty table.

    Args:
        name: its id. row_id: the field that identifies a row. nothing: the message without rows. options: more of
            ag-grid's own.
    """
    return dag.AgGrid(
        id=name,
        rowData=[],
        columnDefs=[],
        getRowId=f"params.data.{row_id}",
        defaultColDef={
            **{"resizable": False, "suppressMovable": True, "sortingOrder": ["desc", "asc"]},
            "wrapHeaderText": True,
        },
        dashGridOptions={
            "theme": {"function": f"themeQuartz.withParams({json.dumps(THEME)})"},
            "animateRows": False,
            "localeText": {"noRowsToShow": nothing},
            **options,
        },
        style={"height": "100%"},
    )


def long_grid() -> str:
    """The table of many rows of a view, as JSON in which VIEW stands for the view's name
    (assets/components/long-tables.js)."""
    return json.dumps(grid(LONG, "id", "No row matches the filter.", headerHeight=32, rowHeight=24).to_plotly_json())
