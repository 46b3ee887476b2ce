"""The web process as it is really started, and its routes: nothing here needs a model."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dash
import numpy as np
import psutil
import pytest
from flask.testing import FlaskClient

from dashboard.contracts.run import ModelRun
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.app import create_app
from dashboard.web.routes.health import no_page
from tests.support.synthetic import make_parts

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
NO_RUN = "0" * 64
PATIENCE = 60.0
FIRST = 32  # requests at once, of two processes with 16 threads each


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(port=free_port(), cache_dir=folder / "cache", models_dir=folder / "models", **more)


def save_run(settings: Settings, **options: Any) -> ModelRun:
    header, arrays = make_parts(**options)
    RunStore.from_settings(settings).save(header["key"], header, arrays)
    return ModelRun(header, arrays)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **settings.to_env(), **more}


@contextlib.contextmanager
def started(
    command: list[str], environ: Mapping[str, str], on_ctrl_c: signal.Handlers = signal.SIG_DFL
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, ended with everything that it started.

    Args:
        on_ctrl_c: what it finds set for SIGINT: a terminal's shell leaves the default; `nohup … &` in a script ignores
            it.
    """
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=partial(signal.signal, signal.SIGINT, on_ctrl_c),
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process
        finally:
            family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in psutil.wait_procs(family, timeout=5)[1]:
                child.kill()


def wait_for_port(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        try:
            socket.create_connection(("127.0.0.1", settings.port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("the port was not opened")


def get(
    settings: Settings, path: str, headers: Mapping[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


# the first requests, and several web processes


def procfile(name: str) -> str:
    lines = dict(line.split(":", 1) for line in (ROOT / "Procfile").read_text().splitlines() if ":" in line)
    return lines[name].strip()


@dataclass(frozen=True)
class Served:
    """What the Procfile's web line started; `first` are the answers to its first requests, all made at once."""

    settings: Settings
    process: subprocess.Popen[bytes]
    first: list[bytes]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = settings_in(tmp_path_factory.mktemp("served"), web_processes=2, web_threads=16)
    command = ["sh", "-c", "exec " + procfile("web")]
    with started(command, environment(settings, HOST="127.0.0.1", WEB_CONCURRENCY="2")) as process:
        wait_for_port(settings, process)  # gunicorn opens the port before the application is there
        yield Served(settings, process, at_once(FIRST, lambda: get(settings, "/_dash-dependencies")[1]))


def at_once(count: int, ask: Callable[[], bytes]) -> list[bytes]:
    """So many answers, asked for at the same moment."""
    barrier = threading.Barrier(count)

    def wait_and_ask(_number: int) -> bytes:
        barrier.wait()
        return ask()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(wait_and_ask, range(count)))


def test_many_first_requests_at_once_all_get_the_whole_callback_list(served: Served, tmp_path: Path) -> None:
    app = create_app(settings_in(tmp_path))
    with app.server.test_client() as client:
        whole = client.get("/_dash-dependencies").get_json()
    app._background_manager.backend.close()
    assert len(whole) > 15
    assert [len(json.loads(answer)) for answer in served.first] == [len(whole)] * FIRST
    assert len(set(served.first)) == 1


def test_the_procfiles_web_line_serves_two_people_the_same_page_from_two_processes(served: Served) -> None:
    layouts, lists = set(), set()
    for _ in range(12):
        layouts.add(get(served.settings, "/_dash-layout")[1])
        lists.add(get(served.settings, "/_dash-dependencies")[1])
    assert len(psutil.Process(served.process.pid).children()) == 2
    assert len(layouts) == len(lists) == 1


def test_the_procfile_names_the_worker_and_two_web_processes_by_default() -> None:
    assert shlex.split(procfile("worker")) == ["python", "-m", "dashboard", "worker"]
    assert "${WEB_CONCURRENCY:-2}" in procfile("web")
    assert "${PORT" in procfile("web")


def test_the_web_processes_map_no_torch(served: Served) -> None:
    for path in ("/", "/_dash-layout", "/health"):
        assert get(served.settings, path)[0].status == 200
    for worker in psutil.Process(served.process.pid).children():
        libraries = [mapped.path for mapped in worker.memory_maps()]
        assert any("numpy" in path for path in libraries)
        assert [path for path in libraries if "torch" in path] == []


def test_replies_are_compressed_and_kept_alive(served: Served) -> None:
    reply, body = get(served.settings, "/_dash-layout", {"Accept-Encoding": "gzip"})
    plain = get(served.settings, "/_dash-layout")[1]
    assert reply.getheader("Content-Encoding") == "gzip"
    assert len(body) < len(plain) / 2
    assert json.loads(gzip.decompress(body)) == json.loads(plain)
    connection = http.client.HTTPConnection("127.0.0.1", served.settings.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        connection.getresponse().read()
        kept = connection.sock
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        assert connection.sock is kept is not None


# one clear line where it cannot start


def serve(settings: Settings, command: str = "serve", **more: str) -> subprocess.CompletedProcess[str]:
    """`python -m dashboard serve` to its end; where it goes on serving, it is stopped."""
    with subprocess.Popen(
        [sys.executable, "-m", "dashboard", command],
        env=environment(settings, **more),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=20)
            return subprocess.CompletedProcess(process.args, process.returncode, out, err)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate()
            return subprocess.CompletedProcess(process.args, 0, out, "it went on serving: " + err)


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert all(word in line for word in words), line
    assert "Traceback" not in done.stdout + done.stderr


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.port))
        other.listen()
        assert_one_line(serve(settings), f"Port {settings.port}", "is in use", "PORT=")


def test_a_cache_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(port=free_port(), cache_dir=tmp_path / "file" / "sub", models_dir=tmp_path / "models")
    assert_one_line(serve(settings), str(tmp_path / "file" / "sub"), "cannot be written", "DASHBOARD_CACHE_DIR")


def test_missing_models_are_one_clear_line(tmp_path: Path) -> None:
    assert_one_line(serve(settings_in(tmp_path)), "model", "models fetch")


@pytest.mark.parametrize(("name", "raw"), [("PORT", "http"), ("PORT", "99999"), ("DASHBOARD_JOB_SECONDS", "soon")])
def test_a_setting_that_makes_no_sense_is_one_clear_line(tmp_path: Path, name: str, raw: str) -> None:
    assert_one_line(serve(settings_in(tmp_path), **{name: raw}), name)


def test_a_worker_alone_says_the_same_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(cache_dir=tmp_path / "file" / "sub")
    done = serve(settings, "worker")
    assert_one_line(done, "cannot be written")


def test_the_cache_folder_is_private(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    old = os.umask(0)
    try:
        app = create_app(settings)
    finally:
        os.umask(old)
    app._background_manager.backend.close()
    assert settings.cache_dir.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o077 for path in settings.cache_dir.iterdir() if path.is_dir()} == {
        "runs": 0,
        "queue": 0,
        "visitors": 0,
    }


# routes


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("routes"))


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[dash.Dash]:
    app = create_app(settings)
    yield app
    app._background_manager.backend.close()


@pytest.fixture
def client(app: dash.Dash) -> Iterator[FlaskClient]:
    with app.server.test_client() as client:
        yield client


@pytest.fixture(scope="module")
def run(settings: Settings) -> ModelRun:
    return save_run(settings, kind="causal", layers=3)


def test_health_says_what_there_is(client: FlaskClient) -> None:
    health = client.get("/health").get_json()
    assert health["status"] == "ok"
    assert health["worker"] == "none"
    assert health["queue"] == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+", health["version"])
    assert health["message"]


def test_exact_weights_are_those_of_the_run(client: FlaskClient, run: ModelRun) -> None:
    reply = client.get(f"/run/{run.key}/attention/2/1?from=0&to={len(run)}")
    found = np.frombuffer(reply.data, dtype="<f4").reshape(len(run), len(run))
    np.testing.assert_allclose(found, run.attention(2, 1), atol=1e-7)
    rows = client.get(f"/run/{run.key}/attention/2/1?from=2&to=4")
    np.testing.assert_array_equal(np.frombuffer(rows.data, dtype="<f4").reshape(2, len(run)), found[2:4])


def test_the_heads_are_one_picture(client: FlaskClient, run: ModelRun) -> None:
    reply = client.get(f"/run/{run.key}/heads")
    thumbnails = np.asarray(run.attention_of(None).thumbnails)
    layers, heads, rows, columns = thumbnails.shape
    assert struct.unpack("<II", reply.data[:8]) == (heads * columns, layers * rows)
    mosaic = np.frombuffer(zlib.decompress(reply.data[8:]), np.uint8).reshape(layers, rows, heads, columns)
    np.testing.assert_array_equal(mosaic.transpose(0, 2, 1, 3), thumbnails)


@pytest.mark.parametrize("path", ["attention/0/0?from=0&to=6", "attention/0/0?from=1&to=2", "heads"])
def test_what_never_changes_is_kept_by_the_browser(client: FlaskClient, run: ModelRun, path: str) -> None:
    address = f"/run/{run.key}/{path}{'&' if '?' in path else '?'}stamp={run.stamp}"
    reply = client.get(address)
    assert "immutable" in reply.headers["Cache-Control"]
    assert "private" in reply.headers["Cache-Control"]
    again = client.get(address, headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_different_numbers_have_different_tags(client: FlaskClient, run: ModelRun) -> None:
    weights = [
        f"attention/{place}" for place in ("0/0?from=0&to=6", "0/1?from=0&to=6", "1/0?from=0&to=6", "0/0?from=1&to=2")
    ]
    paths = (*weights, "heads")
    tags = {client.get(f"/run/{run.key}/{path}").headers["ETag"] for path in paths}
    assert len(tags) == len(paths)


@pytest.mark.parametrize("odd", ["%22", "%0A", "%C3%A9%E2%80%99"])
def test_the_order_of_the_heads_is_asked_for_again_and_may_be_asked_oddly(
    client: FlaskClient, run: ModelRun, odd: str
) -> None:
    address = f"/run/{run.key}/order?attention-grid=alike&x={odd}&stamp={run.stamp}"
    reply = client.get(address)
    assert (reply.status_code, reply.headers["Cache-Control"]) == (200, "private, no-cache")
    places = [tuple(place) for group in reply.json["groups"] for place in group]
    attention = run.attention_of()
    assert sorted(places) == [(i, j) for i in range(attention.layers) for j in range(attention.heads)]
    assert client.get(address, headers={"If-None-Match": reply.headers["ETag"]}).status_code == 304
    other = client.get(f"/run/{run.key}/order?attention-grid=score&heads-sort=self&stamp={run.stamp}")
    assert other.headers["ETag"] != reply.headers["ETag"]


ROWS = "?from=0&to=6"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/run/{NO_RUN}/attention/0/0{ROWS}", 404),
        (f"/run/{NO_RUN}/heads", 404),
        (f"/run/short/attention/0/0{ROWS}", 404),
        (f"/run/{'A' * 64}/heads", 404),
        (f"/run/KEY/attention/3/0{ROWS}", 400),
        (f"/run/KEY/attention/0/2{ROWS}", 400),
        (f"/run/KEY/attention/999999999999/0{ROWS}", 400),
        ("/run/KEY/attention/0/0", 400),
        ("/run/KEY/attention/0/0?from=-1&to=2", 400),
        ("/run/KEY/attention/0/0?from=3&to=3", 400),
        ("/run/KEY/attention/0/0?from=4&to=2", 400),
        ("/run/KEY/attention/0/0?from=0&to=7", 400),
        ("/run/KEY/attention/0/0?from=x&to=y", 400),
        (f"/run/KEY/attention/0/0?from=0&to={10**30}", 400),
    ],
)
def test_what_is_not_there_is_a_plain_line(client: FlaskClient, run: ModelRun, path: str, status: int) -> None:
    reply = client.get(path.replace("KEY", run.key))
    text = reply.get_data(as_text=True)
    assert (reply.status_code, reply.mimetype) == (status, "text/plain")
    assert len(text.splitlines()) == 1
    assert "<" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/run/KEY/attention/-1/0",
        "/run/KEY/attention/x/0",
        "/run/KEY/attention/0",
        "/run/KEY/heads.gif",
        "/run/..%2F..%2Fetc/heads",
    ],
)
def test_addresses_of_nothing_are_not_found(client: FlaskClient, run: ModelRun, path: str) -> None:
    reply = client.get(path.replace("KEY", run.key))
    assert (reply.status_code, reply.mimetype, reply.get_data(as_text=True)) == (404, "text/plain", no_page("/"))


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/index.html",
        "/run",
        "/run/KEY",
        "/show",
        "/export",
        "/recent/",
        "/.env",
        "/admin/login",
    ],
)
def test_only_what_exists_answers(client: FlaskClient, run: ModelRun, path: str) -> None:
    reply = client.get(path.replace("KEY", run.key))
    assert (reply.status_code, reply.mimetype, reply.get_data(as_text=True)) == (404, "text/plain", no_page("/"))


def test_the_page_and_its_files_answer(client: FlaskClient) -> None:
    page = client.get("/")
    assert (page.status_code, "_dash-config" in page.get_data(as_text=True)) == (200, True)
    for path in ("/_dash-layout", "/_dash-dependencies", "/_favicon.ico", "/assets/core.js", "/?run=abc", "/health"):
        with client.get(path) as reply:
            assert reply.status_code == 200, path


def test_headers_keep_other_sites_out(client: FlaskClient, run: ModelRun) -> None:
    for path in ("/", "/health", "/nothing", f"/run/{run.key}/heads", "/assets/core.js", "/_dash-layout"):
        with client.get(path) as reply:
            headers = reply.headers
        assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
        allowed = dict(item.split("=") for item in headers["Permissions-Policy"].split(", "))
        assert {name for name, who in allowed.items() if who != "()"} == {"clipboard-write"}
        assert {"camera", "microphone", "geolocation", "usb", "payment"} <= set(allowed)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"text": 3, "model": "smollm2-135m"}', 400),
        (b'{"text": "a"}', 400),
        (b'{"text": "a", "model": ["x"]}', 400),
        (b'{"text": "a", "model": "no such model"}', 404),
        (b'{"text": "a", "model": "../../etc"}', 404),
        (b"\xff\xfe", 400),
    ],
)
def test_a_count_of_garbage_is_refused_with_a_line(client: FlaskClient, body: bytes, status: int) -> None:
    reply = client.post("/count", data=body, content_type="application/json")
    assert reply.status_code == status
    assert len(reply.get_data(as_text=True).splitlines()) == 1


def test_a_count_is_known_for_nothing_and_unknown_for_too_much(client: FlaskClient) -> None:
    def count(text: str) -> object:
        return client.post("/count", json={"model": "smollm2-135m", "text": text}).get_json()

    assert count("") == {"tokens": 0}
    assert count("a") == {"tokens": None}, "the model is not here, so only the run can tell"
    assert count("a" * 1_900_000) == {"tokens": None, "too_long": True}


# callbacks with what no page of ours would send

GARBAGE: tuple[Any, ...] = (
    None,
    0,
    -1,
    "",
    "x",
    "<b>",
    True,
    [],
    {},
    [1],
    {"run": None},
    {"run": "x"},
    {"run": NO_RUN},
    {"run": NO_RUN, "token": 0, "layer": 0, "head": 0},
    {"run": "KEY"},
    {"run": "KEY", "token": 99, "layer": 0, "head": 0},
    {"run": "KEY", "token": 0, "layer": -1, "head": 0},
    {"run": "KEY", "token": 0, "layer": 0, "head": "x"},
    {"run": "KEY", "token": 0, "layer": 0, "head": 0, "second": 99},
    {"run": "KEY", "token": 0, "layer": 0, "head": 0, "second": {}},
    {"run": "KEY", "token": 1e300, "layer": 0, "head": 0},
    {"run": "KEY", "token": "9" * 5000, "layer": 0, "head": 0},
    {"run": "KEY", "token": 0, "layer": 0, "head": 0, "second_run": "x"},
    *({"wants": wants} for wants in (None, {}, "x", [None], [[]], [{}], [{}] * 99)),
    {"wants": [{"run": NO_RUN, "kind": "masked-prediction", "parameters": {"position": 0}}]},
    *(
        {"wants": [{"run": "KEY", "kind": kind, "parameters": {"position": 0}}]}
        for kind in (None, 3, "x", "../x", "masked-prediction")
    ),
    *(
        {"wants": [{"run": "KEY", "kind": "masked-prediction", "parameters": wrong}]}
        for wrong in (
            None,
            [],
            {},
            {"position": 99},
            {"position": True},
            {"position": "0"},
            {"position": 0, "more": 1},
            {"": 0},
        )
    ),
    {"error": 3, "run": 4},
)


def server_callbacks(client: FlaskClient) -> list[dict[str, Any]]:
    return [entry for entry in client.get("/_dash-dependencies").get_json() if not entry.get("clientside_function")]


def call(client: FlaskClient, entry: dict[str, Any], value: Any) -> Any:
    """One callback with the same value for everything that it reads."""
    parts = [part.rsplit(".", 1) for part in entry["output"].strip(".").split("...")]
    found = [{"id": identifier, "property": prop.split("@")[0]} for identifier, prop in parts]
    inputs = [{**item, "value": value} for item in entry["inputs"]]
    body = {
        "output": entry["output"],
        "outputs": found if entry["output"].startswith("..") else found[0],
        "inputs": inputs,
        "state": [{**item, "value": value} for item in entry["state"]],
        "changedPropIds": [f"{inputs[0]['id']}.{inputs[0]['property']}"],
    }
    return client.post("/_dash-update-component", json=body)


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: json.dumps(value)[:60])
def test_no_value_breaks_a_callback(client: FlaskClient, run: ModelRun, value: Any) -> None:
    value = json.loads(json.dumps(value).replace("KEY", run.key))
    entries = server_callbacks(client)
    assert len(entries) >= 4
    replies = {entry["output"]: call(client, entry, value) for entry in entries}
    assert {output: reply.status_code for output, reply in replies.items() if reply.status_code not in (200, 204)} == {}
    assert [output for output, reply in replies.items() if "Traceback" in reply.get_data(as_text=True)] == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"{}", b'{"output": "selection.data"}', b'{"output": 3, "inputs": 4}']
)
def test_a_broken_callback_request_never_shows_a_traceback(client: FlaskClient, body: bytes) -> None:
    reply = client.post("/_dash-update-component", data=body, content_type="application/json")
    assert (reply.status_code, reply.mimetype) == (400, "text/plain")
    assert "Traceback" not in reply.get_data(as_text=True)


# signals


@pytest.mark.parametrize(
    "on_ctrl_c", [signal.SIG_DFL, signal.SIG_IGN], ids=["in a terminal", "in a script's background"]
)
def test_serve_ends_web_and_worker_with_it(tmp_path: Path, on_ctrl_c: signal.Handlers) -> None:
    """Ctrl+C ends what a person started; in the background of a script, where it is not meant, SIGTERM does. Nothing
    stays."""
    models = Settings.from_env().models_folder
    if not (models / "smollm2-135m").is_dir():
        pytest.fail("The bundled models are missing: run make setup")
    settings = Settings(port=free_port(), cache_dir=tmp_path / "cache", models_dir=models)
    with started([sys.executable, "-m", "dashboard", "serve"], environment(settings), on_ctrl_c) as process:
        wait_for_port(settings, process)
        assert get(settings, "/health")[0].status == 200
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3
        process.send_signal(signal.SIGINT)
        if on_ctrl_c == signal.SIG_IGN:
            assert get(settings, "/health")[0].status == 200
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert psutil.wait_procs(family, timeout=10)[1] == []
