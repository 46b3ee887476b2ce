"""The application below a path, whether the proxy in front takes the path away or leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from dashboard.settings import Settings
from dashboard.web.app import Embedding, create_app
from dashboard.web.below_path import below


def inner(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [f"{environ.get('SCRIPT_NAME', '')}|{environ['PATH_INFO']}".encode()]


def ask(path: str, asked: str, query: str = "") -> tuple[str, dict[str, str], str]:
    """Status, headers and body of an answer."""
    found: list[Any] = []
    environ = {"PATH_INFO": asked, "QUERY_STRING": query}
    body = b"".join(below(inner, path)(environ, lambda status, headers: found.extend([status, dict(headers)])))
    return found[0], found[1], body.decode()


@pytest.mark.parametrize(
    ("asked", "rest"),
    [
        ("/tools/dash/", "/"),
        ("/tools/dash/health", "/health"),
        ("/tools/dash/tools/dash/x", "/tools/dash/x"),
        ("/", "/"),
        ("/health", "/health"),
        ("/tools/dashes", "/tools/dashes"),
        ("/tools", "/tools"),
    ],
)
def test_the_path_is_taken_away_where_it_is(asked: str, rest: str) -> None:
    assert ask("/tools/dash/", asked) == ("200 OK", {}, f"/tools/dash|{rest}")


def test_without_its_last_slash_it_leads_to_the_page() -> None:
    status, headers, body = ask("/tools/dash/", "/tools/dash", "run=abc&token=1")
    assert (status[:3], headers["Location"], body) == ("308", "/tools/dash/?run=abc&token=1", "")


def test_at_the_root_nothing_is_between() -> None:
    assert below(inner, "/") is inner


@pytest.mark.parametrize("asked", ["/tools/dash/nothing", "/nothing"], ids=["path left", "path taken away"])
def test_an_address_of_nothing_names_the_pages_own_path(asked: str, tmp_path: Path) -> None:
    app = create_app(Settings(cache_dir=tmp_path, public_path="tools/dash"))
    with app.server.test_client() as client:
        reply = client.get(asked)
        assert (reply.status_code, reply.mimetype) == (404, "text/plain")
        [place] = [word.strip(",.") for word in reply.get_data(as_text=True).split() if word.startswith("/")]
        assert place == "/tools/dash/"
        assert "_dash-config" in client.get(place).get_data(as_text=True)


def test_a_page_inside_another_names_the_path_that_a_browser_finds_it_at(tmp_path: Path) -> None:
    inside = Embedding(lambda *_: None, (), path="/secret/", public_path="/proxy/8051/secret/")
    with create_app(Settings(cache_dir=tmp_path), inside).server.test_client() as client:
        words = client.get("/secret/nothing").get_data(as_text=True)
    assert "Open /proxy/8051/secret/, where" in words
