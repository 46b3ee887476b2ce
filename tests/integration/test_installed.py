"""The wheel, installed into an environment that knows nothing of the checkout: the command, a served page, a kernel."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.tiny_models import tiny

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
CELL = """\
import sys
import dashboard
assert "torch" not in sys.modules
run = dashboard.capture_run(dashboard.load_model(MODEL), "w1 w2 w3")
print(dashboard.__file__, dashboard.__version__, len(run))
shown = dashboard.show(run)
shown
"""


def built(folder: Path) -> Path:
    """The wheel, built from a copy: building writes beside the sources."""
    copy = folder / "copy"
    for name in ("dashboard", "assets"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*PIP, "wheel", *offline, "--wheel-dir", str(folder), str(copy)], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment, `clean`, that has the wheel and borrows what that needs from the tests' own; and a
    model."""
    folder = tmp_path_factory.mktemp("installed")
    wheel, clean = built(folder), folder / "clean"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(clean)], check=True)
    libraries = clean / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # .pth files of a folder that a .pth file adds are not read: the checkout's editable install is unknown there
    (libraries / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run(
        [*PIP, "--python", str(clean / "bin" / "python"), "install", "--no-index", "--no-deps", str(wheel)], check=True
    )
    loaded = tiny("gpt2")
    loaded.model.save_pretrained(folder / "models" / "small")
    loaded.tokenizer.save_pretrained(folder / "models" / "small")
    return folder


@pytest.fixture
def environment(place: Path, tmp_path: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("DASHBOARD_")
    }
    own = {"DASHBOARD_CACHE_DIR": str(tmp_path / "cache"), "DASHBOARD_MODEL_FOLDERS": str(place / "models")}
    return (
        kept
        | own
        | {
            "DASHBOARD_MODELS_DIR": str(tmp_path / "bundled"),
            "DASHBOARD_DEFAULT_MODEL": "folder:models/small",
            "PATH": f"{place / 'clean' / 'bin'}:{os.environ['PATH']}",
        }
    )


def test_the_wheel_holds_the_page(place: Path) -> None:
    libraries = next((place / "clean" / "lib").glob("python*")) / "site-packages" / "dashboard"
    missing = [
        str(path.relative_to(ROOT))
        for top in (ROOT / "dashboard", ROOT / "assets")
        for path in top.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not (libraries / path.relative_to(ROOT / "dashboard" if top.name == "dashboard" else ROOT)).is_file()
    ]
    assert missing == []


def test_the_command_lists_the_models_from_any_folder(environment: dict[str, str], tmp_path: Path) -> None:
    def said(*command: str) -> str:
        return subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert "folder:models/small" in said("transformer-dashboard", "models")
    assert "is here" in said("transformer-dashboard", "models", "fetch", "folder:models/small")
    assert said("transformer-dashboard", "--help").startswith("usage: transformer-dashboard ")


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a server that the command has started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["transformer-dashboard", "serve"]
    process = subprocess.Popen(command, env=environment | {"PORT": str(port)}, cwd=tmp_path, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def fetched(address: str, patience: float = 0) -> bytes:
    until = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as reply:
                return bytes(reply.read())
        except URLError:
            if time.monotonic() > until:
                raise
        time.sleep(0.2)


def test_the_command_serves_the_page_with_its_assets(served: str) -> None:
    page = fetched(served, patience=120).decode()
    assets = re.findall(r'"(/assets/[^"?]+)', page)
    scripts = {f"/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "assets").rglob("*.js")}
    assert scripts <= set(assets)
    for asset in assets:
        assert fetched(served.rstrip("/") + asset) == (ROOT / asset.lstrip("/")).read_bytes()


def test_a_notebook_in_any_folder_shows_a_run(place: Path, environment: dict[str, str], tmp_path: Path) -> None:
    kernels = tmp_path / "jupyter" / "kernels" / "clean"
    kernels.mkdir(parents=True)
    argv = [str(place / "clean" / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(
        f'{{"argv": {argv!r}, "display_name": "clean", "language": "python"}}'.replace("'", '"')
    )
    code = CELL.replace("MODEL", repr(str(place / "models" / "small")))
    asks = "import urllib.request\nprint(urllib.request.urlopen(shown.url).status)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell(asks)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        client = NotebookClient(
            notebook, timeout=240, kernel_name="clean", resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute(env=environment)
    first, second = notebook.cells
    printed = "".join(output.text for output in first.outputs if output.output_type == "stream")
    assert printed.startswith(str(place / "clean"))
    assert printed.split()[-1] == "3"
    assert "<iframe" in first.outputs[-1].data["text/html"]
    assert second.outputs[0].text.strip() == "200"
