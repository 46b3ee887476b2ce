"""Below a path behind nginx: the documented example with TLS and sign-in, and a notebook's page, with real requests."""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path

import pytest

from dashboard.notebook.linked_page import show
from dashboard.settings import Settings
from dashboard.store.visits import COOKIE
from tests.integration.test_web import environment, procfile, save_run, settings_in, started, wait_for_port
from tests.support.nginx import in_front, location
from tests.support.server import free_port
from tests.support.synthetic import make_run

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "nginx-below-a-path.conf"
PATH, NAME = "/tools/dash/", "tools.team.example"
SIGNED_IN = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    text: str


class _Stay(urllib.request.HTTPRedirectHandler):
    """Does not follow redirects."""

    def redirect_request(self, *_all: object) -> None:
        return None


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A server that is told its path and its name."""
    found = settings_in(tmp_path_factory.mktemp("behind"), public_path=PATH, hosts=NAME)
    told = {"DASHBOARD_PUBLIC_PATH": PATH, "DASHBOARD_HOSTS": NAME}
    with started(["sh", "-c", "exec " + procfile("web")], environment(found, HOST="127.0.0.1", **told)) as process:
        wait_for_port(found, process)
        yield found


class Front:
    """The documented nginx, on ports of its own, with a certificate of the test's."""

    def __init__(self, folder: Path, target: int, keeps: bool) -> None:
        self.http, self.port, self.folder = free_port(), free_port(), folder
        self.certificate = folder / "name.pem"
        key = folder / "name.key"
        subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", *subject, "-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        (folder / "passwords").write_text("ann:{PLAIN}secret\n", encoding="utf-8")
        replaced = {
            "listen 80;": f"listen 127.0.0.1:{self.http};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/etc/nginx/tools.team.example.pem": str(self.certificate),
            "/etc/nginx/tools.team.example.key": str(key),
            "/etc/nginx/dashboard.htpasswd;": f"{folder / 'passwords'};",
            "http://127.0.0.1:8050;   #": f"http://127.0.0.1:{target}{'' if keeps else '/'};   #",
            "http://127.0.0.1:8050;\n": f"http://127.0.0.1:{target};\n",
        }
        self.servers = EXAMPLE.read_text(encoding="utf-8")
        for written, ours in replaced.items():
            assert self.servers.count(written) == 1, written
            self.servers = self.servers.replace(written, ours)

    def ask(self, path: str, headers: dict[str, str] | None = None, tls: bool = True) -> Answer:
        """Ask as a browser that trusts the certificate; the host's name leads to this machine."""
        trusting = ssl.create_default_context(cafile=str(self.certificate))
        trusting.check_hostname = False  # the address of the request is this machine's
        opener = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=trusting))
        address = f"https://127.0.0.1:{self.port}" if tls else f"http://127.0.0.1:{self.http}"
        request = urllib.request.Request(address + path, headers={"Host": NAME, **(headers or {})})
        try:
            reply = opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            return Answer(reply.status, reply.headers, reply.read().decode("utf-8", "replace"))


@pytest.mark.parametrize("keeps", [True, False], ids=["path left", "path taken away"])
def test_the_documented_example_with_tls_and_sign_in(settings: Settings, tmp_path: Path, keeps: bool) -> None:
    front = Front(tmp_path, settings.port, keeps)
    run = save_run(settings, texts=["A", " bank"])
    with in_front(front.servers, front.port, tmp_path):
        assert front.ask(PATH).status == 401
        wrong = {"Authorization": "Basic " + base64.b64encode(b"ann:wrong").decode()}
        assert front.ask(f"{PATH}export/run.npz?run={run.key}&token=0&layer=0&head=0", wrong).status == 401
        monitored = front.ask(f"{PATH}health")
        assert monitored.status == 200
        assert "worker" in json.loads(monitored.text)

        page = front.ask(PATH, SIGNED_IN)
        assert page.status == 200
        assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
        config = re.search(r'<script id="_dash-config"[^>]*>(.*?)</script>', page.text)
        assert config is not None
        assert json.loads(config[1])["requests_pathname_prefix"] == PATH
        for address in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
            assert address.startswith(PATH), address
        script = next(name for name in re.findall(r'src="([^"]+)"', page.text) if "core" in name)
        assert front.ask(script, SIGNED_IN).status == 200

        layout = front.ask(f"{PATH}_dash-layout", SIGNED_IN)
        cookie = layout.headers["Set-Cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        assert f"Path={PATH}" in cookie
        assert "Secure" in cookie
        referer = {"Referer": f"https://{NAME}{PATH}", "Sec-Fetch-Site": "same-origin", **SIGNED_IN}
        report = front.ask(f"{PATH}export/report.html?run={run.key}&token=0&layer=0&head=0", referer)
        assert f"https://{NAME}{PATH}?run={run.key}" in report.text
        assert front.ask("/tools/dash?run=x", SIGNED_IN).headers["Location"].endswith(f"{PATH}?run=x")
        moved = front.ask(f"{PATH}?run=x", tls=False)
        assert (moved.status, moved.headers["Location"]) == (301, f"https://{NAME}{PATH}?run=x")


@pytest.mark.parametrize("keeps", [True, False], ids=["path left", "path taken away"])
def test_a_notebooks_page_behind_nginx(tmp_path: Path, keeps: bool) -> None:
    shown = show(make_run("causal"), proxy="/user/ann/proxy/{port}")
    port, below = free_port(), f"/user/ann/proxy/{shown.port}/"
    servers = f"server {{ listen 127.0.0.1:{port};\n{location(below, shown.port, keeps)} }}"
    assert shown.url.startswith(below)
    try:
        with in_front(servers, port, tmp_path) as nginx:

            def ask(path: str) -> str:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as reply:
                    return str(reply.read().decode())

            page = ask(shown.url)
            addresses = [found for found in re.findall(r'(?:src|href)="(/[^"]+)"', page) if "://" not in found]
            assert addresses
            assert all(address.startswith(below) for address in addresses)
            ask(next(address for address in addresses if "core" in address))
            root = shown.url.partition("?")[0]
            assert "_dash-layout" in page or json.loads(ask(f"{root}_dash-layout"))
            query = f"run={make_run('causal').key}&token=1&layer=0&head=0"
            assert json.loads(ask(f"{root}show/figure/attention?{query}"))["data"]
            assert ask(f"{root}export/report.html?{query}").startswith("<!DOCTYPE html>")
            assert nginx.failed() == []
    finally:
        shown.close()
