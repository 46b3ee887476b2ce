"""The routes of a visitor's list, its cookie, and the gate: two people at one server."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dash
import pytest
from flask.testing import FlaskClient

from dashboard.contracts.run import ModelRun
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.visits import COOKIE, LONGEST_NAME, VisitorLists
from dashboard.web.app import create_app
from tests.support.opening import opened
from tests.support.synthetic import make_parts

pytestmark = pytest.mark.integration
NO_RUN = "0" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models")


@pytest.fixture
def app(settings: Settings) -> Iterator[dash.Dash]:
    app = create_app(settings)
    yield app
    app._background_manager.backend.close()


@pytest.fixture
def runs(settings: Settings) -> list[ModelRun]:
    store, found = RunStore.from_settings(settings), []
    for texts in (["The", " whale"], ["A", " bank", " <b>"], ["Third"]):
        header, arrays = make_parts(texts=texts)
        store.save(header["key"], header, arrays)
        found.append(store.open(header["key"]))
    return found


def someone(app: dash.Dash) -> FlaskClient:
    """A browser that has opened the page."""
    client = app.server.test_client()
    reply = client.get("/_dash-layout")
    cookie = reply.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    return client


def open_run(client: FlaskClient, run: str) -> dict[str, Any]:
    return opened(client, {"run": run})


def listed(client: FlaskClient, search: str = "") -> list[str]:
    return [run["key"] for run in client.get("/recent", query_string={"search": search}).get_json()["runs"]]


def test_each_sees_what_they_opened_and_nothing_else(app: dash.Dash, runs: list[ModelRun]) -> None:
    ann, bob, nobody = someone(app), someone(app), app.server.test_client()
    for run in runs[:2]:
        assert open_run(ann, run.key)["run"] == run.key
    open_run(bob, runs[1].key)
    open_run(nobody, runs[2].key)
    assert "error" in open_run(ann, NO_RUN)
    assert listed(ann) == [runs[1].key, runs[0].key]
    assert listed(bob) == [runs[1].key]
    assert nobody.get("/recent").get_json() == {"known": False, "runs": []}
    reply = ann.get("/recent")
    assert reply.headers["Cache-Control"] == "no-store"
    first = reply.get_json()["runs"][1]
    assert (first["preview"], first["tokens"], first["title"]) == ("The whale", 2, runs[0].model.title)
    assert first["bytes"] > 1000


@pytest.mark.parametrize("cookie", ["x", "../../x", "a" * 32, "A" * 32])
def test_a_forged_cookie_shows_nothing(app: dash.Dash, runs: list[ModelRun], cookie: str) -> None:
    open_run(someone(app), runs[0].key)
    client = app.server.test_client()
    client.set_cookie(COOKIE, cookie)
    assert listed(client) == []
    assert client.delete(f"/recent/{runs[0].key}").status_code in {400, 404}


def test_search_finds_text_model_and_name(app: dash.Dash, runs: list[ModelRun]) -> None:
    ann = someone(app)
    for run in runs:
        open_run(ann, run.key)
    ann.post(f"/recent/{runs[2].key}", json={"name": "Moby"})
    assert open_run(ann, runs[2].key)["name"] == "Moby"
    assert listed(ann, "WHALE") == [runs[0].key]
    assert listed(ann, "moby third") == [runs[2].key]
    assert len(listed(ann, runs[0].model.title)) == 3
    assert listed(ann, "whale bank") == []


def test_a_list_comes_whole(app: dash.Dash, settings: Settings) -> None:
    store, ann = RunStore.from_settings(settings), someone(app)
    keys = []
    for index in range(120):
        header, arrays = make_parts(texts=["A", f" {index}"])
        store.save(header["key"], header, arrays)
        open_run(ann, header["key"])
        keys.append(header["key"])
    assert listed(ann) == keys[::-1]
    assert len(ann.get("/recent").get_json()["runs"]) == 120


def test_names_and_pins_are_ones_own(app: dash.Dash, runs: list[ModelRun], settings: Settings) -> None:
    ann, bob = someone(app), someone(app)
    for client in (ann, bob):
        open_run(client, runs[0].key)
    assert ann.post(f"/recent/{runs[0].key}", json={"name": "x" * 200}).get_json()["name"] == "x" * LONGEST_NAME
    assert ann.post(f"/recent/{runs[0].key}", json={"pinned": True}).get_json()["pinned"] is True
    assert bob.get("/recent").get_json()["runs"][0]["name"] == ""
    assert RunStore.from_settings(settings).files.pinned() == {runs[0].key}
    assert open_run(bob, runs[0].key)["name"] == ""


def test_a_run_is_deleted_with_the_last_list_that_has_it(
    app: dash.Dash, runs: list[ModelRun], settings: Settings
) -> None:
    ann, bob, store = someone(app), someone(app), RunStore.from_settings(settings)
    for client in (ann, bob):
        open_run(client, runs[0].key)
    assert bob.delete(f"/recent/{runs[1].key}").status_code == 404  # not theirs
    assert store.has(runs[1].key)
    assert ann.delete(f"/recent/{runs[0].key}").status_code == 200
    assert listed(ann) == []
    assert store.has(runs[0].key)
    assert ann.delete(f"/recent/{runs[0].key}").status_code == 404
    assert bob.delete(f"/recent/{runs[0].key}").status_code == 200
    assert not store.has(runs[0].key)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 400),
        ({"Sec-Fetch-Site": "same-site"}, 400),
        ({"Origin": "http://evil.example"}, 400),
        ({"Origin": "null"}, 400),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://localhost"}, 200),
    ],
)
def test_other_sites_change_nothing(app: dash.Dash, runs: list[ModelRun], headers: dict[str, str], status: int) -> None:
    ann = someone(app)
    open_run(ann, runs[0].key)
    address = f"/recent/{runs[0].key}"
    assert ann.post(address, json={"name": "theirs"}, headers=headers).status_code == status
    assert (ann.get("/recent").get_json()["runs"][0]["name"] == "theirs") is (status == 200)
    assert ann.delete(address, headers=headers).status_code == status
    assert (listed(ann) == []) is (status == 200)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"name": 5}',
        b'{"pinned": "yes"}',
        b'{"name": ["a"]}',
        b"5",
        b"null",
        b"\xff",
        b"[" * 9999,
        b"[" * 4096,
    ],
)
def test_a_change_that_is_none_is_one_line(app: dash.Dash, runs: list[ModelRun], body: bytes) -> None:
    ann = someone(app)
    open_run(ann, runs[0].key)
    reply = ann.post(f"/recent/{runs[0].key}", data=body, content_type="application/json")
    assert reply.status_code == 400
    assert "Traceback" not in reply.get_data(as_text=True)
    form = ann.post(f"/recent/{runs[0].key}", data=b'{"name": "a"}', content_type="text/plain")
    assert form.status_code == 400


def test_a_full_disk_is_one_line_and_runs_open_as_before(
    app: dash.Dash, runs: list[ModelRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = someone(app)
    open_run(ann, runs[0].key)

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert open_run(ann, runs[1].key)["run"] == runs[1].key
    reply = ann.post(f"/recent/{runs[0].key}", json={"name": "a"})
    assert (reply.status_code, "The server's disk is full" in reply.get_data(as_text=True)) == (507, True)
    monkeypatch.undo()
    assert listed(ann) == [runs[0].key]


def test_the_page_itself_sets_no_cookie_and_a_known_browser_keeps_its_name(app: dash.Dash) -> None:
    client = app.server.test_client()
    assert "Set-Cookie" not in client.get("/").headers  # a link on another site brings no cookie, and must not lose it
    first = client.get("/_dash-layout").headers["Set-Cookie"].split(";")[0]
    assert client.get("/_dash-layout").headers["Set-Cookie"].split(";")[0] == first


def test_a_foreign_host_is_refused_everywhere_but_for_health(app: dash.Dash, runs: list[ModelRun]) -> None:
    client = app.server.test_client()
    for path in ("/", "/_dash-layout", "/recent", f"/run/{runs[0].key}/attention/0/0?from=0&to=1"):
        reply = client.get(path, headers={"Host": "evil.example:8050"})
        assert reply.status_code == 421
        assert "DASHBOARD_HOSTS" in reply.get_data(as_text=True)
        assert "Set-Cookie" not in reply.headers
    assert client.get("/health", headers={"Host": "10.1.2.3"}).status_code == 200
    assert client.get("/", headers={"Host": "localhost:9999"}).status_code == 200


def test_a_server_for_a_network_answers_for_any_name_unless_it_is_told(tmp_path: Path) -> None:
    for hosts, status in ((None, 200), ("dash.example", 421)):
        app = create_app(
            Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models", host="0.0.0.0", hosts=hosts)
        )
        client = app.server.test_client()
        reply = client.get("/", headers={"Host": "evil.example"}, environ_overrides={"SERVER_NAME": "0.0.0.0"})
        assert reply.status_code == status
        app._background_manager.backend.close()


def test_a_visitor_of_an_older_version_keeps_their_list_and_gets_a_signed_name(
    app: dash.Dash, settings: Settings, runs: list[ModelRun]
) -> None:
    old = "0123456789abcdef" * 2
    VisitorLists.from_settings(settings).opened(old, runs[0].key)
    client = app.server.test_client()
    client.set_cookie(COOKIE, old)
    cookie = client.get("/_dash-layout").headers["Set-Cookie"].split(";")[0]
    assert cookie.startswith(f"{COOKIE}={old}.")
    assert listed(client) == [runs[0].key]
    assert open_run(client, runs[1].key)["run"] == runs[1].key
    assert listed(client) == [runs[1].key, runs[0].key]


def test_a_made_up_name_makes_no_list(app: dash.Dash, settings: Settings, runs: list[ModelRun]) -> None:
    for name in ("f" * 32, "f" * 32 + "." + "A" * 43):
        client = app.server.test_client()
        client.set_cookie(COOKIE, name)
        assert open_run(client, runs[0].key)["run"] == runs[0].key
        assert client.post(f"/recent/{runs[0].key}", json={"pinned": True}).status_code == 400
        assert not client.get("/recent").get_json()["known"]
    assert list(settings.visitors_folder.glob("*.json")) == []


def test_what_sets_the_cookie_is_kept_by_nobody(app: dash.Dash) -> None:
    reply = app.server.test_client().get("/_dash-layout")
    assert "Set-Cookie" in reply.headers
    assert reply.headers["Cache-Control"] == "no-store"


def test_a_pair_is_listed_with_both_texts_and_found_by_either(app: dash.Dash, settings: Settings) -> None:
    header, arrays = make_parts("masked", second_at=3)
    RunStore.from_settings(settings).save(header["key"], header, arrays)
    client = someone(app)
    open_run(client, header["key"])
    [row] = client.get("/recent?search=on+it").get_json()["runs"]
    assert (row["preview"], row["pair"]) == ("The cat sat", "on it.")
    assert len(client.get("/recent?search=cat+it.").get_json()["runs"]) == 1
    assert client.get("/recent?search=dog").get_json()["runs"] == []
