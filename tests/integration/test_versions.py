"""Runs, exported files, lists and links that an earlier version left, and their being computed again.

tests/data/first_runs is what a server of the first version left (tests/data/make_first_runs.py says how it was made).
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dash
import numpy as np
import pytest
from flask.testing import FlaskClient

from dashboard import open_run
from dashboard.catalog.catalog import Catalog
from dashboard.cli import main
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.errors import BROKEN, MissingArrayError
from dashboard.jobs.work import JobContext, ResidentModels, capture, derive
from dashboard.settings import Settings
from dashboard.store import upgrades
from dashboard.store.run_store import RunStore
from dashboard.store.visits import COOKIE
from dashboard.views import all_views
from dashboard.web.app import create_app
from tests.support.opening import opened

pytestmark = pytest.mark.integration

FIRST = Path(__file__).resolve().parents[1] / "data" / "first_runs"
EXPECTED: dict[str, Any] = json.loads((FIRST / "expected.json").read_text(encoding="utf-8"))
RUNS: dict[str, Any] = EXPECTED["runs"]
FILLED = int(EXPECTED["filled"])
CLOSE = {"atol": 2e-5, "rtol": 1e-4}
MEND = "a mend that changes some numbers"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A server that has taken over the first version's folders."""
    for name in ("runs", "visitors"):
        shutil.copytree(FIRST / name, tmp_path / "cache" / name)
    shutil.copytree(FIRST / "models", tmp_path / "models")
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "bundled", model_folders=(tmp_path / "models",))


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program after one more mend."""
    monkeypatch.setattr(upgrades, "CORRECTIONS", (*upgrades.CORRECTIONS, MEND))
    monkeypatch.setattr(upgrades, "NUMBERS", upgrades.NUMBERS + 1)


@pytest.fixture
def store(settings: Settings) -> RunStore:
    return RunStore.from_settings(settings)


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app: dash.Dash = create_app(settings)
    with app.server.test_client() as client:
        client.set_cookie(COOKIE, EXPECTED["visitor"])
        yield client
    manager: Any = app._background_manager
    manager.backend.close()


def shown(client: FlaskClient, path: str, query: dict[str, Any]) -> Any:
    reply = client.get(path, query_string=query)
    assert reply.status_code in (200, 202), reply.get_data(as_text=True)
    assert BROKEN not in reply.get_data(as_text=True)
    return reply.get_json()


def check_numbers(run: ModelRun, said: dict[str, Any]) -> None:
    """The run's numbers are those of plain Hugging Face, which were noted when it was made."""
    for layer, heads in enumerate(said["attention"]):
        for head, weights in enumerate(heads):
            np.testing.assert_allclose(run.attention(layer, head), weights, **CLOSE)
    np.testing.assert_allclose(run.hidden_states[-1], said["hidden"], **CLOSE)
    if said["logprobs"] is not None:
        for position, logprobs in enumerate(said["logprobs"]):
            best = run.top_k(position, 3)
            assert [token.id for token in best] == np.argsort(-np.asarray(logprobs), kind="stable")[:3].tolist()
            np.testing.assert_allclose([token.logprob for token in best], sorted(logprobs, reverse=True)[:3], **CLOSE)


def check_filled(arrays: Any, said: dict[str, Any]) -> None:
    """The prediction with the mask at one position is plain Hugging Face's."""
    logprobs = np.asarray(said["filled"])
    np.testing.assert_allclose(arrays["masked/top_logprobs"][0, :3], np.sort(logprobs)[::-1][:3], **CLOSE)


# the first version's files, as they are


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_the_first_version_opens_with_its_numbers(store: RunStore, name: str) -> None:
    said = RUNS[name]
    before = (store.folder / f"{said['key']}.safetensors").read_bytes()
    run = store.open(said["key"])
    check_numbers(run, said)
    assert run.text == said["text"]
    assert (run.header["numbers"], run.header["schema"]) == (1, upgrades.SCHEMA)
    adds = [schema.change for schema in upgrades.SCHEMAS[1:] if schema.outdates(run.header)]
    assert run.outdated == (*adds, *upgrades.CORRECTIONS[1:])
    assert (store.folder / f"{said['key']}.safetensors").read_bytes() == before, "it stays as it was captured"


@pytest.mark.parametrize("name", RUNS)
def test_keys_and_fingerprints_of_the_first_version_are_todays(settings: Settings, name: str) -> None:
    said = RUNS[name]
    assert Catalog(settings).fingerprint(ModelRequest(said["model"])) == said["fingerprint"]
    assert RunRequest(said["model"], said["text"]).key(said["fingerprint"]) == said["key"]


def test_a_prediction_of_the_first_version_is_found_beside_its_run(store: RunStore) -> None:
    said = RUNS["bert"]
    run = store.open(said["key"])
    found = store.derived(DerivedRequest.of(run.key, "masked-prediction", position=FILLED), run.stamp)
    assert found is not None
    check_filled(found.arrays, said)
    [all_there] = store.all_derived(run)
    assert all_there.request == found.request


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.usefixtures("mended")
def test_an_exported_file_of_the_first_version_opens_and_says_what_it_is(suffix: str) -> None:
    run = open_run(FIRST / "exported" / f"run.{suffix}")
    check_numbers(run, RUNS["llama"])
    assert MEND in run.outdated
    assert "computed by an earlier version" in repr(run)
    if suffix == "safetensors":
        np.testing.assert_allclose(run.arrays["decoder/attention/1"], RUNS["llama"]["attention"][1], **CLOSE)


@pytest.mark.parametrize("name", RUNS)
def test_a_link_of_the_first_version_opens_at_its_place(client: FlaskClient, name: str) -> None:
    info = opened(client, RUNS[name]["link"])
    assert info["start"] == {"token": 3, "layer": 1, "head": 1, "second": 1}
    assert info["text"] == RUNS[name]["text"]
    assert (info["problem"], info["name"]) == (None, "My masked run" if name == "bert" else "")


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("name", RUNS)
def test_an_earlier_run_says_what_it_is_on_the_page(client: FlaskClient, name: str) -> None:
    info = opened(client, RUNS[name]["link"])
    assert info["outdated"][-1] == MEND
    assert info["plain"], "the form can ask for it again"


def test_a_list_of_the_first_version_has_its_runs(client: FlaskClient) -> None:
    rows = {row["key"]: row for row in client.get("/recent").get_json()["runs"]}
    assert sorted(rows) == sorted(said["key"] for said in RUNS.values())
    assert rows[RUNS["llama"]["key"]]["pinned"]
    assert rows[RUNS["bert"]["key"]]["name"] == "My masked run"
    assert rows[RUNS["encoder"]["key"]]["preview"] == RUNS["encoder"]["text"]


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("name", RUNS)
def test_every_view_shows_a_run_of_the_first_version(client: FlaskClient, name: str, stamped: bool) -> None:
    link = RUNS[name]["link"]
    query = link | ({"stamp": opened(client, link)["stamp"]} if stamped else {})
    for view in all_views():
        meta = shown(client, f"/show/figure/{view.name}", query)["layout"]["meta"]
        assert meta["run"] == link["run"]
        assert meta["stamp"] == query.get("stamp")
        words = shown(client, f"/show/words/{view.name}", query)
        assert (words["view"], words["stamp"]) == (view.name, query.get("stamp"))


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("mended")
def test_what_is_exported_of_an_earlier_run_says_so(client: FlaskClient, tmp_path: Path, name: str) -> None:
    query = RUNS[name]["link"]
    for path in ("figure/attention.html", "figure/hidden.csv", "report.html"):
        reply = client.get(f"/export/{path}", query_string=query)
        assert reply.status_code == 200, path
        text = reply.get_data(as_text=True)
        assert "Computed by an earlier version" in text, path
        assert MEND in text, path
    for suffix in ("npz", "safetensors"):
        exported = tmp_path / f"run.{suffix}"
        exported.write_bytes(client.get(f"/export/run.{suffix}", query_string=query).data)
        run = open_run(exported)
        check_numbers(run, RUNS[name])
        assert run.outdated[-1] == MEND
        assert run.header["outdated"][-1] == MEND


# a run that is replaced while pages show it


def test_no_answer_is_of_another_capture_than_the_page_has(client: FlaskClient, store: RunStore) -> None:
    link = RUNS["bert"]["link"]
    old = opened(client, link)["stamp"]
    query = {**link, "stamp": old}
    heads, weights = f"/run/{link['run']}/heads", f"/run/{link['run']}/attention/1/1?from=0&to=2"
    paths = [f"/show/{kind}/{view.name}" for view in all_views() for kind in ("figure", "words")]
    paths += ["/export/figure/attention.html", "/export/run.npz", "/export/report.html", heads, weights]
    # 202: waits for a result
    assert {client.get(path, query_string=query).status_code for path in paths[:-1]} <= {200, 202}
    kept = client.get(f"{weights}&stamp={old}")
    assert "immutable" in kept.headers["Cache-Control"]
    run = store.open(link["run"])
    store.save(run.key, {**run.header, "stamp": "another"}, run.arrays)
    for path in paths:
        address = f"{path}&stamp={old}" if path == weights else path
        reply = client.get(address, query_string=None if path == weights else query)
        assert (reply.status_code, reply.headers.get("Cache-Control")) == (412, "no-store"), path
        assert "computed again" in reply.get_data(as_text=True)
    new = client.get(f"{weights}&stamp=another")
    assert new.status_code == 200
    assert new.headers["ETag"] != kept.headers["ETag"]
    assert opened(client, {**link, "via": "again"})["stamp"] == "another"


def test_an_address_without_a_stamp_is_asked_for_each_time(client: FlaskClient) -> None:
    """Else a browser would go on showing what the run was, where such an address stands in a page of someone's own."""
    for path in ("heads", "attention/1/1?from=0&to=2"):
        reply = client.get(f"/run/{RUNS['llama']['key']}/{path}")
        assert reply.status_code == 200
        assert reply.headers["Cache-Control"] == "private, no-cache"
        assert reply.headers["ETag"]


# computed again


def job_context(store: RunStore, key: str) -> JobContext:
    return JobContext(key, store, lambda _progress: None, lambda **_fields: None)


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("name", RUNS)
def test_a_submitted_text_of_earlier_numbers_is_computed_again(settings: Settings, store: RunStore, name: str) -> None:
    said, models = RUNS[name], ResidentModels(settings)
    key, old = said["key"], store.open(said["key"])
    payload = {"request": RunRequest(said["model"], said["text"]).to_json(), "fingerprint": said["fingerprint"]}
    assert not store.is_current(key)
    assert capture(payload, job_context(store, key), models) == key
    run = store.open(key)
    assert run.outdated == ()
    assert run.header["numbers"] == upgrades.NUMBERS
    assert run.stamp != old.stamp
    check_numbers(run, said)
    check_numbers(old, said)
    assert sorted(path.name[64:] for path in store.folder.glob(f"{key}*")) == [".safetensors"], "nothing of the old one"
    again = store.open(capture(payload, job_context(store, key), models))
    assert again.stamp == run.stamp, "once"


@pytest.mark.usefixtures("mended")
def test_a_prediction_is_not_computed_beside_earlier_numbers(settings: Settings, store: RunStore) -> None:
    said, models = RUNS["bert"], ResidentModels(settings)
    there, other = (
        DerivedRequest.of(said["key"], "masked-prediction", position=place) for place in (FILLED, FILLED + 1)
    )
    with pytest.raises(MissingArrayError, match="Run the text again"):
        derive(other.to_json(), job_context(store, other.name), models)
    assert derive(there.to_json(), job_context(store, there.name), models) == there.name, "it was stored"


@pytest.mark.usefixtures("mended")
def test_the_shell_computes_earlier_runs_again_and_mixes_no_numbers(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DASHBOARD_CACHE_DIR", str(settings.cache_dir))
    monkeypatch.setenv("DASHBOARD_MODELS_DIR", str(tmp_path / "bundled"))
    monkeypatch.setenv("DASHBOARD_MODEL_FOLDERS", str(tmp_path / "models"))
    said, out = RUNS["llama"], tmp_path / "out"
    command = ["analyse", "--model", said["model"], "--text", said["text"], "--out"]
    out.mkdir()
    run = out / "run.safetensors"
    shutil.copyfile(FIRST / "exported" / "run.safetensors", run)
    assert main([*command, str(run)]) == 0
    assert open_run(run).outdated == ()
    assert "is in the output already" not in capsys.readouterr().err
    assert main([*command, str(run)]) == 0
    assert "is in the output already" in capsys.readouterr().err

    table = out / "table.csv"
    assert main([*command, str(table)]) == 0
    text = table.read_bytes().decode("utf-8-sig")
    assert f"# Numbers: {upgrades.NUMBERS}\r\n" in text
    rows = list(csv.DictReader(line for line in text.splitlines(keepends=True) if not line.startswith("# ")))
    assert len(rows) == len(said["logprobs"])
    for earlier in (
        text.replace(f"# Numbers: {upgrades.NUMBERS}", "# Numbers: 1"),
        text.replace(f"# Numbers: {upgrades.NUMBERS}\r\n", ""),
    ):
        table.write_text(earlier, encoding="utf-8-sig", newline="")
        assert main([*command, str(table)]) == 1
        assert "computed, some of them with other numbers" in capsys.readouterr().err
        assert table.read_bytes().decode("utf-8-sig") == earlier
