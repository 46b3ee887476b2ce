"""Exports as the server gives them, and their numbers against plain Hugging Face's."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import dash
import numpy as np
import pytest
import torch
from flask.testing import FlaskClient
from safetensors.numpy import load

from dashboard import __version__, open_run
from dashboard.capture.capture import capture_run
from dashboard.capture.tokens import tokenize
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.exports.run_files import write_run
from dashboard.exports.token_table import rows_of
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.app import create_app
from tests.support.synthetic import make_parts, masked_result
from tests.support.tiny_models import eager_twin, tiny, words

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_an_exported_runs_numbers_are_hugging_faces(suffix: str, tmp_path: Path) -> None:
    loaded = tiny("llama")
    text = words(12)
    path = tmp_path / f"run.{suffix}"
    with path.open("wb") as file:
        write_run(capture_run(loaded, text), file, suffix, attention=True)  # type: ignore[arg-type]
    inputs, _tokens = tokenize(loaded.tokenizer, text)
    with torch.inference_mode():
        plain = eager_twin("llama", loaded)(**inputs, output_attentions=True, output_hidden_states=True)
    run = open_run(path)
    for layer, weights in enumerate(plain.attentions):
        assert np.allclose(run.arrays[f"decoder/attention/{layer}"], weights[0].numpy(), atol=1e-5)
        assert np.allclose(run.attention(layer, 1), weights[0, 1].numpy(), atol=1e-5)
    for states, expected in zip(run.hidden_states, plain.hidden_states, strict=True):
        assert np.allclose(states, expected[0].numpy(), atol=1e-5)
    rows = list(csv.reader(io.StringIO(rows_of(run, 1), newline="")))
    ids = inputs["input_ids"][0]
    logprobs = torch.log_softmax(plain.logits[0].double(), dim=-1)
    for i, row in enumerate(rows[1:], start=1):
        assert float(row[6]) == pytest.approx(-float(logprobs[i - 1, ids[i]]), abs=1e-4)
        assert int(row[7]) == 1 + int((logprobs[i - 1] > logprobs[i - 1, ids[i]]).sum())
        assert float(row[8]) == pytest.approx(-float((logprobs[i - 1].exp() * logprobs[i - 1]).sum()), abs=1e-4)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("served")
    return Settings(cache_dir=folder / "cache", models_dir=folder / "models")


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[dash.Dash]:
    app = create_app(settings)
    yield app
    app._background_manager.backend.close()


@pytest.fixture
def client(app: dash.Dash) -> Iterator[FlaskClient]:
    with app.server.test_client() as client:
        yield client


def saved(settings: Settings, kind: str = "causal", **more: object) -> ModelRun:
    header, arrays = make_parts(kind, **more)  # type: ignore[arg-type]
    RunStore.from_settings(settings).save(header["key"], header, arrays)
    return ModelRun(header, arrays)


def query(run: ModelRun, **more: object) -> str:
    return "&".join(
        f"{name}={value}" for name, value in {"run": run.key, "token": 3, "layer": 1, "head": 0, **more}.items()
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("figure/attention.html", "text/html"),
        ("figure/attention.csv", "text/csv"),
        ("figure/attention-heads.csv", "text/csv"),
        ("figure/hidden.csv", "text/csv"),
        ("figure/prediction.html", "text/html"),
        ("run.npz", "application/octet-stream"),
        ("run.safetensors", "application/octet-stream"),
        ("report.html", "text/html"),
    ],
)
def test_a_file_comes_with_a_name_that_says_what_it_is(
    client: FlaskClient, settings: Settings, path: str, kind: str
) -> None:
    run = saved(settings)
    known = client.get(f"/export/{path}?{query(run, check=1)}").get_json()
    reply = client.get(f"/export/{path}?{query(run)}")
    assert reply.status_code == 200
    assert reply.mimetype == kind
    assert f"filename={known['name']}" in reply.headers["Content-Disposition"].replace('"', "")
    assert known["name"].startswith("tiny_")
    assert known["name"].endswith(path.rpartition(".")[2])
    assert reply.headers["Cache-Control"] == "no-store"
    assert len(reply.data) > 500


def test_a_report_leads_back_to_the_server_that_it_was_asked_of(client: FlaskClient, settings: Settings) -> None:
    run = saved(settings)
    content = client.get(f"/export/report.html?{query(run)}", base_url="https://models.example:8443").get_data(
        as_text=True
    )
    assert f"https://models.example:8443/?run={run.key}&amp;token=" in content


def test_a_figures_json_follows_the_theme_and_the_options(client: FlaskClient, settings: Settings) -> None:
    run = saved(settings)
    light = client.get(f"/export/figure/prediction.json?{query(run)}").get_json()
    dark = client.get(
        f"/export/figure/prediction.json?{query(run, theme='dark', **{'prediction-count': '5'})}"
    ).get_json()
    assert (light["ground"], dark["ground"]) == ("#FFFFFF", "#171B20")
    assert dark["provenance"]["Setting: Tokens"] == "5"
    assert light["program"] == f"Transformer dashboard {__version__}"


def test_a_figures_json_is_laid_out_for_its_paper(client: FlaskClient, settings: Settings) -> None:
    run = saved(settings)
    found = client.get(f"/export/figure/attention.json?{query(run, width='85mm', titled='0')}").get_json()
    assert (found["millimetres"], found["width"]) == (85, 400)
    assert found["provenance"]["Run"] == run.key
    assert not any(run.key[:12] in note["text"] for note in found["figure"]["layout"].get("annotations", []))
    for bad, said in (({"width": "1e9mm"}, "No picture is “1e9mm” wide."), ({"titled": "2"}, "titled is “2”.")):
        refused = client.get(f"/export/figure/attention.json?{query(run, **bad)}")
        assert refused.status_code == 400
        assert refused.get_data(as_text=True).startswith(said)


def test_a_run_file_has_its_length_and_leaves_nothing_behind(client: FlaskClient, settings: Settings) -> None:
    run = saved(settings)
    before = sorted(settings.cache_dir.iterdir())
    reply = client.get(f"/export/run.safetensors?{query(run, attention=1)}")
    assert reply.content_length == len(reply.data)
    assert np.array_equal(load(reply.data)["decoder/attention/1"][0], run.attention(1, 0))
    reply.close()
    assert sorted(settings.cache_dir.iterdir()) == before


def test_the_size_that_is_told_before_a_download_is_that_of_all_its_numbers(
    client: FlaskClient, settings: Settings
) -> None:
    """What was computed of a run later goes into its file as well, and may be more than the run."""
    run = saved(settings)
    before = client.get(f"/export/run.npz?{query(run, check=1)}").get_json()["bytes"]
    later = Derived(DerivedRequest.of(run.key, "x"), {"a": np.zeros(100_000, np.float32)}, {})
    RunStore.from_settings(settings).save_derived(later)
    assert client.get(f"/export/run.npz?{query(run, check=1)}").get_json()["bytes"] == before + 400_000


def test_weights_that_no_file_holds_are_refused_before_the_download(
    client: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = saved(settings)
    monkeypatch.setattr("dashboard.exports.run_files.MOST_ATTENTION", 4 * 2 * 2 * 6 * 6 - 1)
    for check in (0, 1):
        reply = client.get(f"/export/run.npz?{query(run, attention=1, check=check)}")
        assert reply.status_code == 400
        assert "Export the run without them" in reply.get_data(as_text=True)
    assert client.get(f"/export/run.npz?{query(run, check=1)}").status_code == 200


def test_a_full_disk_is_told_as_such(client: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = saved(settings)
    monkeypatch.setattr("dashboard.web.routes.exports.write_run", full)
    reply = client.get(f"/export/run.npz?{query(run)}")
    assert reply.status_code == 507
    assert "No space left on device" in reply.get_data(as_text=True)
    assert "export again" in reply.get_data(as_text=True)


def test_what_was_filled_later_goes_with_the_run(client: FlaskClient, settings: Settings) -> None:
    run = saved(settings, "masked", masked=False, model="filled")
    reply = client.get(f"/export/figure/prediction.csv?{query(run)}")
    assert (reply.status_code, reply.mimetype) == (409, "text/plain")
    result = masked_result(run.key, 3)
    RunStore.from_settings(settings).save_derived(result)
    assert client.get(f"/export/figure/prediction.csv?{query(run)}").status_code == 200
    stored = np.load(io.BytesIO(client.get(f"/export/run.npz?{query(run)}").data), allow_pickle=False)
    assert np.array_equal(stored[f"derived/{result.request.suffix}/masked/top_ids"], result.arrays["masked/top_ids"])
    assert json.loads(str(stored["header"]))["key"] == run.key


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("figure/nothing.html?QUERY", 404, "There is no figure"),
        ("figure/attention.html", 400, "does not say which run"),
        ("figure/attention.csv?run=" + "0" * 64 + "&token=0&layer=0&head=0", 404, "no longer has that run"),
        ("figure/attention.html?QUERY&layer=99", 400, "no layer 99"),
        ("figure/attention.exe?QUERY", 404, "There is no file"),
        ("run.pickle?QUERY", 404, "There is no file"),
        ("report.html?token=1", 400, "does not say which run"),
    ],
)
def test_errors_are_plain_sentences(
    client: FlaskClient, settings: Settings, path: str, status: int, words: str
) -> None:
    run = saved(settings)
    path = path.replace("&layer=99", "").replace("QUERY", query(run, layer=99) if "layer=99" in path else query(run))
    reply = client.get("/export/" + path)
    assert reply.status_code == status
    assert words in reply.get_data(as_text=True)
    assert "Traceback" not in reply.get_data(as_text=True)
