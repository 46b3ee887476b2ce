"""Clients that send or read slowly, many at a time, at the Procfile's web processes: everybody else is answered."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dashboard.settings import Settings
from dashboard.store.visits import COOKIE, VisitorLists
from tests.integration.test_web import environment, get, procfile, save_run, settings_in, started, wait_for_port
from tests.support.nginx import in_front
from tests.support.server import free_port

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
THREADS = 4
MANY = 3 * THREADS
POST = b"POST /count HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
LARGE = "/_dash-component-suites/plotly/package_data/plotly.min.js"
LIMITS = {"DASHBOARD_REQUEST_SECONDS": "1.5", "DASHBOARD_SEND_SECONDS": "1.5"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A server as on a team's machine, with one process of few threads and short limits."""
    found = settings_in(tmp_path_factory.mktemp("slow"), web_threads=THREADS, request_seconds=1.5, send_seconds=1.5)
    command = ["sh", "-c", "exec " + procfile("web")]
    with started(command, environment(found, HOST="127.0.0.1", WEB_CONCURRENCY="1", **LIMITS)) as process:
        wait_for_port(found, process)
        yield found


@pytest.fixture
def connections(settings: Settings) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", settings.port))) for _ in range(MANY)]


def wait_for_the_end(connection: socket.socket) -> None:
    """Until the server has ended the connection; `TimeoutError` where it does not. What it sent before is read."""
    connection.settimeout(30)
    with suppress(ConnectionError):
        while connection.recv(65536):
            continue


def answered(settings: Settings) -> bool:
    return get(settings, "/health")[0].status == 200


def test_connections_on_which_nothing_is_sent_hold_no_thread(
    settings: Settings, connections: list[socket.socket]
) -> None:
    assert answered(settings)
    connections[0].sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert connections[0].recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "part",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        POST + b"Content-Length: 500\r\n\r\n{",
        POST.replace(b"/count", b"/_dash-update-component") + b"Content-Length: 500\r\n\r\n{",
    ],
    ids=["headers", "body", "callback"],
)
def test_half_sent_requests_end_and_others_are_answered(
    settings: Settings, connections: list[socket.socket], part: bytes
) -> None:
    for connection in connections:
        connection.sendall(part)
    assert answered(settings)
    for connection in connections:
        wait_for_the_end(connection)


def test_a_request_that_trickles_ends_although_it_moves(settings: Settings, connections: list[socket.socket]) -> None:
    connection = connections[0]
    connection.sendall(POST + b"Content-Length: 500\r\n\r\n")

    def trickle() -> None:
        for _ in range(300):
            connection.sendall(b" ")
            time.sleep(0.1)

    with pytest.raises(ConnectionError):
        trickle()


def test_a_slow_request_that_is_whole_in_time_is_answered(settings: Settings, connections: list[socket.socket]) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    for start in range(0, len(request), 20):
        connections[0].sendall(request[start : start + 20])
        time.sleep(0.05)
    assert connections[0].recv(12) == b"HTTP/1.1 200"


def test_unread_answers_end_and_others_are_answered(settings: Settings, connections: list[socket.socket]) -> None:
    """Each asks for more than the system's buffers take, and reads nothing."""
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert all(answered(settings) for _ in range(3))


def test_an_answer_that_is_read_slowly_comes_whole(settings: Settings) -> None:
    whole = get(settings, LARGE)[1]
    assert len(whole) > 1_000_000
    with socket.create_connection(("127.0.0.1", settings.port)) as connection:
        connection.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        found = bytearray()
        for wait in np.linspace(0.4, 0, 12):  # longer than the limit in all
            time.sleep(wait)
            found += connection.recv(1 << 16)
        while piece := connection.recv(1 << 20):
            found += piece
    assert bytes(found).endswith(whole[-1000:])
    assert len(found) > len(whole)


# behind nginx, as docs/nginx.conf has it


@pytest.fixture
def front(settings: Settings, tmp_path: Path) -> Iterator[int]:
    """The port of an nginx in front of the server, with the documented configuration."""
    port = free_port()
    server = (ROOT / "docs" / "nginx.conf").read_text(encoding="utf-8")
    for written, ours in (
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("127.0.0.1:8050", f"127.0.0.1:{settings.port}"),
    ):
        assert server.count(written) == 1
        server = server.replace(written, ours)
    with in_front(server.replace("client_body_timeout 10s", "client_body_timeout 2s"), port, tmp_path):
        yield port


def test_nginx_takes_slow_clients_upon_itself(settings: Settings, front: int) -> None:
    behind = replace(settings, port=front)
    assert answered(behind)
    half = POST + b"Content-Length: 500\r\n\r\n{"
    with ExitStack() as stack:
        for _ in range(MANY):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", front)))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(half)
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", front)))
            reader.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert all(answered(behind) for _ in range(3))
        assert answered(settings)
    assert len(get(behind, LARGE)[1]) == len(get(settings, LARGE)[1])


def test_behind_nginx_a_page_changes_its_list_and_a_report_has_its_address(settings: Settings, front: int) -> None:
    """Over plain HTTP a browser sends no `Sec-Fetch-Site`: the page is known by its origin, with the port."""
    run, lists, behind = (
        save_run(settings, texts=["A", " bank"]),
        VisitorLists.from_settings(settings),
        replace(settings, port=front),
    )
    cookie = get(behind, "/_dash-layout")[0].getheader("Set-Cookie", "").split(";")[0]
    visitor = lists.visitor_in({COOKIE: cookie.removeprefix(f"{COOKIE}=")})
    assert visitor is not None
    lists.opened(visitor, run.key)

    def change(method: str, origin: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=60)
        headers = {"Origin": origin, "Cookie": cookie, "Content-Type": "application/json"}
        connection.request(method, f"/recent/{run.key}", json.dumps({"name": "mine", "pinned": True}), headers)
        reply = connection.getresponse()
        said = reply.status, reply.read().decode()
        connection.close()
        return said

    for elsewhere in (f"http://127.0.0.1:{front + 1}", "http://127.0.0.1", f"http://evil.example:{front}"):
        assert change("POST", elsewhere)[0] == 400
    status, said = change("POST", f"http://127.0.0.1:{front}")
    assert (status, json.loads(said)) == (200, {"key": run.key, "name": "mine", "pinned": True})
    _reply, page = get(behind, f"/export/report.html?run={run.key}&token=0&layer=0&head=0")
    assert f"http://127.0.0.1:{front}/?".encode() in page
    assert change("DELETE", f"http://127.0.0.1:{front}")[0] == 200
