"""People without a browser: they speak the page's protocol over HTTP, so that many fit on one machine."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

POLL_SECONDS = 0.12


class Client:
    """One person's connection. Not for several threads at once.

    Args:
        address: the server's. dependencies: what /_dash-dependencies answers, where it is known already.
    """

    def __init__(self, address: str, dependencies: list[dict[str, Any]] | None = None) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=120)
        self.dependencies = dependencies or self.get("/_dash-dependencies")

    def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        return self._ask("GET", path, query=query)

    def call(self, output: str, values: dict[str, Any], query: dict[str, str] | None = None) -> Any:
        """Ask for the callback whose output is named `output`; `values` by component id, others are None."""
        found = next(
            item for item in self.dependencies if output in item["output"] and not item.get("clientside_function")
        )
        return self._ask("POST", "/_dash-update-component", self._body(found, values), query)

    def run(self, text: str, model: str) -> tuple[dict[str, Any], float]:
        """Submit a text and wait as a page does: the outcome, and seconds."""
        start = time.perf_counter()
        values = {"run": 1, "model": model, "text": text}
        answer = self.call("submitted-run.data", values)
        handle = {"cacheKey": answer["cacheKey"], "job": answer["job"]}
        while True:
            time.sleep(POLL_SECONDS)
            answer = self.call("submitted-run.data", values, handle)
            if "response" in answer:
                return answer["response"]["submitted-run"]["data"], time.perf_counter() - start

    def begin(self, text: str, model: str) -> dict[str, str]:
        """Submit a text and do not wait: what asks for it again."""
        answer = self.call("submitted-run.data", {"run": 1, "model": model, "text": text})
        return {"cacheKey": answer["cacheKey"], "job": answer["job"]}

    def cancel(self, handle: dict[str, str]) -> None:
        """Stop waiting for what was begun."""
        stops = [item for item in self.dependencies if [place["id"] for place in item["inputs"]] == ["cancel"]]
        for item in stops:
            self._ask("POST", "/_dash-update-component", self._body(item, {"cancel": 1}), {"cancelJob": handle["job"]})

    def look(self, handle: dict[str, str]) -> dict[str, Any] | None:
        """The outcome of what was begun; None while there is none."""
        answer = self.call("submitted-run.data", {"run": 1}, handle)
        return answer["response"]["submitted-run"]["data"] if "response" in answer else None

    def close(self) -> None:
        self._connection.close()

    def _body(self, item: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        def of(place: dict[str, Any]) -> dict[str, Any]:
            return {"id": place["id"], "property": place["property"], "value": values.get(place["id"])}

        outputs = [dict(zip(("id", "property"), part.rsplit(".", 1), strict=True)) for part in _parts(item["output"])]
        first = item["inputs"][0]
        return {
            "output": item["output"],
            "outputs": outputs if item["output"].startswith("..") else outputs[0],
            "inputs": [of(place) for place in item["inputs"]],
            "state": [of(place) for place in item["state"]],
            "changedPropIds": [f"{first['id']}.{first['property']}"],
        }

    def _ask(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        address = f"{path}?{urlencode(query)}" if query else path
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, address, content, headers)
            reply = self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()  # the server lets idle connections go; a browser asks again, too
            self._connection.request(method, address, content, headers)
            reply = self._connection.getresponse()
        answer = reply.read()
        if reply.status not in (200, 204):
            raise RuntimeError(f"{address}: {reply.status} {answer[:200]!r}")
        return json.loads(answer) if answer else None


def _parts(output: str) -> list[str]:
    return [part for part in output.strip(".").split("...") if part]
