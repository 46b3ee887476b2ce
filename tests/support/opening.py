"""What the page asks a server for when a link is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask.testing import FlaskClient


def ask_for_run(client: FlaskClient, address: Mapping[str, str]) -> Any:
    """The server's answer, whatever it is, to the callback that opens the run which an address names."""
    inputs = [
        {"id": "submitted-run", "property": "data"},
        {"id": "address", "property": "data", "value": dict(address)},
    ]
    body = {
        "output": "run-info.data",
        "outputs": {"id": "run-info", "property": "data"},
        "inputs": inputs,
        "state": [{"id": "selection", "property": "data"}],
        "changedPropIds": ["address.data"],
    }
    return client.post("/_dash-update-component", json=body)


def opened(client: FlaskClient, address: Mapping[str, str]) -> dict[str, Any]:
    """What the page is told of that run."""
    return dict(ask_for_run(client, address).get_json()["response"]["run-info"]["data"])
