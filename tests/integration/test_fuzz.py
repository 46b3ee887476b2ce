"""Whatever is sent to a callback or a route: a named error, a notice or a plain answer, and the next good request is
answered.

Callbacks are taken from Dash's registry and routes from Flask's, so new ones are covered as they come. The cases are
the same at every start (no database, no clock).
"""

from __future__ import annotations

import json
import logging
import math
import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.strategies import SearchStrategy

from dashboard.errors import BROKEN
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.app import create_app
from tests.support.synthetic import make_parts

pytestmark = pytest.mark.integration

UPDATE = "/_dash-update-component"
NO_RUN = "0" * 64
ANSWERS = (200, 202, 204, 301, 302, 304, 400, 404, 405, 413, 415)
POLLING = ("cacheKey", "job", "cancelJob", "oldJob", "endId")
BACKGROUND = ("submitted-run.data", "derived-result.data", "cancel.id")
FIELDS = (
    "run",
    "token",
    "layer",
    "head",
    "second",
    "second_run",
    "position",
    "error",
    "details",
    "key",
    "serial",
    "cancelled",
)


def cases(count: int) -> Any:
    """So many cases, the same every time."""
    checks = [
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ]
    return settings(max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=checks)


@dataclass
class Target:
    """A server's own view of what can be asked of it.

    Attributes:
        client: asks it. callbacks: what Dash tells a page of those that the server runs. known: per "id.property" the
            values that the page itself may hold. runs: keys in its store.
        rules: addresses of its routes, with their methods. handles: signed words of a page.
        faults: what the server logged as a defect. keep: saves the runs again, for a request may have deleted them.
    """

    client: FlaskClient
    callbacks: list[dict[str, Any]]
    known: dict[str, list[Any]]
    runs: list[str]
    rules: list[tuple[str, list[str]]]
    handles: dict[str, str]
    faults: list[str]
    keep: Callable[[], None]

    def callback(self, output: str) -> dict[str, Any]:
        return next(entry for entry in self.callbacks if entry["output"] == output)


class Noting(logging.Handler):
    """Keeps every error that the server logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("fuzz")
    set_hypothesis_home_dir(folder / "hypothesis")
    (folder / "weights").mkdir()
    own = Settings(
        cache_dir=folder / "cache", models_dir=folder / "models", model_folders=(folder / "weights",), max_tokens=64
    )
    store = RunStore.from_settings(own)
    parts = [make_parts(kind, masked=False, model=kind) for kind in ("causal", "encoder", "masked")]
    runs = [header["key"] for header, _arrays in parts]

    def keep() -> None:
        for header, arrays in parts:
            store.save(header["key"], header, arrays)

    keep()
    app = create_app(own)
    noting = Noting()
    logging.getLogger().addHandler(noting)
    with app.server.test_client() as client:
        entries = [
            entry for entry in client.get("/_dash-dependencies").get_json() if not entry.get("clientside_function")
        ]
        known: dict[str, list[Any]] = {}
        gather(client.get("/_dash-layout").get_json(), known)
        rules = sorted(
            (rule.rule, sorted(rule.methods or ())) for rule in app.server.url_map.iter_rules() if rule.rule != UPDATE
        )
        target = Target(client, entries, known, runs, rules, {}, noting.found, keep)
        target.handles = handles_of(target)
        yield target
    logging.getLogger().removeHandler(noting)
    app._background_manager.backend.close()


def gather(node: Any, known: dict[str, list[Any]]) -> None:
    """What the layout's components hold, and what their choices offer."""
    if isinstance(node, list):
        for item in node:
            gather(item, known)
    elif isinstance(node, dict):
        props = node.get("props")
        if isinstance(props, dict) and isinstance(props.get("id"), str):
            choices = [
                item for item in props.get("options") or () if not (isinstance(item, dict) and "namespace" in item)
            ]
            offered = [item["value"] if isinstance(item, dict) else item for item in choices]
            for name, value in props.items():
                if name not in ("id", "children"):
                    known.setdefault(f"{props['id']}.{name}", []).append(value)
            known.setdefault(f"{props['id']}.value", []).extend(offered)
        for item in node.values():
            gather(item, known)


def handles_of(target: Target) -> dict[str, str]:
    """The signed words that a page of this server gets when it asks for a run."""
    end = target.client.get("/").get_data(as_text=True).split('"end_id":"')[1].split('"')[0]
    entry = target.callback("submitted-run.data")
    asked, read = [1, "no-such-model", "A text."], len(entry["inputs"]) + len(entry["state"])
    body = envelope(entry, [*asked, *[None] * (read - len(asked))], [entry["inputs"][0]])
    found = target.client.post(UPDATE, json=body, query_string={"endId": end}).get_json()
    return {
        "endId": end,
        "cacheKey": found["cacheKey"],
        "job": found["job"],
        "oldJob": found["job"],
        "cancelJob": found["job"],
    }


def envelope(entry: dict[str, Any], values: list[Any], changed: list[dict[str, Any]]) -> dict[str, Any]:
    """What Dash's page sends for one callback."""
    output = entry["output"]
    parts = [part.rsplit(".", 1) for part in output.strip(".").split("...")] if "." in output else []
    outputs = [{"id": part[0], "property": part[1].split("@")[0]} for part in parts]
    reads = [{**item, "value": value} for item, value in zip([*entry["inputs"], *entry["state"]], values, strict=True)]
    return {
        "output": output,
        "outputs": outputs if output.startswith("..") else outputs[0] if outputs else [],
        "inputs": reads[: len(entry["inputs"])],
        "state": reads[len(entry["inputs"]) :],
        "changedPropIds": [f"{item['id']}.{item['property']}" for item in changed],
    }


# what is sent

TEXTS = st.text(st.characters(codec=None), max_size=12)  # half surrogate pairs as well
ODD = ("", " ", "<b>", "\x00", "\ud800", "9" * 4000, "-1", "3", "1e3", "../../etc", "NaN", "x" * 9000, "{}", "ß٣۳²")
NUMBERS = st.one_of(
    st.integers(-3, 12),
    st.sampled_from([2**31, 2**63, -(2**63), 10**30, 10**4000]),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -0.0, 1e308, 2.0]),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.sampled_from(ODD))
ANY = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
DEEP = "[" * 100_000 + "]" * 100_000


def objects(
    fields: dict[str, SearchStrategy[Any]], optional: dict[str, SearchStrategy[Any]]
) -> SearchStrategy[dict[str, Any]]:
    """JSON objects with all of `fields` and some of `optional`."""
    missing = object()
    values = st.tuples(*fields.values(), *(st.one_of(st.just(missing), value) for value in optional.values()))
    names = (*fields, *optional)
    return values.map(lambda found: {n: value for n, value in zip(names, found, strict=True) if value is not missing})


def keys(target: Target) -> SearchStrategy[Any]:
    return st.one_of(st.sampled_from([*target.runs, NO_RUN, NO_RUN.upper()]), LEAVES)


def places(target: Target) -> SearchStrategy[dict[str, Any]]:
    """What looks like a selection, an outcome or a request for one position: some of it right, some of it not."""
    place = st.one_of(st.integers(0, 7), LEAVES)
    right = {
        "run": st.sampled_from(target.runs),
        "token": st.integers(0, 5),
        "layer": st.integers(0, 1),
        "head": st.integers(0, 1),
    }
    loose = {name: keys(target) if name in ("run", "second_run", "key") else place for name in FIELDS}
    parameters = st.dictionaries(st.sampled_from(["position", "x"]), place, max_size=3)
    kinds = st.sampled_from(["masked-prediction", "none", "../x", ""])
    wanted = st.fixed_dictionaries({"run": keys(target), "kind": kinds, "parameters": parameters | ANY})
    loose["wants"] = st.lists(wanted | ANY, max_size=3) | ANY
    more = {"second": place, "second_run": keys(target), "position": place, "more": ANY}
    return st.one_of(objects(right, more), objects({}, loose))


def value_of(target: Target, dependency: dict[str, Any]) -> SearchStrategy[Any]:
    """A value for one input: one that the page may hold, one that looks like it, or anything."""
    known = target.known.get(f"{dependency['id']}.{dependency['property']}") or [None]  # a choice may have no options
    return st.one_of(st.sampled_from(known), places(target), ANY)


def asked(data: st.DataObject, target: Target, entry: dict[str, Any]) -> dict[str, Any]:
    reads = [*entry["inputs"], *entry["state"]]
    # in half of the cases one place stands in all stores, as in a page
    common = data.draw(st.one_of(st.none(), places(target)))
    values = [
        common
        if common is not None and item["property"] == "data" and data.draw(st.integers(0, 3))
        else data.draw(value_of(target, item))
        for item in reads
    ]
    changed = data.draw(st.lists(st.sampled_from(entry["inputs"]), min_size=1, max_size=2))
    return envelope(entry, values, changed)


# what is answered


def check(target: Target, reply: Any, sent: object) -> None:
    text = reply.get_data().decode("utf-8", "replace")
    shown = str(sent)[:500]
    faults = target.faults[:]
    target.faults.clear()  # so that a fault is of the case that made it
    assert reply.status_code in ANSWERS, f"{reply.status_code} {text[:300]} for {shown}"
    assert "Traceback" not in text, shown
    assert BROKEN not in text, f"{shown}: {faults}"
    assert faults == [], shown
    if reply.status_code == 400 and reply.mimetype == "text/plain" and text:  # HEAD has none
        assert len(text.splitlines()) == 1, text[:300]
        assert 10 < len(text) < 2000, text[:300]


def answers_well(target: Target) -> None:
    """The process still does what a page asks of it."""
    target.keep()
    selection = {"run": target.runs[0], "token": "3", "layer": "1", "head": "0"}
    meta = target.client.get("/show/figure/attention", query_string=selection).get_json()["layout"]["meta"]
    assert (meta["run"], meta["layer"], meta["head"], meta["whole"]) == (target.runs[0], 1, 0, True)
    entry = target.callback("run-info.data")
    values = [selection if item["id"] == "address" else None for item in [*entry["inputs"], *entry["state"]]]
    changed = [item for item in entry["inputs"] if item["id"] == "address"]
    info = target.client.post(UPDATE, json=envelope(entry, values, changed)).get_json()["response"]["run-info"]["data"]
    assert (info["run"], info["start"]["token"]) == (target.runs[0], 3)
    assert target.client.get("/health").get_json()["status"] == "ok"


# ---- 1,000 cases
# ------------------------------------------------------------------------------------------------------


def test_every_callback_is_known(target: Target) -> None:
    assert {"submitted-run.data", "derived-result.data", "run-info.data"} <= {e["output"] for e in target.callbacks}
    assert {"/show/figure/<name>", "/show/words/<name>"} <= {rule for rule, _methods in target.rules}
    assert target.known["model.value"]
    assert len(target.handles["job"]) > 32


@cases(400)
@given(data=st.data())
def test_no_values_break_a_callback(target: Target, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(target.callbacks))
    body = asked(data, target, entry)
    check(target, target.client.post(UPDATE, data=json.dumps(body), content_type="application/json"), body)


@cases(120)
@given(data=st.data())
def test_no_polling_breaks_a_background_callback(target: Target, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from([e for e in target.callbacks if e["output"] in BACKGROUND]))
    body = asked(data, target, entry)
    word = st.one_of(TEXTS, st.sampled_from([*ODD[:8], *target.handles.values()]))
    query = {name: data.draw(word) for name in data.draw(st.lists(st.sampled_from(POLLING), unique=True))}
    words = {
        name: value.encode("utf-8", "surrogatepass")
        for name, value in {"endId": target.handles["endId"], **query}.items()
    }
    path = f"{UPDATE}?{urllib.parse.urlencode(words)}"
    check(target, target.client.post(path, data=json.dumps(body), content_type="application/json"), (query, body))


@cases(130)
@given(data=st.data())
def test_no_envelope_breaks_the_server(target: Target, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(target.callbacks))
    body: Any = asked(data, target, entry)
    name = data.draw(st.sampled_from(sorted(body)))
    how = data.draw(st.sampled_from(["drop", "replace", "shorten", "inside", "all"]))
    if how == "drop":
        del body[name]
    elif how == "replace":
        body[name] = data.draw(ANY)
    elif how == "shorten" and isinstance(body[name], list | str):
        body[name] = body[name][:-1]
    elif how == "inside" and isinstance(body[name], list) and body[name]:
        body[name][0] = data.draw(ANY)
    elif how == "all":
        body = data.draw(ANY)
    kind = data.draw(st.sampled_from(["application/json"] * 4 + ["text/plain", ""]))
    check(target, target.client.post(UPDATE, data=json.dumps(body), content_type=kind), body)


@cases(200)
@given(data=st.data())
def test_no_address_breaks_a_route(target: Target, data: st.DataObject) -> None:
    rule, methods = data.draw(st.sampled_from(target.rules))
    part = st.one_of(keys(target), st.integers(-2, 9), st.sampled_from(["light", "dark", *ODD[:9]]), TEXTS).map(str)
    path = re.sub(
        r"<[^<>]+>", lambda _: urllib.parse.quote(data.draw(part).encode("utf-8", "surrogatepass"), safe=""), rule
    )
    query = data.draw(st.dictionaries(st.sampled_from(["from", "to", "endId", "x"]), part, max_size=3))
    words = {name: value.encode("utf-8", "surrogatepass") for name, value in query.items()}
    method = data.draw(st.sampled_from(methods))
    sent = data.draw(
        st.one_of(ANY, objects({"model": st.one_of(LEAVES, st.just("gpt2")), "text": LEAVES, "text_pair": LEAVES}, {}))
    )
    reply = target.client.open(
        f"{path}?{urllib.parse.urlencode(words)}", method=method, data=json.dumps(sent), content_type="application/json"
    )
    check(target, reply, (method, path, query, sent))


@cases(250)
@given(data=st.data())
def test_no_selection_breaks_a_picture(target: Target, data: st.DataObject) -> None:
    """Figures and words, by addresses of which some are right; what is no answer is a sentence."""
    controls = sorted(
        name.removesuffix(".value") for name, held in target.known.items() if held and name.endswith(".value")
    )
    place = st.one_of(st.integers(-1, 7), LEAVES)
    right = {
        "run": st.sampled_from(target.runs),
        "token": st.integers(0, 6),
        "layer": st.integers(0, 2),
        "head": st.integers(0, 2),
    }
    loose = {"run": keys(target), "token": place, "layer": place, "head": place}
    more = {"second": place, "theme": st.one_of(st.sampled_from(["light", "dark"]), LEAVES), "x": ANY}
    query = data.draw(st.one_of(objects(right, more), objects({}, {**loose, **more})))
    for name in data.draw(st.lists(st.sampled_from(controls), max_size=3)):
        query[name] = data.draw(st.one_of(st.sampled_from(target.known[f"{name}.value"]), LEAVES))
    words = {name: str(value).encode("utf-8", "surrogatepass") for name, value in query.items()}
    path = data.draw(
        st.sampled_from(
            [
                "figure/attention",
                "figure/hidden",
                "figure/prediction",
                "words/attention",
                "words/hidden",
                "words/prediction",
                "figure/none",
            ]
        )
    )
    reply = target.client.get(f"/show/{path}?{urllib.parse.urlencode(words)}")
    check(target, reply, (path, query))
    assert reply.status_code in ((404,) if path == "figure/none" else (200, 202, 400))
    if reply.status_code < 300:
        found = reply.get_json()
        whole = (found["layout"]["meta"] if "layout" in found else found)["whole"]
        assert reply.status_code == (200 if whole else 202)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"output": NaN}',
        DEEP.encode(),
        b'{"output": ' + b"9" * 5000 + b"}",
        b"\x00",
    ],
    ids=lambda raw: raw[:12].decode("latin-1"),
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_what_is_no_json_is_refused_with_a_sentence(target: Target, raw: bytes, kind: str) -> None:
    for path in (UPDATE, "/count"):
        reply = target.client.post(path, data=raw, content_type=kind)
        check(target, reply, raw)
        assert (reply.status_code, reply.mimetype) == (400, "text/plain")
    answers_well(target)


def test_a_request_as_large_as_none_is_refused(target: Target) -> None:
    reply = target.client.post(UPDATE, data=b" " * 12_100_000, content_type="application/json")
    assert reply.status_code in (400, 413)
    answers_well(target)


@pytest.mark.parametrize("name", POLLING)
def test_a_signed_word_that_cannot_be_one_is_refused(target: Target, name: str) -> None:
    """Dash compares signatures in ASCII only, and fails at others."""
    entry = target.callback("submitted-run.data")
    asked, read = [1, "no-such-model", "A text."], len(entry["inputs"]) + len(entry["state"])
    body = envelope(entry, [*asked, *[None] * (read - len(asked))], [entry["inputs"][0]])
    words = {"endId": target.handles["endId"], "job": target.handles["job"], name: "x.\u00e9"}
    reply = target.client.post(f"{UPDATE}?{urllib.parse.urlencode(words)}", json=body)
    assert reply.status_code == 400
    check(target, reply, words)


def test_after_all_this_a_good_request_is_answered(target: Target) -> None:
    answers_well(target)
