"""Run files that are opened on the page: by whom, how large, and what the server does with them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dash
import pytest
from flask.testing import FlaskClient

from dashboard.cli._runs import Runs
from dashboard.contracts.run import ModelRun
from dashboard.exports.run_files import RunFormat, write_run
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.uploads import VISITORS_SHARE
from dashboard.store.visits import VisitorLists
from dashboard.web.app import create_app
from tests.support.opening import opened
from tests.support.synthetic import make_run

pytestmark = pytest.mark.integration
PAGE = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/octet-stream"}


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(cache_dir=folder / "cache", models_dir=folder / "models", **more)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[dash.Dash]:
    yield from serving(settings_in(tmp_path, upload_megabytes=1))


def serving(settings: Settings) -> Iterator[dash.Dash]:
    app = create_app(settings)
    yield app
    app._background_manager.backend.close()


def someone(app: dash.Dash) -> FlaskClient:
    client = app.server.test_client()
    client.get("/_dash-layout")
    return client


def content(kind: RunFormat = "safetensors", **more: str) -> bytes:
    run, file = make_run(), io.BytesIO()
    write_run(ModelRun({**run.header, "fingerprint": "f" * 64, **more}, run.arrays), file, kind)
    return file.getvalue()


def left_in(folder: Path) -> list[str]:
    return [path.name for path in (folder / "cache" / "exports").glob("*")]


def test_a_file_becomes_a_run_that_opens(app: dash.Dash, tmp_path: Path) -> None:
    client, sent = someone(app), content()
    reply = client.post("/runs?name=mine.safetensors", data=sent, headers=PAGE)
    key = hashlib.sha256(sent).hexdigest()
    assert (reply.status_code, reply.get_json()) == (200, {"run": key, "tokens": 6, "left_out": []})
    info = opened(client, {"run": key})
    assert (info["run"], info["text"], info["file"]) == (key, make_run().text, "mine.safetensors")
    assert [row["key"] for row in client.get("/recent").get_json()["runs"]] == [key]
    assert not [name for name in left_in(tmp_path) if name.endswith(".part")]
    again = client.post("/runs?name=other.safetensors", data=sent, headers=PAGE)
    assert again.get_json()["run"] == key


@pytest.mark.parametrize(
    ("headers", "size", "status", "words"),
    [
        (PAGE, 1_000_001, 413, "1 MB; this server takes at most 1 MB"),
        ({**PAGE, "Sec-Fetch-Site": "cross-site"}, 10, 403, "not come from this server's own page"),
        (PAGE, 10, 400, "x.npz is not a run of this program"),
        (PAGE, 0, 400, "The file is empty"),
    ],
)
def test_refusals(app: dash.Dash, tmp_path: Path, headers: dict[str, str], size: int, status: int, words: str) -> None:
    reply = someone(app).post("/runs?name=x.npz", data=b"x" * size, headers=headers)
    assert reply.status_code == status
    assert words in reply.text
    assert "again" in reply.text or "Reload" in reply.text or "Choose" in reply.text or "Save" in reply.text
    assert not [name for name in left_in(tmp_path) if name.endswith(".part")]
    assert not list((tmp_path / "cache" / "runs").glob("*.safetensors"))


def test_an_archive_is_unpacked_checked_and_nothing_is_left(app: dash.Dash, tmp_path: Path) -> None:
    client, sent = someone(app), content("npz")
    reply = client.post("/runs?name=mine.npz", data=sent, headers=PAGE)
    assert reply.status_code == 200
    assert opened(client, {"run": reply.get_json()["run"]})["file"] == "mine.npz"
    assert not [name for name in left_in(tmp_path) if name.endswith(".part")]


def test_a_visitors_files_are_counted(tmp_path: Path) -> None:
    """One may send so many, until some of them are deleted; others may send theirs."""
    size = len(content())
    settings = settings_in(tmp_path, upload_megabytes=1, store_gigabytes=2.5 * size / VISITORS_SHARE / 1e9)
    for app in serving(settings):
        ann, bob = someone(app), someone(app)

        def send(client: FlaskClient, number: int) -> Any:
            sent = content(created=f"2026-01-0{number}T00:00:00+00:00")
            return client.post("/runs?name=x.safetensors", data=sent, headers=PAGE)

        first, second, third = (send(ann, number) for number in (1, 2, 3))
        assert (first.status_code, second.status_code, third.status_code) == (200, 200, 507)
        assert "Your run files take" in third.text
        assert "Delete some of them in Recent, then open this one again." in third.text
        assert send(bob, 4).status_code == 200
        assert [row["uploaded"] for row in ann.get("/recent").get_json()["runs"]] == [True, True]
        assert ann.delete(f"/recent/{first.get_json()['run']}", headers=PAGE).status_code == 200
        assert send(ann, 3).status_code == 200
        nobody = app.server.test_client().post("/runs?name=x.safetensors", data=content(), headers=PAGE)
        assert (nobody.status_code, "needs the page's cookie" in nobody.text) == (400, True)


def test_a_server_that_takes_none(tmp_path: Path) -> None:
    for app in serving(settings_in(tmp_path, upload_megabytes=0)):
        client = someone(app)
        reply = client.post("/runs?name=x.npz", data=content(), headers=PAGE)
        assert (reply.status_code, "takes no run files" in reply.text) == (403, True)
        assert "run-file" not in client.get("/_dash-layout").text


@pytest.mark.parametrize(("allowed", "said"), [(True, "1"), (False, "0")])
def test_the_page_is_told_whether_links_may_carry_texts(tmp_path: Path, allowed: bool, said: str) -> None:
    for app in serving(settings_in(tmp_path, text_in_links=allowed)):
        page = app.server.test_client().get("/_dash-layout").get_json()["props"]
        assert page["data-text-in-links"] == said


def test_runs_that_the_shell_lists_are_in_everyones_list(app: dash.Dash, tmp_path: Path) -> None:
    settings, run = settings_in(tmp_path), make_run()
    RunStore.from_settings(settings).save(run.key, run.header, run.arrays)
    Runs(settings, "smollm2-135m", print, listed=False).list(run.key)
    assert someone(app).get("/recent").get_json()["runs"] == []
    Runs(settings, "smollm2-135m", print, listed=True).list(run.key)
    for client in (someone(app), someone(app)):
        (row,) = client.get("/recent").get_json()["runs"]
        assert (row["key"], row["shell"]) == (run.key, True)
    opened(client, {"run": run.key})
    (own,) = client.get("/recent").get_json()["runs"]
    assert "shell" not in own
    assert VisitorLists.from_settings(settings).pinned() == frozenset()


def test_a_run_that_left_the_store_leaves_the_shells_list(app: dash.Dash, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    VisitorLists.from_settings(settings).listed("0" * 64)
    assert someone(app).get("/recent").get_json()["runs"] == []
