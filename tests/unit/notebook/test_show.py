"""A run's linked page in a notebook: who may show it, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, BadSelectionError, ModelError, SettingsError
from dashboard.notebook import linked_page
from dashboard.notebook.linked_page import FOLDER, LOCK, show
from dashboard.settings import Settings
from tests.support.synthetic import make_run


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary folders of these tests alone; every server has ended after each."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    linked_page._end_all()
    assert folders(tmp_path) == []


def folders(place: Path) -> list[Path]:
    return sorted(place.glob(f"{FOLDER}*"))


def get(url: str) -> tuple[int, dict[str, str], str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status, dict(reply.headers), reply.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode("utf-8", "replace")


def ancestors(url: str) -> list[str]:
    policy = get(url)[1]["Content-Security-Policy"]
    return next(rule.split()[1:] for rule in policy.split("; ") if rule.startswith("frame-ancestors"))


class Frame(HTMLParser):
    """The attributes of the one frame in a page's HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "iframe":
            self.found.append(dict(attrs))


def test_a_run_has_a_page_on_this_machine_alone() -> None:
    run = make_run("causal")
    page = show(run, token=2, layer=1, head=0, second=1, height=700)
    assert re.fullmatch(
        rf"http://127\.0\.0\.1:{page.port}/[\w-]{{20,}}/\?run={run.key}&token=2&second=1&layer=1&head=0", page.url
    )
    status, _headers, body = get(page.url)
    assert (status, "<title>Transformer dashboard</title>" in body) == (200, True)
    (frame,) = Frame(page._repr_html_()).found
    assert (frame["src"], frame["width"], frame["height"]) == (page.url, "100%", "700")
    assert page._server._server.server_address[0] == "127.0.0.1"
    assert page.url in repr(page)


def test_nobody_finds_it_without_its_path() -> None:
    page = show(make_run("causal"))
    for path in ("", "health", "_dash-layout", f"run/{page.run.key}/heads"):
        assert get(f"http://127.0.0.1:{page.port}/{path}")[0] == 404
        assert get(f"http://127.0.0.1:{page.port}{page._server.path}{path}")[0] == 200


def test_pages_of_this_machine_may_stand_around_it_and_no_others() -> None:
    own = ancestors(show(make_run("causal")).url)
    assert own == ["'self'", *linked_page.NOTEBOOKS]
    assert {"http://localhost:*", "http://127.0.0.1:*"} <= set(own)
    assert "*" not in own
    assert not any(source in own for source in ("http:", "https:", "data:"))
    other = show(make_run("causal"), origins=["https://*.notebooks.example:8443"])
    assert ancestors(other.url) == [*own, "https://*.notebooks.example:8443"]


@pytest.mark.parametrize(
    "origin", ["*", "https://a.example; script-src *", "https://a.example/path", "a.example", "'self'", "https:\n"]
)
def test_an_origin_is_an_origin(origin: str) -> None:
    with pytest.raises(BadRequestError, match="origin"):
        show(make_run("causal"), origins=[origin])


def test_one_server_serves_all_cells() -> None:
    first, second = make_run("causal"), make_run("encoder", layers=3, model="other")
    pages = [show(first), show(first), show(second)]
    assert len({page.port for page in pages}) == 1
    assert all(get(page.url)[0] == 200 for page in pages)
    assert len(folders(Path(linked_page.tempfile.gettempdir()))) == 1


def test_a_closed_page_is_gone_and_the_last_takes_the_server_along(places: Path) -> None:
    first, second = show(make_run("causal")), show(make_run("encoder", layers=3, model="other"))
    picture = f"run/{first.run.key}/heads"
    assert get(first._server.address + picture)[0] == 200
    first.close()
    first.close()
    assert get(first._server.address + picture)[0] == 404
    assert get(second.url)[0] == 200
    second.close()
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get(second.url)
    assert folders(places) == []
    again = show(first.run)
    assert get(again.url)[0] == 200
    assert again._server is not first._server


def test_two_cells_of_one_run_live_and_end_apart(places: Path) -> None:
    first, second = show(make_run("causal"), token=1), show(make_run("causal"), token=2)
    picture = f"{first._server.address}run/{first.run.key}/heads"
    for _ in range(2):  # closing twice does nothing
        first.close()
    assert get(picture)[0] == 200
    assert get(second.url)[0] == 200
    second.close()
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get(second.url)
    second.close()
    assert folders(places) == []


def test_a_connection_that_is_kept_open_gets_nothing_after_the_end() -> None:
    page = show(make_run("causal"))
    server = page._server
    page.close()
    said: list[str] = []
    body = b"".join(server._answer({}, lambda status, headers: said.append(status)))
    assert said == ["410 Gone"]
    assert b"Run its cell again" in body


def test_what_is_kept_is_for_this_user_alone(places: Path) -> None:
    show(make_run("causal"))
    (folder,) = folders(places)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_killed_kernels_left_is_removed_and_what_lives_stays(places: Path) -> None:
    dead = places / f"{FOLDER}dead"
    (dead / "runs").mkdir(parents=True)
    (dead / LOCK).write_bytes(b"")
    starting = places / f"{FOLDER}starting"  # has no lock yet
    starting.mkdir()
    living, lock = linked_page.private_folder()
    assert not dead.exists()
    show(make_run("causal"))
    assert living.exists()
    assert starting.exists()
    lock.close()
    show(make_run("causal"), origins=["https://a.example"])
    assert not living.exists()
    starting.rmdir()


def test_a_proxy_is_where_the_browser_asks() -> None:
    page = show(make_run("causal"), proxy="/user/me/proxy/{port}/")
    assert page.url == f"/user/me/proxy/{page.port}{page.path}"
    body = get(f"http://127.0.0.1:{page.port}{page.path}")[2]
    config = re.search(r'id="_dash-config"[^>]*>(.*?)</script>', body)
    assert config is not None
    assert json.loads(config[1])["requests_pathname_prefix"] == f"/user/me/proxy/{page.port}{page._server.path}"
    assert f'src="/user/me/proxy/{page.port}{page._server.path}assets/' in body


@pytest.mark.parametrize("proxy", ["proxy/{port}", "https://a.example/", '/"onload=', ""])
def test_a_proxy_is_a_path(proxy: str) -> None:
    with pytest.raises(BadRequestError, match="proxy"):
        show(make_run("causal"), proxy=proxy)


def test_a_port_that_is_taken_is_said() -> None:
    page = show(make_run("causal"))
    with pytest.raises(SettingsError, match=f"Port {page.port} "):
        show(make_run("causal"), port=page.port)


@pytest.mark.parametrize(
    ("place", "what"),
    [({"token": 6}, "token 6"), ({"second": -1}, "token -1"), ({"layer": 2}, "layer 2"), ({"head": 9}, "head 9")],
)
def test_a_place_that_is_not_there_is_refused(place: dict[str, int], what: str) -> None:
    with pytest.raises(BadSelectionError, match=what):
        show(make_run("causal"), **place)  # type: ignore[arg-type]


def test_the_old_name_of_the_second_token_still_works() -> None:
    with pytest.warns(DeprecationWarning, match=r"show\(second=…\)"):
        page = show(make_run(), token=2, other=1)
    assert page.url.endswith("&token=2&second=1")
    page.close()


def test_only_a_run_is_shown() -> None:
    with pytest.raises(BadRequestError, match="list"):
        show([])  # type: ignore[arg-type]


def test_another_model_is_refused() -> None:
    run = make_run("masked")
    run = ModelRun({**run.header, "fingerprint": "a" * 64}, run.arrays)
    other: Any = SimpleNamespace(fingerprint="b" * 64, info=SimpleNamespace(title="Other"))
    with pytest.raises(ModelError, match="Other is not the model"):
        show(run, other)


def test_nothing_of_it_is_in_the_persons_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DASHBOARD_CACHE_DIR", str(tmp_path / "own"))
    show(make_run("causal"))
    assert not (Settings.from_env().cache_dir).exists()


def test_the_page_of_a_pair_has_both_texts() -> None:
    page = show(make_run("masked", second_at=3))
    body = {
        "output": "run-info.data",
        "outputs": {"id": "run-info", "property": "data"},
        "inputs": [
            {"id": "submitted-run", "property": "data"},
            {"id": "address", "property": "data", "value": {"run": page.run.key}},
        ],
        "state": [{"id": "selection", "property": "data"}],
        "changedPropIds": ["address.data"],
    }
    address, kind = f"{page._server.address}_dash-update-component", {"Content-Type": "application/json"}
    asked = urllib.request.Request(address, json.dumps(body).encode(), kind)
    with urllib.request.urlopen(asked, timeout=10) as reply:
        info = json.load(reply)["response"]["run-info"]["data"]
    assert (info["text"], info["pair"], info["divider"]) == ("The cat sat", " on it.", 3)
