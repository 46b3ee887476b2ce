"""README and docs say what is so: settings, models, commands, files, messages and limits; every example compiles."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

import dashboard.settings
import dashboard.views
from dashboard.catalog.bundled import BUNDLED, WHEELS
from dashboard.catalog.hub import HUB_MODELS
from dashboard.cli import main
from dashboard.contracts.context import Context
from dashboard.contracts.request import CaptureOptions
from dashboard.contracts.selection import Selection
from dashboard.exports.cells import LARGEST_SIDE, MOST_CELLS
from dashboard.figures.attention import LARGEST_HEATMAP, LARGEST_PICTURE, POSITIONS_ABOVE
from dashboard.settings import RENAMED, Settings, environ_name
from dashboard.store.run_store import RunStore
from dashboard.views import all_views
from dashboard.web.app import create_app
from tests.support.synthetic import array_of, make_run, words_in

FOLDERS = {"dashboard/", "families/", "routes/", "attention/", "hidden_states/", "predictions/"}  # the others it names
ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(DOCS.rglob("*.md")))
BLOCK = re.compile(r"(?:<!-- runs: (?P<how>[\w/.-]+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.S)
RUN_BY_A_TEST = {
    *("models", "notebook", "views/received.py", "families/granitemoe.py"),
    *("captured/query_norms.py", "captured/mlp_norms.py", "upgrades/line", "views/query_norms.py"),
    *("compute/shorter_context.py", "views/shorter_context.py", "synthetic/results"),
}
NAMED_HOSTS = {"pytorch.org", "127.0.0.1"}
IN_WORDS = {
    "hosts": "not set",
    "models_dir": "models",
    "cache_gigabytes": "runs, exports and three of the largest models",
    "model_folders": "none",
    "model_gigabytes": "80 % of the memory",
    "worker_threads": "number of cores",
    "worker_gigabytes": "80 % of the memory",
    "web_gigabytes": "40 % of the memory",
}  # defaults that depend on the machine


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, str | None, str]]:
    """(page, how it is run, code) of each block of code."""
    found = [(str(page.relative_to(ROOT)), match) for page in PAGES for match in BLOCK.finditer(read(page))]
    return [(page, match["how"], match["code"]) for page, match in found if match["language"] == language]


def table_rows(text: str) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def prose(text: str) -> str:
    """The text in one line, whatever its line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize("item", dataclasses.fields(Settings), ids=lambda item: item.name)
def test_every_setting_stands_in_the_table_with_its_default(
    item: dataclasses.Field[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    rows = [row for row in table_rows(read(DOCS / "settings.md")) if row[0] == f"`{environ_name(item)}`"]
    assert len(rows) == 1
    default = getattr(Settings(), item.name)
    if item.name in IN_WORDS:
        assert IN_WORDS[item.name] in rows[0][1]
    elif isinstance(default, Path):
        assert rows[0][1] == f"`~/{default.relative_to(Path.home())}`"
    else:
        assert rows[0][1] == f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


SIZES = [item.name for item in dataclasses.fields(Settings) if item.name.endswith("_gigabytes")]


@pytest.mark.parametrize("memory", [16, 0.5])
@pytest.mark.parametrize("name", SIZES)
def test_every_size_has_its_default_as_a_number(name: str, memory: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, from what the table says: with 16 GB of memory, as its example has it, and with too little."""
    monkeypatch.setattr(dashboard.settings, "memory_bytes", lambda: int(memory * 1e9))
    made = Settings()
    number = made.cache_bytes / 1e9 if name == "cache_gigabytes" else getattr(made, name)
    [row] = [row for row in table_rows(read(DOCS / "settings.md")) if row[0] == f"`{environ_name_of(name)}`"]
    if memory == 16:
        [told] = re.findall(r"16 GB(?: of memory)?: ([\d.]+)", row[1]) or [row[1].strip("`")]
        assert number == pytest.approx(float(told))
    share = re.match(r"(\d+) % of the memory", row[1])
    if share is not None:
        least, most = (re.search(rf"at {word} ([\d.]+)", row[1]) for word in ("least", "most"))
        wanted = float(share[1]) / 100 * memory
        wanted = min(wanted, float(most[1])) if most else wanted
        assert number == pytest.approx(max(wanted, float(least[1])) if least else wanted)
    if name == "cache_gigabytes":
        [floor] = re.findall(r"at least (\d+) for the models", row[1])
        assert number == pytest.approx(
            made.store_gigabytes + made.export_gigabytes + max(float(floor), 3 * made.model_gigabytes)
        )


def environ_name_of(name: str) -> str:
    return next(environ_name(item) for item in dataclasses.fields(Settings) if item.name == name)


@pytest.mark.parametrize("name", ["HOST", "PORT"])
def test_the_procfiles_own_defaults_are_said(name: str) -> None:
    [default] = re.findall(rf"\$\{{{name}:-([^}}]*)\}}", read(ROOT / "Procfile"))
    [row] = [row for row in table_rows(read(DOCS / "settings.md")) if row[0] == f"`{name}`"]
    same = row[1] == f"`{default}`" and "the `Procfile` has the same default" in row[2]
    assert same or f"the `Procfile`'s own default is `{default}`" in row[2]


def test_the_table_has_no_setting_that_is_not() -> None:
    known = {environ_name(item) for item in dataclasses.fields(Settings)} | set(RENAMED)
    named = set(re.findall(r"DASHBOARD_[A-Z_]+", " ".join(read(page) for page in PAGES)))
    assert named <= known


@pytest.mark.parametrize("model", BUNDLED, ids=lambda model: model.name)
def test_bundled_models_stand_in_the_table(model: Any) -> None:
    row = next(row for row in table_rows(read(ROOT / "README.md")) if f"`{model.name}`" in row[0])
    assert model.title in row[0]
    assert row[2] == f"{model.layers} × {model.heads}"
    assert row[3] == f"{model.parameters / 1e6:.1f} M"
    assert row[4] == f"{model.limit:,}"
    wheel = WHEELS[model.name]
    assert row[6:8] == [f"`{wheel.package}=={wheel.version}`", f"{model.megabytes} MB"]


def test_downloads_add_up() -> None:
    assert f"({sum(model.megabytes for model in BUNDLED)} MB)" in prose(read(ROOT / "README.md"))


@pytest.mark.parametrize("model", HUB_MODELS, ids=lambda model: model.name)
def test_hub_models_are_named_with_their_size(model: Any) -> None:
    assert f"`{model.name}` ({model.megabytes:,})" in prose(read(DOCS / "models.md"))


def test_limits_are_the_codes() -> None:
    text = prose(" ".join(read(DOCS / page) for page in ("using-the-page.md", "saving.md", "numbers.md")))
    assert (
        f"With more than {POSITIONS_ABOVE} tokens, you can drag over the heatmap, the points or a path to zoom in"
        in text
    )
    assert f"Above {LARGEST_HEATMAP} tokens the exported heatmap is a" in text
    assert f"For more than {LARGEST_SIDE} tokens, an SVG holds the cells as one image" in text
    assert f"for *All heads*, above {MOST_CELLS:,} cells" in text
    assert f"above {LARGEST_PICTURE} each pixel shows the largest weight it covers" in text
    assert f"the {CaptureOptions().top_k} likeliest are kept" in text


def test_every_key_stands_in_the_table_and_in_the_dialogs_list() -> None:
    """The dialog of assets/components/keyboard.js and docs/using-the-page.md say the same of the same keys."""
    source = read(ROOT / "assets" / "components/keyboard.js")
    found = re.findall(r'show: "([^"]+)",(?:\s+also: "([^"]+)",)?\s+does: "([^"]+)"', source)
    assert len(found) == len(re.findall(r"\{\s+show: ", source))
    wanted = {("anywhere", f"{show} or {also}" if also else show, does) for show, also, does in found}
    wanted |= set(re.findall(r'^    \[\s*"([^"]+)",\s+"([^"]+)",\s+"([^"]+)",?\s*\],$', source, re.M))
    section = read(DOCS / "using-the-page.md").split("## Keys and clicks")[1].split("\n## ")[0]
    rows = {tuple(row) for row in table_rows(section)}
    assert wanted - rows == set()
    pointer = ("click", "shift-click", "drag", "hover", "Undo")
    assert {row for row in rows - wanted if not row[1].startswith(pointer)} == {
        ("where", "keys, clicks", "does"),
        ("---", "---", "---"),
    }


def test_messages_are_the_codes() -> None:
    source = " ".join(read(path) for path in sorted((ROOT / "dashboard").rglob("*.py")))
    trouble = read(DOCS / "troubleshooting.md")
    for message, _advice in table_rows(trouble)[2:-1]:
        for part in (part.strip() for part in message.replace("Port 8050", "").split("…")):
            assert part in source, part


@pytest.mark.parametrize(("page", "how", "code"), blocks("python"), ids=lambda value: str(value)[:30])
def test_python_examples_compile(page: str, how: str | None, code: str) -> None:
    compile(code, page, "exec")
    assert how in RUN_BY_A_TEST


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", read(ROOT / "Makefile"), re.M))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^|\n)(?:[A-Z]+=\S+ )*make ([a-z]+)", read(page)))
        assert named <= targets, page


def test_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join([*(read(page) for page in PAGES), read(ROOT / "Procfile")])
    modules = set(re.findall(r"python -m ([\w.]+)", text))
    assert {"dashboard", "benchmarks", "gunicorn"} <= modules
    assert all(importlib.util.find_spec(module) for module in modules)
    for command in sorted(set(re.findall(r"python -m dashboard (\w+)", text))):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
    capsys.readouterr()


def test_named_files_exist() -> None:
    pattern = re.compile(r"\b(?:dashboard|assets|tests|docs|benchmarks)/[\w/-]+\.(?:py|js|css|md|txt)\b")
    for page in PAGES:
        for name in pattern.findall(read(page)):
            assert (ROOT / name).is_file(), f"{page.name} names {name}"
        for target in re.findall(r"(?<!!)\[[^]]+]\((?!http)([^)]+)\)", read(page)):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_code_names_every_part_of_the_package() -> None:
    listing = read(DOCS / "development.md").split("## The code")[1].split("```")[1]
    here = [path for path in (ROOT / "dashboard").iterdir() if not path.name.startswith("__")]
    parts = {f"{path.name}/" if path.is_dir() else path.name for path in here if path.is_dir() or path.suffix == ".py"}
    named = set(re.findall(r"[a-z_]+(?:\.py|/)", listing.split("assets/")[0]))
    assert named - FOLDERS == parts


def test_what_the_browser_keeps_is_said() -> None:
    """Every script that stores something is one that the list in docs/serving.md was written for."""
    scripts = {path.relative_to(ROOT / "assets").as_posix(): read(path) for path in (ROOT / "assets").rglob("*.js")}
    stores = {
        name: set(re.findall(r"window\.(localStorage|sessionStorage)\.setItem", code)) for name, code in scripts.items()
    }
    assert {name: found for name, found in stores.items() if found} == {
        "state/theme.js": {"localStorage"},  # the theme
        "state/kept-text.js": {"sessionStorage"},  # the text that was not run yet, and its model
        "components/keyboard.js": {"localStorage"},  # whether keys of one character are on
        "state/history.js": {"sessionStorage"},  # how far Redo leads
        "components/tour.js": {"localStorage"},  # how far the tour has gone
        "components/picture-paper.js": {"localStorage"},  # how pictures are saved
        "state/places-left.js": {"localStorage"},  # where one was in each run
    }
    [most] = re.findall(r"const MOST_PLACES = (\d+);", scripts["state/places-left.js"])
    assert f"where you were in each of the last {most} runs" in prose(read(DOCS / "serving.md"))


def test_no_host_names_and_no_absolute_paths() -> None:
    for page in PAGES:
        text = read(page)
        hosts = set(re.findall(r"\b(?:[\w-]+\.)+(?:com|org|net|io|dev|co|ai)\b", text)) | set(
            re.findall(r"://([\w.-]+)", text)
        )
        assert hosts <= NAMED_HOSTS, page
        assert not re.findall(r"(?<![\w.~…/])/(?:home|root|work|srv|opt|usr|var|tmp|etc|mnt)\b", text), page


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_decisions_have_their_parts(path: Path) -> None:
    text = read(path)
    assert text.startswith(f"# {path.name[:3]} ")
    places = [text.index(f"**{part}.**") for part in ("Context", "Decision", "Consequence")]
    assert places == sorted(places)


def test_decisions_are_numbered() -> None:
    numbers = [int(path.name[:3]) for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.fixture
def received(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The view of docs/adding-a-view.md, dropped into the package's path, and found by discovery."""
    code = next(code for _page, how, code in blocks("python") if how == "views/received.py")
    (tmp_path / "received.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(dashboard.views, "__path__", [*dashboard.views.__path__, str(tmp_path)])
    yield next(view for view in all_views() if view.name == "received")
    sys.modules.pop("dashboard.views.received", None)
    vars(dashboard.views).pop("received", None)


def test_the_example_view_draws_a_run(received: Any) -> None:
    run = make_run("causal")
    selection = Selection(run.key, token=3, layer=1, head=1)
    found = run.attention_of().received[1]
    for by, weights in (("head", found[1]), ("layer", (found[0] + found[1]) / 2)):
        context = Context(run, selection, {"by": by})
        figure = received.draw(context)
        assert isinstance(figure, go.Figure)
        assert [float(value) for value in figure.data[0].y] == pytest.approx([float(value) for value in weights])
        assert figure.data[0].customdata[3] == {"token": 3}
        assert f"receives weight {weights[3]:.3f} on average" in words_in(received.text(context).title)
        rows = list(received.table(context).rows)
        assert rows[3] == (3, "·on", pytest.approx(float(weights[3])))
        whole = received.table(dataclasses.replace(context, whole=True))
        assert list(whole.rows)[3] == (3, " on", pytest.approx(float(weights[3])), "·on")
        assert (whole.columns[-1].name, whole.row_is, whole.selected) == ("Label", "token", (3,))


def test_the_example_view_becomes_a_card(received: Any, tmp_path: Path) -> None:
    assert received in all_views()
    app = create_app(Settings(cache_dir=tmp_path / "cache"))
    assert "received-graph" in str(app.layout())
    run = make_run("causal")
    RunStore(tmp_path / "cache" / "runs", 10**9).save(run.key, run.header, run.arrays)
    with app.server.test_client() as client:
        figure = client.get(f"/show/figure/received?run={run.key}&token=3&layer=1&head=1").get_json()
        place = f"run={run.key}&token=3&layer=1&head=1"
        of_layer = client.get(f"/show/figure/received?{place}&received-by=layer").get_json()
        words = client.get(f"/show/words/received?{place}").get_json()
    assert array_of(of_layer["data"][0]["y"]) == pytest.approx(run.attention_of().received[1].mean(axis=0))
    assert array_of(figure["data"][0]["y"]) == pytest.approx(run.attention_of().received[1, 1])
    assert "receives weight" in json.dumps(words["heading"])
    weights = run.attention_of().received[1, 1]
    [_what, own, more] = words["about"]
    assert f"has weight {weights[3]:.3f} for head 1." in own[-1]
    assert more == [f"A larger weight goes to {(weights > weights[3]).sum()} of the other tokens."]
