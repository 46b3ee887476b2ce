"""What an address answers where it fails: what it is in one sentence, with no path of the server and no traceback."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dash
import pytest
from flask.testing import FlaskClient

from dashboard.catalog.model_card import ModelCard
from dashboard.contracts.run import ModelRun
from dashboard.errors import (
    BROKEN,
    NO_ACCESS,
    NO_ANSWER,
    NO_DISK,
    NO_FILE,
    NO_LONGER_THERE,
    NO_MEMORY,
    TOO_MANY_FILES,
    DashboardError,
    ModelNotFoundError,
    unforeseen,
)
from dashboard.jobs.worker import explain
from dashboard.settings import Settings
from dashboard.store.exports import MOST_AT_ONCE, ExportRoom
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists
from dashboard.web.app import create_app
from dashboard.web.model_picker import facts_of, line_of
from tests.support.opening import ask_for_run
from tests.support.synthetic import make_parts

SECRET = "/srv/jane doe/secret"


@dataclass
class Site:
    """A server without a worker, one saved run, and a browser that has opened the page."""

    app: dash.Dash
    client: FlaskClient
    run: ModelRun
    settings: Settings

    @property
    def query(self) -> str:
        return f"run={self.run.key}&token=0&layer=0&head=0"

    def opened(self) -> Any:
        """What the page is told that opens a link."""
        return ask_for_run(self.client, {"run": self.run.key})

    def doors(self) -> dict[str, Callable[[], Any]]:
        """Every address that reads a run."""
        client, query = self.client, self.query
        return {
            "weights": lambda: client.get(f"/run/{self.run.key}/attention/0/0?from=0&to=2"),
            "heads": lambda: client.get(f"/run/{self.run.key}/heads"),
            "figure": lambda: client.get(f"/show/figure/attention?{query}"),
            "words": lambda: client.get(f"/show/words/hidden?{query}"),
            "export": lambda: client.get(f"/export/figure/attention.csv?{query}"),
            "report": lambda: client.get(f"/export/report.html?{query}"),
            "file": lambda: client.get(f"/export/run.npz?{query}"),
            "link": self.opened,
        }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models")
    app = create_app(settings)
    header, arrays = make_parts(texts=["A", " bank"])
    store = RunStore.from_settings(settings)
    store.save(header["key"], header, arrays)
    client = app.server.test_client()
    client.get("/_dash-layout")
    yield Site(app, client, store.open(header["key"]), settings)
    app._background_manager.backend.close()


SHOWN = ("figure", "words", "link")  # whose answer is a figure or words that say it


def words_of(reply: Any) -> str:
    """What an answer says; a figure breaks its sentence into lines."""
    text: str = reply.get_data(as_text=True)
    told = json.dumps(reply.get_json(), ensure_ascii=False) if reply.is_json else text
    return told.replace("<br>", " ")


ERRORS: list[tuple[Exception, str, int]] = [
    (OSError(errno.ENOSPC, "No space left on device", f"{SECRET}/x"), NO_DISK, 507),
    (OSError(errno.EDQUOT, "Disk quota exceeded", f"{SECRET}/x"), NO_DISK, 507),
    (PermissionError(errno.EACCES, "Permission denied", f"{SECRET}/x"), NO_ACCESS, 500),
    (OSError(errno.EROFS, "Read-only file system", f"{SECRET}/x"), NO_ACCESS, 500),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", f"{SECRET}/x"), NO_LONGER_THERE, 500),
    (OSError(errno.EMFILE, "Too many open files", f"{SECRET}/x"), TOO_MANY_FILES, 500),
    (OSError(errno.EIO, "Input/output error", f"{SECRET}/x"), NO_FILE, 500),
    (MemoryError(), NO_MEMORY, 500),
    (TimeoutError("timed out"), NO_ANSWER, 500),
    (KeyError(f"{SECRET}/x"), BROKEN, 500),
    (DashboardError(f"“{SECRET}/x” is odd. Choose another."), "“…/x” is odd. Choose another.", 404),
]


@pytest.mark.parametrize(
    ("error", "sentence", "status"), ERRORS, ids=[f"{type(row[0]).__name__} {row[2]}" for row in ERRORS]
)
def test_every_address_says_what_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str, status: int
) -> None:
    """Whatever reading a run raises. Views say it on their card, so that their answer is one."""

    def fail(*_args: object) -> ModelRun:
        raise error

    monkeypatch.setattr(RunStore, "open", fail)
    for name, ask in site.doors().items():
        reply = ask()
        text = words_of(reply)
        assert "jane" not in text, name
        assert "Traceback" not in text, name
        if name in SHOWN:
            assert reply.status_code == (200 if name == "link" else 202), name  # a browser keeps none of them
            assert sentence in text, name
        else:
            assert (reply.status_code, reply.mimetype, text) == (status, "text/plain", sentence), name


@pytest.mark.parametrize(
    ("error", "sentence", "status"), ERRORS, ids=[f"{type(row[0]).__name__} {row[2]}" for row in ERRORS]
)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_file_that_cannot_be_written_says_what_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str, status: int, hidden: bool
) -> None:
    """Only a full disk is said to lack space; also where closing the unfinished file fails and raises something
    else."""

    def fail(_run: ModelRun, file: Any, *_args: object) -> None:
        file.write(b"x" * 1000)
        try:
            raise error
        finally:
            if hidden and isinstance(error, OSError):
                raise ValueError("Can't close the ZIP file while there is an open writing handle on it.")

    monkeypatch.setattr("dashboard.web.routes.exports.write_run", fail)
    for suffix in ("npz", "safetensors"):
        reply = site.client.get(f"/export/run.{suffix}?{site.query}")
        text = reply.get_data(as_text=True)
        assert (reply.status_code, "Free some space" in text or "free some space" in text) == (status, status == 507)
        assert status == 507 or text == sentence
        assert list(site.settings.exports_folder.glob("*.part")) == []


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_what_is_asked_before_a_download_is_answered_as_the_download_would_be(site: Site, suffix: str) -> None:
    """With what is wrong, else with name and size; neither leaves a file."""
    path = f"/export/run.{suffix}?{site.query}"
    told = site.client.get(f"{path}&check=1").get_json()
    with site.client.get(path) as reply:
        assert told["name"] in reply.headers["Content-Disposition"]
        assert 0 < told["bytes"] <= len(reply.data)
    room = ExportRoom.from_settings(site.settings)
    held = [room.open(f"other {number}", 10) for number in range(MOST_AT_ONCE)]
    for asked in (path, f"{path}&check=1"):
        refused = site.client.get(asked)
        assert (refused.status_code, "busy making files for others" in refused.get_data(as_text=True)) == (429, True)
    assert len(list(site.settings.exports_folder.glob("*.part"))) == MOST_AT_ONCE
    for made in held:
        made.close()


def test_a_run_that_is_there_and_cannot_be_read_is_not_said_to_be_gone(site: Site) -> None:
    """A folder stands in its place: that is what the machine says, to root as well."""
    path = site.settings.runs_folder / f"{site.run.key}.safetensors"
    path.unlink()
    path.mkdir()
    for name, ask in site.doors().items():
        reply = ask()
        text = words_of(reply)
        assert "exists but cannot be read (Is a directory)" in text, name
        assert "no longer has" not in text, name
        assert str(site.settings.cache_dir) not in text, name
        assert reply.status_code == (200 if name == "link" else 202 if name in SHOWN else 500), name
    path.rmdir()
    assert "no longer has that run" in site.doors()["weights"]().get_data(as_text=True)


def test_a_folder_without_permission_is_said_to_be_that(site: Site) -> None:
    """Really refused by the kernel: this test gives up its rights for a moment where it has any to give up."""
    for ask in site.doors().values():  # whatever is imported late is imported now
        ask()
    site.client.get("/recent")
    mode, mine = site.settings.cache_dir.stat().st_mode, os.geteuid()
    site.settings.cache_dir.chmod(0)
    try:
        if mine == 0:
            os.seteuid(65534)
        replies = {name: ask() for name, ask in site.doors().items()}
        changed = site.client.post(f"/recent/{site.run.key}", json={"name": "x"})
    finally:
        os.seteuid(mine)
        site.settings.cache_dir.chmod(mode)
    for name, reply in replies.items():
        assert "exists but cannot be read (Permission denied)" in words_of(reply), name
        assert BROKEN not in reply.get_data(as_text=True), name
    assert "our fault" not in changed.get_data(as_text=True)
    assert str(site.settings.cache_dir) not in changed.get_data(as_text=True)
    assert site.doors()["weights"]().status_code == 200


@pytest.mark.parametrize(("error", "sentence", "status"), ERRORS[:7], ids=[row[0].strerror for row in ERRORS[:7]])
def test_a_list_of_runs_says_what_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: OSError, sentence: str, status: int
) -> None:
    site.opened()

    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr("dashboard.store.visits.asdict", fail)
    reply = site.client.post(f"/recent/{site.run.key}", json={"pinned": True})
    assert reply.status_code == status
    assert reply.get_data(as_text=True).endswith(sentence)
    assert "jane" not in reply.get_data(as_text=True)
    monkeypatch.undo()
    assert [run["pinned"] for run in site.client.get("/recent").get_json()["runs"]] == [False]


def test_a_list_that_cannot_be_read_is_said_and_not_written_over(site: Site) -> None:
    """An unreadable list must not count as an empty one, which the next opened run would then be alone in."""
    site.opened()
    [path] = site.settings.visitors_folder.glob("*.json")
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    reply = site.client.get("/recent")
    assert (reply.status_code, BROKEN in reply.get_data(as_text=True)) == (500, False)
    assert "list of runs cannot be read" in reply.get_data(as_text=True)
    assert site.opened().status_code == 200
    lists = VisitorLists.from_settings(site.settings)
    assert lists.pinned() == frozenset()
    lists.opened("b" * 32, site.run.key)
    assert not lists.remove("b" * 32, site.run.key)  # whether the other list has the run is not known: it stays
    path.rmdir()
    path.write_bytes(content)
    assert len(site.client.get("/recent").get_json()["runs"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/show/",
        "/show/nothing",
        "/show/figure",
        "/show/figure/nothing?QUERY",
        "/show/figure/attention/more?QUERY",
        "/show/words",
        "/show/words/more",
        "/show/words/hidden/more?QUERY",
        "/show/%2e%2e/x",
        "/export/",
        "/export/nothing",
        "/export/run.pickle?QUERY",
        "/export/figure/nothing.html?QUERY",
        "/export/figure/attention.exe?QUERY",
        "/export/report.pdf?QUERY",
        "/run/x",
        "/recent/x/y",
    ],
)
def test_an_address_that_leads_to_nothing_is_not_found(site: Site, path: str) -> None:
    reply = site.client.get(path.replace("QUERY", site.query))
    assert reply.status_code == 404
    assert "_dash-config" not in reply.get_data(as_text=True)


def test_what_is_asked_wrongly_of_an_address_that_exists_is_a_bad_request(site: Site) -> None:
    for path in (
        "/show/words/hidden?token=x",
        "/show/figure/attention",
        "/export/report.html?token=1",
        "/export/figure/attention.csv",
    ):
        assert site.client.get(path).status_code == 400, path


def test_readiness_says_what_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", f"{SECRET}/x")

    monkeypatch.setattr("dashboard.catalog.catalog.Catalog.entries", fail)
    reply = site.client.get("/ready")
    assert (reply.status_code, reply.get_json()["reason"]) == (503, f"The page could not be built. {NO_ACCESS}")


def test_the_list_of_models_names_no_folder() -> None:
    entry = ModelCard(
        "folder:mine/x", "x", "causal", 1, 1, 1, 1, False, None, "", source="folder", refusal="no file “/srv/a b/c”"
    )
    assert "/srv" not in str(line_of(entry, Settings()))
    assert facts_of(entry, Settings())["refusal"] == "no file “…/c”"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("/srv/x"),
        OSError("a library's own"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"),
        sqlite3.Error("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_ours_is_called_so(error: Exception) -> None:
    assert unforeseen(error) == BROKEN


def test_a_database_on_a_full_disk_is_a_full_disk() -> None:
    assert unforeseen(sqlite3.OperationalError("database or disk is full")) == NO_DISK
    wrapped = ValueError("closing failed")
    wrapped.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert unforeseen(wrapped) == NO_DISK


def test_a_worker_says_what_it_is() -> None:
    denied = explain(PermissionError(errno.EACCES, "Permission denied", f"{SECRET}/x"), "layers", "more")
    assert denied.message == f"{NO_ACCESS} Your text is still in the box."
    assert "could not be loaded" in explain(OSError("Unable to load weights"), "load").message
    assert "our fault" in explain(OSError("a library's own"), "layers").message
    assert "jane" not in explain(ModelNotFoundError(f"{SECRET}/x"), "load").message
