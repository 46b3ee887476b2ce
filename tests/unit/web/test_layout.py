"""The page and its callbacks as data: the same in every process, each control there, each property with one writer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dash
import pytest

from dashboard.components import ids
from dashboard.settings import Settings
from dashboard.views import all_views
from dashboard.web.app import create_app
from dashboard.web.model_picker import size_words

ROOT = Path(__file__).resolve().parents[3]
STABLE_IDS = [
    "model",
    "text",
    "run",
    "cancel",
    "progress",
    "notice",
    "tokens",
    "layer",
    "head",
    "attention-graph",
    "attention-heads",
    "hidden-graph",
    "prediction-graph",
    "submitted-run",
    "proposal",
    "selection",
    "run-info",
]


def made(folder: Path) -> dash.Dash:
    return create_app(Settings(cache_dir=folder, models_dir=folder / "models"))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dash.Dash]:
    app = made(tmp_path_factory.mktemp("cache"))
    yield app
    app._background_manager.backend.close()


def get(app: dash.Dash, path: str) -> Any:
    with app.server.test_client() as client:
        reply = client.get(path)
        assert reply.status_code == 200
        return reply.get_json()


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every component of a layout's JSON."""
    if isinstance(tree, list):
        for item in tree:
            yield from nodes(item)
    elif isinstance(tree, dict):
        if "namespace" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)


def frozen_nodes(tree: Any) -> Iterator[list[Any]]:
    """Every element of the parts that Dash does not know of (dashboard/components/markup.py)."""
    for node in nodes(tree):
        todo = json.loads(node["props"].get("data-tree", "[]"))
        todo += [element for part in node["props"].get("parts", {}).values() for element in part]
        while todo:
            element = todo.pop()
            if isinstance(element, list):
                yield element
                todo += element[2:]


def all_ids(app: dash.Dash) -> list[str]:
    tree = get(app, "/_dash-layout")
    known = [node["props"]["id"] for node in nodes(tree) if "id" in node["props"]]
    return known + [attributes["id"] for _tag, attributes, *_inside in frozen_nodes(tree) if "id" in attributes]


def test_the_layout_and_the_callbacks_are_equal_in_two_processes(tmp_path: Path) -> None:
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom dashboard.web.app import create_app\n"
        "from dashboard.settings import Settings\n"
        "app = create_app(Settings(cache_dir=Path(sys.argv[1]), models_dir=Path(sys.argv[1]) / 'models'))\n"
        "with app.server.test_client() as client:\n"
        "    print(json.dumps([client.get(p).get_json() for p in ('/_dash-layout', '/_dash-dependencies')]))"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
        for _ in range(2)
    ]
    assert json.loads(printed[0])[1], "no callbacks"
    assert json.loads(printed[0]) == json.loads(printed[1])  # Dash itself gives properties in any order


def test_two_apps_of_one_process_have_the_same_layout(app: dash.Dash, tmp_path: Path) -> None:
    other = create_app(Settings(cache_dir=tmp_path / "elsewhere", models_dir=tmp_path / "models"))
    assert get(app, "/_dash-layout") == get(other, "/_dash-layout")
    other._background_manager.backend.close()


def test_ids_are_there_once(app: dash.Dash) -> None:
    counts = Counter(all_ids(app))
    assert [name for name, count in counts.items() if count > 1] == []
    assert set(STABLE_IDS) <= set(counts)


def test_every_control_of_every_view_is_on_the_page(app: dash.Dash) -> None:
    present = set(all_ids(app))
    for view in all_views():
        wanted = {ids.graph_id(view.name), ids.panel_id(view.name)}
        wanted |= {view.setting(control) for control in view.controls}
        assert wanted <= present


def test_dash_counts_clicks_on_buttons_and_links_alone(app: dash.Dash) -> None:
    counted = {
        node["props"]["id"]: node["type"]
        for node in nodes(get(app, "/_dash-layout"))
        if node["namespace"] == "dash_html_components"
        and "id" in node["props"]
        and not node["props"].get("disable_n_clicks")
    }
    assert {ids.RUN, ids.CANCEL} <= set(counted)
    assert set(counted.values()) <= {"Button", "A"}


def outputs(dependency: dict[str, Any]) -> list[str]:
    """The properties that one callback writes: "..a.data...b.data.." or "a.data"."""
    return [part for part in dependency["output"].strip(".").split("...") if part]


def test_every_property_has_one_writer(app: dash.Dash) -> None:
    written = Counter(name for dependency in get(app, "/_dash-dependencies") for name in outputs(dependency))
    written = Counter({name: count for name, count in written.items() if "." in name and not name.startswith(".")})
    assert written["selection.data"] == 1
    assert written["submitted-run.data"] == 1
    assert [name for name, count in written.items() if count > 1] == []


def links(app: dash.Dash) -> dict[str, set[str]]:
    """Every property that a callback writes, with the Inputs of that callback."""
    found = {}
    for dependency in get(app, "/_dash-dependencies"):
        read = {f"{item['id']}.{item['property']}" for item in dependency["inputs"]}
        found |= {name: read for name in outputs(dependency)}
    return found


def test_each_graph_and_each_text_follows_the_selection_and_the_options_of_its_card(app: dash.Dash) -> None:
    written = links(app)
    graphs = {node["props"]["id"] for node in nodes(get(app, "/_dash-layout")) if node["type"] == "Graph"}
    assert graphs == {ids.graph_id(view.name) for view in all_views()}
    for view in all_views():
        for shown in (f"{ids.graph_id(view.name)}.figure", f"{ids.panel_id(view.name)}.words"):
            wanted = {f"{view.setting(control)}.value" for control in view.controls}
            assert wanted | {"selection.data"} <= written[shown], shown


def test_each_graph_leads_to_the_selection_or_its_view_says_why_not(app: dash.Dash) -> None:
    written = links(app)
    for view in all_views():
        picked = f"{ids.picked_id(view.name)}.data"
        if view.selects is None:
            assert view.selects_nothing.endswith("."), view.name
            assert picked not in written["selection.data"]
            continue
        assert picked in written["selection.data"], view.name
        if view.selects == "points":
            assert written[picked] == {f"{ids.graph_id(view.name)}.clickData"}
        else:
            assert picked not in written, "a script writes it"
            scripts = [
                path.read_text()
                for path in (ROOT / "assets").rglob("*.js")
                if path.name not in ("selection.js", "axes.js")
            ]
            of = [text for text in scripts if re.search(r'app\.(propose|asSecond)\(.*, (view|VIEW|"[a-z-]+")\)', text)]
            assert view.selects == "axes" or any(f'"{view.name}"' in text for text in of), view.name


def test_duplicate_writers_are_nowhere_allowed() -> None:
    sources = [*(ROOT / "dashboard").rglob("*.py"), *(ROOT / "assets").rglob("*.js")]
    assert len(sources) > 30
    assert [str(path) for path in sources if "allow_duplicate" in path.read_text()] == []


def test_callbacks_name_components_that_dash_knows(app: dash.Dash) -> None:
    present = {node["props"]["id"] for node in nodes(get(app, "/_dash-layout")) if "id" in node["props"]}
    for dependency in get(app, "/_dash-dependencies"):
        named = {item["id"] for item in (*dependency["inputs"], *dependency["state"])}
        assert named <= present, dependency


def test_every_browser_function_that_is_called_is_defined(app: dash.Dash) -> None:
    scripts = "".join(path.read_text() for path in sorted((ROOT / "assets").rglob("*.js")))
    wanted = {
        d["clientside_function"]["function_name"]
        for d in get(app, "/_dash-dependencies")
        if d.get("clientside_function")
    }
    wanted = {name for name in wanted if re.fullmatch(r"[a-zA-Z]+", name)}
    assert len(wanted) > 8
    missing = [
        n for n in wanted if not re.search(rf"\b(own|dashboard)\.{n} =|^ +(async )?{n}\(", scripts, re.MULTILINE)
    ]
    assert missing == []


def test_dash_knows_few_components(app: dash.Dash) -> None:
    """Each costs time at every change (docs/decisions/014): what no callback addresses belongs into `frozen`."""
    layout = get(app, "/_dash-layout")
    # whose options exist while it is open
    models = next(node for node in nodes(layout) if node["props"].get("id") == "model")
    assert sum(1 for _ in nodes(layout)) - sum(1 for _ in nodes(models)) < 70 + 25 * len(all_views())
    assert sum(1 for _ in frozen_nodes(layout)) > 80


def test_inputs_have_names(app: dash.Dash) -> None:
    labels = {n["props"].get("htmlFor") for n in nodes(get(app, "/_dash-layout")) if n["type"] == "Label"}
    assert {"model", "text", "layer", "head"} <= labels


def test_nothing_is_loaded_from_elsewhere(app: dash.Dash) -> None:
    with app.server.test_client() as client:
        page = client.get("/").get_data(as_text=True)
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]*", page) == []
    for path in (ROOT / "assets").glob("*.css"):
        assert re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*", path.read_text()) == [], path


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (134_515_008, "135 M parameters"),
        (730_000, "0.7 M parameters"),
        (9_960_000, "10.0 M parameters"),
        (29_400, "29 k parameters"),
        (1_234_567_890, "1.2 B parameters"),
    ],
)
def test_sizes_in_words(parameters: int, words: str) -> None:
    assert size_words(parameters) == words
