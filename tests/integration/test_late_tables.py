"""The page's tables: their script is none of those that the page loads first, and is there when it is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dash
import pytest

from dashboard.components import ids
from dashboard.settings import Settings
from dashboard.web.app import create_app

pytestmark = pytest.mark.integration


@pytest.fixture
def app(tmp_path: Path) -> Iterator[dash.Dash]:
    app = create_app(Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models"))
    yield app
    app._background_manager.backend.close()


def test_the_script_of_tables_is_loaded_with_the_first_of_them(app: dash.Dash) -> None:
    client = app.server.test_client()
    page = client.get("/").get_data(as_text=True)
    scripts = re.findall(r'<script[^>]* src="([^"]+)"', page)
    assert any("/dash_bootstrap_components/" in script for script in scripts)
    assert not any("/dash_ag_grid/" in script for script in scripts)
    reply = client.get(f"/{app.layout().to_plotly_json()['props']['data-tables']}")
    assert reply.status_code == 200
    assert "javascript" in reply.content_type
    assert len(reply.get_data()) > 1_000_000
    assert "max-age" in reply.headers["Cache-Control"]


def test_recent_is_a_panel_with_a_table_that_is_made_when_it_is_opened(app: dash.Dash) -> None:
    [slot] = [part for part in app.layout()._traverse() if getattr(part, "id", None) == ids.RECENT_SLOT]
    assert getattr(slot, "children", None) is None
    panel = json.loads(slot.to_plotly_json()["props"]["data-panel"])
    assert (panel["type"], panel["props"]["id"]) == ("Offcanvas", ids.RECENT_PANEL)
    assert ids.RECENT_ROWS in grids(panel)


def grids(part: Any) -> list[str]:
    """The ids of the tables in a description of components."""
    if isinstance(part, list):
        return [name for child in part for name in grids(child)]
    if not isinstance(part, dict):
        return []
    own = [part["props"]["id"]] if part["type"] == "AgGrid" else []
    return own + grids(part["props"].get("children"))
