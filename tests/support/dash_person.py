"""A person at a page, as HTTP: does with a real server what Dash's page does for a run, its progress and its
pictures."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

UPDATE = "/_dash-update-component"


@dataclass
class Person:
    """One page that was loaded once; `seen` is every progress that it was shown."""

    port: int
    seen: list[dict[str, Any]] = field(default_factory=list)
    end: str = ""
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    cookie: str = ""

    def arrive(self) -> Person:
        """Load the page."""
        self.end = self.get("/").split('"end_id":"')[1].split('"')[0]
        self.callbacks = json.loads(self.get("/_dash-dependencies"))
        self.get("/_dash-layout")
        return self

    def get(self, path: str) -> str:
        """What the server has at a path."""
        code, text = self.ask("GET", path)
        assert code == 200, f"GET {path} was answered with {code}: {text}"
        return text

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """One request on a connection of its own, so that any of the web processes may get it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"} | ({"Cookie": self.cookie} if self.cookie else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            cookie = reply.getheader("Set-Cookie")
            self.cookie = cookie.split(";")[0] if cookie else self.cookie
            return reply.status, reply.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def call(self, output: str, values: dict[str, Any], changed: str = "", **query: str) -> tuple[int, Any]:
        """Run one callback, with these values ("id.property") and nothing for the rest."""
        entry = next(item for item in self.callbacks if item["output"] == output)
        identity, _, name = output.rpartition(".")

        def read(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [{**item, "value": values.get(f"{item['id']}.{item['property']}")} for item in items]

        body = {
            "output": output,
            "outputs": {"id": identity, "property": name.split("@")[0]},
            "inputs": read(entry["inputs"]),
            "state": read(entry["state"]),
            "changedPropIds": [changed or f"{entry['inputs'][0]['id']}.{entry['inputs'][0]['property']}"],
        }
        code, text = self.ask("POST", f"{UPDATE}?{urllib.parse.urlencode({'endId': self.end, **query})}", body)
        return code, json.loads(text) if text.startswith("{") else text

    def submit(self, text: str, model: str) -> dict[str, str]:
        """Click on Run; returns the handle."""
        code, found = self.call("submitted-run.data", {"run.n_clicks": 1, "model.value": model, "text.value": text})
        assert code == 200, found
        return {"cacheKey": found["cacheKey"], "job": found["job"]}

    def poll(self, handle: dict[str, str]) -> dict[str, Any] | None:
        """What the page does ten times a second; the outcome, or None."""
        code, found = self.call("submitted-run.data", {}, **handle)
        assert code == 200, f"{code}: Dash's page would end this in silence: {found}"
        if "progress" in found:
            self.seen.append(found["progress"]["progress-state.data"])
        return found["response"]["submitted-run"]["data"] if "response" in found else None

    def wait(self, handle: dict[str, str], within: float = 60) -> dict[str, Any]:
        """Poll until there is an outcome."""
        deadline = time.monotonic() + within
        while (outcome := self.poll(handle)) is None:
            assert time.monotonic() < deadline, f"no outcome within {within} s; seen last: {self.seen[-3:]}"
            time.sleep(0.05)
        return outcome

    def sees(self, handle: dict[str, str], phase: str, within: float = 60) -> None:
        """Poll until the progress is in this phase."""
        deadline = time.monotonic() + within
        while not self.seen or self.seen[-1]["phase"] != phase:
            assert self.poll(handle) is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def cancel(self, handle: dict[str, str]) -> None:
        output = next(item["output"] for item in self.callbacks if item["output"].startswith("cancel.id"))
        code, found = self.call(output, {"cancel.n_clicks": 1}, cancelJob=handle["job"])
        assert code in (200, 204), found

    def shown(self, outcome: dict[str, Any]) -> dict[str, Any]:
        """What the page knows of the run that it got."""
        code, found = self.call("run-info.data", {"submitted-run.data": outcome}, "submitted-run.data")
        assert code == 200, found
        return dict(found["response"]["run-info"]["data"])

    def drawn(self, selection: dict[str, Any]) -> dict[str, Any]:
        """What the heatmap for a selection says that it is of: run, layer and head."""
        code, found = self.ask("GET", f"/show/figure/attention?{urllib.parse.urlencode(selection)}")
        assert code == 200, found
        meta = json.loads(found)["layout"]["meta"]
        return {name: meta.get(name) for name in ("run", "layer", "head")}

    def health(self) -> dict[str, Any]:
        return dict(json.loads(self.ask("GET", "/health")[1]))


def health_of(port: int) -> dict[str, Any]:
    """What /health says; nothing while no server answers."""
    try:
        return Person(port).health()
    except (OSError, ValueError, http.client.HTTPException):
        return {}
