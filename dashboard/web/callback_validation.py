"""Checks for Dash's own routes: a callback request that the page would never send gets 400 and one sentence, not a
traceback.

Dash looks a callback up by the name of its outputs and passes it whatever values the request lists. This module
compares the list with the callback's declaration, so that a callback function gets exactly the values that it reads, in
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Flask, request

from dashboard.errors import BadRequestError

UPDATE = "/_dash-update-component"
STALE = "Reload the page."


def check_envelope(body: object, callbacks: Mapping[str, Any]) -> None:
    """Raise `BadRequestError` unless `body` calls one of the `callbacks` with the values that it reads.

    Args:
        body: decoded JSON. callbacks: Dash's `callback_map`, by output.
    """
    if not isinstance(body, dict):
        raise BadRequestError(f"A callback's request is a JSON object. {STALE}")
    output = body.get("output")
    callback = callbacks.get(output) if isinstance(output, str) else None
    if not isinstance(output, str) or callback is None or "callback" not in callback:
        raise BadRequestError(f"The request names no callback of this server. {STALE}")
    for name, declared in (("inputs", callback["inputs"]), ("state", callback["state"])):
        if not _fits(body.get(name, []), declared):
            raise BadRequestError(f"The request's {name} are not those of the callback. {STALE}")
    if not callback.get("no_output") and not _are_outputs(body.get("outputs"), output):
        raise BadRequestError(f"The request's outputs are not those of the callback. {STALE}")
    changed = body.get("changedPropIds", [])
    if not isinstance(changed, list) or not all(isinstance(item, str) for item in changed):
        raise BadRequestError(f"The request does not list what has changed. {STALE}")


def check_words(words: Iterable[str]) -> None:
    """Raise `BadRequestError` if a word signed by Dash (the name of a job or page) cannot be valid.

    Dash compares signatures in ASCII only, and fails on others.
    """
    if not all(word.isascii() for word in words):
        raise BadRequestError(f"The request's address has words that this server never gave. {STALE}")


def guard(server: Flask, callbacks: Mapping[str, Any], prefix: str = "") -> None:
    """Check every callback's request before Dash sees it.

    Args:
        server: Dash's. callbacks: its `callback_map`. prefix: the path in front of Dash's own routes.
    """

    @server.before_request
    def _check() -> None:
        if request.method != "POST":
            return
        try:
            body = request.get_json(silent=True)
        except RecursionError as error:
            raise BadRequestError(f"The request is nested too deeply. {STALE}") from error
        if request.path == prefix + UPDATE:
            check_envelope(body, callbacks)
            check_words(request.args.values())


def _fits(values: object, declared: list[dict[str, Any]]) -> bool:
    """Whether the request has one value for each declared dependency, in order."""
    if not isinstance(values, list) or len(values) != len(declared):
        return False
    for value, dependency in zip(values, declared, strict=True):
        if dependency["id"].startswith("{"):  # a pattern: a list of all matches
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                return False
        elif not _is_part(value, dependency["id"], dependency["property"]):
            return False
    return True


def _are_outputs(values: object, output: str) -> bool:
    """Whether the outputs are the ones in the callback's name ("..a.data...b.data.." or "a.data@hash")."""
    several = output.startswith("..")
    names = output[2:-2].split("...") if several else [output]
    found = values if isinstance(values, list) else [values]
    if "{" in output:
        return True
    if isinstance(values, list) != several or len(found) != len(names):
        return False
    parts = [name.split("@")[0].rsplit(".", 1) for name in names]
    return all(_is_part(value, part[0], part[1]) for value, part in zip(found, parts, strict=True))


def _is_part(value: object, identifier: str, name: str) -> bool:
    return isinstance(value, dict) and value.get("id") == identifier and _bare(value.get("property")) == name


def _bare(name: object) -> object:
    return name.split("@")[0] if isinstance(name, str) else name
